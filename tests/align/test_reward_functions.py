"""Losses, head, normalization and rows of reward models, against PyTorch and by hand.

`test_trl.py` compares the loss of pairs with trl.
"""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.align import (
    best_of_n_loss,
    check_rewards,
    encode_answers,
    init_head,
    last_scalars,
    normalization,
    ordered_pairs,
    pad_rows,
    pairwise_loss,
    regression_loss,
    rescale,
)
from jaxrec.core import ConfigError, DataError
from jaxrec.data import train_bpe


def wins_of(ranks):
    count = len(ranks)
    wins = np.zeros((count, count), np.float32)
    for better, worse in ordered_pairs(ranks):
        wins[better, worse] = 1 / math.comb(count, 2)
    return jnp.asarray(wins)


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(0, 2, shape).astype(np.float32))


def test_a_margin_may_differ_between_pairs():
    rewards, margin = draw(2, 3), jnp.asarray(np.arange(9, dtype=np.float32).reshape(3, 3))
    wins = jnp.stack([wins_of([1, 2, 3]), wins_of([3, 1, 2])])
    found = pairwise_loss(rewards, wins, margin=margin)
    for row, ranks in enumerate(([1, 2, 3], [3, 1, 2])):
        r = np.asarray(rewards[row], np.float64)
        by_hand = [
            math.log1p(math.exp(-(r[i] - r[j] - float(margin[i, j]))))
            for i, j in ordered_pairs(ranks)
        ]
        np.testing.assert_allclose(found[row], sum(by_hand) / 3, rtol=1e-5)


def test_equal_rewards_cost_ln_2_and_ln_n():
    assert pairwise_loss(jnp.zeros(4), wins_of([1, 2, 3, 4])) == pytest.approx(math.log(2))
    best, there = jnp.asarray([0.0, 1, 0, 0]), jnp.asarray([True, True, True, False])
    assert best_of_n_loss(jnp.zeros(4), best, there) == pytest.approx(math.log(3))


def test_a_constant_on_all_rewards_changes_the_losses_of_order_and_not_more():
    rewards, wins = draw(6), wins_of([1, 2, 2, 3, 4, 5])
    best, there = jax.nn.one_hot(1, 6), jnp.ones(6, bool)
    for loss in (
        lambda r: pairwise_loss(r, wins, margin=0.5),
        lambda r: best_of_n_loss(r, best, there),
    ):
        np.testing.assert_allclose(loss(rewards + 8.0), loss(rewards), rtol=1e-5)
    centered = [pairwise_loss(rewards + c, wins, centering=0.01) for c in (0.0, 8.0)]
    assert centered[1] > centered[0] + 1


def test_best_of_n_is_the_cross_entropy_of_torch_without_padding():
    torch = pytest.importorskip("torch")
    rewards = draw(3, 4)
    best = jnp.asarray([[1.0, 0, 0, 0], [0, 0.5, 0.5, 0], [0, 0, 0, 0]])
    there = jnp.asarray([[True] * 4, [True, True, True, False], [True] * 4])
    found = best_of_n_loss(rewards, best, there)
    for row, count in ((0, 4), (1, 3)):
        logits = torch.tensor(np.asarray(rewards[row, :count]))
        target = torch.tensor(np.asarray(best[row, :count]))
        expected = torch.nn.functional.cross_entropy(logits, target)
        np.testing.assert_allclose(found[row], expected.item(), rtol=1e-5)
    assert found[2] == 0
    gradient = jax.grad(lambda r: best_of_n_loss(r, best, there).sum())(rewards)
    assert np.isfinite(gradient).all() and gradient[1, 3] == 0


def test_regression_ignores_missing_targets_and_their_gradient():
    rewards, targets = draw(2, 3), jnp.asarray([[1.0, np.nan, 3.0], [np.nan] * 3])
    there = ~jnp.isnan(targets)
    value, gradient = jax.value_and_grad(lambda r: regression_loss(r, targets, there).sum())(
        rewards
    )
    r = np.asarray(rewards)
    np.testing.assert_allclose(value, (r[0, 0] - 1) ** 2 + (r[0, 2] - 3) ** 2, rtol=1e-5)
    np.testing.assert_allclose(
        gradient, [[2 * (r[0, 0] - 1), 0, 2 * (r[0, 2] - 3)], [0, 0, 0]], rtol=1e-5
    )


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ConfigError, match=r"wins must be \[\.\.\., K, K\].*\[2, 2\] and \[3\]"):
        pairwise_loss(jnp.zeros(3), jnp.zeros((2, 2)))
    with pytest.raises(ConfigError, match=r"best must have the shape \[3\].*got \[2\]"):
        best_of_n_loss(jnp.zeros(3), jnp.zeros(2), jnp.ones(3, bool))
    with pytest.raises(ConfigError, match=r"targets must have the shape \[3\]"):
        regression_loss(jnp.zeros(3), jnp.zeros(1), jnp.ones(3, bool))
    with pytest.raises(ConfigError, match=r"\[2, 3\] and \[2, 2\]"):
        last_scalars(jnp.zeros((2, 3)), jnp.ones((2, 2), bool))


