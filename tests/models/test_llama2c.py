"""llama2.c's files: against Hugging Face's Llama, llama2.c's published text, and its tokenizer."""

import itertools
import json
import struct
import sys

import numpy as np
import pytest

from jaxrec.core import ConfigError, DataError
from jaxrec.models.llama2c import (
    Llama2cSource,
    half_split,
    read_llama2c_tokenizer,
    sentencepiece_bpe,
)

# karpathy/llama2.c, test_all.py, `expected_stdout` of
# ./run stories260K.bin -z tok512.bin -t 0.0 -n 200
PUBLISHED = (
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. "
    "One day, she saw a big, red ball. She wanted to play with it, but it was too high.\n"
    "Lily's mom said, \"Lily, let's go to the park.\" Lily was sad and didn't know what to do. "
    'She said, "I want to play with your ball, but I can\'t find it."\n'
    "Lily was sad and didn't know what to do. "
    "She said, \"I'm sorry, Lily. I didn't know what to do.\"\n"
    "Lily didn't want to help her mom, so she"
)
SENTENCES = [
    "Once upon a time",
    "Once upon a time, there was a little dragon",
    "Lily's mom said, \"Let's go to the park!\"\nThe end.",
    " begins with a space",
    "two  spaces,   three, and one at the end ",
    "naïve café, 日本語, 🙂",
    "12 birds and 2024 more",
    "<0x0A> is no byte here",
    "\n\n",
    "",
]


def _model(**changes):
    """A small Llama of Hugging Face's, with random weights."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    sizes = {
        "vocab_size": 40,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 16,
        "rms_norm_eps": 1e-5,
    }
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes | changes)).eval()
    for parameter in model.parameters():
        parameter.data = torch.randn_like(parameter)
    return model


def _interleave(rows, heads):
    """Hugging Face's rows in Meta's order: `permute_reverse` of llama2.c's export.py, by index."""
    half = len(rows) // heads // 2
    order = [
        head * 2 * half + part * half + pair
        for head in range(heads)
        for pair in range(half)
        for part in (0, 1)
    ]
    return rows[order]


def _checkpoint(model, path):
    """Write `model` as llama2.c's legacy export does; the rotary table is filled with NaN."""
    config, state = model.config, {k: v.numpy() for k, v in model.state_dict().items()}
    tied = config.tie_word_embeddings
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads

    def every(kind, heads=None):
        for layer in range(config.num_hidden_layers):
            rows = state[f"model.layers.{layer}.{kind}.weight"]
            yield rows if heads is None else _interleave(rows, heads)

    blocks = [
        *every("input_layernorm"),
        *every("self_attn.q_proj", heads),
        *every("self_attn.k_proj", kv_heads),
        *every("self_attn.v_proj"),
        *every("self_attn.o_proj"),
        *every("post_attention_layernorm"),
        *every("mlp.gate_proj"),
        *every("mlp.down_proj"),
        *every("mlp.up_proj"),
    ]
    rotary = np.full(config.max_position_embeddings * config.head_dim, np.nan, np.float32)
    output = [] if tied else [state["lm_head.weight"]]
    arrays = [state["model.embed_tokens.weight"], *blocks, state["model.norm.weight"], rotary]
    header = struct.pack(
        "<7i",
        config.hidden_size,
        config.intermediate_size,
        config.num_hidden_layers,
        heads,
        kv_heads,
        config.vocab_size if tied else -config.vocab_size,
        config.max_position_embeddings,
    )
    path.write_bytes(header + b"".join(array.tobytes() for array in [*arrays, *output]))
    return path


def _load(torch, source):
    """A torch model of the source's config and tensors, every name matched."""
    transformers = pytest.importorskip("transformers")
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**source.config)).eval()
    state = {name: torch.from_numpy(source.read(name)) for name in source.names()}
    if source.config["tie_word_embeddings"]:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    model.load_state_dict(state, strict=True)
    return model


