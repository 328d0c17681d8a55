"""Objectives, draws, masks and settings that the neural sequential baselines share."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxrec.baselines.bert4rec import Bert4RecConfig, choose_masked
from jaxrec.baselines.caser import CaserConfig
from jaxrec.baselines.dros_config import dros
from jaxrec.baselines.fitting import shuffled_batches
from jaxrec.baselines.gru4rec import Gru4RecConfig
from jaxrec.baselines.negatives import Unseen
from jaxrec.baselines.sasrec import SasrecConfig
from jaxrec.baselines.sequential import _batches, make_model, scores
from jaxrec.baselines.sequential_loss import draw_items, prediction_losses, sequence_loss
from jaxrec.core import ConfigError, DataError
from jaxrec.data import Windows
from jaxrec.train import TrainConfig

ITEMS = 30


def reference(objective, states, table, bias, target, negative, drawn, log_q):
    """Losses by PyTorch, one prediction at a time."""
    torch = pytest.importorskip("torch")
    all_scores = torch.tensor(states @ table.T + bias)
    losses = []
    for m, t in enumerate(target):
        row = all_scores[m]
        if objective == "cross_entropy":
            loss = torch.nn.functional.cross_entropy(row, torch.tensor(int(t)))
        elif objective == "bce":
            chosen = torch.stack([row[t], *row[negative[m]]])
            labels = torch.tensor([1.0, *[0.0] * len(negative[m])])
            loss = torch.nn.functional.binary_cross_entropy_with_logits(
                chosen, labels, reduction="sum"
            )
        elif objective == "bpr":
            loss = -torch.nn.functional.logsigmoid(row[t] - row[negative[m]]).sum()
        else:
            others = [j for j in drawn if j != t]
            logits = [row[t], *(row[j] - log_q[j] - np.log(len(drawn)) for j in others)]
            zero = torch.tensor(0)
            loss = torch.nn.functional.cross_entropy(torch.stack(logits), zero)
        losses.append(float(loss))
    return losses


@pytest.mark.parametrize("objective", ["cross_entropy", "bce", "bpr", "sampled_softmax"])
def test_the_loss_of_each_prediction_equals_pytorch(objective):
    rng = np.random.default_rng(0)
    states, table = rng.normal(size=(6, 4)), rng.normal(size=(ITEMS, 4))
    states, table = states.astype(np.float32), table.astype(np.float32)
    bias = rng.normal(size=ITEMS).astype(np.float32)
    target, negative = rng.integers(0, ITEMS, 6), rng.integers(0, ITEMS, (6, 3))
    frequency = rng.integers(1, 9, ITEMS).astype(np.float32)
    key = jax.random.key(3)
    config = SasrecConfig(
        objective=objective,
        negatives=64 if objective == "sampled_softmax" else 3,
        proposal="popularity",
    )
    log_q = np.log(frequency / frequency.sum())
    drawn = np.asarray(draw_items(jnp.asarray(frequency), 64, key))
    assert objective != "sampled_softmax" or np.isin(target, drawn).any()
    arrays = (states, table, bias, target.astype(np.int32), negative.astype(np.int32), frequency)
    found = prediction_losses(config, *map(jnp.asarray, arrays), key)
    expected = reference(objective, states, table, bias, target, negative, drawn, log_q)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize("config", [SasrecConfig(dropout=0.0), Gru4RecConfig(dropout=0.0)])
def test_the_loss_of_a_batch_equals_pytorch_with_the_items_biases(config):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    tokens = rng.integers(2, 2 + ITEMS, (3, 6)).astype(np.int32)
    tokens[1, :3] = 0, 0, 1
    model = make_model(config, ITEMS)
    drawn = jax.jit(model.init)(jax.random.key(0), jnp.asarray(tokens[:, :-1]))
    params = jax.tree.map(
        lambda x: x + rng.normal(size=x.shape).astype(np.float32) / 4, nn.meta.unbox(drawn)
    )
    key = jax.random.key(1)
    loss = jax.jit(functools.partial(sequence_loss, config, model))
    found = loss(params, {"tokens": jnp.asarray(tokens)}, key)
    states, table, bias = (np.asarray(x) for x in jax.jit(model.apply)(params, tokens[:, :-1]))
    assert (np.abs(bias).max() > 0.1) == config.item_bias
    counts = tokens[:, 1:] >= 2
    scores, target = (states @ table.T + bias)[counts], tokens[:, 1:][counts] - 2
    expected = torch.nn.functional.cross_entropy(
        torch.tensor(scores), torch.tensor(target, dtype=torch.long), reduction="sum"
    )
    assert float(found.weight) == counts.sum()
    np.testing.assert_allclose(float(found.total), float(expected), rtol=1e-5)


def test_items_are_drawn_as_often_as_they_are_counted():
    counts = np.array([0, 3, 0, 1, 16, 0])
    drawn = np.asarray(draw_items(jnp.asarray(counts, jnp.float32), 40_000, jax.random.key(0)))
    found = np.bincount(drawn, minlength=6)
    assert (found[counts == 0] == 0).all()
    np.testing.assert_allclose(found / 40_000, counts / 20, atol=0.01)


def test_the_robust_term_is_added_with_its_weight():
    rng = np.random.default_rng(0)
    states, table = rng.normal(size=(2, 4)), rng.normal(size=(5, 4))
    frequency = np.array([3.0, 0.0, 1.0, 2.0, 4.0])
    arrays = [jnp.asarray(a, jnp.float32) for a in (states, table, np.zeros(5))]
    arrays += [jnp.array([1, 4]), None, jnp.asarray(frequency, jnp.float32), jax.random.key(0)]
    plain = prediction_losses(SasrecConfig(), *arrays)
    robust = prediction_losses(dros(SasrecConfig(), alpha=0.5, beta=2.0), *arrays)
    p = ((frequency + 1) / (frequency + 1).sum()) ** 0.05
    for row, t in enumerate((1, 4)):
        s = table @ states[row]
        inner = sum(np.exp(p[j] * s[j] ** 2 / 2) for j in range(5) if j != t)
        term = np.log(inner + np.exp(p[t] * (s[t] - 1) ** 2 / 2))
        assert float(robust[row] - plain[row]) == pytest.approx(0.5 * term, rel=1e-4)


def test_dros_without_weight_is_refused():
    with pytest.raises(ConfigError, match="alpha above 0, got 0"):
        dros(SasrecConfig(), alpha=0.0)


def test_negatives_are_items_that_the_user_never_met_and_all_of_them_come_up():
    histories = [
        np.array([1, 4, 4, 2]),
        np.array([0, 9, 8, 7, 6, 5, 3]),
        np.array([0, 1, 2, 3, 5, 7, 8, 9]),
    ]
    train = TrainConfig(batch_size=8, steps=1)
    config = SasrecConfig(max_items=3, objective="bce", negatives=5, train=train)
    windows = Windows.of(histories, length=3, seed=0)
    batches = iter(_batches(config, windows, 10)[0])
    free = [set(range(10)) - set(h.tolist()) for h in histories]
    drawn = [set() for _ in histories]
    for _ in range(40):
        batch = next(batches)
        for tokens, negative in zip(batch["tokens"], batch["negative"], strict=True):
            items = set((tokens[tokens >= 2] - 2).tolist())
            users = [u for u, h in enumerate(histories) if items <= set(h.tolist())]
            assert negative.shape == (3, 5)
            assert any(set(negative.ravel().tolist()) <= free[u] for u in users)
            if len(users) == 1:
                drawn[users[0]] |= set(negative.ravel().tolist())
    assert drawn == free


def test_unseen_items_are_drawn_evenly():
    histories = [np.array([9, 3, 4, 0, 3]), np.array([5]), np.arange(9)]
    unseen = Unseen(Windows.of(histories, length=2, seed=0), 10)
    drawn = unseen.draw(np.random.default_rng(0), np.array([0, 2, 1, 0]), 60_000)
    assert drawn.shape == (4, 60_000)
    for row, user in enumerate((0, 2, 1, 0)):
        free = np.setdiff1d(np.arange(10), histories[user])
        counts = np.bincount(drawn[row], minlength=10)
        assert counts[free].sum() == 60_000
        np.testing.assert_allclose(counts[free], 60_000 / len(free), rtol=0.06)
    with pytest.raises(DataError, match="user 1 has met all 3 items"):
        Unseen(Windows.of([np.array([0]), np.arange(3)], length=2, seed=0), 3)


def test_shuffled_batches_hold_every_example_once_an_epoch_and_resume():
    def make():
        return iter(shuffled_batches(7, 3, 5, lambda n, rng: {"n": n, "r": rng.random(3)}))

    batches = make()
    found = [next(batches) for _ in range(14)]
    numbers = np.concatenate([batch["n"] for batch in found]).reshape(6, 7)
    np.testing.assert_array_equal(np.sort(numbers, axis=1), np.tile(np.arange(7), (6, 1)))
    assert len(np.unique(numbers, axis=0)) > 1
    first, again = make(), make()
    for _ in range(4):
        next(first)
    again.set_state(first.get_state())
    np.testing.assert_array_equal(next(again)["r"], found[4]["r"])


def test_masks_are_of_the_share_asked_for_or_of_the_last_item_alone():
    # Rows of 0, 1, 4 and 10 items.
    valid = np.arange(10)[None] >= 10 - np.array([0, 1, 4, 10])[:, None]
    many = jnp.asarray(np.tile(valid, (500, 1)))
    chosen = np.asarray(choose_masked(many, 0.3, 0.0, jax.random.key(0))).reshape(500, 4, 10)
    assert not (chosen & ~valid).any()
    np.testing.assert_array_equal(chosen.sum(-1), np.tile([0, 1, 1, 3], (500, 1)))
    np.testing.assert_allclose(chosen[:, 3].mean(0), 0.3, atol=0.07)
    last = np.asarray(choose_masked(many, 0.3, 1.0, jax.random.key(0)))
    assert (last[:, -1] == many[:, -1]).all() and not last[:, :-1].any()
    some = np.asarray(choose_masked(many, 0.5, 0.25, jax.random.key(1))).reshape(500, 4, 10)
    alone = (some[:, 3].sum(-1) == 1).mean()  # five masks else
    assert alone == pytest.approx(0.25, abs=0.06)


def test_bert4rec_reads_masks_and_is_judged_at_them_alone():
    config = Bert4RecConfig(width=8, max_items=4, mask_share=0.5, last_share=0.0)
    tokens = jnp.array([[0, 1, 5, 6, 7], [1, 2, 3, 4, 5], [0, 0, 0, 0, 1]])
    read, target, counts = map(np.asarray, config.pairs(tokens, 9, jax.random.key(0)))
    np.testing.assert_array_equal(target, [[0, 5, 6, 7], [2, 3, 4, 5], [0, 0, 0, 0]])
    np.testing.assert_array_equal(read, np.where(counts, 11, target))
    np.testing.assert_array_equal(counts.sum(1), [2, 2, 0])
    query = config.query(tokens, 9)
    np.testing.assert_array_equal(query, [[5, 6, 7, 11], [3, 4, 5, 11], [0, 0, 0, 11]])


def test_padding_and_the_start_are_no_predictions():
    config = SasrecConfig(width=8, max_items=4)
    tokens = jnp.array([[0, 1, 5, 6, 7], [0, 0, 0, 0, 1]])
    read, target, counts = config.pairs(tokens, 9, jax.random.key(0))
    np.testing.assert_array_equal(read, tokens[:, :-1])
    np.testing.assert_array_equal(counts, [[0, 1, 1, 1], [0, 0, 0, 0]])
    assert (np.asarray(target)[np.asarray(counts)] >= 2).all()


_OWN = {"width": 8, "max_items": 4, "blocks": "sasrec", "depth": 1}


@pytest.mark.parametrize(
    "config",
    [
        Gru4RecConfig(width=8, max_items=4, dropout=0.5),
        SasrecConfig(**_OWN, dropout=0.5),
        SasrecConfig(**_OWN, dropout=0.0, attention_dropout=0.5),
        SasrecConfig(**_OWN, dropout=0.0, table_dropout=0.5),
    ],
)
def test_dropout_and_draws_follow_the_key(config):
    model = make_model(config, 9)
    tokens = jnp.array([[0, 1, 5, 6, 7], [1, 2, 3, 4, 5]])
    params = jax.jit(model.init)(jax.random.key(0), tokens)
    params = {**params, "fixed": {"frequency": jnp.ones(9)}}

    loss = jax.jit(functools.partial(sequence_loss, config, model))

    def total(seed):
        return float(loss(params, {"tokens": tokens}, jax.random.key(seed)).total)

    assert total(0) == total(0) != total(1)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SasrecConfig(width=0), r"sasrec\.width must be at least 1, got 0"),
        (lambda: Gru4RecConfig(depth=0), r"gru4rec\.depth must be at least 1, got 0"),
        (lambda: CaserConfig(image=3), r"caser\.heights must lie in 1 to caser\.image 3"),
        (lambda: Bert4RecConfig(mask_share=1.5), r"--bert4rec\.mask-share .* got 1\.5"),
        (lambda: SasrecConfig(dropout=1.0), r"sasrec\.dropout .* got 1\.0"),
        (lambda: SasrecConfig(table_dropout=-0.1), r"--sasrec\.table-dropout .* got -0\.1"),
        (lambda: SasrecConfig(attention_dropout=1.0), r"--sasrec\.attention-dropout .* got 1\.0"),
        (lambda: SasrecConfig(init_std=-1.0), r"--sasrec\.init-std must be at least 0, got -1"),
        (lambda: SasrecConfig(depth=0), r"sasrec\.depth must be at least 1, got 0"),
        (lambda: SasrecConfig(width=64, num_heads=3), r"width 64 is not a multiple of .* 3"),
        (lambda: SasrecConfig(robust_beta=0.0), r"--sasrec\.robust-beta must be above 0"),
    ],
)
def test_settings_without_meaning_are_refused(make, words):
    with pytest.raises(ConfigError, match=words):
        make()


@pytest.mark.parametrize("repeats", [False, True])
@pytest.mark.parametrize("proposal", ["uniform", "popularity"])
def test_the_history_counts_exactly_among_the_negatives(proposal, repeats):
    rng = np.random.default_rng(0)
    config = SasrecConfig(
        dropout=0.0,
        objective="sampled_softmax",
        negatives=40,
        proposal=proposal,
        history_negatives=True,
        repeat_bias=repeats,
    )
    tokens = rng.integers(2, 2 + ITEMS, (4, 7)).astype(np.int32)
    tokens[1, :3] = 0, 0, 1
    tokens[2] = [1, 2, 3, 2, 3, 3, 4]
    model = make_model(config, ITEMS)
    init = jax.jit(model.init)(jax.random.key(0), jnp.asarray(tokens[:, :-1]))
    params = jax.tree.map(lambda x: 3 * x, nn.meta.unbox(init))
    added = 0.0
    if repeats:
        params["params"]["items"]["repeat"] = jnp.float32(-0.1)
        added = -1.0
    frequency = rng.integers(1, 9, ITEMS).astype(np.float32)
    variables = params | {"fixed": {"frequency": jnp.asarray(frequency)}}
    key = jax.random.key(1)
    found = sequence_loss(config, model, variables, {"tokens": jnp.asarray(tokens)}, key)
    q = frequency if proposal == "popularity" else np.ones_like(frequency)
    log_q = np.log(q / q.sum())
    drawn = np.asarray(draw_items(jnp.asarray(q), 40, jax.random.split(key, 3)[2]))
    states, table, _ = (np.asarray(x) for x in model.apply(params, tokens[:, :-1]))
    expected, counts = 0.0, 0
    for row in range(len(tokens)):
        for place in range(tokens.shape[1] - 1):
            target = tokens[row, place + 1] - 2
            if target < 0:
                continue
            scores = table @ states[row, place]
            read = {t - 2 for t in tokens[row, : place + 1] if t >= 2}
            scores[list(read)] += added
            seen = read - {target}
            others = [j for j in drawn if j != target and j not in seen]
            terms = [scores[j] for j in (target, *seen)]
            terms += [scores[j] - log_q[j] - np.log(len(drawn)) for j in others]
            expected += np.logaddexp.reduce(np.float64(terms)) - scores[target]
            counts += 1
    assert float(found.weight) == counts
    np.testing.assert_allclose(float(found.total), expected, rtol=1e-5)


def test_the_bias_of_repeats_is_added_to_every_read_item_once():
    config = SasrecConfig(
        objective="sampled_softmax", history_negatives=True, repeat_bias=True, max_items=5
    )
    plain = dataclasses.replace(config, repeat_bias=False)
    model = make_model(config, ITEMS)
    init = jax.jit(model.init)(jax.random.key(0), jnp.ones((1, 3), jnp.int32))
    params = nn.meta.unbox(init) | {"fixed": {"frequency": jnp.ones(ITEMS)}}
    params["params"]["items"]["repeat"] = jnp.float32(0.2)
    history = np.array([[-1, 4, 3, 4], [0, 1, 2, 3], [-1, -1, -1, -1]])
    batch = {"history": history}
    found = scores(params, batch, config=config, num_items=ITEMS)
    without = scores(params, batch, config=plain, num_items=ITEMS)
    expected = np.zeros((3, ITEMS))
    expected[0, [3, 4]], expected[1, :4] = 2.0, 2.0
    np.testing.assert_allclose(np.asarray(found) - np.asarray(without), expected, atol=1e-5)
    with pytest.raises(ConfigError, match=r"sasrec\.repeat_bias .*history_negatives to true"):
        SasrecConfig(repeat_bias=True)


def test_negatives_from_the_history_need_sampled_softmax():
    with pytest.raises(ConfigError, match=r"sasrec\.history_negatives .* sampled_softmax"):
        SasrecConfig(history_negatives=True)


@pytest.mark.parametrize("repeats", [False, True])
def test_the_bias_rises_where_items_come_back_and_falls_elsewhere(repeats):
    config = SasrecConfig(
        width=8, objective="sampled_softmax", history_negatives=True, repeat_bias=True
    )
    items = [3, 5, 3, 5, 5, 3] if repeats else [0, 1, 2, 3, 4, 5]
    tokens = jnp.asarray([[0, 1, *(item + 2 for item in items)]], jnp.int32)
    model = make_model(config, ITEMS)
    init = nn.meta.unbox(jax.jit(model.init)(jax.random.key(0), tokens[:, :-1]))

    def total(params):
        variables = {"params": params, "fixed": {"frequency": jnp.ones(ITEMS)}}
        batch, key = {"tokens": tokens}, jax.random.key(1)
        return sequence_loss(config, model, variables, batch, key).total

    slope = jax.jit(jax.grad(total))(init["params"])["items"]["repeat"]
    assert (slope < 0) == repeats and abs(slope) > 0.1


@pytest.mark.parametrize("kind", [Bert4RecConfig, CaserConfig, Gru4RecConfig])
def test_every_network_learns_with_its_history_among_the_negatives(kind):
    config = kind(
        width=8,
        max_items=6,
        objective="sampled_softmax",
        negatives=4,
        history_negatives=True,
        repeat_bias=True,
    )
    tokens = jnp.asarray([[0, 1, 3, 5, 4, 6, 3], [1, 2, 3, 4, 5, 6, 7]], jnp.int32)
    model = make_model(config, ITEMS)
    init = nn.meta.unbox(jax.jit(model.init)(jax.random.key(0), tokens))
    variables = init | {"fixed": {"frequency": jnp.ones(ITEMS)}}
    found = sequence_loss(config, model, variables, {"tokens": tokens}, jax.random.key(1))
    assert found.weight > 0 and np.isfinite(float(found.total))
    with pytest.raises(ConfigError, match=r"history_negatives and \w+\.robust 0\.5"):
        dataclasses.replace(config, robust=0.5)
