"""Rewards of responses: functions on the host or on the device, and reward models.

Shapes: `B` episodes, `T` tokens of prompt and response.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.align.episodes import Episodes
from jaxrec.core import DataError, JaxrecError
from jaxrec.models import ScalarHead

# Maps the tokens of prompts and those of their responses, without padding, to a number for each.
HostFunction = Callable[[list[np.ndarray], list[np.ndarray]], Any]
DeviceFunction = Callable[[Any, Episodes], jax.Array]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Reward:
    """A reward of whole responses.

    Attributes:
      name: what messages call it.
      function: scores episodes; made by `host_reward`, `device_reward` or `model_reward`.

    Example:
      >>> longer = host_reward(lambda prompts, responses: [len(r) for r in responses], "length")
      >>> longer.name
      'length'
    """

    name: str
    function: Callable[[Episodes], Any]

    def score(self, episodes: Episodes, place: str) -> np.ndarray:
        """Score episodes: `[B]` float32 on the host.

        Args:
          episodes: what a policy wrote.
          place: where they come from, for messages, such as "rollout 3".

        Raises:
          DataError: the function fails, does not return one number per episode, or returns an
            infinity or a NaN.
        """
        try:
            scores = np.asarray(self.function(episodes), np.float32)
        except JaxrecError:
            raise
        except Exception as error:  # whatever a user's function raises
            reason = " ".join(str(error).split())[:200]
            raise DataError(
                f"reward {self.name!r} failed on {place} ({type(error).__name__}: {reason}); "
                "correct the function and start the same command again to resume"
            ) from error
        count = episodes.tokens.shape[0]
        if scores.shape != (count,):
            raise DataError(
                f"reward {self.name!r} returned an array of shape {scores.shape} for {count} "
                f"episodes of {place}; return one number per episode"
            )
        bad = np.flatnonzero(~np.isfinite(scores))
        if len(bad):
            raise DataError(
                f"reward {self.name!r} is {scores[bad[0]]} for episode {bad[0]} of {place} "
                f"({len(bad)} of {count} are not finite); return finite numbers"
            )
        return scores


def host_reward(function: HostFunction, name: str) -> Reward:
    """Make a reward of a function that runs on the host, between a rollout and its updates.

    Args:
      function: maps lists of B int32 arrays, the tokens of prompts and of responses without
        padding, to B numbers.
      name: what messages call it.

    Example:
      >>> host_reward(lambda prompts, responses: [0.0] * len(prompts), "nothing").name
      'nothing'
    """

    def score(episodes: Episodes) -> Any:
        tokens, valid, mask = (
            np.asarray(x) for x in (episodes.tokens, episodes.valid, episodes.mask)
        )
        start = tokens.shape[1] - mask.shape[1]
        prompts = [
            row[there] for row, there in zip(tokens[:, :start], valid[:, :start], strict=True)
        ]
        return function(
            prompts, [row[there] for row, there in zip(tokens[:, start:], mask, strict=True)]
        )

    return Reward(name=name, function=score)


def device_reward(function: DeviceFunction, name: str, params: Any = None) -> Reward:
    """Make a reward of a function of arrays, which is compiled once.

    Args:
      function: maps `params` and `Episodes` to `[B]`.
      name: what messages call it.
      params: arrays that the function reads, such as a table of tokens.

    Example:
      >>> device_reward(lambda params, episodes: episodes.mask.sum(axis=1), "length").name
      'length'
    """
    return Reward(name=name, function=functools.partial(jax.jit(function), params))


def model_reward(head: ScalarHead, params: Any, name: str = "reward model") -> Reward:
    """Make a reward of a reward model: its scalar at the last token of the response.

    Args:
      head: the reward model.
      params: its variables.
      name: what messages call it.

    Example:
      >>> from jaxrec.models import CausalLM
      >>> from jaxrec.testing import tiny_model
      >>> model_reward(ScalarHead(CausalLM(tiny_model())), {}).name
      'reward model'
    """

    def score(params: Any, episodes: Episodes) -> jax.Array:
        scalars = head.apply(params, episodes.tokens, episodes.valid)
        slots = jnp.arange(episodes.valid.shape[1], dtype=jnp.int32)[None]
        last = jnp.max(jnp.where(episodes.valid, slots, 0), axis=1, keepdims=True)
        return jnp.take_along_axis(scalars, last, axis=1)[:, 0]

    return device_reward(score, name, params)


def token_share(counted: np.ndarray, scale: float, name: str) -> Reward:
    """Make a reward of the share of a response's tokens that are of one kind, such as digits.

    Args:
      counted: `[V]` bool, the tokens that count.
      scale: reward of a response of such tokens alone.
      name: what messages call it.

    Example:
      >>> token_share(np.array([False, True]), 10.0, "ones").name
      'ones'
    """

    def score(table: jax.Array, episodes: Episodes) -> jax.Array:
        hits = jnp.take(table, episodes.responses) & episodes.mask
        length = jnp.maximum(episodes.mask.sum(axis=1, dtype=jnp.float32), 1.0)
        return scale * hits.sum(axis=1, dtype=jnp.float32) / length

    return device_reward(score, name, jnp.asarray(counted))