def _tokens(path):
    """Bytes and scores of a llama2.c tokenizer file."""
    content, position, tokens, scores = path.read_bytes(), 4, [], []
    while position < len(content):
        score, length = struct.unpack_from("<fi", content, position)
        position += 8 + length
        tokens.append(content[position - length : position])
        scores.append(score)
    return tokens, scores


def _encode(text, tokens, scores):
    """What `encode` in llama2.c's run.c does: merge the best-scored pair until none is left."""
    number = {token: i for i, token in enumerate(tokens)}
    ids = [number[b" "]] if text else []
    for character in text:
        content = character.encode()
        ids += [number[content]] if content in number else [3 + byte for byte in content]
    while True:
        pairs = [number.get(tokens[a] + tokens[b]) for a, b in itertools.pairwise(ids)]
        possible = [(-scores[made], i) for i, made in enumerate(pairs) if made is not None]
        if not possible:
            return [1, *ids]
        _, i = min(possible)
        ids[i : i + 2] = [pairs[i]]


def _write_tokens(path, tokens, scores=None):
    scores = [0.0] * len(tokens) if scores is None else scores
    content = struct.pack("<i", max(map(len, tokens)))
    for token, score in zip(tokens, scores, strict=True):
        content += struct.pack("<fi", score, len(token)) + token
    path.write_bytes(content)
    return path


def _small_tokens():
    return [
        b"<unk>",
        b"\n<s>\n",
        b"\n</s>\n",
        *(b"<0x%02X>" % byte for byte in range(256)),
        *(b" a", b" ", b"a", b"b"),
    ]


def test_half_split_reorders_as_drawn():
    rows = np.array([[10.0], [20.0], [11.0], [21.0], [12.0], [22.0]])
    np.testing.assert_array_equal(half_split(rows, 1)[:, 0], [10, 11, 12, 20, 21, 22])
    found = half_split(np.concatenate([rows, rows + 100]), 2)[:, 0]
    np.testing.assert_array_equal(found, [10, 11, 12, 20, 21, 22, 110, 111, 112, 120, 121, 122])


