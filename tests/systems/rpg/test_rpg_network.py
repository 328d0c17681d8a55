"""RPG's network against PyTorch forms of its equations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxrec.nn import mean_of_codes
from jaxrec.systems.rpg.config import NetworkConfig
from jaxrec.systems.rpg.network import FIXED, RpgNetwork, next_codes, rpg_loss

torch = pytest.importorskip("torch")

ITEMS, LEVELS, SIZE, WIDTH = 11, 3, 5, 8
CONFIG = NetworkConfig(width=WIDTH, depth=1, num_heads=2, mlp_width=12, max_items=4)
HISTORY = np.array([[-1, -1, 3, 1], [0, 4, 2, 9], [-1, 10, 5, 5]], np.int32)


def network(seed=0, heads=True):
    model = RpgNetwork(CONFIG, LEVELS, SIZE)
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, SIZE, (ITEMS, LEVELS))
    shapes = jax.eval_shape(
        model.init, jax.random.key(0), jnp.asarray(codes)[None, :4], jnp.ones((1, 4), bool)
    )
    leaves, tree = jax.tree.flatten(nn.meta.unbox(shapes))
    values = [jnp.asarray(rng.normal(size=leaf.shape) * 0.4, jnp.float32) for leaf in leaves]
    params = tree.unflatten(values)["params"]
    if not heads:
        params |= {name: jnp.zeros_like(params[name]) for name in ("heads", "head_bias")}
    return model, {"params": params, FIXED: {"codes": jnp.asarray(codes, jnp.uint8)}}


def in_torch(model, variables, history, heads=True):
    """Log-probabilities [L, C] after one history without padding, as the equations are read."""
    p = jax.tree.map(lambda x: torch.tensor(np.asarray(x)), variables["params"])
    codes = np.asarray(variables[FIXED]["codes"]).astype(int)
    items = torch.stack(
        [torch.stack([p["table"][j, codes[i, j]] for j in range(LEVELS)]).mean(0) for i in history]
    )
    # The decoder has a test of its own (against transformers); here it is given.
    valid = jnp.ones((1, len(history)), bool)
    padded = jnp.asarray(items.numpy())[None]
    h = model.bind({"params": variables["params"]}).body(padded, valid)[0, -1]
    h = torch.tensor(np.asarray(h))
    rows = []
    for j in range(LEVELS):
        z = h
        if heads:
            z = h + torch.nn.functional.silu(h @ p["heads"][j] + p["head_bias"][j])
        cosine = torch.nn.functional.cosine_similarity(z[None], p["table"][j], dim=-1)
        rows.append(torch.log_softmax(cosine / CONFIG.temperature, -1))
    return torch.stack(rows).numpy()


@pytest.mark.variants(1)
@pytest.mark.parametrize("heads", [True, False])
def test_log_probabilities_are_those_of_the_equations_whatever_the_padding(heads):
    model, variables = network(heads=heads)
    found = jax.jit(next_codes, static_argnums=0)(model, variables, HISTORY)
    assert found.shape == (3, LEVELS, SIZE)
    for row, history in zip(np.asarray(found), HISTORY, strict=True):
        # Without heads z = h, which is where training begins.
        expected = in_torch(model, variables, history[history >= 0], heads)
        np.testing.assert_allclose(row, expected, atol=2e-4)


def test_the_loss_is_the_mean_over_places_at_every_item_after_the_first():
    model, variables = network()
    plain = model.clone(
        config=NetworkConfig(
            **{
                name: getattr(CONFIG, name)
                for name in ("width", "depth", "num_heads", "mlp_width", "max_items")
            },
            dropout=0.0,
            attention_dropout=0.0,
        )
    )
    run = jax.jit(rpg_loss, static_argnums=0)
    rows = np.concatenate([HISTORY, [[7], [8], [-1]]], axis=1).astype(np.int32)
    rows[2] = [-1, -1, 10, 5, 6]
    loss = run(plain, variables, rows, jax.random.key(0))
    codes = np.asarray(variables[FIXED]["codes"]).astype(int)
    total, count = 0.0, 0
    for row in rows:
        items = row[row >= 0]
        for end in range(1, len(items)):
            logs = in_torch(plain, variables, items[:end])
            total -= np.mean([logs[j, codes[items[end], j]] for j in range(LEVELS)])
            count += 1
    assert int(loss.weight) == count == 8
    assert float(loss.total) == pytest.approx(total, rel=1e-4)
    # Dropout changes the loss, so that it is applied.
    dropped = run(model, variables, rows, jax.random.key(0))
    assert abs(float(dropped.total) - total) > 1e-2


def test_the_gradient_of_the_loss_is_that_of_all_places_at_once():
    model, variables = network()
    rng = np.random.default_rng(2)
    states = jnp.asarray(rng.normal(size=(6, WIDTH)), jnp.float32)
    codes = jnp.asarray(rng.integers(0, SIZE, (6, LEVELS)))

    def by_place(params):
        return model.apply({"params": params}, states, codes, method="losses").sum()

    def at_once(params):
        logs = model.apply({"params": params}, states, method="log_probs")
        return -jnp.take_along_axis(logs, codes[:, :, None], axis=2)[:, :, 0].mean(1).sum()

    found, expected = (jax.jit(jax.grad(f))(variables["params"]) for f in (by_place, at_once))
    for name in ("table", "heads", "head_bias"):
        assert np.abs(expected[name]).max() > 0
        np.testing.assert_allclose(found[name], expected[name], atol=1e-5)


def test_the_mean_of_codes_and_its_gradient_are_those_of_pytorch():
    rng = np.random.default_rng(3)
    table = rng.normal(size=(LEVELS, SIZE, WIDTH)).astype(np.float32)
    codes = rng.integers(0, SIZE, (4, 6, LEVELS))
    weight = rng.normal(size=(4, 6, WIDTH)).astype(np.float32)
    theirs = torch.tensor(table, requires_grad=True)
    mean = torch.stack([theirs[j, codes[..., j]] for j in range(LEVELS)]).mean(0)
    (mean * torch.tensor(weight)).sum().backward()
    np.testing.assert_allclose(
        jax.jit(mean_of_codes)(table, codes), mean.detach().numpy(), atol=1e-6
    )
    slope = jax.jit(jax.grad(lambda t, c: (mean_of_codes(t, c) * weight).sum()))(table, codes)
    np.testing.assert_allclose(slope, theirs.grad.numpy(), atol=1e-5)
