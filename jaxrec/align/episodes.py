"""Episodes: prompts, the responses that a policy wrote to them, and what PPO learns from them.

Shapes: `B` episodes, `P` tokens of a prompt, `R` of a response, `T` = P + R.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxrec.align.actor import POLICY, Actor
from jaxrec.align.advantages import gae
from jaxrec.align.config import PpoSettings
from jaxrec.align.kl import k1, k2, k3
from jaxrec.align.masked import explained_variance, masked_mean, whiten
from jaxrec.decode import Prompts, Sampling, TextOptions, generate


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Episodes:
    """Prompts and responses, as their writers see them.

    Attributes:
      tokens: `[B, T]` int32, prompts padded on the left, then responses padded on the right.
      valid: `[B, T]` bool, False for padding.
      mask: `[B, R]` bool, the tokens of the responses.
      ended: `[B]` bool, whether a response ended by an end token, and not by its length.
      logprobs: `[B, R]` float32, under the policy that wrote them.
      reference: `[B, R]` float32, under the reference.
      entropy: `[B, R]` float32.
      values: `[B, R]` float32, of the states before the tokens.
    """

    tokens: jax.Array
    valid: jax.Array
    mask: jax.Array
    ended: jax.Array
    logprobs: jax.Array
    reference: jax.Array
    entropy: jax.Array
    values: jax.Array

    @property
    def responses(self) -> jax.Array:
        """The tokens of the responses, `[B, R]`."""
        return self.tokens[:, -self.mask.shape[1] :]

    @property
    def kl(self) -> jax.Array:
        """Estimated divergence of each whole response from the reference, `[B]` (sum of `k1`)."""
        return jnp.where(self.mask, k1(self.logprobs, self.reference), 0.0).sum(axis=1)


@functools.partial(jax.jit, static_argnames=("actor", "options"))
def write_episodes(
    actor: Actor,
    variables: Any,
    reference: Any,
    prompts: Prompts,
    key: jax.Array,
    options: TextOptions,
) -> Episodes:
    """Sample a response to each prompt, and read it under policy, reference and value network.

    The whole distribution is sampled, without top-k or top-p, because log-probabilities under a
    filtered one would not be those of the policy. They are computed again by one forward pass.

    Args:
      actor: the policy (static).
      variables: its variables.
      reference: variables of the reference policy.
      prompts: `[B, P]` tokens, padded on the left.
      key: typed random key.
      options: number of tokens, end tokens and padding of the responses (static).

    Cost: R steps of generation, and a forward pass over B T tokens for the policy, the reference
    and a separate value network.
    """
    generated = generate(
        actor.model,
        variables[POLICY],
        prompts,
        options,
        sampling=Sampling(temperature=actor.temperature),
        key=key,
    )
    length = options.max_tokens
    place = jnp.arange(length, dtype=jnp.int32)[None]
    mask = place < generated.lengths[:, None]
    last = jnp.take_along_axis(
        generated.tokens, jnp.maximum(generated.lengths - 1, 0)[:, None], axis=1
    )[:, 0]
    ended = jnp.zeros(last.shape, bool)
    for number in options.ends:
        ended = ended | (last == number)
    tokens = jnp.concatenate([prompts.tokens, generated.tokens], axis=1)
    valid = jnp.concatenate([prompts.mask, mask], axis=1)
    ours = actor.read(variables, tokens, valid, length)
    theirs = actor.read({POLICY: reference}, tokens, valid, length, values=False)
    return Episodes(
        tokens=tokens,
        valid=valid,
        mask=mask,
        ended=ended,
        logprobs=ours.logprobs,
        reference=theirs.logprobs,
        entropy=ours.entropy,
        values=ours.values,
    )


def end_scores(scores: jax.Array, ended: jax.Array, settings: PpoSettings) -> jax.Array:
    """Change the scores of responses that no end token ended (the "EOS trick").

    Args:
      scores: `[B]` float32.
      ended: `[B]` bool.
      settings: `unended_score` replaces such a score, or `unended_penalty` is subtracted from it.

    Example:
      >>> settings = PpoSettings(unended_score=-1.0)
      >>> end_scores(jnp.array([3.0, 4.0]), jnp.array([True, False]), settings).tolist()
      [3.0, -1.0]
    """
    if settings.unended_score is not None:
        return jnp.where(ended, scores, settings.unended_score)
    return jnp.where(ended, scores, scores - settings.unended_penalty)


def token_rewards(
    scores: jax.Array, kl: jax.Array, mask: jax.Array, beta: jax.Array | float
) -> jax.Array:
    """Return -beta * kl_t for each token, plus the score at the last token of the response.

    Args:
      scores: `[B]` float32.
      kl: `[B, R]` float32, an estimate for each token.
      mask: `[B, R]` bool, the tokens of the responses, without gaps.
      beta: weight of the divergence.

    Example:
      >>> kl, mask = jnp.array([[1.0, 2.0, 9.0]]), jnp.array([[True, True, False]])
      >>> token_rewards(jnp.array([5.0]), kl, mask, beta=0.5).tolist()
      [[-0.5, 4.0, 0.0]]
    """
    place = jnp.arange(mask.shape[1], dtype=jnp.int32)[None]
    last = mask & (place == mask.sum(axis=1, keepdims=True, dtype=jnp.int32) - 1)
    return jnp.where(mask, -beta * kl, 0.0) + jnp.where(last, scores[:, None], 0.0)


@functools.partial(jax.jit, static_argnames="settings")
def judge_episodes(
    episodes: Episodes, scores: jax.Array, beta: jax.Array, settings: PpoSettings
) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
    """Turn scored episodes into what PPO learns from, and into metrics.

    Args:
      episodes: what the policy wrote.
      scores: `[B]` float32, of the reward.
      beta: float32 scalar, weight of the divergence.
      settings: of PPO (static).

    Returns:
      The rows of batches: "tokens", "valid" `[B, T]`; "mask", "logprobs", "values", "advantages",
      "returns" `[B, R]`. And float32 scalars: the metrics of the rollout.
    """
    mask = episodes.mask
    scores = end_scores(scores, episodes.ended, settings)
    pair = episodes.logprobs, episodes.reference
    penalty = k1(*pair) if settings.kl_estimator == "k1" else k3(*pair)
    rewards = token_rewards(scores, penalty, mask, beta)
    if settings.whiten_rewards:
        rewards = whiten(rewards, mask, shift_mean=False)
    advantages, returns = gae(rewards, episodes.values, mask, settings.gamma, settings.lam)
    if settings.whiten == "rollout":
        advantages = whiten(advantages, mask)
    rows = {
        "tokens": episodes.tokens,
        "valid": episodes.valid,
        "mask": mask,
        "logprobs": episodes.logprobs,
        "values": episodes.values,
        "advantages": advantages,
        "returns": returns,
    }
    kl = episodes.kl

    def of_sequence(values: jax.Array) -> jax.Array:
        return jnp.where(mask, values, 0.0).sum(axis=1).mean()

    metrics = {
        "score": scores.mean(),
        "score_std": scores.std(),
        "kl": kl.mean(),
        "kl_k2": of_sequence(k2(*pair)),
        "kl_k3": of_sequence(k3(*pair)),
        "beta": beta,
        "rlhf_reward": scores.mean() - beta * kl.mean(),
        "policy_entropy": masked_mean(episodes.entropy, mask),
        "explained_variance": explained_variance(episodes.values, returns, mask),
        "eos_rate": episodes.ended.mean(dtype=jnp.float32),
        "response_tokens": mask.sum(axis=1, dtype=jnp.float32).mean(),
    }
    return rows, metrics