def test_half_split_keeps_the_scores_of_rotated_queries_and_keys():
    rng = np.random.default_rng(0)
    heads, size, width = 2, 6, 5
    query, key = rng.normal(size=(2, heads * size, width))
    x, y = rng.normal(size=(2, width))
    angle = np.arange(1, size // 2 + 1) * 0.3

    def interleaved(rows, x, position):
        pairs = (rows @ x).reshape(heads, -1, 2)
        return (pairs[..., 0] + 1j * pairs[..., 1]) * np.exp(1j * position * angle)

    def halves(rows, x, position):
        left, right = np.split((half_split(rows, heads) @ x).reshape(heads, -1), 2, axis=-1)
        return (left + 1j * right) * np.exp(1j * position * angle)

    expected = (interleaved(query, x, 7) * interleaved(key, y, 3).conj()).real.sum(-1)
    found = (halves(query, x, 7) * halves(key, y, 3).conj()).real.sum(-1)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_a_checkpoint_gives_back_hugging_face_tensors(tmp_path, tied, kv_heads):
    model = _model(tie_word_embeddings=tied, num_key_value_heads=kv_heads)
    source = Llama2cSource(_checkpoint(model, tmp_path / "model.bin"))
    state = model.state_dict()
    if tied:
        del state["lm_head.weight"]
    assert sorted(source.names()) == sorted(state)
    for name, tensor in state.items():
        found = source.read(name)
        assert found.dtype == np.float32 and found.shape == source.shape(name)
        np.testing.assert_array_equal(found, tensor.numpy(), err_msg=name)


def test_the_config_is_that_of_the_model(tmp_path):
    model = _model(tie_word_embeddings=False)
    config = Llama2cSource(_checkpoint(model, tmp_path / "model.bin")).config
    assert config["pad_token_id"] is None
    for key, value in config.items():
        if key != "architectures":
            assert value == getattr(model.config, key), key


def test_the_published_story_is_told_exactly(real_data):
    torch = pytest.importorskip("torch")
    source = Llama2cSource(real_data("stories260K") / "stories260K.bin")
    tokenizer = read_llama2c_tokenizer(
        real_data("stories260K") / "tok512.bin", source.config["vocab_size"]
    )
    model = _load(torch, source)
    ids = [tokenizer.bos_token_id]
    with torch.inference_mode():
        for _ in range(200):
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    assert tokenizer.decode(ids, skip_special_tokens=True) == PUBLISHED
    assert tokenizer(PUBLISHED)["input_ids"] == ids


def test_the_header_of_the_published_model_is_read(real_data):
    config = Llama2cSource(real_data("stories260K") / "stories260K.bin").config
    # Of the card of karpathy/tinyllamas.
    assert (config["hidden_size"], config["intermediate_size"]) == (64, 172)
    assert (config["num_hidden_layers"], config["num_attention_heads"]) == (5, 8)
    assert (config["num_key_value_heads"], config["vocab_size"]) == (4, 512)
    assert config["max_position_embeddings"] == 512 and config["tie_word_embeddings"]


def test_a_prompt_gives_the_published_ids(real_data):
    tokenizer = read_llama2c_tokenizer(real_data("stories260K") / "tok512.bin", 512)
    # Published by several ports of llama2.c as what its `encode` gives.
    assert tokenizer("Once upon a time")["input_ids"] == [1, 403, 407, 261, 378]


def test_the_tokenizer_merges_as_llama2c_does(real_data):
    path = real_data("stories260K") / "tok512.bin"
    tokenizer = read_llama2c_tokenizer(path, 512)
    tokens, scores = _tokens(path)
    rng = np.random.default_rng(0)
    pieces = [token.decode() for token in tokens[259:]] + ["é", "\n", "7", "🙂"]
    texts = ["".join(rng.choice(pieces, size=rng.integers(12))) for _ in range(500)]
    for text in SENTENCES + texts:
        assert tokenizer(text)["input_ids"] == _encode(text, tokens, scores), text


@pytest.mark.parametrize("text", SENTENCES)
def test_decoding_gives_the_text_back(real_data, text):
    tokenizer = read_llama2c_tokenizer(real_data("stories260K") / "tok512.bin", 512)
    assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text


@pytest.mark.parametrize("beside_a_model", [False, True], ids=["alone", "with config.json"])
def test_a_saved_tokenizer_reads_the_same(real_data, tmp_path, beside_a_model):
    transformers = pytest.importorskip("transformers")
    tokenizer = read_llama2c_tokenizer(real_data("stories260K") / "tok512.bin", 512)
    tokenizer.save_pretrained(tmp_path)
    if beside_a_model:
        config = Llama2cSource(real_data("stories260K") / "stories260K.bin").config
        (tmp_path / "config.json").write_text(json.dumps(config))
    again = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert again(SENTENCES)["input_ids"] == tokenizer(SENTENCES)["input_ids"]
    assert (again.bos_token_id, again.eos_token_id, again.unk_token_id) == (1, 2, 0)
    assert (again.pad_token_id, len(again)) == (None, 512)


def test_the_best_score_merges_first_wherever_it_stands():
    pytest.importorskip("tokenizers")
    tokens = ["<unk>", "a", "b", "c", "ab", "bc", "abc"]
    for better, expected in ((4, ["ab", "c"]), (5, ["a", "bc"])):
        scores = [0.0] * len(tokens)
        scores[4], scores[5], scores[6] = -2.0, -2.0, -3.0
        scores[better] = -1.0
        mergeable = [True] * 4 + [True, True, False]
        build = sentencepiece_bpe(tokens, scores, mergeable, unknown="<unk>", space_prefix=False)
        assert build.encode("abc").tokens == expected


@pytest.mark.parametrize("size", [0, 20])
def test_a_file_shorter_than_a_header_is_refused(tmp_path, size):
    path = tmp_path / "model.bin"
    path.write_bytes(bytes(size))
    with pytest.raises(DataError, match=rf"model\.bin: .* begins with 28 bytes, found {size}"):
        Llama2cSource(path)


@pytest.mark.parametrize("change", [-4, -1, 1, 4])
def test_a_file_of_the_wrong_size_is_refused_with_both_sizes(tmp_path, change):
    path = _checkpoint(_model(), tmp_path / "model.bin")
    content = path.read_bytes()
    whole, found = len(content), len(content) + change
    path.write_bytes((content + bytes(4))[:found])
    with pytest.raises(DataError, match=rf"model\.bin: .* asks for {whole} bytes, found {found}"):
        Llama2cSource(path)


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ((64, 172, 5, 8, 4, 0, 512), ("vocab_size 0", "positive")),
        ((64, -172, 5, 8, 4, 512, 512), ("hidden_dim -172", "positive")),
        ((66, 172, 5, 8, 4, 512, 512), ("dim 66", "n_heads 8", "multiple")),
        ((24, 172, 5, 8, 4, 512, 512), ("dim 24", "multiple of 2 n_heads")),
        ((64, 172, 5, 8, 3, 512, 512), ("n_kv_heads 3", "multiple")),
        ((0x616B3432, 1, 5, 8, 4, 512, 512), ("version 1", "--version 0")),
    ],
    ids=str,
)
def test_an_impossible_header_is_refused_by_value(tmp_path, header, words):
    path = tmp_path / "model.bin"
    path.write_bytes(struct.pack("<7i", *header) + bytes(4096))
    with pytest.raises(DataError) as caught:
        Llama2cSource(path)
    for word in (str(path), *words):
        assert word in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    for read in (Llama2cSource, lambda path: read_llama2c_tokenizer(path, 512)):
        with pytest.raises(DataError, match=r"none\.bin: No such file"):
            read(tmp_path / "none.bin")


