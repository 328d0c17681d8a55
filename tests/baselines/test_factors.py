"""Matrix factorization and NeuMF against closed forms, hand gradients and PyTorch."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxrec.baselines import mf_als
from jaxrec.baselines.mf_bpr import BprConfig
from jaxrec.baselines.ncf import NeuMfConfig, fuse
from jaxrec.baselines.pairwise import _batches, fit_pairwise, scores
from jaxrec.core import ConfigError, DataError
from jaxrec.data import Windows
from jaxrec.train import TrainConfig, Validation

torch = pytest.importorskip("torch")

USERS, ITEMS = 25, 12
ALPHA, LAMBDA = 2.0, 4.0


@pytest.fixture
def train():
    """Histories of 1 to 39 items, some of them met several times."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, ITEMS - 1, n) for n in rng.integers(1, 40, USERS)]  # 11: never


def met(train):
    r = np.zeros((len(train), ITEMS))
    for user, items in enumerate(train):
        np.add.at(r[user], items, 1)
    return r


def closed_form(r, y):
    """Equation 4, with one dense solve per row in double precision."""
    found = np.zeros((len(r), y.shape[1]))
    for u, counts in enumerate(r):
        confidence = np.diag(1 + ALPHA * counts)
        left = y.T @ confidence @ y + LAMBDA * np.eye(y.shape[1])
        found[u] = np.linalg.solve(left, y.T @ confidence @ (counts > 0))
    return found


def test_each_half_step_of_als_equals_dense_solves_in_double_precision(train):
    # From our own values before it, as rounding errors of several steps would add up.
    r, settings = met(train), {"alpha": ALPHA, "regularization": LAMBDA, "width": 4, "seed": 2}
    width = max(map(len, train))
    entries = np.stack([np.pad(h, (width - len(h), 0), constant_values=-1) for h in train])
    y = 0.1 * jax.random.normal(jax.random.key(2), (ITEMS, 4))
    for iterations in (1, 2, 3, 8):
        if iterations > 1:
            y = mf_als.fit(train, ITEMS, iterations=iterations - 1, **settings)["items"]
        x = mf_als.solve(y, mf_als.gram(y), entries, ALPHA, LAMBDA)
        np.testing.assert_allclose(x, closed_form(r, np.asarray(y, float)), atol=1e-5)
        params = mf_als.fit(train, ITEMS, iterations=iterations, **settings)
        expected = closed_form(r.T, np.asarray(x, float))
        np.testing.assert_allclose(params["items"], expected, atol=1e-5)
        np.testing.assert_allclose(params["gram"], expected.T @ expected, atol=1e-4)


def test_als_scores_are_the_solution_for_the_user_of_any_history(train):
    params = mf_als.fit(train, ITEMS, width=4, alpha=ALPHA, regularization=LAMBDA)
    new = [np.array([3, 3, 5]), np.array([], int), np.array([0, 1, 2, 9, 10, 2])]
    history = np.stack([np.pad(h, (7 - len(h), 0), constant_values=-1) for h in new])
    found = mf_als.scores(params, {"history": history})
    y = np.asarray(params["items"], np.float64)
    np.testing.assert_allclose(found, closed_form(met(new), y) @ y.T, atol=1e-5)
    # The order of a history says nothing.
    turned = mf_als.scores(params, {"history": history[:, ::-1].copy()})
    np.testing.assert_allclose(turned, found, atol=1e-6)


def test_every_step_of_als_lowers_the_objective_that_it_minimizes(train):
    r = met(train)

    def objective(y):
        x = closed_form(r, y)
        error = ((1 + ALPHA * r) * ((r > 0) - x @ y.T) ** 2).sum()
        return error + LAMBDA * ((x**2).sum() + (y**2).sum())

    settings = {"width": 4, "alpha": ALPHA, "regularization": LAMBDA}
    values = [
        objective(np.asarray(mf_als.fit(train, ITEMS, iterations=n, **settings)["items"], float))
        for n in (1, 2, 4, 8)
    ]
    assert values == sorted(values, reverse=True) and values[0] > 1.001 * values[-1]


def test_als_in_batches_of_rows_is_als_at_once(train, monkeypatch):
    whole = mf_als.fit(train, ITEMS, width=4)["items"]
    monkeypatch.setattr(mf_als, "_GATHERED", 64 * 4 * 3)
    np.testing.assert_allclose(mf_als.fit(train, ITEMS, width=4)["items"], whole, atol=1e-5)


