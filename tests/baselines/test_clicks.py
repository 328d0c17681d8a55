"""Click mode: losses by hand, the inputs of the score, and learning from feedback."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxrec.baselines.bert4rec import Bert4RecConfig
from jaxrec.baselines.caser import CaserConfig
from jaxrec.baselines.clicks import Clicks, click_loss, click_scores, fit_clicks
from jaxrec.baselines.dros_config import dros
from jaxrec.baselines.gru4rec import Gru4RecConfig
from jaxrec.baselines.item_table import DISLIKED, LIKED, UNKNOWN
from jaxrec.baselines.sasrec import SasrecConfig
from jaxrec.baselines.sequential import make_model, scores
from jaxrec.core import DataError
from jaxrec.data import ClickWindows
from jaxrec.eval.clicks import pooled_auc
from jaxrec.train import TrainConfig, Validation

ITEMS = 12
SIZES = {"width": 8, "max_items": 5, "dropout": 0.0}
CONFIGS = {
    "gru4rec": Gru4RecConfig(**SIZES),
    "caser": CaserConfig(**SIZES, image=4),
    "sasrec": SasrecConfig(**SIZES),
    "bert4rec": Bert4RecConfig(**SIZES),
}
score = jax.jit(click_scores, static_argnames=("config", "num_items"))
score_all = jax.jit(scores, static_argnames=("config", "num_items"))
click_loss_of = jax.jit(click_loss, static_argnums=(0, 1))


def examples(count=400, seed=0):
    """Users who like either even or odd items; the feedback of a history tells which."""
    rng = np.random.default_rng(seed)
    kind, length = rng.integers(0, 2, count), rng.integers(1, 6, count)
    history = rng.integers(0, ITEMS, (count, 5))
    history = np.where(np.arange(5)[None] >= 5 - length[:, None], history, -1)
    liked = np.where(history % 2 == kind[:, None], LIKED, DISLIKED)
    target = rng.integers(0, ITEMS, count)
    return Clicks(
        history=history.astype(np.int32),
        feedback=np.where(history >= 0, liked, UNKNOWN).astype(np.int32),
        target=target.astype(np.int32),
        label=target % 2 == kind,
    )


def random_variables(config, feedback=True):
    model = make_model(config, ITEMS, feedback=feedback)
    tokens = config.query(jnp.ones((1, 6), jnp.int32), ITEMS)
    shapes = jax.eval_shape(model.init, jax.random.key(0), tokens, tokens)
    rng = np.random.default_rng(1)
    variables = jax.tree.map(
        lambda s: jnp.asarray(0.6 * rng.normal(size=s.shape), jnp.float32), nn.meta.unbox(shapes)
    )
    return model, {**variables, "fixed": {"frequency": jnp.arange(ITEMS, dtype=jnp.float32)}}


@pytest.mark.parametrize("name", CONFIGS)
def test_the_score_is_that_of_the_target_in_the_ranking_of_the_same_history(name):
    config, batch = CONFIGS[name], examples(6).take(np.arange(6))
    _, variables = random_variables(config, feedback=False)
    found = score(variables, batch, config=config, num_items=ITEMS)
    every = np.asarray(score_all(variables, batch, config=config, num_items=ITEMS))
    np.testing.assert_allclose(found, every[np.arange(6), batch["target"]], atol=1e-5)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_liking_of_each_item_is_read_beside_that_item(name):
    config = CONFIGS[name]
    _, variables = random_variables(config)
    batch = examples(6).take(np.arange(6))
    changed = {**batch, "feedback": np.where(batch["feedback"] == LIKED, DISLIKED, LIKED)}
    changed["feedback"] = np.where(batch["history"] >= 0, changed["feedback"], UNKNOWN)
    found = np.asarray(score(variables, batch, config=config, num_items=ITEMS))
    other = np.asarray(score(variables, changed, config=config, num_items=ITEMS))
    assert (np.abs(found - other) > 1e-4).all()
    # What stands beside padding, or beyond the items that are read, is not.
    beyond = {**batch, "history": np.pad(batch["history"], ((0, 0), (2, 0)), constant_values=3)}
    full = (batch["history"] >= 0).all(1)
    assert full.any()
    for extra in (LIKED, DISLIKED):
        beyond["feedback"] = np.pad(batch["feedback"], ((0, 0), (2, 0)), constant_values=extra)
        longer = np.asarray(score(variables, beyond, config=config, num_items=ITEMS))
        np.testing.assert_allclose(longer[full], found[full], atol=1e-5)


def test_the_loss_is_binary_cross_entropy_of_the_labels_as_in_pytorch():
    torch = pytest.importorskip("torch")
    config = CONFIGS["gru4rec"]
    model, variables = random_variables(config)
    batch = examples(8).take(np.arange(8))
    logits = np.asarray(score(variables, batch, config=config, num_items=ITEMS))
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        torch.tensor(logits), torch.tensor(batch["label"].astype(np.float32)), reduction="sum"
    )
    loss = jax.jit(functools.partial(click_loss, config, model))
    found = loss(variables, batch, jax.random.key(0))
    assert float(found.total) == pytest.approx(float(expected), rel=1e-5)
    assert float(found.weight) == 8


def test_the_robust_term_counts_liked_targets_alone():
    config = dros(CONFIGS["gru4rec"], alpha=0.5)
    model, variables = random_variables(config)
    batch = examples(8).take(np.arange(8))
    totals = [
        float(click_loss_of(c, model, variables, batch, jax.random.key(0)).total)
        for c in (config, CONFIGS["gru4rec"])
    ]
    # Without likes known the ranking gives the scores of all items; here they are those of the
    # same states, one target after the other.
    every = np.stack(
        [
            score(variables, {**batch, "target": np.full(8, j)}, config=config, num_items=ITEMS)
            for j in range(ITEMS)
        ],
        axis=1,
    ).astype(np.float64)
    p = ((np.arange(ITEMS) + 1) / (np.arange(ITEMS) + 1).sum()) ** 0.05
    terms = []
    for s, t in zip(every, batch["target"], strict=True):
        inner = sum(np.exp(p[j] * s[j] ** 2) for j in range(ITEMS) if j != t)
        terms.append(np.log(inner + np.exp(p[t] * (s[t] - 1) ** 2)))
    expected = 0.5 * np.array(terms)[batch["label"]].sum()
    assert totals[0] - totals[1] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", ["gru4rec", pytest.param("sasrec", marks=pytest.mark.slow)])
def test_learns_a_taste_that_only_the_likes_of_a_history_tell(name, tmp_path):
    settings = TrainConfig(
        steps=300, batch_size=64, lr=1e-2, warmup_steps=10, weight_decay=0.0, eval_every=300
    )
    config = dataclasses.replace(CONFIGS[name], train=settings)
    held = examples(300, seed=1)

    def auc(params):
        batch = held.take(np.arange(len(held)))
        found = score(params, batch, config=config, num_items=ITEMS)
        return {"auc": pooled_auc(held.label, np.asarray(found))}

    train = examples(2000)
    validation = Validation(auc, "auc")
    told = fit_clicks(config, train, ITEMS, validation, tmp_path / "told")
    assert told.metrics["auc"] > 0.9
    if name == "gru4rec":
        blind = fit_clicks(config, train, ITEMS, validation, tmp_path / "blind", feedback=False)
        assert blind.metrics["auc"] < 0.6
        assert "feedback" not in blind.params["params"]["items"]


def test_arrays_that_do_not_belong_together_are_refused():
    clicks = examples(4)
    with pytest.raises(DataError, match="do not belong together"):
        dataclasses.replace(clicks, label=clicks.label[:3])


def test_no_examples_are_refused(tmp_path):
    none = Clicks(**examples(4).take(np.arange(0)))
    with pytest.raises(DataError, match="no examples to train on"):
        fit_clicks(CONFIGS["gru4rec"], none, ITEMS, Validation(lambda p: {}), tmp_path)


def test_padding_of_short_histories_has_no_opinion():
    windows = ClickWindows(
        user=np.zeros(1, np.int32),
        history=np.array([[-1, 4, 7]], np.int32),
        liked=np.array([[False, True, False]]),
        target=np.array([2], np.int32),
        label=np.array([True]),
    )
    assert Clicks.of(windows).feedback.tolist() == [[UNKNOWN, LIKED, DISLIKED]]
