import itertools
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from jaxrec.core import ConfigError
from jaxrec.data.tokenizers import load_tokenizer, train_bpe, train_unigram
from jaxrec.decode import StopStrings, stop_table, token_bytes
from jaxrec.decode.stop import byte_map, drop_first_space, text_of

# Few letters, so that strings overlap with themselves and with one another; é has two bytes.
LETTERS = st.sampled_from("abé")
STRINGS = st.lists(st.text(LETTERS, min_size=1, max_size=5), min_size=1, max_size=4)
TEXTS = [
    "User: what is the best film?\nAssistant: one about the naïve café 日本語 🙂.\n\nUser: more",
    "two  spaces,   three, and one at the end ",
    "the user said: stop. Stop! STOP?\n\n\nAnswer: 42",
]


def _states(table, tokens):
    states = [0]
    for token in tokens:
        states.append(int(table[states[-1], token]))
    return states[1:]


def _first_stop(strings, pieces):
    """Number of pieces after which one of the strings has occurred, by `find`; None for never."""
    text = b""
    for count, piece in enumerate(pieces, start=1):
        text += piece
        if any(text.find(s.encode()) >= 0 for s in strings):
            return count
    return None


@settings(max_examples=300, deadline=None)
@given(STRINGS, st.text(LETTERS, max_size=20), st.data())
def test_the_last_state_means_that_a_string_has_occurred(strings, text, data):
    # The bytes of the text, cut anywhere: within a letter too, and with empty tokens.
    content = text.encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=12)))
    edges = [0, *cuts, len(content)]
    pieces = [content[a:b] for a, b in itertools.pairwise(edges)]
    vocabulary = sorted(set(pieces))
    table = stop_table(strings, vocabulary)
    stopped = [s == len(table) - 1 for s in _states(table, map(vocabulary.index, pieces))]
    first = _first_stop(strings, pieces)
    assert (stopped.index(True) + 1 if True in stopped else None) == first
    if first is not None:
        assert all(stopped[first - 1 :])


@settings(max_examples=300, deadline=None)
@given(STRINGS, st.text(LETTERS, max_size=20))
def test_text_is_cut_before_the_string_that_is_complete_first(strings, text):
    stop = StopStrings(tuple(strings), jnp.zeros((1, 1), jnp.int16))
    for end in range(len(text) + 1):
        matches = [s for s in strings if text[:end].endswith(s)]
        if matches:
            assert stop.cut(text) == text[: end - max(map(len, matches))]
            return
    assert stop.cut(text) == text


def test_what_follows_the_first_string_does_not_move_the_cut():
    stop = StopStrings(("bc", "abcd"), jnp.zeros((1, 1), jnp.int16))
    assert stop.cut("xabc") == stop.cut("xabcd") == "xa"


def _progress(strings, text):
    """What is left to know of a text: "end", or its longest end that begins one of the strings."""
    if any(s in text for s in strings):
        return "end"
    starts = {s[:n] for s in strings for n in range(len(s))}
    return next(text[at:] for at in range(len(text) + 1) if text[at:] in starts)


@pytest.mark.parametrize(
    ("strings", "states"),
    [
        (["cab"], 4),
        (["ab", "ac"], 3),
        # What begins with a whole string adds nothing, and what holds one only its beginning.
        (["ab", "abca", "cabb"], 5),
        (["aab", "ba"], 5),
    ],
)
def test_there_is_one_state_for_each_prefix_and_one_for_the_end(strings, states):
    letters = [b"a", b"b", b"c"]
    table = stop_table(strings, letters)
    pairs = set()
    for length in range(1, 7):
        for row in itertools.product(range(3), repeat=length):
            text = b"".join(letters[n] for n in row).decode()
            pairs.add((_progress(strings, text), _states(table, row)[-1]))
    found, numbers = zip(*pairs, strict=True)
    # One to one: no state stands for two beginnings, and no beginning has two states.
    assert len(pairs) == len(set(found)) == len(set(numbers)) == len(table) == states
    assert ("end", len(table) - 1) in pairs