def test_als_refuses_settings_without_meaning(train):
    with pytest.raises(ConfigError, match=r"alpha 0"):
        mf_als.fit(train, ITEMS, alpha=0)
    with pytest.raises(DataError, match=r"item 12 is outside 0\.\.11"):
        mf_als.fit([np.array([12])], ITEMS)


def random_params(module, *arguments, scale=0.5):
    shapes = jax.eval_shape(module.init, jax.random.key(0), *arguments)
    leaves, tree = jax.tree.flatten(nn.meta.unbox(shapes))
    rng = np.random.default_rng(3)
    return tree.unflatten(
        [jnp.asarray(rng.normal(size=leaf.shape) * scale, jnp.float32) for leaf in leaves]
    )


def test_a_step_of_bpr_is_the_update_of_the_paper():
    config = BprConfig(width=3, regularization=0.2)
    module = config.build(4, 5)
    params = random_params(module, jnp.zeros(1, jnp.int32), jnp.zeros((1, 1), jnp.int32))
    u, i, j = 2, 1, 4

    def loss(p):
        arrays = (jnp.array([u]), jnp.array([i]), jnp.array([[j]]))
        return module.apply(p, *arrays, method=config.loss).sum()

    found = jax.jit(jax.grad(loss))(params)["params"]
    w, h, b = (np.asarray(params["params"][k], np.float64) for k in ("users", "items", "bias"))
    x = w[u] @ (h[i] - h[j]) + b[i] - b[j]
    slope = 1 / (1 + np.exp(x))  # e^-x / (1 + e^-x)
    # LearnBPR (figure 4) moves Θ by slope dx/dΘ - λ Θ, up; the loss's gradient is the opposite.
    expected = {name: np.zeros_like(value) for name, value in zip("whb", (w, h, b), strict=True)}
    expected["w"][u] = -slope * (h[i] - h[j]) + 0.2 * w[u]
    expected["h"][i] = -slope * w[u] + 0.2 * h[i]
    expected["h"][j] = slope * w[u] + 0.2 * h[j]
    expected["b"][i], expected["b"][j] = -slope + 0.2 * b[i], slope + 0.2 * b[j]
    for name, key in (("users", "w"), ("items", "h"), ("bias", "b")):
        np.testing.assert_allclose(found[name], expected[key], atol=1e-6)


def to_linear(ours):
    layer = torch.nn.Linear(*ours["kernel"].shape, bias="bias" in ours)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(np.asarray(ours["kernel"].T)))
        if "bias" in ours:
            layer.bias.copy_(torch.tensor(np.asarray(ours["bias"])))
    return layer


def by_torch(p, user, item, part, layers):
    """Equations 8, 10 and 12 with concatenated vectors, as the paper draws them."""
    vector = {k: torch.tensor(np.asarray(v)) for k, v in p.items() if not isinstance(v, dict)}
    score = vector["bias"].clone()
    if part != "mlp":
        product = vector["product_users"][user] * vector["product_items"][item]
        score = score + to_linear(p["product_out"])(product)
    if part != "gmf":
        first = {
            "kernel": np.concatenate([p["first_user"]["kernel"], p["first_item"]["kernel"]]),
            "bias": p["first_user"]["bias"],
        }
        x = torch.cat([vector["network_users"][user], vector["network_items"][item]])
        x = torch.relu(to_linear(first)(x))
        for n in range(layers - 1):
            x = torch.relu(to_linear(p[f"deeper_{n}"])(x))
        score = score + to_linear(p["network_out"])(x)
    return float(score.detach())


@pytest.mark.parametrize("part", ["neumf", "gmf", "mlp"])
def test_neumf_and_its_parts_equal_pytorch(part):
    config = NeuMfConfig(width=3, layers=2, part=part)
    module = config.build(4, 5)
    params = random_params(module, jnp.zeros(1, jnp.int32), jnp.zeros((1, 1), jnp.int32))
    found = scores(params, {"user": np.arange(4)}, config=config, num_users=4, num_items=5)
    some = jax.jit(module.apply)(params, jnp.array([3, 1]), jnp.array([[4, 0], [2, 2]]))
    expected = np.array(
        [[by_torch(params["params"], u, i, part, 2) for i in range(5)] for u in range(4)]
    )
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(some, expected[[[3, 3], [1, 1]], [[4, 0], [2, 2]]], atol=1e-5)


