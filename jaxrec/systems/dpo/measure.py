"""The loss of a batch, and measures of a policy on a part.

A metric has one value for each prompt, the mean over its examples, so that the bootstrap can
resample prompts.

Shapes: `E` examples, `K` answers of an example of which the first is preferred, `P` prompts.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.align import answer_log_probs, dpo, sdpo
from jaxrec.core import DataError
from jaxrec.models import CausalLM
from jaxrec.objectives import Loss
from jaxrec.systems.dpo.config import DpoConfig
from jaxrec.systems.dpo.data import Examples


def make_loss(model: CausalLM, config: DpoConfig) -> Any:
    """Return the loss of a run: a function of variables, a batch of `Examples` and a key.

    Dropout is off, because log-probabilities with it are those of another policy each time.
    """

    def loss(params: Any, batch: Mapping[str, jax.Array], key: jax.Array | None) -> Loss:
        del key
        given = (batch[name] for name in ("tokens", "valid", "answer"))
        policy = answer_log_probs(model, params, *given)
        there, weight = batch["answer"].any(axis=-1)[:, 1:], batch["weight"]
        losses, rewards = _losses(config, policy, batch["reference"], there)
        parts = {name: (weight * value).sum() for name, value in _parts(rewards, there).items()}
        return Loss(total=(weight * losses).sum(), weight=weight.sum(), parts=parts)

    return loss


def _losses(
    config: DpoConfig, policy: jax.Array, reference: jax.Array, there: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Loss `[E]` and implicit rewards beta (log pi - log ref) `[E, K]` of examples."""
    rewards = config.beta * (policy - reference)
    if config.loss == "dpo":
        pair = policy[:, 0], policy[:, 1], reference[:, 0], reference[:, 1]
        return dpo(*pair, beta=config.beta), rewards
    given = policy[:, 0], policy[:, 1:], reference[:, 0], reference[:, 1:]
    return sdpo(*given, beta=config.beta, valid=there), rewards


def _parts(rewards: jax.Array, there: jax.Array) -> dict[str, jax.Array]:
    """Metrics `[E]`, means over the rejected answers of an example."""
    gaps = rewards[:, :1] - rewards[:, 1:]
    share = there.astype(jnp.float32)
    share = share / share.sum(axis=1, keepdims=True)
    return {
        "accuracy": (share * (jnp.sign(gaps) + 1) / 2).sum(axis=1),
        "margin": (share * gaps).sum(axis=1),
        "chosen_reward": rewards[:, 0],
        "rejected_reward": (share * rewards[:, 1:]).sum(axis=1),
    }


def log_probs(score: Any, params: Any, examples: Examples, batch_size: int) -> np.ndarray:
    """Return the log-probabilities of all answers of a part, `[E, K]` float32; 0 for padding.

    Args:
      score: compiled `answer_log_probs` of a model.
      params: its variables.
      examples: the part.
      batch_size: examples in each call; the last batch is filled up with the first example.

    Raises:
      DataError: one of them is not finite.
    """
    parts = []
    for first in range(0, len(examples), batch_size):
        rows = np.arange(first, first + batch_size)
        rows[rows >= len(examples)] = 0
        given = (examples.tokens[rows], examples.valid[rows], examples.answer[rows])
        parts.append(score(params, *given))
    whole = [np.asarray(part, np.float32) for part in parts]
    found: np.ndarray = np.concatenate(whole)[: len(examples)]
    finite = np.isfinite(found)
    if not finite.all():
        raise DataError(
            f"{(~finite).sum()} of {found.size} log-probabilities of answers are not "
            "finite; check the base, or train again with a lower --train.lr"
        )
    return found


def implicit_values(
    config: DpoConfig, policy: np.ndarray, examples: Examples
) -> dict[str, np.ndarray]:
    """Measure a policy beside its reference: "loss" and the parts of the loss, `[P]` each.

    Args:
      config: of the run.
      policy: `[E, K]` log-probabilities.
      examples: the part, with those of the reference.
    """
    there = jnp.asarray(examples.present[:, 1:])
    given = jnp.asarray(policy), jnp.asarray(examples.reference)
    losses, rewards = _losses(config, *given, there)
    found = {"loss": losses} | _parts(rewards, there)
    return {name: by_prompt(np.asarray(value), examples) for name, value in found.items()}


def likelihood_values(policy: np.ndarray, examples: Examples) -> dict[str, np.ndarray]:
    """Measure which answers a model finds likely, without a reference: `[P]` each.

    "likelier" is the share of rejected answers that are less likely than the preferred one as a
    whole, and "likelier_per_token" for each of their tokens. "chosen_nats" and "rejected_nats" are
    the negative log-likelihoods of a token.

    Args:
      policy: `[E, K]` log-probabilities.
      examples: the part.
    """
    # The first token of a text is never predicted.
    lengths = np.asarray(examples.answer[:, :, 1:].sum(axis=-1))
    there = lengths[:, 1:] > 0
    each = policy / np.maximum(lengths, 1)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.where(there, values, 0).sum(axis=1) / there.sum(axis=1)

    found = {
        "likelier": mean((np.sign(policy[:, :1] - policy[:, 1:]) + 1) / 2),
        "likelier_per_token": mean((np.sign(each[:, :1] - each[:, 1:]) + 1) / 2),
        "chosen_nats": -each[:, 0],
        "rejected_nats": mean(-each[:, 1:]),
    }
    return {name: by_prompt(value, examples) for name, value in found.items()}


def longer_values(examples: Examples) -> dict[str, np.ndarray]:
    """What preferring the answer of more tokens gets right, `[P]`."""
    lengths = examples.answer.sum(axis=-1).astype(np.float32)
    found = likelihood_values(np.where(lengths > 0, lengths, 0), examples)
    return {"likelier": found["likelier"]}


def by_prompt(values: np.ndarray, examples: Examples) -> np.ndarray:
    """Means over the examples of each prompt: `[E]` to `[P]`."""
    sums = np.bincount(examples.prompt, values.astype(np.float64), len(examples.rows))
    return sums / np.bincount(examples.prompt, minlength=len(examples.rows))
