"""Item vectors from ID codes: values, assignment, cosine scores and frozen parts."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxrec.baselines.code_table import CodeTable, code_arrays, matched, take_codes
from jaxrec.baselines.sasrec import SasrecConfig
from jaxrec.baselines.sequential import fit_sequential, fixed_arrays, make_model, scores
from jaxrec.baselines.sequential_loss import sequence_loss
from jaxrec.core import ConfigError
from jaxrec.data import Buckets, Windows
from jaxrec.ids import ItemCodes
from jaxrec.objectives import semi_synthetic
from jaxrec.testing import tiny_interactions
from jaxrec.train import Start, TrainConfig, Validation

ITEMS = 12


def codes_of(sizes=(4, 3, 5), seed=0):
    rng = np.random.default_rng(seed)
    return ItemCodes(codes=rng.integers(0, sizes, (ITEMS, len(sizes))), sizes=sizes, scheme="test")


def variables_of(model, tokens, fixed, seed=0):
    made = jax.eval_shape(
        lambda key: model.apply({"fixed": fixed}, tokens, rngs={"params": key}, mutable=["params"]),
        jax.random.key(0),
    )[1]
    rng = np.random.default_rng(seed)
    leaves, tree = jax.tree.flatten(nn.meta.unbox(made["params"]))
    values = [jnp.asarray(rng.normal(size=leaf.shape), jnp.float32) for leaf in leaves]
    return {"params": tree.unflatten(values), "fixed": fixed}


def build(codes, **settings):
    config = SasrecConfig(width=8, depth=1, max_items=5, dropout=0.0, **settings)
    fixed = jax.tree.map(jnp.asarray, fixed_arrays(ITEMS, np.ones(ITEMS), None, codes))
    model = make_model(config, ITEMS, kind="codes")
    tokens = jnp.asarray([[0, 1, 4, 9, 2], [1, 3, 3, 13, 5]])
    return config, model, tokens, variables_of(model, tokens, fixed)


def test_an_item_is_the_mean_of_its_codes_in_their_own_segments():
    codes = codes_of()
    _, model, tokens, variables = build(codes)
    table = np.asarray(variables["params"]["items"]["coded"]["table"])
    assert table.shape == (3, 5, 8)
    by_hand = np.stack(
        [np.mean([table[l, c] for l, c in enumerate(row)], 0) for row in codes.codes]
    )
    _, scored, bias = model.apply(variables, tokens)
    np.testing.assert_allclose(scored, by_hand, rtol=1e-5, atol=1e-6)
    assert (np.asarray(bias) == 0).all()
    read = model.apply(variables, tokens, method=lambda m, t: m.items(t))
    np.testing.assert_allclose(read[0, 2], by_hand[2], rtol=1e-5, atol=1e-6)
    assert (np.asarray(read)[0, 0] == 0).all()
    special = variables["params"]["items"]["special"]
    np.testing.assert_allclose(read[0, 1], special[1], rtol=1e-6)


def test_items_with_one_id_tie():
    same = dataclasses.replace(codes_of(), codes=np.tile(codes_of().codes[:6], (2, 1)))
    config, _, _, variables = build(same)
    history = {"history": np.array([[1, 2, 3]])}
    found = np.asarray(scores(variables, history, config=config, num_items=ITEMS))
    np.testing.assert_array_equal(found[:, :6], found[:, 6:])


def test_scores_with_a_temperature_are_cosines_over_it():
    codes = codes_of()
    config, _, _, variables = build(codes, temperature=0.07)
    plain = dataclasses.replace(config, temperature=0.0)
    history = {"history": np.array([[1, 2, 3], [-1, 0, 5]])}
    model, tokens = (
        make_model(plain, ITEMS, kind="codes"),
        jnp.asarray([[0, 0, 1, 3, 4, 5], [0, 0, 0, 1, 2, 7]]),
    )
    states, table, _ = map(np.asarray, model.apply(variables, tokens))
    state = states[:, -1]
    cosine = (state / np.linalg.norm(state, axis=1, keepdims=True)) @ (
        table / np.linalg.norm(table, axis=1, keepdims=True)
    ).T
    found = scores(variables, history, config=config, num_items=ITEMS)
    np.testing.assert_allclose(found, cosine / 0.07, rtol=1e-4, atol=1e-4)


def test_the_contrastive_loss_of_a_batch_is_the_sum_over_its_predictions():
    codes = codes_of()
    config, model, tokens, variables = build(codes, temperature=0.5, objective="contrastive")
    key, batch = jax.random.key(0), {"tokens": tokens}
    loss = jax.jit(functools.partial(sequence_loss, config, model))(variables, batch, key)
    states, table, _ = map(np.asarray, model.apply(variables, tokens[:, :-1]))
    target = np.asarray(tokens)[:, 1:]
    rows = [(states[b, t], target[b, t] - 2) for b, t in np.argwhere(target >= 2)]
    total = 0.0
    for state, item in rows:
        negatives = [table[other] for _, other in rows if other != item]
        logits = np.array([state @ v for v in (table[item], *negatives)])
        total += np.log(np.exp(logits).sum()) - logits[0]
    assert len({item for _, item in rows}) < len(rows)
    assert float(loss.weight) == len(rows)
    assert float(loss.total) == pytest.approx(total, rel=1e-4)
    with_fakes = dataclasses.replace(config, synthetic=0.75)
    more = jax.jit(functools.partial(sequence_loss, with_fakes, model))(variables, batch, key)
    # One more negative of each prediction, its target with some codes redrawn.
    draw = jax.random.split(key, 3)[2]
    at = np.maximum(target.ravel() - 2, 0)
    sizes = jnp.asarray(codes.sizes, jnp.int32)
    fake_codes = np.asarray(semi_synthetic(jnp.asarray(codes.codes)[at], sizes, 0.75, draw))
    embeddings = np.asarray(variables["params"]["items"]["coded"]["table"])
    fakes = np.stack([np.mean([embeddings[l, c] for l, c in enumerate(r)], 0) for r in fake_codes])
    fakes /= np.linalg.norm(fakes, axis=1, keepdims=True)
    fakes = fakes[target.ravel() >= 2]
    total = 0.0
    for (state, item), fake in zip(rows, fakes, strict=True):
        negatives = [table[other] for _, other in rows if other != item]
        logits = np.array([state @ v for v in (table[item], *negatives, fake)])
        total += np.log(np.exp(logits).sum()) - logits[0]
    assert float(more.total) == pytest.approx(total, rel=1e-4)


def test_an_assigned_table_reads_the_rows_that_its_assignment_picks():
    codes = codes_of((4, 4, 4))
    fixed = {"fixed": jax.tree.map(jnp.asarray, code_arrays(codes))}
    rng = np.random.default_rng(0)
    table = jnp.asarray(rng.normal(size=(3, 4, 6)), jnp.float32)
    picks = np.array([[2, 0, 3, 1], [0, 1, 2, 3], [3, 2, 1, 0]])
    assign = jnp.asarray(20.0 * (picks[..., None] == np.arange(4)), jnp.float32)
    params = {"params": {"table": table, "assign": assign}} | fixed
    found = CodeTable(6, assigned=True).apply(params)
    by_hand = np.stack(
        [np.mean([table[l, picks[l, c]] for l, c in enumerate(row)], 0) for row in codes.codes]
    )
    np.testing.assert_allclose(found, by_hand, rtol=1e-5, atol=1e-6)
    folded = CodeTable(6).apply({"params": take_codes(params["params"])} | fixed)
    np.testing.assert_allclose(folded, by_hand, rtol=1e-5, atol=1e-6)
    # Noise is drawn once a step: two readings agree, two steps do not.
    flat = {"params": {"table": table, "assign": jnp.zeros((3, 4, 4))}} | fixed

    def twice(key):
        return CodeTable(6, assigned=True).apply(
            flat, rngs={"dropout": key}, method=lambda m: (m(), m())
        )

    one, other = twice(jax.random.key(0)), twice(jax.random.key(1))
    np.testing.assert_array_equal(*one)
    assert np.abs(np.asarray(one[0] - other[0])).max() > 0.01


def test_an_assignment_can_begin_where_most_items_agree():
    new, old = (
        np.array([[0, 1], [0, 1], [0, 0], [2, 1]]),
        np.array([[1, 1], [1, 2], [2, 0], [0, 1]]),
    )
    logits = matched(new, old, 3)
    counts = np.zeros((2, 3, 3))
    for a, b in zip(new, old, strict=True):
        for level in range(2):
            counts[level, a[level], b[level]] += 1
    np.testing.assert_allclose(logits, np.log(counts + 0.1), rtol=1e-6)
    assert logits[0, 0].argmax() == 1


def test_held_parameters_stay_and_the_others_move(tmp_path):
    data = tiny_interactions(users=40, items=ITEMS)
    train = TrainConfig(steps=4, batch_size=8, lr=1e-2, warmup_steps=0, eval_every=2)
    config = SasrecConfig(width=8, depth=1, max_items=6, dropout=0.0, temperature=0.1, train=train)
    fit = functools.partial(
        fit_sequential,
        num_items=ITEMS,
        validation=Validation(lambda params: {"ndcg@10": 0.0}),
        codes=codes_of((4, 4, 4)),
    )
    first_result = fit(config, data.sequences(), directory=tmp_path / "a").params
    first = first_result["params"]
    items = first["items"]
    held = {"body": first["body"], "items": items}
    logits = np.random.default_rng(0).normal(size=(3, 4, 4)).astype(np.float32)
    second = fit(
        config,
        data.sequences(),
        directory=tmp_path / "b",
        assigned=True,
        start=Start(
            params=lambda: {"items": {"coded": {"assign": jnp.asarray(logits)}}}, frozen=held
        ),
    )
    again = second.params["params"]
    jax.tree.map(np.testing.assert_array_equal, again["body"], first["body"])
    np.testing.assert_array_equal(again["items"]["coded"]["table"], items["coded"]["table"])
    assert np.abs(np.asarray(again["items"]["coded"]["assign"]) - logits).max() > 1e-3
    # Scoring recognizes an assigned table by its parameters, and reads the rows that it picks.
    history = {"history": np.array([[1, 2]])}
    folded = {"items": again["items"] | {"coded": take_codes(again["items"]["coded"])}}
    score = jax.jit(functools.partial(scores, config=config, num_items=ITEMS))
    expected = score({**second.params, "params": again | folded}, history)
    found = score(second.params, history)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    unassigned = score({**first_result, "params": first}, history)
    assert np.abs(np.asarray(found - unassigned)).max() > 1e-3


def test_codes_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="codes of 12 items for 13 items"):
        fixed_arrays(13, np.ones(13), None, codes_of())
    short = ItemCodes(codes=np.array([[0, 1], [1, -1]]), sizes=(2, 2), scheme="test")
    with pytest.raises(ConfigError, match="IDs of one length, got lengths 1 to 2"):
        code_arrays(short)
    config = SasrecConfig(width=8, depth=1, max_items=4, objective="contrastive", synthetic=0.5)
    with pytest.raises(ConfigError, match=r"sasrec\.synthetic 0\.5 redraws codes"):
        fit_sequential(config, [np.arange(4)], 5, Validation(lambda p: {}), tmp_path)
    with pytest.raises(ConfigError, match=r"sasrec\.temperature must not be negative"):
        SasrecConfig(temperature=-1.0)


@pytest.mark.parametrize("objective", ["cross_entropy", "bce"])
def test_bucketed_batches_lose_what_padded_ones_lose(objective):
    # Dropout aside, a history's loss does not depend on how far it is padded.
    from jaxrec.baselines.sequential import _batches

    histories = [np.arange(n) % ITEMS for n in (2, 3, 3, 9, 4, 2, 2, 5)]
    train = TrainConfig(batch_size=8)
    config = SasrecConfig(
        width=8, depth=1, max_items=9, dropout=0.0, buckets=3, objective=objective, train=train
    )
    windows = Windows.of(histories, length=9, seed=0)
    dataset, shapes = _batches(config, windows, ITEMS)
    lengths = Buckets.of(windows, count=3, batch_size=8).lengths
    assert [s["tokens"].shape[1] for s in shapes] == [1 + n for n in lengths]
    model = make_model(config, ITEMS)
    fixed = {"frequency": jnp.ones(ITEMS)}
    variables = variables_of(model, jnp.zeros((1, 10), jnp.int32), fixed)
    loss = jax.jit(functools.partial(sequence_loss, config, model))
    batches = iter(dataset)
    for _ in range(4):
        batch = next(batches)
        assert {name: x.shape for name, x in batch.items()} in [
            {name: x.shape for name, x in s.items()} for s in shapes
        ]
        wide = 10 - batch["tokens"].shape[1]
        padded = {"tokens": np.pad(batch["tokens"], ((0, 0), (wide, 0)))}
        if objective == "bce":
            padded["negative"] = np.pad(batch["negative"], ((0, 0), (wide, 0), (0, 0)))
        short, long = (loss(variables, b, jax.random.key(0)) for b in (batch, padded))
        assert float(short.weight) == float(long.weight) > 0
        assert float(short.total) == pytest.approx(float(long.total), rel=1e-4)
