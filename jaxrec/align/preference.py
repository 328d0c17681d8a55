"""Losses over preferences: an answer that is preferred to one other answer, or to several.

They read log-probabilities of whole answers, summed over their tokens, so they serve sentences and
item IDs alike. `answer_log_probs` gives those of texts, and `item_log_probs` those of items.

DPO: Rafailov et al. 2023, arXiv:2305.18290. S-DPO: Chen et al. 2024, arXiv:2406.09215.

Shapes: `B` prompts, `N` rejected answers of a prompt, `T` tokens, `V` vocabulary.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.core import ConfigError, DataError
from jaxrec.models import CausalLM
from jaxrec.nn import SelfContext, attention_mask, positions_of
from jaxrec.objectives import cross_entropy


def dpo(
    policy_chosen: jax.Array,
    policy_rejected: jax.Array,
    reference_chosen: jax.Array,
    reference_rejected: jax.Array,
    *,
    beta: float = 0.1,
) -> jax.Array:
    """Return the DPO loss of pairs, `[B]` float32; its mean is minimized.

    With r = log pi(y|x) - log ref(y|x)::

        loss = -log sigmoid(beta (r_w - r_l))

    At the start the policy is the reference and every pair costs ln 2.

    Args:
      policy_chosen: `[B]` log pi(y_w|x), summed over the tokens of the answer.
      policy_rejected: `[B]` log pi(y_l|x).
      reference_chosen: `[B]` log ref(y_w|x).
      reference_rejected: `[B]` log ref(y_l|x).
      beta: strength of the implicit KL penalty; small values let the policy go far.

    Raises:
      ConfigError: beta is not positive, or the shapes differ.

    Example:
      >>> one = jnp.array([-1.0])
      >>> round(float(dpo(one, one, one, one)[0]), 4)  # ln 2
      0.6931
      >>> round(float(dpo(one, one - 10.0, one, one)[0]), 4)  # ln(1 + exp(-0.1 * 10))
      0.3133
    """
    named = {
        "policy_chosen": policy_chosen,
        "policy_rejected": policy_rejected,
        "reference_chosen": reference_chosen,
        "reference_rejected": reference_rejected,
    }
    _check(named, dict.fromkeys(named, policy_chosen.shape), beta)
    chosen, rejected = policy_chosen - reference_chosen, policy_rejected - reference_rejected
    return -jax.nn.log_sigmoid(beta * (chosen - rejected))


def sdpo(
    policy_chosen: jax.Array,
    policy_rejected: jax.Array,
    reference_chosen: jax.Array,
    reference_rejected: jax.Array,
    *,
    beta: float = 1.0,
    valid: jax.Array | None = None,
) -> jax.Array:
    """Return the S-DPO loss, the preference for one answer over several, `[B]` float32.

    With r = log pi(y|x) - log ref(y|x), over the rejected answers l::

        loss = -log sigmoid(-log sum_l exp(beta (r_l - r_p)))

    This is DPO for one rejected answer, and ln(1 + N) for N of them at the start.

    Args:
      policy_chosen: `[B]` log pi(y_p|x), summed over the tokens of the answer.
      policy_rejected: `[B, N]` log pi(y_l|x).
      reference_chosen: `[B]` log ref(y_p|x).
      reference_rejected: `[B, N]` log ref(y_l|x).
      beta: strength of the implicit KL penalty; 1 as published for items.
      valid: `[B, N]` bool, which rejected answers exist; None for all. A row without any costs 0.

    Raises:
      ConfigError: beta is not positive, or the shapes do not fit together.

    Example:
      >>> zero, three = jnp.zeros(1), jnp.zeros((1, 3))
      >>> round(float(sdpo(zero, three, zero, three)[0]), 4)  # ln 4
      1.3863
    """
    one, several = policy_chosen.shape, (*policy_chosen.shape, policy_rejected.shape[-1])
    named = {
        "policy_chosen": (policy_chosen, one),
        "policy_rejected": (policy_rejected, several),
        "reference_chosen": (reference_chosen, one),
        "reference_rejected": (reference_rejected, several),
        "valid": (policy_rejected if valid is None else valid, several),
    }
    arrays = {name: array for name, (array, _) in named.items()}
    _check(arrays, {name: shape for name, (_, shape) in named.items()}, beta)
    chosen, rejected = policy_chosen - reference_chosen, policy_rejected - reference_rejected
    gap = beta * (rejected - chosen[..., None])
    if valid is not None:
        gap = jnp.where(valid, gap, -jnp.inf)
    # log(1 + sum exp) is the softplus of the log-sum, and is finite where no answer is rejected.
    zero = jnp.zeros((*one, 1), gap.dtype)
    return jax.nn.logsumexp(jnp.concatenate([zero, gap], axis=-1), axis=-1)


def sequence_log_probs(logits: jax.Array, tokens: jax.Array, answer: jax.Array) -> jax.Array:
    """Return the log-probabilities of answers in texts, `[B]` float32: the sum over their tokens.

    Args:
      logits: `[B, T, V]`; those of column t predict the token of column t + 1.
      tokens: `[B, T]` int32, the prompt and the answer.
      answer: `[B, T]` bool, which tokens belong to the answer; a first token is never predicted.

    Example:
      >>> logits = jnp.log(jnp.array([[[0.5, 0.5], [0.25, 0.75], [1.0, 1.0]]]))
      >>> tokens, answer = jnp.array([[0, 1, 0]]), jnp.array([[False, True, True]])
      >>> round(float(jnp.exp(sequence_log_probs(logits, tokens, answer))[0]), 3)  # 1/2 * 1/4
      0.125
    """
    losses = cross_entropy(logits[:, :-1], tokens[:, 1:])
    return -jnp.where(answer[:, 1:], losses, 0.0).sum(axis=-1)


def answer_log_probs(
    model: CausalLM, params: Any, tokens: jax.Array, valid: jax.Array, answer: jax.Array
) -> jax.Array:
    """Return the log-probabilities of answers under a model, `[B, K]` float32, without dropout.

    Args:
      model: the decoder.
      params: its variables, without virtual tokens.
      tokens: `[B, K, T]` int32, a prompt with each of its answers, padded on the right.
      valid: `[B, K, T]` bool, False for padding; a row without any answer has one valid token.
      answer: `[B, K, T]` bool, which tokens belong to the answer; none for a row without answer,
        whose log-probability is 0.

    Cost: one pass over B K T tokens, and their logits `[B K, T, V]`.

    Example:
      >>> from jaxrec.testing import random_params, tiny_model
      >>> model = CausalLM(tiny_model())
      >>> tokens = jnp.array([[[3, 4, 5], [3, 6, 0]]])
      >>> answer = jnp.array([[[False, True, True], [False, True, False]]])
      >>> answer_log_probs(model, random_params(model), tokens, tokens > 0, answer).shape
      (1, 2)
    """
    # [B, K, T] -> [B K, T]
    rows, seen, marked = (x.reshape(-1, x.shape[-1]) for x in (tokens, valid, answer))
    context = SelfContext(attention_mask(seen), causal=True)

    def run(module: CausalLM) -> jax.Array:
        hidden, _ = module.hidden(rows, positions_of(seen), context)
        return module.logits(hidden)

    logits = model.apply(params, method=run)
    return sequence_log_probs(logits, rows, marked).reshape(tokens.shape[:2])


def check_pairs(chosen: np.ndarray, rejected: np.ndarray) -> None:
    """Check, before any work, that no answer is preferred to itself.

    Args:
      chosen: `[B]` items, or `[B, T]` padded tokens of texts.
      rejected: the same shape, or `[B, N]` items or `[B, N, T]` tokens for several.

    Raises:
      ConfigError: the shapes do not fit together.
      DataError: a pair of equal answers; the message names the first one.

    Example:
      >>> check_pairs(np.array([3, 5]), np.array([4, 5]))
      Traceback (most recent call last):
      jaxrec.core.errors.DataError: pair 1: the chosen and the rejected answer are both 5, ...
    """
    chosen, rejected = np.asarray(chosen), np.asarray(rejected)
    several = rejected.ndim == chosen.ndim + 1
    shape = rejected.shape[:1] + rejected.shape[2:] if several else rejected.shape
    if shape != chosen.shape:
        raise ConfigError(
            f"rejected answers of shape {rejected.shape} do not fit chosen ones of shape "
            f"{chosen.shape}; give one row, or several, for each chosen answer"
        )
    same = (chosen[:, None] if several else chosen) == rejected
    same = same.reshape(*same.shape[: 1 + several], -1).all(axis=-1)
    found = np.argwhere(same)
    if len(found):
        row = int(found[0, 0])
        raise DataError(
            f"pair {row}: the chosen and the rejected answer are both {chosen[row].tolist()}, "
            f"which says nothing about a preference ({len(found)} such pairs); leave them out"
        )


def _check(arrays: dict[str, jax.Array], expected: dict[str, tuple[int, ...]], beta: float) -> None:
    """Reject a beta that is not positive, and arrays that would broadcast in silence."""
    if not beta > 0:
        raise ConfigError(f"beta must be above 0, got {beta}")
    for name, array in arrays.items():
        if array.shape != expected[name]:
            raise ConfigError(f"{name} must have shape {expected[name]}, got {array.shape}")
