import gzip
import json
import shutil

import numpy as np
import pytest

from jaxrec.core.errors import ConfigError, DataError
from jaxrec.data.tokenizers import load_tokenizer
from jaxrec.ids import ItemIndex, repair, textual
from jaxrec.ids.lengths import closed


def letters(text):
    return [ord(letter) for letter in text]


def test_tokens_come_back_from_the_codes():
    texts = ["alien", "aliens", "", "up", "alien"]
    codes = textual.fit(texts, letters)
    expected = [letters(text) or [textual.NO_TEXT] for text in texts]
    assert textual.tokens(codes) == expected
    assert textual.tokens(closed(codes)) == expected
    assert codes.metadata["no_text"] == 1
    assert codes.metadata["collision_share"] == 2 / 5


def test_each_level_numbers_the_tokens_in_use():
    codes = textual.fit(["ab", "cb", "c"], letters)
    assert codes.codes.tolist() == [[0, 0], [1, 0], [1, -1]]
    assert codes.sizes == (2, 1)


def test_equal_texts_are_parted_by_a_suffix_that_is_no_token():
    codes = textual.fit(["up", "up", "it", "", ""], letters)
    fixed = repair(codes, method="suffix")
    assert fixed.metadata["unique_share"] == 1
    none = textual.NO_TEXT
    up = letters("up")
    assert textual.tokens(fixed) == [
        [*up, none],
        [*up, none],
        letters("it"),
        [none] * 2,
        [none] * 2,
    ]


def test_only_the_first_tokens_count():
    codes = textual.fit(["alien", "alibi"], letters, max_tokens=3)
    assert codes.levels == 3 and codes.metadata["collision_share"] == 1


def test_real_titles_in_a_real_vocabulary_give_every_product_its_id(real_data, tmp_path):
    for theirs, name in (("gpt2_encoder.json", "vocab.json"), ("gpt2_vocab.bpe", "merges.txt")):
        shutil.copy(real_data("tokenizers") / theirs, tmp_path / name)
    tokenizer = load_tokenizer(tmp_path)
    with gzip.open(real_data("amazon-beauty") / "items.jsonl.gz", "rt") as file:
        titles = [json.loads(line)["title"] for line in file][:2000]
    encode = lambda text: tokenizer.encode(text, add_special_tokens=False)  # noqa: E731
    codes = textual.fit(titles, encode)
    assert [tokenizer.decode(row) for row in textual.tokens(codes)] == titles
    index = ItemIndex.build(closed(repair(codes, method="suffix")))
    np.testing.assert_array_equal(index.lookup(index.item_codes), np.arange(2000))


def test_bad_input_is_refused():
    with pytest.raises(DataError, match="one text per item"):
        textual.fit([], letters)
    with pytest.raises(DataError, match="item 1 the negative token -3"):
        textual.fit(["a", "b"], lambda text: [-3] if text == "b" else [1])
    with pytest.raises(ConfigError, match="max_tokens must be at least 1"):
        textual.fit(["a"], letters, max_tokens=0)
