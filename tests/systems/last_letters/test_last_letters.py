"""Last letters end to end: the questions, the texts that are learned, the measurement."""

import json

import numpy as np
import pytest

from jaxrec.cli.main import main
from jaxrec.core import ConfigError, DataError
from jaxrec.prompting import extract
from jaxrec.runs import load_run
from jaxrec.systems.last_letters import (
    LettersConfig,
    LettersDataConfig,
    LettersEvalConfig,
    last_letters,
    make_name,
    prepare,
    read_names,
)
from jaxrec.systems.last_letters.questions import marked, settings_of

CONFIG = """
from jaxrec.models import TransformerConfig
from jaxrec.systems.last_letters import *
from jaxrec.train import TrainConfig

def get_config():
    return LettersConfig(
        data=LettersDataConfig(words=2, longest=3, train_questions=20, published={published!r}),
        model=TransformerConfig(width=16, depth=1, num_heads=2, positions="relative"),
        train=TrainConfig(steps=2, batch_size=2, eval_every=2, warmup_steps=1),
        eval=LettersEvalConfig(
            valid_instances=3, test_instances=4, max_tokens=4, samples=2, resamples=20, batch_size=4
        ),
    )
"""


def names_of(exemplar):
    return exemplar.question.removeprefix("Last letters of ").removesuffix("?").split()


def small(**data):
    data = {"train_questions": 300, "published": "", **data}
    return LettersConfig(
        data=LettersDataConfig(**data),
        eval=LettersEvalConfig(test_instances=100, valid_instances=50),
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    place = tmp_path_factory.mktemp("letters")
    question = 'Take the last letters of each words in "Ann Bo Cyr" and concatenate them.'
    (place / "real.json").write_text(json.dumps({"examples": [{"question": question}]}))
    (place / "small.py").write_text(CONFIG.format(published=str(place / "real.json")))
    directory = place / "run"
    assert main(["train", str(place / "small.py"), "--run-dir", str(directory)]) == 0
    assert main(["eval", str(directory)]) == 0
    return directory


def test_every_part_is_measured_greedily_and_by_votes(finished):
    report = json.loads((finished / "eval.json").read_text())
    assert list(report["rows"]) == ["model", "self-consistency"]
    parts = {"accuracy_trained": 4, "accuracy_longer": 4, "accuracy_published": 1}
    for row in report["rows"].values():
        assert set(row["metrics"]) == set(parts)
    assert {name: len(values) for name, values in report["values"].items()} == parts
    assert [test["metric"] for test in report["comparisons"]] == list(parts)
    # Four tokens are too few for an answer, which the lines of the report say.
    assert any(
        "trained, model: 1.000 of the replies without an answer" in x for x in report["lines"]
    )


def test_a_trained_run_resumes_and_is_described(finished, capsys):
    before = (finished / "train.json").read_text()
    assert main(["train", str(finished.parent / "small.py"), "--run-dir", str(finished)]) == 0
    assert json.loads(before)["best_step"] == 2
    assert main(["report", str(finished)]) == 0
    assert load_run(finished).data.words == 2


def test_a_run_does_not_need_the_published_questions(finished, capsys):
    (finished.parent / "real.json").rename(finished.parent / "moved.json")
    try:
        assert main(["eval", str(finished)]) == 0
    finally:
        (finished.parent / "moved.json").rename(finished.parent / "real.json")
    assert "real.json was not found, so real names were not measured" in capsys.readouterr().out


def test_reasoning_ends_at_the_answer():
    exemplar = last_letters(["Elon", "Mira", "TOK"])
    assert exemplar.rationale == "Elon: n. Mira: a. TOK: k."
    text = exemplar.text(rationale=True)
    assert extract(text, "letters", "few_shot") == exemplar.answer == "nak"


def test_answers_are_the_last_letters_of_the_names():
    for exemplar in prepare(small()).train:
        names = names_of(exemplar)
        assert exemplar.answer == "".join(name[-1] for name in names).lower()
        assert len(set(names)) == len(names)


def test_lengths_are_those_of_each_part():
    prepared = prepare(small(words=3, longest=5))
    lengths = {
        name: {len(names_of(exemplar)) for exemplar in part}
        for name, part in {
            "train": prepared.train,
            "valid": prepared.valid,
            **prepared.test,
        }.items()
    }
    assert lengths == {"train": {1, 2, 3}, "valid": {1, 2, 3}, "trained": {3}, "longer": {4, 5}}


def test_no_test_question_is_trained():
    # Questions of one name are drawn again and again, so this would fail without the check.
    prepared = prepare(small(words=1, longest=2, train_questions=20_000))
    train = [exemplar.question for exemplar in prepared.train]
    held = [e.question for part in (prepared.valid, *prepared.test.values()) for e in part]
    assert len(set(held)) == len(held)
    assert len(set(train)) < len(train)
    assert not set(train) & set(held)


@pytest.mark.parametrize("rationale", [True, False])
def test_the_model_learns_what_follows_the_prompt(rationale):
    settings = settings_of(LettersConfig(rationale=rationale))
    text = marked(last_letters(["Mira", "Tok"]), settings)
    assert text.text[: text.spans[0][0]] == "Q: Last letters of Mira Tok?\nA:"
    reasoning = " Mira: a. Tok: k." if rationale else ""
    assert text.answers == [f"{reasoning} The answer is ak."]


def test_data_depend_on_their_seed_alone():
    one, again, other = (prepare(small(seed=seed)).describe()["fingerprint"] for seed in (0, 0, 1))
    assert one == again != other


def test_names_use_every_letter_at_the_end():
    rng = np.random.default_rng(0)
    names = [make_name(rng) for _ in range(3000)]
    assert {name[-1].lower() for name in names} == set("abcdefghijklmnopqrstuvwxyz")
    assert all(2 <= len(name) <= 7 for name in names)


@pytest.mark.parametrize(
    ("held", "message"),
    [
        ([], 'expected a JSON object with a list "examples"'),
        ({"examples": []}, 'expected a JSON object with a list "examples"'),
        ({"examples": [{"question": "no names"}]}, "example 0 needs a .* got 'no names'"),
        ({"examples": ["text"]}, "example 0 needs a"),
    ],
)
def test_damaged_published_questions_are_rejected(tmp_path, held, message):
    path = tmp_path / "questions.json"
    path.write_text(json.dumps(held))
    with pytest.raises(DataError, match=message):
        read_names(str(path))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: LettersDataConfig(words=4, longest=4),
            "data.longest 4 must be above data.words 4",
        ),
        (lambda: LettersEvalConfig(samples=1), "eval.samples 1 leaves nothing to vote on"),
        (lambda: LettersEvalConfig(top_k=0), "--eval.top-k must be at least 1"),
    ],
)
def test_settings_that_make_no_sense_are_rejected(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_a_question_needs_names():
    with pytest.raises(DataError, match="needs names that have letters"):
        last_letters([])
