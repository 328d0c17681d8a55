import gzip
import json
import shutil
import socket
import string
import subprocess
import sys
import unicodedata

import numpy as np
import pytest
from hypothesis import assume, given, settings, strategies as st
from tokenizers import ByteLevelBPETokenizer, SentencePieceUnigramTokenizer, normalizers
from transformers import AutoTokenizer
from transformers.convert_slow_tokenizer import import_protobuf

from jaxrec.core.errors import ConfigError, DataError, ResourceError
from jaxrec.data.tokenizers import (
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
ASSIGNED = st.characters(exclude_categories=("Cs", "Cn"))
AWKWARD = [*"▁é🎬 \n\0", "  ", "日本", "<pad>", "</s>", "<unk>", "<0x41>", "<a_1>", "<c_4>"]
TEXTS = st.one_of(
    st.text(ASSIGNED, max_size=30), st.lists(st.sampled_from(AWKWARD), max_size=8).map("".join)
)


@pytest.fixture(scope="module")
def reloaded(tmp_path_factory):
    """Trained tokenizers with ID tokens, as AutoTokenizer reads them back."""
    found = {}
    for name, train in {"bpe": train_bpe, "unigram": train_unigram}.items():
        tokenizer = train(CORPUS, 400)
        add_id_tokens(tokenizer, SIZES)
        directory = tmp_path_factory.mktemp(name)
        save_tokenizer(tokenizer, directory)
        found[name] = AutoTokenizer.from_pretrained(directory)
    return found


@pytest.fixture
def play(real_data):
    """Return lines of Shakespeare, single-spaced: Hugging Face's trainers squeeze spaces."""
    with gzip.open(real_data("tinyshakespeare") / "input.txt.gz", "rt") as file:
        return [" ".join(line.split()) for line in file if line.strip()]


@pytest.fixture
def gpt2(real_data, tmp_path):
    """A directory with GPT-2's own two files and nothing else."""
    (tmp_path / "gpt2").mkdir()
    for ours, name in {"gpt2_encoder.json": "vocab.json", "gpt2_vocab.bpe": "merges.txt"}.items():
        shutil.copyfile(real_data("tokenizers") / ours, tmp_path / "gpt2" / name)
    return tmp_path / "gpt2"


@pytest.fixture
def t5(real_data, tmp_path):
    """A directory with T5's own SentencePiece model and nothing else."""
    (tmp_path / "t5").mkdir()
    shutil.copyfile(real_data("tokenizers") / "t5_spiece.model", tmp_path / "t5" / "spiece.model")
    return tmp_path / "t5"


@pytest.fixture
def offline(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def special_ids(tokenizer):
    return {
        role: tokenizer.convert_tokens_to_ids(t) for role, t in tokenizer.special_tokens_map.items()
    }


# Loading


def test_gpt2_files_alone_give_the_known_ids(gpt2, offline, tmp_path):
    tokenizer = load_tokenizer(gpt2)
    save_tokenizer(tokenizer, tmp_path / "saved")
    for found in (
        tokenizer,
        load_tokenizer(tmp_path / "saved"),
        AutoTokenizer.from_pretrained(tmp_path / "saved"),
    ):
        assert len(found) == 50_257
        assert found("Hello world").input_ids == [15496, 995]
        assert found(" Hello world").input_ids == [18435, 995]
        assert found.eos_token_id == 50_256
    assert "local_files_only" not in (tmp_path / "saved" / "tokenizer_config.json").read_text()


def test_t5_spiece_alone_gives_the_known_ids(t5, offline, tmp_path):
    tokenizer = load_tokenizer(t5)
    save_tokenizer(tokenizer, tmp_path / "saved")
    for found in (tokenizer, AutoTokenizer.from_pretrained(tmp_path / "saved")):
        assert len(found) == 32_100
        # From the T5 page of the transformers documentation.
        text = "translate English to German: The house is wonderful."
        assert found(text).input_ids == [13959, 1566, 12, 2968, 10, 37, 629, 19, 1627, 5, 1]
        text = "The <extra_id_0> walks in <extra_id_1> park"
        assert found(text).input_ids == [37, 32099, 10681, 16, 32098, 2447, 1]
        # Its character map, also after loading: T5 reads the ligature as two letters.
        assert found("ﬁre Ａ").input_ids == found("fire A").input_ids


@pytest.mark.parametrize("model_type", ["gpt2", "llama", "t5", "bert", "qwen2"])
def test_a_config_of_another_model_beside_it_changes_nothing(model_type, tmp_path):
    tokenizer = train_unigram(CORPUS, 400)
    save_tokenizer(tokenizer, tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    text = "Toy Story 1995 for é"
    found = load_tokenizer(tmp_path)
    assert found(text).input_ids == tokenizer(text).input_ids
    assert special_ids(found) == {"pad_token": 0, "eos_token": 1, "unk_token": 2}


def test_code_beside_a_tokenizer_is_not_run(tmp_path):
    save_tokenizer(train_bpe(CORPUS, 300), tmp_path)
    config = tmp_path / "tokenizer_config.json"
    settings = json.loads(config.read_text())
    settings |= {"tokenizer_class": "Mine", "auto_map": {"AutoTokenizer": ["mine.Mine", None]}}
    config.write_text(json.dumps(settings))
    (tmp_path / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()")
    with pytest.raises(DataError, match="cannot read the tokenizer"):
        load_tokenizer(tmp_path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, r"no tokenizer in this directory \(it holds nothing\); .*save_tokenizer"),
        # transformers would make an empty tokenizer of this.
        ({"config.json": '{"model_type": "gpt2"}'}, r"it holds config.json\); expected tokenizer"),
        ({"vocab.json": "{}"}, "expected tokenizer.json or vocab.json with merges.txt"),
        ({"tokenizer.json": "{"}, "cannot read the tokenizer .*; copy the tokenizer's files"),
        ({"tokenizer.json": "{}", "tokenizer_config.json": "["}, "cannot read the tokenizer"),
        ({"spiece.model": "no"}, "cannot read the tokenizer"),
    ],
)
def test_a_directory_without_a_tokenizer_is_named_with_the_fix(tmp_path, files, message):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message) as error:
        load_tokenizer(tmp_path)
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_directory_or_a_file_is_named(tmp_path):
    with pytest.raises(DataError, match="nowhere: no such directory; give the directory"):
        load_tokenizer(tmp_path / "nowhere")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(DataError, match=r"tokenizer.json: is a file; give the directory"):
        load_tokenizer(tmp_path / "tokenizer.json")


def test_a_spiece_model_that_is_not_t5s_needs_a_config(tmp_path):
    model = import_protobuf().ModelProto()
    for piece in ("<unk>", "<s>", "</s>", "▁a"):
        model.pieces.add(piece=piece, score=0.0)
    (tmp_path / "spiece.model").write_bytes(model.SerializeToString())
    with pytest.raises(DataError, match=r"not T5's.*<unk>, <s>, </s>.*add the model's config.json"):
        load_tokenizer(tmp_path)


def test_a_path_that_cannot_be_written_is_a_resource_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="choose another directory"):
        save_tokenizer(id_tokenizer(SIZES), tmp_path / "file")