def test_the_loss_of_neumf_equals_pytorch():
    config = NeuMfConfig(width=3, layers=2, negatives=2)
    module = config.build(4, 5)
    params = random_params(module, jnp.zeros(1, jnp.int32), jnp.zeros((1, 1), jnp.int32))
    arrays = jnp.array([3, 0]), jnp.array([1, 2]), jnp.array([[0, 2], [4, 4]])

    @jax.jit
    def losses_and_scores(params):
        losses = module.apply(params, *arrays, method=config.loss)
        return losses, module.apply(params, jnp.arange(4), method="every")

    found, every = map(np.asarray, losses_and_scores(params))
    for row, (u, i, others) in enumerate(zip(*map(np.asarray, arrays), strict=True)):
        chosen = torch.tensor(every[u][[i, *others]])
        labels = torch.tensor([1.0, 0.0, 0.0])
        expected = torch.nn.functional.binary_cross_entropy_with_logits(
            chosen, labels, reduction="sum"
        )
        assert float(found[row]) == pytest.approx(float(expected), rel=1e-5)


def test_a_fused_neumf_scores_as_its_parts_do_on_average():
    parts = {}
    for part in ("gmf", "mlp"):
        config = NeuMfConfig(width=3, layers=2, part=part)
        module = config.build(4, 5)
        params = random_params(module, jnp.zeros(1, jnp.int32), jnp.zeros((1, 1), jnp.int32))
        user = {"user": np.arange(4)}
        score = scores(params, user, config=config, num_users=4, num_items=5)
        parts[part] = params["params"], np.asarray(score)
    both = fuse(parts["gmf"][0], parts["mlp"][0], 0.25)
    whole = NeuMfConfig(width=3, layers=2)
    found = scores({"params": both}, user, config=whole, num_users=4, num_items=5)
    np.testing.assert_allclose(found, 0.25 * parts["gmf"][1] + 0.75 * parts["mlp"][1], atol=1e-5)
    with pytest.raises(ConfigError, match=r"got 1\.5"):
        fuse(parts["gmf"][0], parts["mlp"][0], 1.5)


def test_negatives_of_an_interaction_are_all_items_that_its_user_never_met_evenly(train):
    config = BprConfig(negatives=6, train=TrainConfig(batch_size=50, steps=1))
    windows = Windows.of(train, length=1, seed=0)
    batches = iter(_batches(config, windows, ITEMS))
    counts, positive = np.zeros((USERS, ITEMS)), np.zeros((USERS, ITEMS))
    for _ in range(300):
        batch = next(batches)
        np.add.at(counts, (batch["user"][:, None], batch["negative"]), 1)
        np.add.at(positive, (batch["user"], batch["item"]), 1)
    seen = met(train) > 0
    assert (counts[seen] == 0).all() and (positive[~seen] == 0).all()
    for user in range(USERS):
        free = counts[user][~seen[user]]
        assert np.abs(free - free.mean()).max() < 5 * np.sqrt(free.mean())
    assert (positive[seen] > 0).all()


@pytest.mark.parametrize("make", [BprConfig, NeuMfConfig])
def test_learns_which_half_of_the_catalogue_a_user_likes(make, tmp_path):
    rng = np.random.default_rng(0)
    likes = [np.arange(10), np.arange(10, 20)]
    train = [rng.permutation(likes[user % 2])[:7] for user in range(60)]
    settings = TrainConfig(
        steps=200, batch_size=64, lr=2e-2, warmup_steps=5, weight_decay=0.0, eval_every=200
    )
    config = dataclasses.replace(make(train=settings), width=8)
    shape = {"config": config, "num_users": 60, "num_items": 20}
    score = jax.jit(functools.partial(scores, **shape))

    def right(params):
        found = np.array(score(params, {"user": np.arange(60)}))
        for user, items in enumerate(train):
            found[user, items] = -np.inf
        best = np.argsort(-found, axis=1)[:, :3]
        return float(((best < 10) == (np.arange(60) % 2 == 0)[:, None]).mean())

    validation = Validation(lambda p: {"ndcg@10": right(p)})
    result = fit_pairwise(config, train, 20, validation, tmp_path)
    assert right(result.params) > 0.8  # by chance 3 of 13


def test_a_user_who_met_everything_has_no_negatives(tmp_path):
    with pytest.raises(DataError, match="met all 2 items"):
        fit_pairwise(BprConfig(), [np.array([0, 1])], 2, Validation(lambda p: {}), tmp_path)


def test_settings_of_pairs_without_meaning_are_refused():
    with pytest.raises(ConfigError, match=r"bpr\.negatives must be at least 1, got 0"):
        BprConfig(negatives=0)
    with pytest.raises(ConfigError, match=r"neumf\.layers must be at least 1, got 0"):
        NeuMfConfig(layers=0)
