import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.nn import (
    Attention,
    SelfContext,
    attention_mask,
    dot_product_attention,
    rotary_frequencies,
    rotate,
    rotation,
)


def _inputs(heads, kv_heads, batch=3, targets=4, sources=6, size=5):
    rng = np.random.default_rng(heads * 10 + kv_heads)
    query = rng.normal(size=(batch, targets, heads, size)).astype(np.float32)
    key, value = (
        rng.normal(size=(batch, sources, kv_heads, size)).astype(np.float32) for _ in range(2)
    )
    mask = rng.random((batch, targets, sources)) < 0.5
    mask[:, :, 0] |= ~mask.any(-1)
    return query, key, value, mask


def _attend(query, key, value, mask):
    scale = jnp.asarray(query.shape[-1] ** -0.5, query.dtype)
    return dot_product_attention(query * scale, key, value, mask)


@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 4), (4, 2), (6, 2), (3, 1)])
def test_equals_torch_scaled_dot_product_attention(heads, kv_heads):
    torch = pytest.importorskip("torch")
    inputs = _inputs(heads, kv_heads)
    query, key, value = (torch.tensor(x).transpose(1, 2) for x in inputs[:3])
    theirs = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=torch.tensor(inputs[3])[:, None], enable_gqa=True
    )
    ours = _attend(*map(jnp.asarray, inputs))
    np.testing.assert_allclose(ours, theirs.transpose(1, 2).numpy(), atol=1e-5)


@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 4), (4, 2), (3, 1)])
def test_equals_jax_dot_product_attention(heads, kv_heads):
    query, key, value, mask = map(jnp.asarray, _inputs(heads, kv_heads))
    theirs = jax.nn.dot_product_attention(query, key, value, mask=mask[:, None])
    ours = _attend(query, key, value, mask)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_bfloat16_attention_has_its_softmax_in_float32():
    # Logits 256 and 257 are the same number in bfloat16; in float32 the second weighs e times more.
    bf16 = jnp.bfloat16
    query = jnp.array([32.0, 2.0, 0.0, 0.0], bf16).reshape(1, 1, 1, 4)
    key = jnp.array([[16.0, 0.0, 0.0, 0.0], [16.0, 1.0, 0.0, 0.0]], bf16).reshape(1, 2, 1, 4)
    value = jnp.array([[0.0] * 4, [1.0] * 4], bf16).reshape(1, 2, 1, 4)
    found = _attend(query, key, value, jnp.ones((1, 1, 2), bool))
    assert found.dtype == bf16
    np.testing.assert_allclose(found.astype(jnp.float32), 1 / (1 + np.exp(-1)), atol=0.002)


@pytest.mark.parametrize("kv_heads", [4, 2])
def test_layer_equals_its_formula_written_in_torch(kv_heads):
    # Projections, biases, rotation, and query head n reading key head n // (N / G).
    torch = pytest.importorskip("torch")
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, 12)), jnp.float32)
    layer = Attention(4, kv_heads, 6, qkv_bias=True, out_bias=True)
    valid = jnp.array([[1, 1, 1, 1, 1], [0, 0, 1, 1, 1]], bool)
    positions = jnp.array([[0, 1, 2, 3, 4], [0, 0, 0, 1, 2]], jnp.int32)
    context = SelfContext(attention_mask(valid))
    turn = rotation(positions, rotary_frequencies(6, 50.0))
    variables = jax.eval_shape(layer.init, jax.random.key(0), x, context, None, turn)
    rng = np.random.default_rng(1)
    params = jax.tree.map(lambda s: rng.normal(size=s.shape).astype(np.float32), variables)
    params = jax.tree.map(np.asarray, _unbox(params))
    found, (key, value) = layer.apply(params, x, context, None, turn)

    p = jax.tree.map(torch.tensor, params["params"])
    states = torch.tensor(np.asarray(x))
    q, k, v = (
        torch.einsum("btd,dnh->btnh", states, p[name]["kernel"]) + p[name]["bias"]
        for name in ("query", "key", "value")
    )
    q, k = (torch.tensor(np.asarray(rotate(jnp.asarray(y.numpy()), turn))) for y in (q, k))
    np.testing.assert_allclose(key, k.numpy(), atol=1e-5)
    np.testing.assert_allclose(value, v.numpy(), atol=1e-5)
    out = p["out"]["bias"].expand(2, 5, 12).clone()
    for n in range(4):
        g = n * kv_heads // 4
        logits = torch.einsum("bth,bsh->bts", q[:, :, n], k[:, :, g]) / 6**0.5
        logits = logits.masked_fill(~torch.tensor(np.asarray(context.mask)), -torch.inf)
        out += torch.softmax(logits, -1) @ v[:, :, g] @ p["out"]["kernel"][n]
    np.testing.assert_allclose(found, out.numpy(), atol=2e-5, rtol=1e-5)


def _unbox(tree):
    return jax.tree.map(
        lambda leaf: getattr(leaf, "value", leaf), tree, is_leaf=lambda x: hasattr(x, "value")
    )