def test_a_long_string_has_a_state_for_each_letter_in_the_narrowest_type():
    for length, dtype in ((300, np.int16), (40_000, np.int32)):
        table = stop_table(["a" * length], [b"a", b"b"])
        assert table.dtype == dtype
        np.testing.assert_array_equal(table[:, 0], np.minimum(np.arange(1, length + 2), length))
        np.testing.assert_array_equal(table[:, 1], np.r_[np.zeros(length), length])


def test_a_wide_vocabulary_has_the_states_of_the_texts_and_takes_little_memory():
    rng = np.random.default_rng(0)
    strings = ["\n\nUser:", "\n\nAssistant:", "</answer>"]
    parts = [s[a:b] for s in strings for a in range(len(s)) for b in range(a + 1, len(s) + 1)]
    noise = [bytes(rng.integers(32, 127, n).tolist()) for n in rng.integers(0, 12, 50_000)]
    tokens = [part.encode() for part in parts] + noise
    table = stop_table(strings, tokens)
    assert table.shape[1] == len(tokens) and table.nbytes < 40 * 2 * len(tokens)
    number = {"end": len(table) - 1}
    for s in strings:
        for n in range(len(s)):
            number[s[:n]] = _states(table, [parts.index(c) for c in s[:n]])[-1] if n else 0
    assert len(set(number.values())) == len(table)
    for start in [start for start in number if start != "end"]:
        for token in [*rng.choice(len(parts), 40), *rng.choice(len(tokens), 10)]:
            after = _progress(strings, start + tokens[token].decode())
            assert table[number[start], token] == number[after]


@pytest.fixture(scope="module", params=["byte-level", "sentencepiece"])
def tokenizer(request):
    pytest.importorskip("transformers")
    if request.param == "byte-level":
        return train_bpe(TEXTS, 300)
    return train_unigram(TEXTS, 420)


@pytest.mark.parametrize("text", TEXTS)
def test_bytes_of_tokens_join_to_the_text(tokenizer, text):
    ids = tokenizer(text)["input_ids"]
    table = token_bytes(tokenizer)
    joined = b"".join(table[i] for i in ids).decode()
    assert len(table) == len(tokenizer)
    assert joined == text_of(tokenizer, ids)
    decoded = tokenizer.decode(ids, skip_special_tokens=True)
    assert drop_first_space(tokenizer, joined) == decoded == text
    # From anywhere within the text too, where SentencePiece's space is a real one.
    for start in range(1, len(ids)):
        rest = text_of(tokenizer, ids[start:])
        assert decoded.endswith(rest) or "\ufffd" in rest


