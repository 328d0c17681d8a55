"""Questions about likes: what is refused before any work, and what a reader is told."""

import json
import types

import pytest

from jaxrec.core import ConfigError, DataError
from jaxrec.data import Instruction, read_instructions, train_bpe
from jaxrec.systems.tallrec import TallrecConfig
from jaxrec.systems.tallrec.questions import encode
from jaxrec.texts import ClickDataConfig, load_click_parts

PARTS = ("train", "valid", "test")


def _records(answers, first=0):
    """Questions of users who liked two items of their own."""
    return [
        {
            "instruction": "Will the user like it?",
            "input": f'Liked: "a{n}", "b{n}"\nDisliked: "c{n}"\nWill the user like "d{n}"?',
            "output": answer,
        }
        for n, answer in enumerate(answers, first)
    ]


def _load(directory, **parts):
    both = {part: _records(["Yes.", "No."], 10 * n) for n, part in enumerate(PARTS)}
    files = {}
    for part, records in (both | parts).items():
        path = directory / f"{part}.json"
        path.write_text(json.dumps(records))
        files[f"{part}_file"] = str(path)
    return load_click_parts(
        ClickDataConfig(**files),
        split="users",
        history=10,
        threshold=3.0,
        shots=0,
        seed=0,
        valid_windows=0,
        test_windows=0,
    )


@pytest.mark.parametrize("answer", ["Yes.", "No."])
def test_training_questions_with_one_answer_are_refused(answer, tmp_path):
    with pytest.raises(
        DataError, match=r"all 3 training questions of .*train.json have one answer"
    ):
        _load(tmp_path, train=_records([answer] * 3))


def test_questions_that_training_asks_too_are_counted(tmp_path):
    assert str(_load(tmp_path)).endswith("2 of 2 users for test")
    train = _records(["Yes.", "No.", "Yes."])
    again = [*_records(["No."], 30), *train[:2], *train[:2]]
    said = str(_load(tmp_path, train=train, test=again))
    assert said.endswith("; 2 test questions are also asked in training")
    # A question without a history is the same for all users.
    bare = [
        record | {"input": 'Liked: \nDisliked: \nWill the user like "d"?'}
        for record in _records(["Yes.", "No."])
    ]
    assert "also asked" not in str(_load(tmp_path, train=bare, test=bare))


def test_items_that_share_a_title_are_counted(tmp_path):
    rows = [
        f"u{user},i{item},{1 + (3 * user + item) % 5},{item}"
        for user in range(20)
        for item in range(8)
    ]
    path = tmp_path / "ratings.csv"
    path.write_text("\n".join(["user,item,stars,when", *rows]) + "\n")
    titles = [f"i{item},{'Twin' if item in (2, 5) else f'Film {item}'}" for item in range(8)]
    (tmp_path / "titles.csv").write_text("\n".join(["item,title", *titles]) + "\n")
    parts = load_click_parts(
        ClickDataConfig(
            name="mine", from_file=str(path), rating_column="stars", time_column="when",
            item_table=str(tmp_path / "titles.csv"), min_count=0,
        ),
        split="users", history=3, threshold=3.0, shots=0, seed=0, valid_windows=0, test_windows=0,
    )  # fmt: skip
    assert "cannot tell 2 items apart that share their titles, such as 'Twin'" in str(parts)


def test_questions_are_not_cut_and_instructions_may_be():
    text = types.SimpleNamespace(tokenizer=train_bpe(["Yes. No."], 260), virtual=0)
    config = TallrecConfig(max_length=400)
    records = [Instruction("Short.", "", "Yes."), Instruction("Long." * 100, "", "No.")]
    with pytest.raises(
        ConfigError, match="1 of 2 questions have more than --max-length 400 tokens"
    ):
        encode(config, text, records)
    text.model = types.SimpleNamespace(
        config=types.SimpleNamespace(vocab_size=260, check_length=lambda *_: None)
    )
    assert encode(config, text, records, cut=True).tokens.shape[1] <= 416


def test_a_record_that_asks_nothing_is_refused(tmp_path):
    path = tmp_path / "records.json"
    path.write_text('[{"instruction": "a", "output": "b"},\n {"instruction": "", "output": "c"}]')
    with pytest.raises(
        DataError, match=r"record 1 has neither an instruction nor an input \(line 2"
    ):
        read_instructions(path)
    path.write_text('[{"instruction": "", "input": "a", "output": ""}]')
    assert read_instructions(path) == [Instruction("", "a", "")]