# Training


@settings(max_examples=300, deadline=None)
@given(text=TEXTS)
def test_bpe_decodes_any_text_exactly(reloaded, text):
    assert reloaded["bpe"].decode(reloaded["bpe"](text).input_ids) == text


@settings(max_examples=300, deadline=None)
@given(text=TEXTS)
def test_unigram_decodes_any_text_up_to_what_it_states(reloaded, text):
    ids = reloaded["unigram"](text).input_ids
    assert ids.pop() == 1
    assert 2 not in ids or "<unk>" in text
    form = unicodedata.normalize("NFKC", text)
    # Python and `tokenizers` have the tables of different Unicode versions.
    assume(normalizers.NFKC().normalize_str(text) == form)
    stated = form.replace("▁", " ").removeprefix(" ")
    assert reloaded["unigram"].decode(ids) == stated


def test_both_decode_a_play_exactly(play, tmp_path):
    for train in (train_bpe, train_unigram):
        tokenizer = train(play[:3000], 800)
        assert len(tokenizer) == 800
        save_tokenizer(tokenizer, tmp_path)
        found = AutoTokenizer.from_pretrained(tmp_path)
        unseen = play[-3000:]
        ids = found(unseen).input_ids
        assert ids == tokenizer(unseen).input_ids
        assert found.batch_decode(ids, skip_special_tokens=True) == unseen


def test_bpe_learns_what_hugging_faces_own_trainer_learns(play):
    found = train_bpe(iter(play[:3000]), 600)
    referee = ByteLevelBPETokenizer()
    specials = ["<pad>", "<s>", "</s>", "<unk>"]
    referee.train_from_iterator(play[:3000], 600, 2, special_tokens=specials, show_progress=False)
    assert found.get_vocab() == referee.get_vocab()
    assert found(play[-1]).input_ids == referee.encode(play[-1]).ids


def test_words_of_a_small_vocabulary_are_tokens_where_they_are_asked_for():
    corpus = ["which film comes next ?", "which film does the user like ?", "rare words"] * 5
    words = ["which", "film", "comes", "?"]
    plain, whole = train_unigram(corpus, 420), train_unigram(corpus, 420, words=words)
    text = "which film comes next ?"
    assert len(plain.tokenize(text)) > len(whole.tokenize(text))
    assert whole.tokenize("which film ? comes")[:4] == ["▁which", "▁film", "▁?", "▁comes"]
    assert whole.decode(whole(text)["input_ids"], skip_special_tokens=True) == text
    with pytest.raises(ConfigError, match="500 words"):
        train_unigram(corpus, 420, words=map(str, range(500)))