def test_special_tokens_have_no_bytes_and_added_ones_their_own(tokenizer):
    tokenizer.add_tokens(["<a_1>"])
    table = token_bytes(tokenizer)
    for token in tokenizer.all_special_ids:
        assert table[token] == b""
    assert table[tokenizer.convert_tokens_to_ids("<a_1>")] == b"<a_1>"
    ids = [tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<a_1>"), 10**6]
    assert text_of(tokenizer, ids) == "<a_1>"


def test_a_string_is_found_however_it_is_tokenized(tokenizer):
    stop = StopStrings.build(tokenizer, ["\nUser:", "Stop!"], len(tokenizer) + 7)
    assert stop.table.shape[1] == len(tokenizer) + 7
    last, table = stop.table.shape[0] - 1, np.asarray(stop.table)
    for text in TEXTS:
        ids = tokenizer(text)["input_ids"]
        pieces = [text_of(tokenizer, ids[:count]) for count in range(1, len(ids) + 1)]
        found = [state == last for state in _states(table, ids)]
        assert found == [any(s in piece for s in stop.strings) for piece in pieces]
    letters = [tokenizer.convert_tokens_to_ids(c) for c in "Stop!"]
    assert None not in letters
    assert _states(table, letters)[-1] == last
    assert stop.cut("yes\nUser: no") == "yes"


def test_the_map_of_bytes_is_that_of_the_tokenizers_library():
    pre_tokenizers = pytest.importorskip("tokenizers").pre_tokenizers
    assert sorted(byte_map().values()) == list(range(256))
    assert set(byte_map()) == set(pre_tokenizers.ByteLevel.alphabet())
    assert byte_map()["Ġ"] == ord(" ") and byte_map()["Ċ"] == ord("\n")


FILES = {
    "gpt2": {"gpt2_encoder.json": "vocab.json", "gpt2_vocab.bpe": "merges.txt"},
    "t5": {"t5_spiece.model": "spiece.model"},
}


@pytest.mark.parametrize("name", FILES)
def test_the_published_tokenizers_of_gpt2_and_t5(real_data, tmp_path, name):
    pytest.importorskip("transformers")
    for ours, theirs in FILES[name].items():
        shutil.copyfile(real_data("tokenizers") / ours, tmp_path / theirs)
    tokenizer = load_tokenizer(tmp_path)
    stop = StopStrings.build(tokenizer, ["\n\nUser:", "Stop!", " the best"])
    table, last = np.asarray(stop.table), stop.table.shape[0] - 1
    assert table.shape[1] == len(tokenizer)
    for text in TEXTS:
        ids = tokenizer(text)["input_ids"]
        decoded = tokenizer.decode(ids, skip_special_tokens=True)
        # T5 has no newline, and an unknown token for what it cannot write.
        assert drop_first_space(tokenizer, text_of(tokenizer, ids)) == decoded
        states = _states(table, ids)
        assert (states[-1] == last) == any(s in decoded for s in stop.strings)


def test_one_gather_a_step_under_jit(tokenizer):
    stop = StopStrings.build(tokenizer, ["b"])
    token = jnp.asarray([tokenizer.convert_tokens_to_ids("b"), 0], jnp.int32)
    after = jax.jit(lambda table, state: table[state, token])(stop.table, jnp.zeros(2, jnp.int32))
    assert after.tolist() == [stop.table.shape[0] - 1, 0]


def test_tables_of_few_shapes_stop_at_the_same_tokens(tokenizer):
    rng = np.random.default_rng(0)
    shapes = set()
    for strings in (["b"], ["ab", "ba"], ["User:", "Stop!"]):
        plain = np.asarray(StopStrings.build(tokenizer, strings).table)
        padded = StopStrings.build(tokenizer, strings, few_shapes=True)
        wide = np.asarray(padded.table)
        shapes.add(wide.shape[0])
        assert padded.strings == tuple(strings) and wide.shape[1] == plain.shape[1]
        letters = tokenizer.convert_tokens_to_ids(list("abUser:Stop!"))
        for _ in range(20):
            walk = rng.choice(letters, 30)
            ours, theirs = _states(wide, walk), _states(plain, walk)
            stopped = [state == len(plain) - 1 for state in theirs]
            assert [state == len(wide) - 1 for state in ours] == stopped
    assert shapes == {8, 16}


@pytest.mark.parametrize("strings", [[], ["a", ""]])
def test_no_string_or_an_empty_one_is_refused(strings):
    with pytest.raises(
        ConfigError, match=r"stop needs at least one string, and no empty one, got \["
    ):
        stop_table(strings, [b"a"])


def test_one_string_in_place_of_a_list_is_refused():
    with pytest.raises(ConfigError, match=r"list of strings, got the string 'User'"):
        stop_table("User", [b"a"])


def test_a_narrower_model_than_tokenizer_is_refused(tokenizer):
    with pytest.raises(ConfigError, match=rf"vocab_size 9 is less than .*{len(tokenizer)} tokens"):
        StopStrings.build(tokenizer, ["a"], 9)


def test_a_tokenizer_whose_words_depend_on_their_neighbours_is_refused():
    tokenizers = pytest.importorskip("tokenizers")
    transformers = pytest.importorskip("transformers")
    backend = tokenizers.Tokenizer(tokenizers.models.WordPiece({"[UNK]": 0, "a": 1}))
    backend.decoder = tokenizers.decoders.WordPiece()
    with pytest.raises(ConfigError, match="decoder WordPiece; expected byte-level"):
        token_bytes(transformers.PreTrainedTokenizerFast(tokenizer_object=backend))
    with pytest.raises(ConfigError, match="not a fast tokenizer"):
        token_bytes(object())
