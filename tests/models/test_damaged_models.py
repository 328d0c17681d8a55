"""Checkpoints that are damaged, quantized elsewhere, or ask for more than their files hold."""

import json
import os
import shutil
import struct
import sys

import numpy as np
import pytest

from jaxrec.core import ConfigError, DataError
from jaxrec.data import load_tokenizer, save_tokenizer, train_bpe
from jaxrec.models import (
    CausalLM,
    ModelSpec,
    Pretrained,
    TransformerConfig,
    export_model,
    import_model,
    load_model,
    open_model,
    save_model,
)
from jaxrec.models.gguf_header import check_header
from jaxrec.testing import random_params

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
Q = "model.layers.0.self_attn.q_proj.weight"


@pytest.fixture(scope="module")
def model():
    spec = ModelSpec("causal", TransformerConfig(vocab_size=19, width=8, depth=2))
    return Pretrained(spec=spec, params=random_params(spec.build()), tokens={"eos_token_id": 2})


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    directory = tmp_path_factory.mktemp("exported") / "llama"
    export_model(model, directory)
    return directory


@pytest.fixture
def checkpoint(exported, tmp_path):
    return shutil.copytree(exported, tmp_path / "llama")


def change(path, **values):
    settings = json.loads(path.read_text()) | values
    path.write_text(json.dumps({name: v for name, v in settings.items() if v is not ...}))


def rewrite(directory, change):
    from safetensors.numpy import load_file, save_file

    tensors = load_file(directory / WEIGHTS)
    change(tensors)
    save_file(tensors, directory / WEIGHTS, metadata={"format": "pt"})


def refused(directory, words, read=import_model):
    with pytest.raises((ConfigError, DataError)) as caught:
        read(directory)
    message = str(caught.value)
    assert words in message and str(directory) in message and "\n" not in message, message


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"num_hidden_layers": 10**9}, "num_hidden_layers is 1000000000, but the weights are"),
        ({"vocab_size": 10**12}, "vocab_size is 1000000000000, but the longest axis"),
        ({"hidden_size": 10**30}, "hidden_size must be a whole number above 0, got 10000"),
        ({"hidden_size": "8"}, "hidden_size must be a whole number above 0, got '8'"),
        ({"num_attention_heads": 0}, "num_attention_heads must be a whole number above 0"),
        ({"num_labels": 10**9}, "num_labels is 1000000000, but there can be"),
        ({"rms_norm_eps": float("nan")}, "norm-eps must be finite"),
        ({"rope_parameters": [1]}, "config.json"),
        ({"eos_token_id": "2"}, "eos_token_id"),
        ({"model_type": ["llama"]}, "model_type must be a name"),
        ({"architectures": ["a\nb"]}, r"architecture a\nb is not supported"),
        ({"quantization_config": {"quant_method": "bitsandbytes"}}, "quantized by bitsandbytes"),
        ({"quantization": {"bits": 4}}, "quantized by another library"),
    ],
)
def test_a_setting_that_cannot_be_is_named_before_anything_is_built(checkpoint, values, words):
    change(checkpoint / "config.json", **values)
    with pytest.raises((ConfigError, DataError)) as caught:
        import_model(checkpoint)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("generation_config.json", b"{", "not valid JSON"),
        ("generation_config.json", b'{"eos_token_id": [2, "a"]}', "'eos_token_id' must be"),
        ("config.json", b"[]", "the content must be an object"),
        ("config.json", b"\xff", "not valid JSON"),
        (INDEX, b"{}", "the content has no 'weight_map'"),
        (INDEX, b'{"weight_map": {"a": 3}}', "'weight_map'['a'] must be str, got 3"),
        (INDEX, b'{"weight_map": {"a": "../llama/model.safetensors"}}', "no file of its own"),
        (INDEX, b'{"weight_map": {"a": "/etc/passwd"}}', "no file of its own directory"),
        ("quantize_config.json", b"{}", "quantized by GPTQ"),
    ],
)
def test_a_damaged_file_is_named(checkpoint, name, content, words):
    (checkpoint / name).write_bytes(content)
    refused(checkpoint, words)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda t: t[Q].__setitem__((1, 2), np.nan), f"{Q} holds infinities or NaN"),
        (lambda t: t[Q].__setitem__((1, 2), -np.inf), f"{Q} holds infinities or NaN"),
        (lambda t: t.update({Q: t[Q].astype(np.int8)}), f"{Q} holds numbers of type int8"),
    ],
)
def test_weights_that_are_no_finite_numbers_are_named(checkpoint, made, words):
    rewrite(checkpoint, made)
    refused(checkpoint, words)


