import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.nn import (
    Attention,
    ScoreTerms,
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


def _torch_attention(torch, query, key, value, mask, bias=None, cap=None, kept=None, longest=None):
    """The formula on float64 tensors `[B, T, N, H]`; `kept` is 0 or 1 / (1 - rate) per weight.

    With `longest` it is that of HSTU.
    """
    groups = query.shape[2] // key.shape[2]
    key, value = (x.repeat_interleave(groups, dim=2) for x in (key, value))
    scores = torch.einsum("btnh,bsnh->bnts", query, key)
    scores = scores if cap is None else cap * torch.tanh(scores / cap)
    scores = scores if bias is None else scores + bias
    if longest is None:
        weights = torch.softmax(scores.masked_fill(~mask[:, None], -torch.inf), -1)
    else:
        weights = torch.nn.functional.silu(scores) * mask[:, None] / longest
    weights = weights if kept is None else weights * kept
    return torch.einsum("bnts,bsnh->btnh", weights, value)


@pytest.mark.parametrize("longest", [None, 11], ids=["softmax", "pointwise"])
@pytest.mark.parametrize("causal", [True, False], ids=["causal", "full"])
@pytest.mark.parametrize(
    ("cap", "bias_rows"), [(None, None), (1.5, None), (None, 1), (1.5, 2)], ids=str
)
@pytest.mark.variants(5)
def test_gradients_equal_those_of_torch(causal, cap, bias_rows, longest, monkeypatch):
    # Blocks of three rows: the causal form of seven tokens has a full, a middle and a short one.
    torch = pytest.importorskip("torch")
    monkeypatch.setattr("jaxrec.nn.dot_product.ROWS", 3)
    query, key, value, mask = _inputs(4, 2, batch=2, targets=7, sources=7)
    seen = mask | np.eye(7, dtype=bool)
    allowed = np.tril(np.ones((1, 7, 7), bool)) if causal else np.ones((1, 7, 7), bool)
    rng = np.random.default_rng(3)
    weight = rng.normal(size=query.shape).astype(np.float32)
    arrays = [query, key, value]
    if bias_rows:
        arrays.append(rng.normal(size=(bias_rows, 4, 7, 7)).astype(np.float32))

    tensors = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in arrays]
    bias = tensors[3] if bias_rows else None
    theirs = _torch_attention(
        torch, *tensors[:3], torch.tensor(seen & allowed), bias, cap, longest=longest
    )
    (torch.tanh(theirs) * torch.tensor(weight)).sum().backward()

    def outputs(query, key, value, bias=None):
        terms = ScoreTerms(bias=bias, softcap=cap, allowed=jnp.asarray(allowed), pointwise=longest)
        return dot_product_attention(query, key, value, jnp.asarray(seen), terms, causal)

    def loss(*arrays):
        return (jnp.tanh(outputs(*arrays)) * weight).sum()

    ours = [jnp.asarray(x) for x in arrays]
    np.testing.assert_allclose(outputs(*ours), theirs.detach().numpy(), atol=1e-5)
    gradients = jax.grad(loss, tuple(range(len(ours))))(*ours)
    for found, tensor in zip(gradients, tensors, strict=True):
        np.testing.assert_allclose(found, tensor.grad.numpy(), atol=1e-5)


def test_gradients_under_dropout_equal_those_of_torch_with_the_same_mask():
    torch = pytest.importorskip("torch")
    query, key, value, _ = _inputs(4, 2, batch=2, targets=6, sources=6, size=6)
    mask = np.broadcast_to(np.tril(np.ones((6, 6), bool)), (2, 6, 6))
    rate, seed = 0.4, jnp.array([3, 8], jnp.uint32)
    terms = ScoreTerms(dropout=seed, dropout_rate=rate)

    def attend(query, key, value):
        return dot_product_attention(query, key, value, jnp.asarray(mask), terms)

    # With a unit matrix as values the output is the dropped weights: [B, T, N, S].
    unit = jnp.broadcast_to(jnp.eye(6)[:, None], (2, 6, 2, 6))
    dropped = np.asarray(attend(jnp.asarray(query), jnp.asarray(key), unit))
    kept = torch.tensor(np.moveaxis(dropped, 2, 1) > 0).double() / (1 - rate)
    seen = np.broadcast_to(mask[:, None], kept.shape)
    assert 0.4 < (kept.numpy() > 0)[seen].mean() < 0.8

    tensors = [
        torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (query, key, value)
    ]
    theirs = _torch_attention(torch, *tensors, torch.tensor(np.array(mask)), kept=kept)
    torch.tanh(theirs).sum().backward()
    arrays = tuple(jnp.asarray(x) for x in (query, key, value))
    np.testing.assert_allclose(attend(*arrays), theirs.detach().numpy(), atol=1e-5)
    gradients = jax.grad(lambda *a: jnp.tanh(attend(*a)).sum(), (0, 1, 2))(*arrays)
    for found, tensor in zip(gradients, tensors, strict=True):
        np.testing.assert_allclose(found, tensor.grad.numpy(), atol=1e-5)


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
