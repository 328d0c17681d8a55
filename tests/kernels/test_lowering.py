"""Kernels lower for real hardware: interpretation accepts block shapes that hardware refuses."""

import functools
import re

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AbstractDevice, AbstractMesh, AxisType, use_abstract_mesh

from jaxrec.kernels import SharedHistory, beam_attention, trie_topk

_DEVICES = {
    "cuda": AbstractDevice("NVIDIA H100 80GB HBM3", num_cores=None, platform="gpu"),
    "tpu": AbstractDevice("TPU v5 lite", num_cores=1, platform="tpu"),
}
_CALLS = {"triton": "xla.gpu.triton", "mosaic": "tpu_custom_call"}
_KERNELS = [("cuda", "triton"), ("tpu", "mosaic")]
_BF16, _F32 = jnp.bfloat16, jnp.float32

# B, S, K, N, G, H of the decoding benchmarks: a Llama of 36M, one of 1.1B, and Qwen3 1.7B.
_ATTENTION = [
    (64, 128, 50, 8, 8, 64),
    (16, 512, 20, 32, 8, 64),
    (64, 512, 50, 32, 8, 64),
    (1, 1000, 256, 16, 8, 128),
    (8, 1000, 256, 16, 8, 128),
    (1, 5000, 256, 16, 8, 128),
    (8, 5000, 256, 16, 8, 128),
]
# B, K, C, of which K are kept.
_SEARCH = [(64, 50, 256), (16, 20, 256), (1, 256, 8192), (8, 256, 8192)]


def _shape(*shape, dtype=_BF16):
    return jax.ShapeDtypeStruct(shape, dtype)


def _lowered(function, platform, *args):
    device = _DEVICES.get(platform)
    mesh = AbstractMesh((1,), ("x",), (AxisType.Explicit,), abstract_device=device)
    with use_abstract_mesh(mesh):
        return jax.jit(function).trace(*args).lower(lowering_platforms=(platform,)).as_text()


def _attention(batch, past, beams, heads, groups, size, *, kind="plain", dtype=_BF16):
    cache = _shape(batch, groups, past, size, dtype=jnp.int8 if kind == "int8" else dtype)
    seen = (batch, beams, past) if kind == "mask a beam" else (batch, past)
    own = _shape(batch, beams, 2, groups, size, dtype=dtype)
    scale = _shape(batch, groups, past, dtype=_F32)
    history = SharedHistory(
        key=cache,
        value=cache,
        valid=_shape(*seen, dtype=jnp.bool_),
        scale=(scale, scale) if kind == "int8" else None,
    )
    return _shape(batch, beams, heads, size, dtype=dtype), history, (own, own)


def _attend(implementation, *args):
    return beam_attention(*args, implementation=implementation)


@pytest.mark.parametrize("platform, kernel", _KERNELS)
@pytest.mark.parametrize("kind", ["plain", "int8", "mask a beam"])
@pytest.mark.parametrize("shape", _ATTENTION, ids=str)
def test_beam_attention_lowers_at_the_shapes_of_the_benchmarks(shape, kind, platform, kernel):
    attend = functools.partial(_attend, kernel)
    assert _CALLS[kernel] in _lowered(attend, platform, *_attention(*shape, kind=kind))


@pytest.mark.parametrize("platform, kernel", _KERNELS)
@pytest.mark.parametrize(
    "shape", [(2, 7, 3, 6, 2, 80), (1, 1, 1, 1, 1, 16), (3, 700, 70, 12, 3, 96)], ids=str
)
def test_beam_attention_lowers_at_odd_shapes(shape, platform, kernel):
    attend = functools.partial(_attend, kernel)
    assert _CALLS[kernel] in _lowered(attend, platform, *_attention(*shape, dtype=_F32))


@pytest.mark.parametrize("platform, kernel", _KERNELS)
@pytest.mark.parametrize("dtype", [_F32, _BF16])
@pytest.mark.parametrize("shape", [*_SEARCH, (3, 7, 1000)], ids=str)
def test_trie_topk_lowers_at_the_shapes_of_the_benchmarks(shape, dtype, platform, kernel):
    batch, beams, codes = shape

    def search(logits, offset, words):
        return trie_topk(logits, offset, words, min(beams, 10), kernel)

    args = (
        _shape(*shape, dtype=dtype),
        _shape(batch, beams, dtype=_F32),
        _shape(batch, beams, -(-codes // 32), dtype=jnp.uint32),
    )
    assert _CALLS[kernel] in _lowered(search, platform, *args)


@pytest.mark.parametrize("platform, kernel", [("cpu", None), ("cuda", "triton"), ("tpu", None)])
def test_auto_lowers_to_what_is_the_default_on_the_platform(platform, kernel):
    text = _lowered(functools.partial(_attend, "auto"), platform, *_attention(*_ATTENTION[0]))
    found = [name for name, call in _CALLS.items() if re.search(re.escape(call), text)]
    assert found == ([] if kernel is None else [kernel])
