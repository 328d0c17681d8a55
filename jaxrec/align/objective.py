"""The objective of PPO on a minibatch of episodes, as `fit` takes it.

Every row of a batch carries the weights of its tokens, so that micro-batches add up exactly to the
mean over all tokens of the minibatch.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxrec.align.actor import POLICY, Actor
from jaxrec.align.config import PpoSettings
from jaxrec.align.losses import importance_ratio, is_clipped, policy_loss, value_loss
from jaxrec.objectives import Loss, language_loss

# What the names of the fields of pre-training text begin with in a batch.
TEXT = "text_"


def ppo_loss(actor: Actor, settings: PpoSettings) -> Callable[[Any, Any, jax.Array], Loss]:
    """Return the loss of a minibatch: clipped policy loss, value loss and pre-training loss.

    Args:
      actor: the policy and its value network.
      settings: of PPO.

    Returns:
      A function of variables `{"policy", "value"}`, a batch of `Rollouts` and a key, which is not
      used. The weight of its `Loss` is the number of rows, and its parts are the metrics.

    Example:
      >>> from jaxrec.models import CausalLM
      >>> from jaxrec.testing import tiny_model
      >>> loss = ppo_loss(Actor(model=CausalLM(tiny_model())), PpoSettings())
      >>> callable(loss)
      True
    """

    def loss(variables: Any, batch: Mapping[str, jax.Array], key: jax.Array) -> Loss:
        del key
        weights = batch["weights"]
        now = actor.read(variables, batch["tokens"], batch["valid"], weights.shape[1])
        # Padding has no log-probability of its own; equal ones give it the ratio 1.
        moved = jnp.where(weights > 0, now.logprobs - batch["logprobs"], 0.0)
        ratio = importance_ratio(moved, jnp.zeros_like(moved))
        advantages = batch["advantages"]

        def mean(values: jax.Array) -> jax.Array:
            return (weights * values.astype(jnp.float32)).sum()

        parts = {
            "policy_loss": mean(policy_loss(ratio, advantages, settings.clip)),
            "value_loss": mean(
                value_loss(now.values, batch["values"], batch["returns"], settings.value_clip)
            ),
            "clip_fraction": mean(is_clipped(ratio, advantages, settings.clip)),
            "ratio": mean(ratio),
            "approx_kl": mean(0.5 * jnp.square(moved)),
            "entropy": mean(now.entropy),
        }
        total = parts["policy_loss"] + settings.value_weight * parts["value_loss"]
        rows = jnp.float32(weights.shape[0])
        if settings.pretraining_weight:
            text = {
                name.removeprefix(TEXT): cells
                for name, cells in batch.items()
                if name.startswith(TEXT)
            }
            parts["text_loss"] = language_loss(actor.model, variables[POLICY], text, None).total
            total = total + settings.pretraining_weight * parts["text_loss"]
        return Loss(total=total, weight=rows, parts=parts)

    return loss
