"""Words and their tokens: nothing lost, every word once, whatever the length of rows."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from transformers import BertTokenizerFast

from jaxrec.core import ConfigError, DataError
from jaxrec.data import encode_words, train_bpe

NAMES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abc", "##a", "##b", "##c"]
TOKENIZER = BertTokenizerFast(vocab={name: number for number, name in enumerate(NAMES)})
WORDS = st.text("abc", min_size=1, max_size=5)


@settings(deadline=None, max_examples=60)
@given(
    texts=st.lists(st.lists(WORDS, min_size=1, max_size=9), min_size=1, max_size=4),
    length=st.integers(7, 16),
)
def test_every_word_is_in_one_row_with_all_of_its_tokens(texts, length):
    rows = encode_words(TOKENIZER, texts, length)
    assert rows.valid.sum(axis=1).max() <= length and rows.tokens.shape[1] % 8 == 0
    found = {}
    for row in range(len(rows)):
        names = TOKENIZER.convert_ids_to_tokens(rows.tokens[row][rows.valid[row]].tolist())
        assert names[0] == "[CLS]" and names[-1] == "[SEP]"
        starts = rows.first[row][rows.present[row]].tolist()
        ends = [*starts[1:], len(names) - 1]
        assert starts[0] == 1
        for n, (a, b) in enumerate(zip(starts, ends, strict=True)):
            # A word of letters is its first letter, and ## with each other one.
            word = "".join(name.removeprefix("##") for name in names[a:b])
            assert found.setdefault((int(rows.text[row]), int(rows.offset[row]) + n), word) == word
    assert found == {(t, n): w for t, words in enumerate(texts) for n, w in enumerate(words)}
    assert rows.shortened == 0


@settings(deadline=None, max_examples=30)
@given(counts=st.lists(st.integers(1, 9), min_size=1, max_size=4), length=st.integers(3, 9))
def test_values_come_back_from_the_rows(counts, length):
    rows = encode_words(TOKENIZER, [["a"] * n for n in counts], length)
    values = [np.arange(2 * n, dtype=np.int32).reshape(n, 2) + 100 * n for n in counts]
    spread = rows.spread(values, -1)
    assert (spread[~rows.present] == -1).all() and spread.dtype == np.int32
    for back, value in zip(rows.collect(spread), values, strict=True):
        np.testing.assert_array_equal(back, value)


def test_unreadable_words_are_unknown_and_long_ones_are_cut_and_counted():
    rows = encode_words(TOKENIZER, [["\u200b", "aaaaaaa", "b"]], 6)
    names = [
        TOKENIZER.convert_ids_to_tokens(row[valid].tolist())
        for row, valid in zip(rows.tokens, rows.valid, strict=True)
    ]
    assert names == [
        ["[CLS]", "[UNK]", "[SEP]"],
        ["[CLS]", "a", "##a", "##a", "##a", "[SEP]"],
        ["[CLS]", "b", "[SEP]"],
    ]
    assert rows.shortened == 1 and rows.offset.tolist() == [0, 1, 2]


def test_what_cannot_be_encoded_is_named():
    with pytest.raises(DataError, match="text 1 has no words"):
        encode_words(TOKENIZER, [["a"], []], 8)
    with pytest.raises(DataError, match="no texts"):
        encode_words(TOKENIZER, [], 8)
    with pytest.raises(ConfigError, match="max_length 2"):
        encode_words(TOKENIZER, [["a"]], 2)
    with pytest.raises(ConfigError, match="no cls_token"):
        encode_words(train_bpe(["a"], 260), [["a"]], 8)