def test_a_name_too_long_for_a_file_is_that_of_a_missing_one(checkpoint):
    index = {"metadata": {}, "weight_map": {Q: "a" * 5000}}
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(checkpoint, "which is missing")


def test_the_scales_of_a_quantizer_are_said_to_be_that(checkpoint):
    rewrite(checkpoint, lambda t: t.update({Q[:-6] + "SCB": np.ones(8, np.float32)}))
    with pytest.raises(DataError, match=r"q_proj\.SCB is not used \(the weights are quantized\)"):
        import_model(checkpoint)


@pytest.mark.parametrize("name", ["config.json", WEIGHTS, "generation_config.json"])
def test_a_pipe_is_refused(checkpoint, name):
    (checkpoint / name).unlink()
    os.mkfifo(checkpoint / name)
    refused(checkpoint, "this is a pipe; give a regular file")


def test_several_end_tokens_are_kept(checkpoint, tmp_path):
    change(checkpoint / "generation_config.json", eos_token_id=[2, 7])
    read = import_model(checkpoint)
    assert read.eos == (2, 7)
    save_model(read, tmp_path / "own")
    own = load_model(tmp_path / "own")
    assert own.eos == own.spec.config.end_tokens == (2, 7)
    export_model(read, tmp_path / "again")
    assert import_model(tmp_path / "again").eos == (2, 7)


@pytest.mark.parametrize(("named", "written"), [(2, 2), (19, None), (-1, None), ([2, 99], [2])])
def test_end_tokens_outside_of_the_vocabulary_are_not_exported(model, tmp_path, named, written):
    import dataclasses

    export_model(dataclasses.replace(model, tokens={"eos_token_id": named}), tmp_path / "out")
    for name in ("config.json", "generation_config.json"):
        content = json.loads((tmp_path / "out" / name).read_text())
        assert content.get("eos_token_id") == written


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"config": []}, "'config' must be an object"),
        ({"classes": True}, "'classes' must be int"),
        ({"kind": "casual"}, "kind must be"),
        ({"tokens": ...}, "the content has no 'tokens'"),
    ],
)
def test_a_damaged_description_of_our_own_is_named(model, tmp_path, values, words):
    save_model(model, tmp_path / "own")
    change(tmp_path / "own" / "jaxrec_model.json", **values)
    refused(tmp_path / "own", words, load_model)


def test_a_tokenizer_that_does_not_read_or_fit_is_refused(model, tmp_path):
    save_model(model, tmp_path / "own")
    assert open_model(tmp_path / "own").tokenizer is None
    save_tokenizer(train_bpe(["one word"], 260), tmp_path / "own")
    refused(tmp_path / "own", "the tokenizer has 260 tokens, the model's table only 19", open_model)
    (tmp_path / "own" / "tokenizer.json").write_text("{")
    refused(tmp_path / "own", "cannot read the tokenizer", open_model)
    (tmp_path / "own" / "tokenizer_config.json").write_text("[]")
    refused(tmp_path / "own", "the content must be an object", load_tokenizer)


def test_a_token_without_a_row_shows_in_the_output(model):
    tokens = np.array([[1, 25, 4]])
    logits = CausalLM(model.spec.config).apply(model.params, tokens, tokens > 0)
    assert np.isnan(logits).all()


@pytest.mark.parametrize("header", [(8, 16, 2**31 - 1, 2, 2, 19, 8), (2**30, 4, 1, 1, 1, 5, 8)])
def test_a_header_of_llama2c_is_compared_with_the_file_first(tmp_path, header):
    (tmp_path / "m.bin").write_bytes(struct.pack("<7i", *header) + bytes(400))
    refused(tmp_path / "m.bin", "bytes, found 428")


STRING = struct.pack("<Q", 1) + b"k"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (struct.pack("<QQ", 2**60, 0), "1152921504606846976 tensors"),
        (struct.pack("<QQ", 0, 2**60), "1152921504606846976 settings"),
        (struct.pack("<QQ", 0, 1) + struct.pack("<Q", 2**40), "characters"),
        (struct.pack("<QQ", 0, 1) + STRING + struct.pack("<IIQ", 9, 0, 2**60), "values"),
        (struct.pack("<QQ", 0, 1) + STRING + struct.pack("<IIQ", 9, 8, 2**60), "strings"),
        (struct.pack("<QQ", 0, 1) + STRING + struct.pack("<I", 77), "a value of type 77"),
        (struct.pack("<Q", 0), "it ends within its header"),
    ],
)
def test_a_gguf_header_that_asks_for_more_than_the_file_is_refused(tmp_path, body, words):
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<I", 3) + body + bytes(9 if "ends" not in words else 0))
    refused(path, words, check_header)
    assert sys.getsizeof(path.read_bytes()) < 200
