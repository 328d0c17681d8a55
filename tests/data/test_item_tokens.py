import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from tokenizers import normalizers
from transformers import AutoTokenizer

from jaxrec.core import ConfigError
from jaxrec.data import (
    add_id_tokens,
    id_tokenizer,
    id_tokens,
    load_tokenizer,
    save_tokenizer,
    train_bpe,
    train_unigram,
)
from jaxrec.ids import IdVocabulary

CORPUS = ["The silence of the lambs, 1991", "Toy Story (1995)", "the lambs of the story"] * 4
SIZES = (4, 3, 5)


def special_ids(tokenizer):
    return {
        role: tokenizer.convert_tokens_to_ids(t) for role, t in tokenizer.special_tokens_map.items()
    }


@settings(deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=30), st.data())
def test_id_tokens_and_the_id_tokenizer_number_codes_as_the_vocabulary(sizes, data):
    vocabulary = IdVocabulary(sizes=tuple(sizes))
    tokenizer = id_tokenizer(sizes)
    assert len(tokenizer) == vocabulary.size
    names = id_tokens(sizes)
    assert tokenizer.convert_ids_to_tokens(range(2, vocabulary.size)) == names
    codes = np.array([data.draw(st.integers(0, size - 1)) for size in sizes])
    expected = vocabulary.tokens(codes).tolist()
    written = [names[token - 2] for token in expected]
    assert [int(name.strip("<>").split("_")[1]) for name in written] == codes.tolist()
    for text in ("".join(written), " ".join(written), "\n".join(written)):
        assert tokenizer(text).input_ids == expected
    assert tokenizer.decode(expected) == "".join(written)


def test_levels_are_letters_then_pairs_of_letters():
    assert id_tokens([2, 1]) == ["<a_0>", "<a_1>", "<b_0>"]
    names = id_tokens([1] * (26 + 26 * 26 + 1))
    assert names[25:28] == ["<z_0>", "<aa_0>", "<ab_0>"]
    assert names[-2:] == ["<zz_0>", "<aaa_0>"]


@pytest.mark.parametrize("sizes", [[], [3, 0]])
def test_an_impossible_codebook_is_refused(sizes):
    with pytest.raises(ConfigError, match="codebook_sizes must be positive"):
        id_tokens(sizes)


def test_the_id_tokenizer_survives_saving(tmp_path):
    save_tokenizer(id_tokenizer(SIZES), tmp_path)
    for found in (AutoTokenizer.from_pretrained(tmp_path), load_tokenizer(tmp_path)):
        assert special_ids(found) == {"pad_token": 0, "bos_token": 1}
        assert found("<s><a_3><b_0> <c_4>").input_ids == [1, 5, 6, 13]
        assert found.decode([1, 5, 6, 13, 0], skip_special_tokens=True) == "<a_3><b_0><c_4>"
        batch = found(["<a_0>", "<a_0><b_0>"], padding=True)
        assert batch.input_ids == [[2, 0], [2, 6]]
        assert len(found) == 14


@pytest.mark.parametrize("text", ["Toy Story", "<a_4>", "<d_0>", "<a_00>", "<a_0>x", "<A_0>"])
def test_the_id_tokenizer_refuses_other_text_unless_it_has_an_unknown_token(text):
    with pytest.raises(Exception, match=r"Missing \[UNK\] token"):
        id_tokenizer(SIZES)(text)
    roles = {"pad_token": "<pad>", "bos_token": "<s>", "unk_token": "<unk>"}
    tokenizer = id_tokenizer(SIZES, special_tokens=roles)
    assert 2 in tokenizer(text).input_ids
    vocabulary = IdVocabulary(sizes=SIZES, num_special=3)
    assert tokenizer("<c_4>").input_ids == vocabulary.tokens(np.array([0, 0, 4]))[2:].tolist()


@pytest.mark.parametrize(
    "roles",
    [
        {"bos_token": "<s>", "pad_token": "<pad>"},
        {"pad_token": "<pad>"},
        {"pad_token": "<s>", "bos_token": "<s>", "eos_token": "</s>"},
    ],
)
def test_the_id_tokenizer_starts_with_pad_and_bos(roles):
    with pytest.raises(ConfigError, match="start with a pad_token and a different bos_token"):
        id_tokenizer(SIZES, special_tokens=roles)


def text_tokenizers(gpt2, t5):
    yield train_bpe(CORPUS, 400)
    yield train_unigram(CORPUS, 400)
    yield load_tokenizer(gpt2)
    yield load_tokenizer(t5)


def test_id_tokens_join_any_text_tokenizer_and_survive_saving(gpt2, t5, tmp_path):
    names = id_tokens(SIZES)
    for tokenizer in text_tokenizers(gpt2, t5):
        size = len(tokenizer)
        before = tokenizer("Toy Story, the lambs").input_ids
        assert add_id_tokens(tokenizer, SIZES) == size
        assert add_id_tokens(tokenizer, SIZES) == size
        assert len(tokenizer) == size + len(names)
        save_tokenizer(tokenizer, tmp_path)
        found = AutoTokenizer.from_pretrained(tmp_path)
        assert add_id_tokens(found, SIZES) == size
        assert len(found) == len(tokenizer)
        for one in (tokenizer, found):
            end = one("").input_ids
            assert one("Toy Story, the lambs").input_ids == before
            expected = list(range(size, size + len(names)))
            assert one("".join(names)).input_ids == expected + end
            # Inside a word and in other case: whole where it is a token, text where it is not.
            assert one("x<a_3>y").input_ids.count(size + 3) == 1
            assert size + 3 not in one("<A_3> <a_33> a_3").input_ids
            kept = one.decode(one("see <a_3><b_1>").input_ids, skip_special_tokens=True)
            assert kept.replace(" ", "") == "see<a_3><b_1>"


def test_id_tokens_take_no_space_from_their_neighbours(reloaded):
    text = "like <a_3><b_1> ,  or<c_4>then <a_0> \n <b_0>"
    for tokenizer in reloaded.values():
        ids = tokenizer(text).input_ids
        assert tokenizer.decode(ids, skip_special_tokens=True) == text
    bpe = reloaded["bpe"]
    parts = ["like ", "<a_3>", "<b_1>", " ,  or", "<c_4>", "then ", "<a_0>", " \n ", "<b_0>"]
    assert bpe(text).input_ids == [token for part in parts for token in bpe(part).input_ids]


def test_id_tokens_are_not_normalized():
    tokenizer = train_bpe(CORPUS, 300)
    tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()
    first = add_id_tokens(tokenizer, SIZES)
    assert tokenizer("<a_3>").input_ids == [first + 3]
    assert first + 3 not in tokenizer("<A_3>").input_ids


@pytest.mark.parametrize("sizes", [(4, 4), (2, 4), (4, 3, 5, 1)])
def test_id_tokens_of_other_sizes_are_refused(sizes):
    tokenizer = train_bpe(CORPUS, 300)
    first = add_id_tokens(tokenizer, SIZES)
    with pytest.raises(ConfigError, match=r"start from the .*without ID tokens"):
        add_id_tokens(tokenizer, sizes)
    assert len(tokenizer) == first + sum(SIZES)
