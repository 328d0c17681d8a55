"""The policy and its value network, as one pure function of their variables.

The variables are `{"policy": ..., "value": ...}`. The policy's are those of a `CausalLM`, with or
without tuned parameters. The value network is a head on the policy's states ("shared"), or a
network of its own (`ScalarHead`), such as one that starts from a reward model.

Shapes: `B` rows, `T` tokens of prompt and response, `R` tokens of the response, `D` model width.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrec.core import ConfigError
from jaxrec.models import CausalLM, ScalarHead
from jaxrec.nn import SelfContext, attention_mask, positions_of

POLICY, VALUE = "policy", "value"


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Reading:
    """What the policy and its value network say about responses.

    Attributes:
      logprobs: `[B, R]` float32, of the tokens of the responses at the temperature of sampling.
      entropy: `[B, R]` float32, of the distributions that the tokens were drawn from.
      values: `[B, R]` float32, of the states before the tokens.
    """

    logprobs: jax.Array
    entropy: jax.Array
    values: jax.Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class Actor:
    """A policy with a value network. Hashable, so that it is a static argument under `jax.jit`.

    Attributes:
      model: the policy.
      critic: the value network; None for a head on the states of the policy.
      temperature: what logits are divided by, in sampling and in every log-probability.

    Raises:
      ConfigError: a temperature that is not positive.

    Example:
      >>> from jaxrec.testing import tiny_model
      >>> actor = Actor(model=CausalLM(tiny_model()), temperature=0.7)
      >>> actor.value_head()["kernel"].value.shape
      (16, 1)
    """

    model: CausalLM
    critic: ScalarHead | None = None
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.temperature < float("inf"):
            raise ConfigError(
                f"the temperature of a policy must be above 0, got {self.temperature}: greedy "
                "decoding explores nothing"
            )

    def value_head(self) -> Any:
        """Return the head of a shared value network, all zeros, with the names of its axes."""
        width = self.model.config.width
        return {
            "kernel": nn.Partitioned(jnp.zeros((width, 1), jnp.float32), ("embed", None)),
            "bias": nn.Partitioned(jnp.zeros((1,), jnp.float32), (None,)),
        }

    def read(
        self,
        variables: Any,
        tokens: jax.Array,
        valid: jax.Array,
        response: int,
        values: bool = True,
    ) -> Reading:
        """Read prompts with their responses in one forward pass, without dropout.

        Args:
          variables: `{"policy", "value"}`; "value" is not read if `values` is False.
          tokens: `[B, T]` int32, prompts that end in one column and responses of R tokens.
          valid: `[B, T]` bool, False for padding.
          response: R.
          values: False for a policy without a value network, such as the reference; its values are
            0.

        Cost: one pass over B T tokens, and the logits `[B, R, V]` of the responses.
        """
        model = self.model
        seen = valid[:, :-1]
        context = SelfContext(attention_mask(seen), causal=True)

        def run(module: CausalLM) -> tuple[jax.Array, jax.Array]:
            hidden, _ = module.hidden(tokens[:, :-1], positions_of(seen), context)
            hidden = hidden[:, -response:]
            return hidden, module.logits(hidden)

        hidden, logits = model.apply(variables[POLICY], method=run)
        scores = jax.nn.log_softmax(logits / self.temperature, axis=-1)
        chosen = tokens[:, -response:, None]
        logprobs = jnp.take_along_axis(scores, chosen, axis=-1)[..., 0]
        # Tokens that are never written have a probability of 0, which adds nothing to the entropy.
        entropy = -(jnp.exp(scores) * jnp.maximum(scores, jnp.finfo(jnp.float32).min)).sum(axis=-1)
        if not values:
            predicted = jnp.zeros_like(logprobs)
        elif self.critic is None:
            head = variables[VALUE]
            product = jnp.einsum("brd,do->bro", hidden.astype(jnp.float32), head["kernel"])
            predicted = product[..., 0] + head["bias"][0]
        else:
            predicted = self.critic.apply(variables[VALUE], tokens[:, :-1], seen)[:, -response:]
        return Reading(logprobs=logprobs, entropy=entropy, values=predicted)
