"""The texts of Toolformer's system: right sums, disjoint parts, and calls at random."""

import re

import numpy as np
import pytest

from jaxrec.core import ConfigError, DataError
from jaxrec.data import train_bpe
from jaxrec.models import TransformerConfig
from jaxrec.prompting import find_calls, without_calls
from jaxrec.systems.toolformer import CallsConfig, ToolformerConfig, ToolformerDataConfig
from jaxrec.systems.toolformer.calls import Stored, call_shares, describe_calls, next_number
from jaxrec.systems.toolformer.data import demonstrate, make_corpus, make_sums
from jaxrec.systems.toolformer.run import encode_rows, mix_rows


def test_the_number_after_a_question_is_what_the_words_say():
    for item in make_sums(300, [0]):
        one, other, answer = map(int, (*item.numbers, item.answer))
        adds = re.search("sum|girls|paid|visitors", item.question)
        assert answer == (one + other if adds else one - other)
        assert item.text.startswith(f"{item.question} {item.answer}")
        assert all(100 <= int(number) <= 999 for number in item.numbers)
        left, sign, right = item.call.input.split()
        assert (left, right, sign) == (*item.numbers, "+" if adds else "-")


def test_held_out_questions_are_not_trained_on():
    corpus = make_corpus(ToolformerDataConfig(plain=500, demonstrated=500, annotated=200, held=50))
    held = {item.question for item in (*corpus.valid, *corpus.test)}
    assert len(held) > 95
    trained = {item.question for item in (*corpus.plain, *corpus.annotated)}
    trained |= {
        without_calls(text.partition("\n")[2]).rpartition(" ")[0] for text in corpus.demonstrated
    }
    assert not held & trained


def test_other_seeds_give_other_texts_and_fingerprints():
    small = {"plain": 20, "lists": 5, "demonstrated": 20, "annotated": 20, "held": 5}
    first, again, other = (
        make_corpus(ToolformerDataConfig(**small, seed=seed)).describe()["fingerprint"]
        for seed in (0, 0, 1)
    )
    assert first == again != other


def test_demonstrated_calls_are_run_and_mostly_useless():
    sums = make_sums(2000, [0])
    right, calculated = 0, 0
    for item, text in zip(sums, demonstrate(sums, [1]), strict=True):
        (found,) = find_calls(text)
        call = found.call
        if call.name == "Calendar":
            assert call.result == "Today is Monday, January 30, 2023."
            continue
        calculated += 1
        left, sign, other = call.input.split()
        value = int(left) + int(other) if sign == "+" else int(left) - int(other)
        assert call.result == str(value)
        # A call in its place knows only the numbers before it.
        before = text[: found.start]
        if not text.startswith("["):
            known = re.findall(r"\d+", before) or [item.numbers[0]]
            assert {left, other} <= set(known)
        right += call.result == item.answer
    assert 0.65 < calculated / len(sums) < 0.75
    assert 0.3 < right / calculated < 0.5


@pytest.mark.parametrize(
    ("text", "number"), [(" 12.", "12"), ("-3 x", "-3"), (" x 3", None), ("", None)]
)
def test_the_next_number_is_that_at_the_beginning(text, number):
    assert next_number(text) == number


def stored() -> Stored:
    fields = ("tool", "kept", "right", "failure")
    rows = [
        ("Calculator", True, True, ""),
        ("Calculator", True, False, ""),
        ("Calculator", False, True, ""),
        ("Calculator", False, False, "division_by_zero"),
        ("Calendar", False, False, ""),
        ("Calendar", True, False, ""),
    ]
    calls = [
        {"text": 0, "call": "", "gain": None, "times": 1, **dict(zip(fields, row, strict=True))}
        for row in rows
    ]
    return {"texts": [], "calls": calls, "unusable": {"not_a_call": 7}}


def test_the_shares_of_the_filter_are_over_the_calls_that_they_name():
    shares = {name: values.mean() for name, values in call_shares(stored()).items()}
    assert shares == {
        "kept_right": pytest.approx(1 / 3),
        "useless_kept": 0.5,
        "right_kept": 0.5,
        "sampled_right": 0.5,
    }


def test_calls_are_described_by_tool():
    assert describe_calls(stored()) == [
        "Calculator: 4 different calls sampled, 1 failed, 2 kept",
        "Calendar: 2 different calls sampled, 0 failed, 1 kept",
        "7 samples are not_a_call",
    ]


def test_rows_begin_and_end_and_long_texts_are_left_out():
    tokenizer = train_bpe(["a"], 260)
    rows = encode_rows(tokenizer, ["ab", "abcdef"], 5)
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    assert rows.tokens[0, :4].tolist() == [bos, *tokenizer("ab")["input_ids"], eos]
    assert rows.valid.tolist() == [[True] * 4 + [False]]
    assert rows.weights.tolist() == [[1, 1, 1, 1, 0]]
    with pytest.raises(DataError, match="none of 1 texts fits in 3 tokens"):
        encode_rows(tokenizer, ["abcdef"], 3)


def test_mixed_rows_have_the_share():
    tokenizer = train_bpe(["a"], 260)
    first, second = (encode_rows(tokenizer, [text] * 50, 4) for text in "ab")
    mixed = mix_rows((first, second), (0.3, 0.7), seed=0)
    letters = mixed.tokens[:, 1]
    assert np.sum(letters == first.tokens[0, 1]) == 30
    assert np.sum(letters == second.tokens[0, 1]) == 70


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ToolformerDataConfig(held=0), "--data.held"),
        (lambda: CallsConfig(min_probability=1.0), "--calls.min-probability"),
        (lambda: CallsConfig(temperature=0.0), "--calls.temperature"),
        (lambda: ToolformerConfig(list_share=0.6), "add up to more than 1"),
        (
            lambda: ToolformerConfig(
                length=64, model=TransformerConfig(positions="learned", max_length=32)
            ),
            "length",
        ),
    ],
)
def test_bad_settings_are_rejected(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