def test_an_unknown_tensor_is_refused_with_the_nearest(tmp_path):
    source = Llama2cSource(_checkpoint(_model(), tmp_path / "model.bin"))
    for look in (source.read, source.shape):
        with pytest.raises(DataError, match=r"'model.norms.weight', did you mean 'model.norm.weig"):
            look("model.norms.weight")


def test_a_tensor_outlives_its_file_and_can_be_written(tmp_path):
    path = _checkpoint(_model(), tmp_path / "model.bin")
    values = Llama2cSource(path).read("model.norm.weight")
    path.unlink()
    values += 1.0


def test_a_tokenizer_of_another_size_is_refused(tmp_path):
    path = _write_tokens(tmp_path / "tok.bin", _small_tokens())
    size, count = path.stat().st_size, len(_small_tokens())
    assert len(read_llama2c_tokenizer(path, count)) == count
    with pytest.raises(DataError, match=rf"tok\.bin: {count - 1} tokens take \d+ .* found {size}"):
        read_llama2c_tokenizer(path, count - 1)
    with pytest.raises(
        DataError, match=rf"expected {count + 1} tokens, token {count} at byte {size}"
    ):
        read_llama2c_tokenizer(path, count + 1)


@pytest.mark.parametrize("cut", [1, 5, 9, 12])
def test_a_truncated_tokenizer_is_refused(tmp_path, cut):
    path = _write_tokens(tmp_path / "tok.bin", _small_tokens())
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(DataError, match=r"tok\.bin: expected 263 tokens, token 26[12] at byte"):
        read_llama2c_tokenizer(path, 263)


def test_a_tokenizer_that_is_not_of_llama2c_is_refused(tmp_path):
    tokens = _small_tokens()
    tokens[5] = b"!"
    with pytest.raises(DataError, match="tokens 3 to 258 are not the bytes"):
        read_llama2c_tokenizer(_write_tokens(tmp_path / "tok.bin", tokens), 263)
    tokens = _small_tokens()
    tokens[-1] = b"\xff"
    with pytest.raises(DataError, match=r"token 262 at byte .* malformed"):
        read_llama2c_tokenizer(_write_tokens(tmp_path / "tok.bin", tokens), 263)


def test_a_missing_package_is_named_with_its_install(tmp_path, monkeypatch):
    path = _write_tokens(tmp_path / "tok.bin", _small_tokens())
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ConfigError, match="'tokenizers'; pip install 'transformers'"):
        read_llama2c_tokenizer(path, 263)