def test_unigram_splits_as_hugging_faces_own_does(play):
    found = train_unigram(iter(play[:3000]), 800)
    referee = SentencePieceUnigramTokenizer()
    alphabet = [*(set(string.printable) - set(string.whitespace)), "▁"]
    referee.train_from_iterator(
        play[:3000], 800 - 3 - 256, initial_alphabet=alphabet, show_progress=False
    )
    assert set(found.convert_ids_to_tokens(range(259, 800))) == set(referee.get_vocab())
    for line in play[-2000:]:
        assert found.tokenize(line) == referee.encode(line).tokens


@pytest.mark.parametrize("train", [train_bpe, train_unigram])
def test_training_again_gives_the_same_tokenizer(train, play):
    for texts, size in ((CORPUS, 400), (play[:2000], 900)):
        assert len({train(texts, size).backend_tokenizer.to_str() for _ in range(3)}) == 1


def test_special_tokens_come_first_and_have_their_roles(reloaded):
    assert special_ids(reloaded["bpe"]) == {
        "pad_token": 0,
        "bos_token": 1,
        "eos_token": 2,
        "unk_token": 3,
    }
    assert special_ids(reloaded["unigram"]) == {"pad_token": 0, "eos_token": 1, "unk_token": 2}
    assert reloaded["bpe"]("").input_ids == []
    assert reloaded["unigram"]("").input_ids == [1]
    batch = reloaded["bpe"](["Toy", "Toy Story (1995)"], padding=True)
    assert batch.input_ids[0][-1] == 0 and batch.attention_mask[0][-1] == 0


def test_one_token_may_have_two_roles():
    roles = {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "mask_token": "[MASK]"}
    tokenizer = train_bpe(CORPUS, 300, special_tokens=roles)
    assert special_ids(tokenizer) == {"bos_token": 0, "eos_token": 0, "mask_token": 1}


def test_unigram_reads_the_name_of_a_byte_as_text(reloaded):
    tokens = reloaded["unigram"].tokenize("<0x41>")
    assert "<0x41>" not in tokens and "".join(tokens) == "▁<0x41>"
    # U+00E9 is in no text of the corpus.
    assert reloaded["unigram"].tokenize("é")[-2:] == ["<0xC3>", "<0xA9>"]


@pytest.mark.parametrize(
    ("train", "arguments", "error", "message"),
    [
        (train_bpe, {"vocab_size": 259}, ConfigError, "=259 .* 256 bytes and 4 .* at least 260"),
        (train_unigram, {"vocab_size": 353}, ConfigError, "95 characters and 3 .* at least 354"),
        (train_bpe, {"texts": []}, DataError, "nothing to train on"),
        (train_unigram, {"texts": ["", ""]}, DataError, "nothing to train on"),
        (train_bpe, {"texts": "Toy Story"}, DataError, r"one string \('Toy Story'\).*\[text\]"),
        (train_bpe, {"texts": ["a", 3]}, DataError, "number 1 is no Unicode text .*convert it"),
        (train_unigram, {"texts": ["a", "\ud800"]}, DataError, "number 1 .*errors='replace'"),
        (train_bpe, {"special_tokens": {"eos": "</s>"}}, ConfigError, "did you mean 'eos_token'"),
        (train_bpe, {"special_tokens": {"eos_token": "<é>"}}, ConfigError, "printable ASCII"),
        (train_bpe, {"special_tokens": {"eos_token": "<0x41>"}}, ConfigError, "'<0x41>'"),
        (train_unigram, {"special_tokens": {"eos_token": "</s>"}}, ConfigError, "an unk_token"),
        (
            train_unigram,
            {"texts": [chr(0x4E00 + n) for n in range(100)], "vocab_size": 400},
            ConfigError,
            "vocab_size=400: .* needs about 195 characters .* at least 454",
        ),
    ],
)
def test_bad_training_input_is_named_with_the_fix(train, arguments, error, message):
    with pytest.raises(error, match=message):
        train(**({"texts": CORPUS, "vocab_size": 400} | arguments))


def test_the_size_that_the_error_asks_for_is_enough():
    assert len(train_bpe(CORPUS, 260)) == 260
    assert len(train_unigram(["a"], 354)) == 354
    texts = [chr(0x4E00 + n) for n in range(100)]
    assert len(train_unigram(texts, 454)) == 454


# Item IDs


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
    with pytest.raises(ConfigError, match="start with different pad_token and bos_token"):
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


def test_importing_the_module_imports_no_tokenizer_library():
    code = (
        "import jaxrec.data.tokenizers, sys; "
        "print(sorted({'transformers', 'tokenizers', 'google.protobuf'} & set(sys.modules)))"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert child.stdout == "[]\n"
