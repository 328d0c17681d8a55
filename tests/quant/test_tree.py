"""Trees of parameters: which kernels are stored, what stays, what it costs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from jaxrec.core import ConfigError
from jaxrec.models import ModelSpec
from jaxrec.nn import KernelSpec, StoredKernel, kernel_specs
from jaxrec.quant import (
    CodebookConfig,
    CodebookKernel,
    LlmInt8Config,
    RangeConfig,
    UniformConfig,
    UniformKernel,
    bits_per_parameter,
    bytes_of,
    dequantize_params,
    parameters_of,
    quantize_params,
)
from jaxrec.quant.tree import _store
from jaxrec.testing import random_params, tiny_model

BLOCKS = ("attention/query", "attention/key", "attention/value", "attention/out")
MLP = ("mlp/gate", "mlp/up", "mlp/down")


@functools.cache
def _model(kind="causal", depth=3):
    spec = ModelSpec(kind, tiny_model(depth=depth), classes=0)
    return spec, kernel_specs(spec.shapes()), random_params(spec.build())["params"]


def _stored(params):
    leaves = flatten_dict(params, sep="/")
    return {path: leaf for path, leaf in leaves.items() if isinstance(leaf, StoredKernel)}


def test_all_kernels_of_the_blocks_are_stored_and_nothing_else():
    _, specs, params = _model()
    found = quantize_params(params, specs, UniformConfig())
    stored = _stored(found)
    assert set(stored) == {f"decoder/blocks/{name}/kernel" for name in (*BLOCKS, *MLP)}
    before, after = flatten_dict(params, sep="/"), flatten_dict(found, sep="/")
    assert list(before) == list(after)
    for path, leaf in before.items():
        assert after[path].shape == leaf.shape
        assert (after[path] is leaf) == (path not in stored)


def test_an_encoder_decoder_has_those_of_its_memory_too():
    _, specs, params = _model("encoder_decoder")
    stored = _stored(quantize_params(params, specs, UniformConfig()))
    assert {path.removesuffix("/kernel") for path in stored} == set(specs)
    assert any("memory" in path for path in stored)


@pytest.mark.parametrize(
    "scheme",
    [
        UniformConfig(bits=4, symmetric=False, per="group", group=8),
        CodebookConfig(block=8),
        LlmInt8Config(),
    ],
    ids=lambda scheme: type(scheme).__name__,
)
def test_a_layer_of_a_stack_is_stored_as_it_is_alone(scheme):
    _, specs, params = _model()
    path = "decoder/blocks/attention/out"
    kernel = params["decoder"]["blocks"]["attention"]["out"]["kernel"]
    stack = _stored(quantize_params(params, specs, scheme, [path]))[f"{path}/kernel"]
    assert stack.shape == kernel.shape == (3, 2, 8, 16)
    for layer in range(3):
        # [N, H, D] contracts N and H.
        alone = scheme.quantize(kernel[layer].reshape(16, 16), (2, 8, 16))
        own = jax.tree.map(lambda leaf, layer=layer: leaf[layer], stack)
        assert own.shape == alone.shape
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6), own, alone)


def test_layers_may_have_different_schemes():
    _, specs, params = _model()
    mixed = quantize_params(params, specs, UniformConfig(activations="token"), BLOCKS)
    mixed = quantize_params(mixed, specs, CodebookConfig(block=16), ["mlp/up", "down"])
    kinds = {path.split("/")[-2]: type(leaf) for path, leaf in _stored(mixed).items()}
    assert kinds == {
        **dict.fromkeys(("query", "key", "value", "out"), UniformKernel),
        **dict.fromkeys(("up", "down"), CodebookKernel),
    }
    with pytest.raises(ConfigError, match="query is already stored as UniformKernel; dequantize"):
        quantize_params(mixed, specs, UniformConfig(), ["query"])


def test_names_that_are_no_kernels_are_refused():
    _, specs, params = _model()
    for name in ("embedding", "final_norm", "attention_norm", "mlp/ups", "p"):
        with pytest.raises(ConfigError, match=f"no kernel '{name}' to quantize"):
            quantize_params(params, specs, UniformConfig(), [name])
    with pytest.raises(ConfigError, match="did you mean 'query'"):
        quantize_params(params, specs, UniformConfig(), ["querry"])
    with pytest.raises(ConfigError, match="attention/key: groups of 5 rows do not divide the 16"):
        quantize_params(params, specs, UniformConfig(per="group", group=5))


def test_dequantized_parameters_are_plain_and_close():
    _, specs, params = _model()
    found = quantize_params(params, specs, UniformConfig())
    back = dequantize_params(found)
    assert not _stored(back)
    assert jax.tree.structure(back) == jax.tree.structure(params)
    for old, new in zip(jax.tree.leaves(params), jax.tree.leaves(back), strict=True):
        assert (old.shape, old.dtype) == (new.shape, new.dtype)
        np.testing.assert_allclose(new, old, atol=float(jnp.abs(old).max()) / 254 * 1.01)
    half = flatten_dict(dequantize_params(found, jnp.bfloat16), sep="/")
    assert half["decoder/blocks/mlp/up/kernel"].dtype == jnp.bfloat16


def test_bytes_are_known_before_anything_is_allocated():
    spec, specs, params = _model()
    scheme = CodebookConfig(block=16)
    found = quantize_params(params, specs, scheme)
    shapes = jax.eval_shape(lambda tree: quantize_params(tree, specs, scheme), params)
    assert bytes_of(shapes) == bytes_of(found) == sum(x.nbytes for x in jax.tree.leaves(found))
    count = sum(np.prod(shape) for shape in spec.flat_shapes().values())
    assert parameters_of(shapes) == parameters_of(found) == parameters_of(params) == count
    assert bits_per_parameter(params) == 32.0
    # 4 bits, a byte a block of 16, and scales of 256 blocks and a mean for each of three layers.
    for leaf in _stored(found).values():
        size = parameters_of({"kernel": leaf})
        blocks = size // 3 // 16
        assert bytes_of(leaf) == size // 2 + 3 * (blocks + 4 * -(-blocks // 256) + 4)


def test_replaced_arrays_are_freed_when_asked():
    _, specs, given = _model()
    params = jax.tree.map(jnp.copy, given)
    found = quantize_params(params, specs, UniformConfig(), free=True)
    expected = quantize_params(given, specs, UniformConfig())
    stored = _stored(found)
    for path, leaf in flatten_dict(params, sep="/").items():
        assert leaf.is_deleted() == (path in stored)
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_the_work_is_of_one_layer_at_a_time():
    # A stack of ten kernels of 1 MB: temporaries, of a search too, are of a few of them.
    spec = KernelSpec(shape=(512, 512), axes=("embed", "mlp"), contracted=1, layers=10)
    stack = jax.ShapeDtypeStruct((10, 512, 512), jnp.float32)
    search = UniformConfig(bits=4, range=RangeConfig("mse"))
    for scheme in (search, CodebookConfig(), LlmInt8Config()):
        memory = _store.lower(stack, spec, scheme).compile().memory_analysis()
        assert memory.temp_size_in_bytes < 6 * 2**20
