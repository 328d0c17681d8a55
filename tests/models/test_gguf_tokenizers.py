"""Tokenizers of GGUF files: against llama2.c's, transformers' own reader, and a real SmolLM2."""

import numpy as np
import pytest

from jaxrec.core import DataError
from jaxrec.models.gguf import GgufSource
from jaxrec.models.llama2c import read_llama2c_tokenizer

SENTENCES = [
    "Once upon a time, there was a little girl.",
    "naïve café, 日本語, 🙂",
    " begins with a space and  has two",
    "don't, we'll\n\n\tindent x = 2024 + 7;",
    "",
]


def _write(gguf, path, tokenizer):
    """Write a Llama of zeros with some metadata of a tokenizer; None leaves an entry out."""
    vocab, width, hidden = 40, 32, 64
    settings = {
        "llama.vocab_size": vocab,
        "llama.context_length": 128,
        "llama.embedding_length": width,
        "llama.block_count": 1,
        "llama.feed_forward_length": hidden,
        "llama.attention.head_count": 2,
        "llama.attention.head_count_kv": 2,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.freq_base": 10_000.0,
        "llama.rope.dimension_count": width // 2,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
    }
    shapes = {"token_embd": (vocab, width), "output_norm": (width,), "output": (vocab, width)}
    shapes |= {f"blk.0.{name}_norm": (width,) for name in ("attn", "ffn")}
    shapes |= {f"blk.0.attn_{name}": (width, width) for name in ("q", "k", "v", "output")}
    shapes |= {f"blk.0.ffn_{name}": (hidden, width) for name in ("gate", "up")}
    shapes |= {"blk.0.ffn_down": (width, hidden)}
    writer = gguf.GGUFWriter(path, "llama")
    add = {
        bool: writer.add_bool,
        int: writer.add_uint32,
        float: writer.add_float32,
        str: writer.add_string,
        list: writer.add_array,
    }
    for key, value in (settings | tokenizer).items():
        if value is not None:
            add[type(value)](key, value)
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", np.zeros(shape, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _sentencepiece(path):
    """A llama2.c tokenizer as the metadata of a GGUF file."""
    tokenizer = read_llama2c_tokenizer(path, 512)
    tokens = tokenizer.convert_ids_to_tokens(list(range(512)))
    return tokenizer, {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": [0.0] * 259 + [float(-i) for i in range(253)],
        "tokenizer.ggml.token_type": [2, 3, 3] + [6] * 256 + [1] * 253,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.chat_template": "{{ messages }}",
    }


def _saved(source, directory):
    source.save_tokenizer(directory)
    return pytest.importorskip("transformers").AutoTokenizer.from_pretrained(directory)


def test_a_sentencepiece_tokenizer_is_saved(gguf, tmp_path, real_data):
    expected, settings = _sentencepiece(real_data("stories260K") / "tok512.bin")
    tokenizer = _saved(GgufSource(_write(gguf, tmp_path / "m.gguf", settings)), tmp_path / "t")
    assert tokenizer(SENTENCES)["input_ids"] == expected(SENTENCES)["input_ids"]
    assert tokenizer("Once upon a time")["input_ids"] == [1, 403, 407, 261, 378]
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.unk_token) == (
        "<s>",
        "</s>",
        "<unk>",
    )
    assert tokenizer.pad_token is None and tokenizer.chat_template == "{{ messages }}"


def test_a_file_can_ask_for_no_space_and_other_ends(gguf, tmp_path, real_data):
    _, settings = _sentencepiece(real_data("stories260K") / "tok512.bin")
    settings |= {"tokenizer.ggml.add_space_prefix": False, "tokenizer.ggml.add_bos_token": False}
    settings |= {"tokenizer.ggml.add_eos_token": True}
    tokenizer = _saved(GgufSource(_write(gguf, tmp_path / "m.gguf", settings)), tmp_path / "t")
    assert tokenizer.convert_ids_to_tokens(tokenizer("a time")["input_ids"]) == [
        "a",
        "▁time",
        "</s>",
    ]
    assert (
        tokenizer.decode(tokenizer(" a time")["input_ids"], skip_special_tokens=True) == " a time"
    )


def test_text_does_not_merge_into_a_byte(gguf, tmp_path):
    tokens = ["<unk>", "<0x0A>", "<0x0", "A>", "<0x", "<0", *"<0xA>"]
    settings = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": [0.0, 0.0, -3.0, -4.0, -2.0, -1.0] + [-9.0] * 5,
        "tokenizer.ggml.token_type": [2, 6] + [1] * 9,
        "tokenizer.ggml.add_space_prefix": False,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.eos_token_id": 0,
    }
    tokenizer = _saved(GgufSource(_write(gguf, tmp_path / "m.gguf", settings)), tmp_path / "t")
    assert tokenizer.convert_ids_to_tokens(tokenizer("<0x0A>")["input_ids"]) == ["<0x0", "A>"]