def test_a_new_head_has_the_published_spread_and_no_bias():
    head = init_head(jax.random.key(0), 4000)
    kernel = np.asarray(head["kernel"], np.float64)
    assert kernel.shape == (4000, 1) and not np.asarray(head["bias"]).any()
    # Five standard errors of the deviation and of the mean.
    assert kernel.std() * math.sqrt(4001) == pytest.approx(1, abs=5 / math.sqrt(8000))
    assert abs(kernel.mean() * math.sqrt(4001)) < 5 / math.sqrt(4000)


def test_the_last_token_follows_from_lengths_and_not_from_tokens():
    scalars = jnp.arange(12.0).reshape(3, 4)
    valid = jnp.asarray([[1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 1, 1]], bool)
    assert last_scalars(scalars, valid).tolist() == [1, 7, 11]


@pytest.mark.parametrize("how", ["unit", "bias", "none"])
def test_normalized_rewards_have_their_mean_and_variance(how):
    rng = np.random.default_rng(0)
    states = rng.normal(3, 5, (400, 8))
    head = {"kernel": jnp.asarray(rng.normal(size=(8, 1)), jnp.float32), "bias": jnp.full(1, 70.0)}

    def apply(head):
        kernel, bias = (np.asarray(head[name], np.float64) for name in ("kernel", "bias"))
        return (states @ kernel + bias)[:, 0]

    before = apply(head)
    after = apply(rescale(head, *normalization(before, how)))
    if how != "none":
        assert abs(after.mean()) < 1e-4
    if how == "unit":
        assert abs(after.var() - 1) < 1e-4
    else:
        assert after.var() == pytest.approx(before.var())
    # A positive gain keeps the order.
    assert (np.argsort(after) == np.argsort(before)).all()


def test_rewards_that_cannot_be_normalized_are_named():
    with pytest.raises(DataError, match="2 of 3 rewards are not finite; the first is nan of sampl"):
        normalization(np.array([1.0, math.nan, math.inf]))
    with pytest.raises(DataError, match="rewards of all 4 reference samples are 2,"):
        normalization(np.full(4, 2.0))
    with pytest.raises(DataError, match="at least one sample"):
        check_rewards(np.zeros(0))
    with pytest.raises(ConfigError, match="no normalization 'z'"):
        normalization(np.zeros(3), "z")


def test_rows_end_with_one_end_of_text_and_nothing_is_cut():
    tokenizer = train_bpe(["Say hi. Hi! Hello."], 260)
    tokenizer.pad_token = tokenizer.eos_token
    end = tokenizer.eos_token_id
    prompts = ["Say hi. ", "Say hi. ", "Say hi. ", "Say hi. " * 9, ""]
    answers = ["Hi!", "</s> Hi!", "Hello. " * 9, "", ""]
    rows = encode_answers(tokenizer, prompts, answers, 24)
    assert rows[2:] == [
        "answers that do not fit the context",
        "prompts that fill the context",
        "answers without any token",
    ]
    # A text that spells the end of a text does not end it.
    assert [row.tolist().count(end) for row in rows[:2]] == [1, 1]
    assert tokenizer.decode(rows[1][:-1]) == "Say hi. </s> Hi!"
    tokens, valid = pad_rows(rows[:2], 24)
    scalars = jnp.asarray(np.tile(np.arange(24.0, dtype=np.float32), (2, 1)))
    lengths = [len(row) for row in rows[:2]]
    assert last_scalars(scalars, jnp.asarray(valid)).tolist() == [n - 1 for n in lengths]
    assert all(tokens[k, n - 1] == end for k, n in enumerate(lengths))


def test_all_weights_of_a_prompt_without_ties_add_up_to_one():
    for count in (2, 4, 9):
        for ranks in itertools.islice(itertools.permutations(range(1, count + 1)), 3):
            assert wins_of(ranks).sum() == pytest.approx(1)
