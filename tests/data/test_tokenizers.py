import gzip
import json
import re
import socket
import string
import subprocess
import sys
import unicodedata

import pytest
from hypothesis import assume, given, settings, strategies as st
from tokenizers import ByteLevelBPETokenizer, SentencePieceUnigramTokenizer, normalizers
from transformers import AutoTokenizer
from transformers.convert_slow_tokenizer import import_protobuf

from jaxrec.core import ConfigError, DataError, ResourceError
from jaxrec.data import (
    id_tokenizer,
    load_tokenizer,
    save_tokenizer,
    train_bpe,
    train_unigram,
)

CORPUS = ["The silence of the lambs, 1991", "Toy Story (1995)", "the lambs of the story"] * 4
SIZES = (4, 3, 5)
ASSIGNED = st.characters(exclude_categories=("Cs", "Cn"))
AWKWARD = [*"▁é🎬 \n\0", "  ", "日本", "<pad>", "</s>", "<unk>", "<0x41>", "<a_1>", "<c_4>"]
TEXTS = st.one_of(
    st.text(ASSIGNED, max_size=30), st.lists(st.sampled_from(AWKWARD), max_size=8).map("".join)
)


@pytest.fixture
def play(real_data):
    """Return lines of Shakespeare, single-spaced: Hugging Face's trainers squeeze spaces."""
    with gzip.open(real_data("tinyshakespeare") / "input.txt.gz", "rt") as file:
        return [" ".join(line.split()) for line in file if line.strip()]


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
        ({}, r"this directory has no tokenizer \(it holds nothing\); .*save_tokenizer"),
        # transformers would make an empty tokenizer of this.
        ({"config.json": '{"model_type": "gpt2"}'}, r"it holds config.json\); expected tokenizer"),
        ({"vocab.json": "{}"}, "expected tokenizer.json or vocab.json with merges.txt"),
        ({"tokenizer.json": "{"}, "cannot read the tokenizer .*; copy the tokenizer's files"),
        (
            {"tokenizer.json": "{}", "tokenizer_config.json": "["},
            "tokenizer_config.json is not valid JSON",
        ),
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
    with pytest.raises(DataError, match=r"tokenizer.json: this is a file; give the directory"):
        load_tokenizer(tmp_path / "tokenizer.json")


def test_a_spiece_model_that_is_not_t5s_needs_a_config(tmp_path):
    model = import_protobuf().ModelProto()
    for piece in ("<unk>", "<s>", "</s>", "▁a"):
        model.pieces.add(piece=piece, score=0.0)
    (tmp_path / "spiece.model").write_bytes(model.SerializeToString())
    with pytest.raises(
        DataError, match=r"not T5's.*with <unk>, <s>, </s>; add the model's config.json"
    ):
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
        (train_bpe, {"texts": ["a", 3]}, DataError, "number 1 is not Unicode text .*convert it"),
        (train_unigram, {"texts": ["a", "\ud800"]}, DataError, "number 1 .*errors='replace'"),
        (train_bpe, {"special_tokens": {"eos": "</s>"}}, ConfigError, "did you mean 'eos_token'"),
        (train_bpe, {"special_tokens": {"eos_token": "<é>"}}, ConfigError, "printable ASCII"),
        (train_bpe, {"special_tokens": {"eos_token": "<0x41>"}}, ConfigError, "'<0x41>'"),
        (train_unigram, {"special_tokens": {"eos_token": "</s>"}}, ConfigError, "an unk_token"),
        (
            train_unigram,
            {"texts": [chr(0x4E00 + n) for n in range(100)], "vocab_size": 400},
            ConfigError,
            "vocab_size=400: .* needs about 195 characters, .* at least 454",
        ),
    ],
)
def test_bad_training_input_is_named_with_the_fix(train, arguments, error, message):
    with pytest.raises(error, match=message):
        train(**({"texts": CORPUS, "vocab_size": 400} | arguments))


@pytest.mark.parametrize(
    ("train", "texts"),
    [
        (train_bpe, CORPUS),
        (train_unigram, ["a"]),
        (train_unigram, [chr(0x4E00 + n) for n in range(100)]),
    ],
)
def test_the_size_that_the_error_asks_for_is_the_least_and_writes_every_text(train, texts):
    least, enough = 10, False
    # The first error knows the alphabet, the second one the letters of the texts too.
    for _ in range(3):
        try:
            train(texts, least)
        except ConfigError as error:
            least = int(re.search(r"at least (\d+)", str(error))[1])
        else:
            enough = True
            break
    assert enough
    with pytest.raises(ConfigError, match=f"at least {least}"):
        train(texts, least - 1)
    tokenizer = train(texts, least)
    assert len(tokenizer) == len(set(tokenizer.get_vocab().values())) == least
    # Texts of letters that it was not trained on come back, and no token is unknown.
    for text in ("Toy Story (1995)", "é日本🎬", texts[0]):
        ids = tokenizer(text).input_ids
        assert tokenizer.unk_token_id not in ids and max(ids) < least
        assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_importing_the_module_imports_no_tokenizer_library():
    code = (
        "import jaxrec.data.tokenizers, sys; "
        "print(sorted({'transformers', 'tokenizers', 'google.protobuf'} & set(sys.modules)))"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert child.stdout == "[]\n"