def _byte_level(pre, **changes):
    """A tiny byte-level vocabulary: single letters, two merges, a word that no merge makes."""
    tokens = ["<|begin|>", "<|end|>", "<note>", *"abcĠ12", "ab", "Ġa", "cab"]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [3, 3, 4] + [1] * (len(tokens) - 3),
        "tokenizer.ggml.merges": ["a b", "Ġ a"],
        "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.eos_token_id": 1,
    } | changes


@pytest.mark.parametrize(
    ("pre", "expected"),
    [
        ("gpt-2", ["c", "ab", "Ġa", "Ġ", "1", "2", "<note>", "a", "<|end|>"]),
        ("smollm", ["c", "ab", "Ġa", "Ġ", "1", "2", "<note>", "a", "<|end|>"]),
        ("llama-bpe", ["<|begin|>", "cab", "Ġa", "Ġ", "1", "2", "<note>", "a", "<|end|>"]),
    ],
)
def test_a_byte_level_tokenizer_is_saved(gguf, tmp_path, pre, expected):
    path = _write(gguf, tmp_path / "m.gguf", _byte_level(pre))
    tokenizer = _saved(GgufSource(path), tmp_path / "t")
    ids = tokenizer("cab a 12<note>a<|end|>")["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids) == expected
    assert tokenizer.decode(ids, skip_special_tokens=True) == "cab a 12<note>a"
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.unk_token) == (0, 1, None)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, ("holds no tokenizer",)),
        (_byte_level("tekken"), ("tokenizer.ggml.pre 'tekken'", "known: gpt-2, smollm")),
        (_byte_level(None), ("tokenizer.ggml.pre None",)),
        (_byte_level("gpt-2", **{"tokenizer.ggml.model": "bert"}), ("model is 'bert'", "'llama'")),
        (
            _byte_level("gpt-2", **{"tokenizer.ggml.merges": ["a b", "b c"]}),
            ("merges has 'b c'", "two tokens that make a third"),
        ),
        (
            _byte_level("gpt-2", **{"tokenizer.ggml.token_type": [3, 3]}),
            ("token_type has 2 entries for 12 tokens",),
        ),
        (_byte_level("gpt-2", **{"tokenizer.ggml.model": "llama"}), ("scores has 0 entries",)),
        (
            _byte_level("gpt-2", **{"tokenizer.ggml.eos_token_id": 12}),
            ("eos_token_id is 12", "12 tokens"),
        ),
    ],
    ids=["none", "tekken", "no split", "bert", "merge", "types", "scores", "eos"],
)
def test_a_tokenizer_that_cannot_be_built_is_refused(gguf, tmp_path, settings, words):
    source = GgufSource(_write(gguf, tmp_path / "m.gguf", settings))
    with pytest.raises(DataError) as caught:
        source.save_tokenizer(tmp_path / "t")
    for word in (str(source.path), *words):
        assert word in str(caught.value)
    assert not (tmp_path / "t").exists()


def test_smollm2_tokenizer_gives_the_ids_of_transformers(smollm2, tmp_path):
    transformers = pytest.importorskip("transformers")
    path = smollm2.path
    expected = transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    tokenizer = _saved(smollm2, tmp_path)
    chat = [{"role": "user", "content": "Name a film of 1994."}]
    prompt = expected.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) == prompt
    for text in [*SENTENCES, prompt, path.parent.joinpath("__init__.py").read_text()]:
        ids = tokenizer(text)["input_ids"]
        assert ids == expected(text)["input_ids"], text
        assert tokenizer.decode(ids) == text
    for role in ("bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id"):
        assert getattr(tokenizer, role) == getattr(expected, role), role
    assert len(tokenizer) == len(expected) == 49152


def test_smollm2_tokenizer_splits_digits_before_spaces(smollm2, tmp_path):
    # llama.cpp's src/llama-vocab.cpp, LLAMA_VOCAB_PRE_TYPE_SMOLLM: `\p{N}`, then GPT-2's pattern on
    # what lies between. So spaces before a digit stay together; transformers 5.23 parts them.
    tokenizer = _saved(smollm2, tmp_path)
    assert tokenizer.convert_ids_to_tokens(tokenizer("a   7")["input_ids"]) == ["a", "ĠĠĠ", "7"]
