"""Quantized models on disk."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from jaxrec.core import ConfigError, DataError
from jaxrec.models import ModelSpec, Pretrained, export_model, load_model, save_model
from jaxrec.nn import kernel_specs
from jaxrec.quant import (
    CodebookConfig,
    LlmInt8Config,
    UniformConfig,
    dequantize_params,
    quantize_params,
)
from jaxrec.testing import random_params, tiny_model

SPEC = ModelSpec("causal", tiny_model(depth=2))
SPECS = kernel_specs(SPEC.shapes())


@functools.cache
def _quantized():
    """Every kind of kernel in one model, one of them of bfloat16."""
    params = random_params(SPEC.build())["params"]
    blocks = params["decoder"]["blocks"]
    blocks["mlp"]["up"]["kernel"] = blocks["mlp"]["up"]["kernel"].astype(jnp.bfloat16)
    schemes = {
        "query": UniformConfig(bits=3, symmetric=False, per="group", group=8),
        "key": UniformConfig(activations="token"),
        "value": CodebookConfig(block=16),
        "out": CodebookConfig("fp4", double=False),
        "up": LlmInt8Config(outlier_weights="original", columns=2),
        "down": LlmInt8Config(threshold=np.inf),
        "gate": UniformConfig(bits=2),
    }
    for name, scheme in schemes.items():
        params = quantize_params(params, SPECS, scheme, [name])
    calibrated = blocks["attention"]
    attention = params["decoder"]["blocks"]["attention"]
    assert calibrated.keys() == attention.keys()
    key = attention["key"]["kernel"].calibrated(jnp.asarray([3.0, 4.0]))
    order = jnp.asarray([np.random.default_rng(layer).permutation(16) for layer in range(2)])
    attention["key"]["kernel"] = dataclasses.replace(key, order=order)
    return Pretrained(
        spec=SPEC, params={"params": params}, family="llama", tokens={"eos_token_id": 1}
    )


@pytest.fixture
def directory(tmp_path):
    save_model(_quantized(), tmp_path / "model")
    return tmp_path / "model"


def _file(directory, name):
    return directory / "params" / f"decoder.blocks.attention.{name}.kernel.safetensors"


def test_a_model_comes_back_to_the_bit(directory):
    back, model = load_model(directory), _quantized()
    assert back.spec == model.spec and back.tokens == model.tokens
    # Classes and settings are part of the structure.
    assert jax.tree.structure(back.params) == jax.tree.structure(model.params)
    for new, old in zip(jax.tree.leaves(back.params), jax.tree.leaves(model.params), strict=True):
        assert (new.dtype, new.shape) == (old.dtype, old.shape)
        np.testing.assert_array_equal(np.asarray(new), np.asarray(old))
    tokens = jnp.asarray([[3, 5, 7, 2]])
    apply = jax.jit(SPEC.build().apply)
    np.testing.assert_array_equal(
        apply(back.params, tokens, tokens > 0), apply(model.params, tokens, tokens > 0)
    )


def test_every_array_is_placed_by_its_path(directory):
    placed = {}

    def place(path, leaf):
        assert isinstance(leaf, np.ndarray)
        placed[path] = leaf.shape
        return jnp.asarray(leaf)

    load_model(directory, place)
    assert len(placed) == len(jax.tree.leaves(_quantized().params))
    assert placed["embedding/table"] == (18, 16)
    assert placed["decoder/blocks/attention/query/kernel/scale"] == (2, 2, 16)
    assert placed["decoder/blocks/attention/query/kernel/zero"] == (2, 2, 16)


def test_a_plain_model_is_written_as_before(tmp_path):
    plain = Pretrained(spec=SPEC, params=random_params(SPEC.build()))
    save_model(plain, tmp_path / "plain")
    description = json.loads((tmp_path / "plain" / "jaxrec_model.json").read_text())
    assert description["kernels"] == {}
    # As files were before there were stored kernels.
    del description["kernels"]
    (tmp_path / "plain" / "jaxrec_model.json").write_text(json.dumps(description))
    jax.tree.map(np.testing.assert_array_equal, load_model(tmp_path / "plain").params, plain.params)


def _rewrite(directory, change):
    file = directory / "jaxrec_model.json"
    description = json.loads(file.read_text())
    change(description["kernels"])
    file.write_text(json.dumps(description))


QUERY = "decoder/blocks/attention/query/kernel"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda kernels: kernels[QUERY].update({"class": "quant.Ternary"}), "Ternary"),
        (
            lambda kernels: kernels[QUERY].update({"class": "nn.Einsum"}),
            "Einsum is not a Stored",
        ),
        (lambda kernels: kernels[QUERY].update({"class": "nowhere.Kernel"}), "nowhere"),
        (lambda kernels: kernels[QUERY].pop("settings"), "settings"),
        (lambda kernels: kernels[QUERY]["settings"].update(width=3), "width"),
        (lambda kernels: kernels[QUERY]["settings"].update(bits=4), "UniformKernel"),
        (lambda kernels: kernels[QUERY]["settings"].update(kernel_shape=[16, 16]), "shape"),
        (lambda kernels: kernels.update({"decoder/extra/kernel": {}}), "decoder/extra/kernel"),
        (lambda kernels: kernels.pop(QUERY), "query"),
    ],
)
def test_descriptions_that_do_not_fit_are_refused(directory, change, said):
    _rewrite(directory, change)
    with pytest.raises(DataError, match=said):
        load_model(directory)


def test_arrays_that_are_missing_or_of_another_shape_are_refused(directory):
    file = _file(directory, "value")
    arrays = load_file(file)
    path = "decoder/blocks/attention/value/kernel"
    save_file({name: x for name, x in arrays.items() if name != f"{path}/absmax"}, file)
    with pytest.raises(DataError, match=r"value.kernel.safetensors cannot be read: .*absmax"):
        load_model(directory)
    save_file({**arrays, f"{path}/absmax": arrays[f"{path}/absmax"][:, :-1]}, file)
    with pytest.raises(DataError, match=r"value.kernel.safetensors does not hold a quant.Codebook"):
        load_model(directory)
    file.write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"value.kernel.safetensors cannot be read"):
        load_model(directory)


def test_hugging_faces_format_takes_dequantized_parameters_alone(tmp_path):
    model = _quantized()
    with pytest.raises(ConfigError, match=r"7 kernels are quantized .*dequantize_params"):
        export_model(model, tmp_path / "out")
    plain = {"params": dequantize_params(model.params["params"])}
    export_model(dataclasses.replace(model, params=plain), tmp_path / "out")
    assert (tmp_path / "out" / "model.safetensors").is_file()
