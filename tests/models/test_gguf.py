"""GGUF weights: against Hugging Face's tensors, transformers' own reader, and a real SmolLM2."""

import itertools
import sys

import numpy as np
import pytest

from jaxrec.core import ConfigError, DataError
from jaxrec.models.gguf import GgufSource

TYPES = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0")


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
