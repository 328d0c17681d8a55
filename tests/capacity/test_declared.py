"""A JSON file makes the same task as code does, and its mistakes are named."""

import json

import pytest

from jaxrec.capacity import TASKS, StudyOptions, read_task_file, run_task
from jaxrec.core import ConfigError, DataError
from jaxrec.prompting import ScriptedModel

BIRDS = {
    "name": "birds",
    "kind": "choose",
    "files": ["birds.jsonl"],
    "prompt": "Q: Can a {animal} fly?\nA:",
    "options": [" Yes", " No"],
    "answer": "answer",
    "groups": ["size"],
}
ROWS = [
    {"animal": "robin", "answer": "Yes", "size": "small", "all": ["it can", "it cannot"]},
    {"animal": "emu", "answer": 1, "size": "large", "all": ["it cannot", "it can", "maybe"]},
    {"animal": "kiwi", "answer": "no", "size": "small", "all": ["no"]},
]


def made(tmp_path, settings, rows=ROWS[:2]):
    (tmp_path / "birds.jsonl").write_text("\n".join(map(json.dumps, rows)))
    path = tmp_path / "task.json"
    path.write_text(json.dumps(settings))
    return read_task_file(path)


def run(tmp_path, settings, model, rows=ROWS[:2], **options):
    task = made(tmp_path, settings, rows)
    return run_task(model, task, tmp_path, StudyOptions(resamples=10, **options))


def test_a_choice_of_templates(tmp_path):
    model = ScriptedModel(logprob=lambda prompt, text: -1.0 if text == " Yes" else -2.0, calls=[])
    found = run(tmp_path, BIRDS, model)
    assert found.estimates["accuracy"].value == 0.5
    # " Yes" has -1/3 a character and " No" -1.
    assert found.estimates["accuracy_by_length"].value == 0.5
    assert {v: e["accuracy"].value for v, e in found.groups["size"].items()} == {
        "large": 0.0,
        "small": 1.0,
    }
    assert model.calls[0].prompt == "Q: Can a robin fly?\nA:"


def test_a_choice_of_a_list_with_a_demonstration(tmp_path):
    settings = BIRDS | {"options": [], "options_field": "all", "answer": 1}
    model = ScriptedModel(logprob=lambda prompt, text: -float(len(text)), calls=[])
    found = run(tmp_path, settings, model, shots=1)
    assert model.calls[0].prompt == "Q: Can a robin fly?\nA: it cannot\n\nQ: Can a emu fly?\nA:"
    assert model.calls[0].answer == (" it cannot", " it can", " maybe")
    assert found.estimates["accuracy"].value == 0.0
    assert found.documents == 1


def test_a_written_text_has_all_metrics(tmp_path):
    metrics = ["exact_match", "token_f1", "rouge1", "rougeLsum", "bleu", "chrf", "ter"]
    settings = {
        "name": "write",
        "kind": "write",
        "files": ["birds.jsonl"],
        "prompt": "{animal}:",
        "targets_field": "all",
        "metrics": metrics,
    }
    model = ScriptedModel(lambda prompt, _: " it cannot\nand more")
    found = {name: e.value for name, e in run(tmp_path, settings, model).estimates.items()}
    assert list(found) == metrics
    assert found["exact_match"] == found["token_f1"] == found["rouge1"] == 1.0
    assert (found["chrf"], found["ter"]) == (pytest.approx(100), 0.0)


def test_a_read_text_is_the_task_of_wikitext(tmp_path):
    (tmp_path / "novel.txt").write_text("To be or not to be.")
    path = tmp_path / "task.json"
    path.write_text(json.dumps({"name": "novel", "kind": "read", "files": ["novel.txt"]}))
    model = ScriptedModel(logprob=lambda prompt, word: -2.0)
    found = run_task(model, read_task_file(path), tmp_path).estimates
    assert set(found) == set(TASKS["wikitext2"].metrics)
    assert found["word_perplexity"].value == pytest.approx(7.38905609893)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "chose"}, "(?<!-)kind must be"),
        ({"max_tokens": 0}, "max_tokens must be at least 1, got 0"),
        ({"colour": 3}, "unknown setting 'colour'; settings: name, kind, files, about, prompt"),
        ({"optoins": []}, "unknown setting 'optoins', did you mean 'options'"),
        ({"options": []}, "needs either options or options_field"),
        ({"options_field": "all"}, "needs either options or options_field"),
        ({"answer": 2}, "answer is 2, but there are 2 options"),
        ({"prompt": "{animal"}, "has a brace that is no hole"),
        ({"files": ["a.xml"]}, "unknown ending"),
        ({"kind": "write"}, "options is no setting of the kind write, which has prompt, target"),
        ({"kind": "last_word"}, "prompt is no setting of the kind last_word, which has none but"),
    ],
)
def test_a_wrong_setting_of_a_choice_is_named(change, message, tmp_path):
    with pytest.raises(ConfigError, match=rf"task\.json: .*{message}"):
        made(tmp_path, BIRDS | change)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"metrics": ["rouge"], "target": "a"}, "unknown metric 'rouge', did you mean"),
        ({}, "needs either target or targets_field"),
        ({"target": "a", "prompt": ""}, "needs a prompt"),
        ({"kind": "read", "prompt": "", "shots": 2}, "shots is no setting of the kind read"),
    ],
)
def test_a_wrong_setting_is_named(settings, message, tmp_path):
    base = {"name": "a", "kind": "write", "files": ["birds.jsonl"], "prompt": "{animal}"}
    with pytest.raises(ConfigError, match=rf"task\.json: .*{message}"):
        made(tmp_path, base | settings)


def test_a_missing_setting_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"missing .*'files'; name, kind and files are needed"):
        made(tmp_path, {"name": "a", "kind": "read"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, r"birds\.jsonl:3: the answer 'no' is neither the place of an option nor one of"),
        ({"options": [], "options_field": "size"}, "size must be a list of texts, got 'small'"),
        ({"answer": "anser"}, "none of 3 documents has the fields anser, animal|animal, anser"),
    ],
)
def test_documents_that_do_not_fit_are_named_before_the_model_is_asked(change, message, tmp_path):
    model = ScriptedModel(logprob=lambda prompt, text: -1.0, calls=[])
    with pytest.raises(DataError, match=message):
        run(tmp_path, BIRDS | change, model, rows=ROWS)
    assert model.calls == []


def test_right_texts_that_do_not_fit_are_named_before_the_model_is_asked(tmp_path):
    settings = {"name": "write", "kind": "write", "files": ["birds.jsonl"], "prompt": "{animal}:"}
    model = ScriptedModel(lambda prompt, _: " it cannot", calls=[])
    rows = [ROWS[0], ROWS[1] | {"all": "it cannot"}]
    with pytest.raises(DataError, match=r"birds\.jsonl:2: all must be a list of texts, got 'it"):
        run(tmp_path, settings | {"targets_field": "all"}, model, rows=rows)
    assert model.calls == []


def test_a_document_without_an_answer_is_left_out_and_counted(tmp_path):
    model = ScriptedModel(logprob=lambda prompt, text: -1.0)
    rows = [*ROWS[:2], {"animal": "kiwi", "size": "small"}]
    found = run(tmp_path, BIRDS, model, rows=rows)
    assert (found.documents, found.missing, found.first_missing) == (
        2,
        {"answer": 1},
        "birds.jsonl:3",
    )
