import numpy as np
import pytest

from jaxrec.core import ConfigError, DataError
from jaxrec.data import (
    Instruction,
    MarkedText,
    encode_instructions,
    encode_joined,
    encode_marked,
    train_bpe,
)


@pytest.fixture(scope="module")
def tokenizer():
    return train_bpe(["the capital of France is Paris and of Peru is Lima"] * 3, vocab_size=320)


def test_learned_tokens_spell_exactly_the_answers(tokenizer):
    text = "one: Paris. two: Lima."
    marked = MarkedText(text, ((4, 10), (16, 21)))
    encoded = encode_marked(tokenizer, [marked], 99)
    tokens, learned = encoded.text(0)
    inner = np.split(tokens[learned], np.flatnonzero(np.diff(np.flatnonzero(learned)) > 1) + 1)
    # Each answer is whole; a token over its edge may bring neighbouring characters along.
    assert [tokenizer.decode(part) for part in inner] == [" Paris", " Lima"]
    assert tokenizer.decode(tokens) == text + "</s>"
    assert not learned[-1]


def test_an_answer_at_the_end_learns_the_end_of_text(tokenizer):
    encoded = encode_marked(tokenizer, [MarkedText("is Lima", ((2, 7),))], 99)
    assert tokenizer.decode(encoded.tokens[encoded.learned]) == " Lima</s>"


def test_a_complete_text_gets_no_token_and_ends_after_the_last_answer_that_fits(tokenizer):
    text = "Q:Paris</s>Q:Lima</s>Q:Peru</s>"
    spans = ((2, 11), (13, 21), (23, 31))
    whole = encode_marked(tokenizer, [MarkedText(text, spans, complete=True)], 99)
    assert tokenizer.decode(whole.tokens) == text and (whole.cut, whole.rejected) == (0, 0)
    for most in range(1, len(whole.tokens)):
        found = encode_marked(tokenizer, [MarkedText(text, spans, complete=True)], most)
        kept = tokenizer.decode(found.tokens)
        fits = [end for _, end in spans if len(tokenizer(text[:end])["input_ids"]) <= most]
        assert kept == (text[: fits[-1]] if fits else "")
        assert (found.cut, found.rejected) == ((1, 0) if fits else (0, 1))


def test_texts_whose_answer_does_not_fit_are_rejected_and_counted(tokenizer):
    texts = [MarkedText("is " + "Paris " * n, ((3, 3 + 6 * n),)) for n in (1, 30, 2)]
    encoded = encode_marked(tokenizer, texts, 24)
    assert encoded.source.tolist() == [0, 2] and encoded.rejected == 1


def test_a_long_prompt_loses_its_front_and_is_counted(tokenizer):
    text = "is " * 40 + "Paris"
    encoded = encode_marked(tokenizer, [MarkedText(text, ((len(text) - 5, len(text)),))], 16)
    assert len(encoded.tokens) == 16 and encoded.cut == 1
    assert (text + "</s>").endswith(tokenizer.decode(encoded.tokens))


def test_instructions_go_the_same_way(tokenizer):
    records = [Instruction("Say Paris.", "", "Paris"), Instruction("Where?", "Peru", "Lima is")]
    rows = encode_instructions(tokenizer, records, 200)
    encoded = encode_marked(tokenizer, [record.marked for record in records], 200)
    for n in range(2):
        tokens, learned = encoded.text(n)
        np.testing.assert_array_equal(rows.tokens[n][rows.valid[n]], tokens)
        np.testing.assert_array_equal(rows.weights[n][rows.valid[n]] > 0, learned)


@pytest.mark.parametrize("spans", [(), ((3, 2),), ((0, 2), (1, 3)), ((0, 99),), ((-1, 2),)])
def test_impossible_answers_are_named(spans):
    with pytest.raises(DataError, match="ascending and inside its 5 characters"):
        MarkedText("Paris", spans)


def test_a_tokenizer_without_an_end_is_an_error(tokenizer):
    other = train_bpe(["Paris"], 300, special_tokens={"pad_token": "<pad>"})
    with pytest.raises(ConfigError, match="end-of-text token"):
        encode_marked(other, [MarkedText("Paris", ((0, 5),))], 9)


@pytest.mark.parametrize("length", [3, 4, 5, 99])
def test_joined_texts_are_cut_into_equal_rows_and_nothing_is_lost(tokenizer, length):
    texts = ["Paris is", "Lima", "the capital of Peru"]
    encoded = encode_joined(tokenizer, texts, length)
    stream = [t for text in texts for t in [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]]
    # A last row of one token has no target, so it is left out.
    whole = len(stream) - (len(stream) % length == 1)
    assert encoded.tokens.tolist() == stream[:whole] and encoded.learned.all()
    assert encoded.lengths[:-1].tolist() == [length] * (len(encoded) - 1)
    assert 2 <= encoded.lengths[-1] <= length
