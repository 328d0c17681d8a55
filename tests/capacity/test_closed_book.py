"""Closed and open book: right spellings, prompts, ceilings, floors and retrieval."""

import json

import pytest

from jaxrec.capacity import (
    TASKS,
    Source,
    StudyOptions,
    closed_book_task,
    open_book_task,
    right_answers,
    run_task,
)
from jaxrec.core import ConfigError, DataError
from jaxrec.prompting import ScriptedModel

TOWNS = ["Belas", "Torim", "Kavo", "Nedul", "Sirat", "Ulmon"]
STUDY = StudyOptions(resamples=10)


def write(directory, name, rows):
    (directory / name).parent.mkdir(exist_ok=True)
    (directory / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def quiz(directory):
    rows = [
        {
            "question": f"Which sea is near {town}",
            "answers": [f"{town} Sea", f"Sea of {town}"],
            "gold": [number],
        }
        for number, town in enumerate(TOWNS)
    ]
    write(directory, "quiz.jsonl", rows)
    texts = [f"{town} lies at the sea of {town}, says passage {town}." for town in TOWNS]
    write(directory, "wiki.jsonl", [{"id": n, "text": text} for n, text in enumerate(texts)])
    return rows


SOURCE = Source(files=("quiz.jsonl",), fields=("question",))
CLOSED = closed_book_task("quiz", "Seas.", SOURCE, shots=2)
OPEN = open_book_task("open", "Seas.", SOURCE, "wiki.jsonl", read=2, ks=(1, 2))


def figures(model, task, directory):
    found = run_task(model, task, directory, STUDY).estimates
    return {name: estimate.value for name, estimate in found.items()}


@pytest.mark.parametrize(
    "document",
    [
        {"answer": {"value": "UK", "aliases": ["Britain", "UK"], "type": "x"}},
        {"answers": ["UK", "Britain"]},
        {"answer": ["UK", "Britain"]},
    ],
)
def test_all_published_forms_give_the_same_spellings(document):
    assert right_answers(document) == ("UK", "Britain")


@pytest.mark.parametrize("document", [{}, {"answers": []}, {"answer": {}}, {"answer": [""]}])
def test_a_question_without_answer_is_rejected(document):
    with pytest.raises(DataError, match="no right answer"):
        right_answers(document)


def test_every_spelling_counts_and_other_answers_do_not(tmp_path):
    quiz(tmp_path)

    def answer(prompt, sample):
        return f" the sea of {prompt.rpartition('near ')[2].split('?')[0].upper()}!\nQuestion: x"

    assert figures(ScriptedModel(answer), CLOSED, tmp_path) == {"exact_match": 1, "token_f1": 1}
    silent = ScriptedModel(lambda prompt, sample: " lake")
    assert figures(silent, CLOSED, tmp_path) == {"exact_match": 0, "token_f1": 0}


def test_a_prompt_has_the_demonstrations_and_one_question_mark(tmp_path):
    quiz(tmp_path)
    model = ScriptedModel(lambda prompt, sample: " Sea")
    run_task(model, CLOSED, tmp_path, STUDY)
    assert model.calls[0].prompt == (
        "Question: Which sea is near Belas?\nAnswer: Belas Sea\n\n"
        "Question: Which sea is near Torim?\nAnswer: Torim Sea\n\n"
        "Question: Which sea is near Kavo?\nAnswer:"
    )
    assert TASKS["triviaqa"].ask({"question": "Who?"}, "").prompt == "Question: Who?\nAnswer:"


def reader(prompt, sample):
    """It reads the passage that names the town of the question."""
    town = prompt.rpartition("near ")[2].split("?")[0]
    line = next((part for part in prompt.split("\n") if f"passage {town}." in part), "")
    return f" Sea of {town}" if line else " unknown"


def test_a_reader_needs_the_passages(tmp_path):
    quiz(tmp_path)
    found = figures(ScriptedModel(reader), OPEN, tmp_path)
    assert found == dict.fromkeys(OPEN.metrics, 1.0)
    closed = figures(ScriptedModel(reader), CLOSED, tmp_path)
    assert closed["exact_match"] == 0.0


def test_retrieval_counts_gold_passages_and_answers(tmp_path):
    rows = quiz(tmp_path)
    # The first question has a second gold passage, which no word of the question finds first; the
    # answer of the second one stands nowhere.
    rows[0]["gold"], rows[1]["answers"] = [0, 5], ["the moon"]
    write(tmp_path, "quiz.jsonl", rows[:2])
    found = figures(ScriptedModel(reader), OPEN, tmp_path)
    assert found["recall@1"] == (0.5 + 1) / 2
    assert (found["answer_found@1"], found["answer_found@2"]) == (0.5, 0.5)


def test_the_best_passage_is_next_to_the_question(tmp_path):
    quiz(tmp_path)
    model = ScriptedModel(lambda prompt, sample: " x")
    run_task(model, OPEN, tmp_path, STUDY)
    first = model.calls[0].prompt.split("\n")
    assert len(first) == 4
    assert "passage Belas" in first[1]


def test_an_answer_is_found_as_whole_words(tmp_path):
    write(tmp_path, "quiz.jsonl", [{"question": "Who wins", "answers": ["Ann"], "gold": [0]}])
    write(tmp_path, "wiki.jsonl", [{"id": 0, "text": "Anna wins."}, {"id": 1, "text": "No."}])
    assert figures(ScriptedModel(reader), OPEN, tmp_path)["answer_found@2"] == 0.0


def test_what_an_open_book_lacks_is_named(tmp_path):
    quiz(tmp_path)
    (tmp_path / "wiki.jsonl").unlink()
    with pytest.raises(DataError, match=r"wiki\.jsonl"):
        figures(ScriptedModel(reader), OPEN, tmp_path)
    write(tmp_path, "wiki.jsonl", [{"id": 0}])
    with pytest.raises(DataError, match="passage 1"):
        figures(ScriptedModel(reader), OPEN, tmp_path)
    quiz(tmp_path)
    write(tmp_path, "quiz.jsonl", [{"question": "x", "answers": ["y"], "gold": "0"}])
    with pytest.raises(DataError, match="gold"):
        figures(ScriptedModel(reader), OPEN, tmp_path)
    with pytest.raises(ConfigError, match="at least 1"):
        open_book_task("open", "x", SOURCE, "wiki.jsonl", read=0)
