"""Rewards, ends and batches of episodes that are written by hand: nothing is sampled here."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxrec.align import (
    Actor,
    Episodes,
    PpoSettings,
    end_scores,
    host_reward,
    judge_episodes,
    model_reward,
    ppo_loss,
    token_rewards,
    token_share,
)
from jaxrec.models import CausalLM, ScalarHead
from jaxrec.objectives import language_loss
from jaxrec.testing import random_params, tiny_model

RNG = np.random.default_rng(0)
LENGTHS = np.array([4, 1, 3, 2])
MASK = np.arange(4) < LENGTHS[:, None]
PROMPT = np.array([[0, 3, 4], [1, 2, 3], [0, 0, 5], [2, 2, 2]])
RESPONSE = np.where(MASK, RNG.integers(1, 18, (4, 4)), 0)
MODEL = CausalLM(tiny_model())
SETTINGS = PpoSettings(response=4, temperature=1.0)


def normal(*shape):
    return jnp.asarray(RNG.normal(size=shape), jnp.float32)


EPISODES = Episodes(
    tokens=jnp.asarray(np.concatenate([PROMPT, RESPONSE], axis=1), jnp.int32),
    valid=jnp.asarray(np.concatenate([PROMPT > 0, MASK], axis=1)),
    mask=jnp.asarray(MASK),
    ended=jnp.asarray([False, True, True, False]),
    logprobs=normal(4, 4) - 3,
    reference=normal(4, 4) - 3,
    entropy=normal(4, 4) ** 2,
    values=normal(4, 4),
)
SCORES = np.array([1.0, -2.0, 3.0, 0.5], np.float32)


def test_the_score_stands_at_the_last_token_and_the_penalty_at_every_token():
    kl = EPISODES.logprobs - EPISODES.reference
    rewards = np.asarray(token_rewards(jnp.asarray(SCORES), kl, EPISODES.mask, 0.3))
    for row, length in enumerate(LENGTHS):
        for t in range(4):
            expected = 0.0 if t >= length else -0.3 * float(kl[row, t])
            expected += SCORES[row] if t == length - 1 else 0.0
            assert rewards[row, t] == pytest.approx(expected, abs=1e-6)


def test_responses_without_an_end_get_another_score():
    ended, scores = EPISODES.ended, jnp.asarray(SCORES)
    fixed = end_scores(scores, ended, PpoSettings(unended_score=-1.0))
    less = end_scores(scores, ended, PpoSettings(unended_penalty=2.0))
    assert fixed.tolist() == [-1.0, -2.0, 3.0, -1.0]
    assert less.tolist() == [-1.0, -2.0, 3.0, -1.5]
    assert end_scores(scores, ended, PpoSettings()).tolist() == SCORES.tolist()


def test_a_judged_rollout_has_the_metrics_that_numpy_computes():
    beta, settings = 0.3, dataclasses.replace(SETTINGS, unended_penalty=1.0)
    rows, metrics = judge_episodes(EPISODES, jnp.asarray(SCORES), jnp.float32(beta), settings)
    difference = np.asarray(EPISODES.logprobs - EPISODES.reference, np.float64)
    k3 = np.exp(-difference) - 1 + difference

    def sequence(values):
        return np.where(MASK, values, 0).sum(axis=1).mean()

    score = (SCORES - np.array([1, 0, 0, 1])).mean()
    expected = {
        "score": score,
        "kl": sequence(difference),
        "kl_k2": sequence(difference**2 / 2),
        "kl_k3": sequence(k3),
        "rlhf_reward": score - beta * sequence(difference),
        "policy_entropy": np.asarray(EPISODES.entropy)[MASK].mean(),
        "eos_rate": 0.5,
        "response_tokens": LENGTHS.mean(),
    }
    for name, value in expected.items():
        assert float(metrics[name]) == pytest.approx(value, abs=1e-5), name
    # Advantages are whitened and returns are not: the value network predicts rewards.
    advantages, returns = np.asarray(rows["advantages"])[MASK], np.asarray(rows["returns"])
    assert advantages.mean() == pytest.approx(0, abs=1e-6)
    assert advantages.std() == pytest.approx(1, abs=1e-4)
    assert not np.asarray(rows["advantages"])[~MASK].any()
    one = SCORES[1] - beta * difference[1, 0]  # the only token of its response
    assert returns[1, 0] == pytest.approx(one, abs=1e-5)


def test_a_function_on_the_host_sees_tokens_without_padding():
    def reward(prompts, responses):
        assert [p.tolist() for p in prompts] == [[3, 4], [1, 2, 3], [5], [2, 2, 2]]
        assert [len(r) for r in responses] == LENGTHS.tolist()
        return [len(set(r.tolist()) & {5, 6, 7}) for r in responses]

    given = host_reward(reward, "mine").score(EPISODES, "a test")
    assert given.dtype == np.float32 and given.shape == (4,)


def test_a_share_counts_the_tokens_of_the_response_alone():
    counted = np.zeros(18, bool)
    counted[[2, 3, *RESPONSE[0, :2]]] = True
    ours = token_share(counted, 10.0, "some").score(EPISODES, "a test")
    expected = [10 * counted[RESPONSE[row, :n]].mean() for row, n in enumerate(LENGTHS)]
    np.testing.assert_allclose(ours, expected, rtol=1e-6)


def test_a_reward_model_speaks_at_the_last_token_of_each_text():
    head = ScalarHead(MODEL)
    example = jnp.zeros((1, 2), jnp.int32)
    shapes = nn.meta.unbox(jax.eval_shape(head.init, jax.random.key(0), example, example == 0))
    params = jax.tree.map(lambda x: normal(*x.shape) * 0.4, shapes)
    ours = model_reward(head, params).score(EPISODES, "a test")
    apply = jax.jit(head.apply)
    tokens, valid = np.asarray(EPISODES.tokens), np.asarray(EPISODES.valid)
    for row in (1, 2):
        text = tokens[row][valid[row]]
        alone = apply(params, text[None], np.ones((1, len(text)), bool))[0, -1]
        assert ours[row] == pytest.approx(float(alone), abs=1e-5)
    # The same network, as the critic of an actor, values the states before the tokens.
    actor = Actor(model=MODEL, critic=head)
    given = {"policy": random_params(MODEL), "value": params}
    values = jax.jit(actor.read, static_argnums=3)(given, tokens, valid, 4).values
    alone = apply(params, tokens[1:2, :3], np.ones((1, 3), bool))[0, -1]
    assert float(values[1, 0]) == pytest.approx(float(alone), abs=1e-5)


def test_losses_of_micro_batches_add_up_and_pretraining_text_has_its_weight():
    settings = dataclasses.replace(SETTINGS, pretraining_weight=2.5)
    actor, given = Actor(model=MODEL), {"policy": random_params(MODEL)}
    given["value"] = jax.tree.map(lambda x: normal(*x.shape), nn.meta.unbox(actor.value_head()))
    rows, _ = judge_episodes(EPISODES, jnp.asarray(SCORES), jnp.float32(0.3), settings)
    mask = rows.pop("mask").astype(jnp.float32)
    batch = rows | {"weights": mask * 4 / mask.sum()}
    text = {"tokens": jnp.asarray(RNG.integers(1, 18, (4, 6)), jnp.int32)}
    text |= {"valid": jnp.ones((4, 6), bool), "weights": jnp.full((4, 6), 0.2, jnp.float32)}
    batch |= {f"text_{name}": cells for name, cells in text.items()}
    loss = jax.jit(ppo_loss(actor, settings))

    def part(*kept):
        here = jnp.isin(jnp.arange(4), jnp.array(kept))[:, None].astype(jnp.float32)
        weighted = {n: x * here if n.endswith("weights") else x for n, x in batch.items()}
        return loss(given, weighted, jax.random.key(0))

    halves, whole = (part(0, 2), part(1, 3)), part(0, 1, 2, 3)
    assert float(whole.total) == pytest.approx(float(sum(h.total for h in halves)), rel=1e-5)
    assert float(whole.weight) == 4  # rows, whatever their number of tokens
    expected = language_loss(MODEL, given["policy"], text, None)
    mean = float(expected.total / expected.weight)  # weights of 5 targets a row add up to 4
    assert float(whole.parts["text_loss"] / whole.weight) == pytest.approx(mean, rel=1e-5)
    rest = float(whole.parts["policy_loss"]) + 0.1 * float(whole.parts["value_loss"])
    assert float(whole.total) == pytest.approx(rest + 2.5 * 4 * mean, rel=1e-5)
