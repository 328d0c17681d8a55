"""What PPO is about: prompts, the policy that answers them, its reference and the reward."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.align.actor import POLICY, Actor
from jaxrec.align.config import PpoSettings
from jaxrec.align.episodes import Episodes, end_scores, write_episodes
from jaxrec.align.rewards import Reward
from jaxrec.core import ConfigError, DataError
from jaxrec.decode import Prompts, TextOptions
from jaxrec.peft import virtual_of


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class PpoTask:
    """Prompts, policy, reference and reward.

    Attributes:
      actor: the policy and its value network.
      reference: variables of the reference policy; with LoRA, the base without the tuned branch.
      prompts: `[N, P]` int32, padded on the left.
      valid: `[N, P]` bool, False for padding.
      reward: of a whole response.
      settings: of PPO.
      ends: tokens that end a response; none for responses of a fixed length.
      pad: token that follows the end of a response.

    Raises:
      ConfigError: prompts that leave no room for a response, or temperatures that differ.
      DataError: prompts of another shape, without a token, not padded on the left, or of tokens
        that the model does not have.

    Example:
      >>> from jaxrec.align import PpoSettings, host_reward
      >>> from jaxrec.models import CausalLM
      >>> from jaxrec.testing import random_params, tiny_model
      >>> model = CausalLM(tiny_model())
      >>> task = PpoTask(
      ...     actor=Actor(model=model),
      ...     reference=random_params(model),
      ...     prompts=np.array([[0, 3], [4, 5]]),
      ...     valid=np.array([[False, True], [True, True]]),
      ...     reward=host_reward(lambda prompts, responses: [len(r) for r in responses], "length"),
      ...     settings=PpoSettings(response=8, temperature=1.0),
      ... )
      >>> task.options.max_tokens
      8
    """

    actor: Actor
    reference: Any
    prompts: np.ndarray
    valid: np.ndarray
    reward: Reward
    settings: PpoSettings
    ends: tuple[int, ...] = ()
    pad: int = 0

    def __post_init__(self) -> None:
        settings, config = self.settings, self.actor.model.config
        if self.actor.temperature != settings.temperature:
            raise ConfigError(
                f"the policy has the temperature {self.actor.temperature:g} and ppo.temperature is "
                f"{settings.temperature:g}; make them equal"
            )
        shape = self.prompts.shape
        if len(shape) != 2 or self.valid.shape != shape or not len(self.prompts):
            raise DataError(
                f"prompts and valid must both be [N, P] with at least one prompt, got {shape} and "
                f"{self.valid.shape}"
            )
        empty = np.flatnonzero(~self.valid[:, -1])
        if len(empty):
            raise DataError(
                f"prompt {empty[0]} does not end in the last column; pad prompts on the left, and "
                "leave out prompts without a token"
            )
        if self.prompts.max() >= config.vocab_size or self.prompts.min() < 0:
            raise DataError(
                f"the prompts have token {self.prompts.max()}, and the model {config.vocab_size} "
                "tokens; cut the prompts by the model's own tokenizer"
            )
        longest = int(self.valid.sum(axis=1).max())
        config.check_length(
            longest + settings.response,
            f"the longest prompt of {longest} tokens and a response of ppo.response "
            f"{settings.response}",
            "shorten the prompts or lower ppo.response",
        )

    @property
    def options(self) -> TextOptions:
        """How a response ends."""
        return TextOptions(max_tokens=self.settings.response, eos=self.ends or None, pad=self.pad)

    def write(self, variables: Any, rows: np.ndarray, key: jax.Array) -> Episodes:
        """Let the policy answer some of the prompts.

        Args:
          variables: `{"policy", "value"}`.
          rows: `[B]` numbers of prompts.
          key: typed random key.

        Raises:
          ConfigError: a policy with virtual tokens.
        """
        if virtual_of(variables[POLICY]).read:
            raise ConfigError(
                "PPO does not support a tuned prefix or prompt, whose virtual tokens stand before "
                "every text; tune with lora, qlora, adapter or full"
            )
        prompts = Prompts(
            tokens=jnp.asarray(self.prompts[rows]), valid=jnp.asarray(self.valid[rows])
        )
        return write_episodes(self.actor, variables, self.reference, prompts, key, self.options)

    def measure(
        self, variables: Any, key: jax.Array, gold: Reward | None = None
    ) -> dict[str, np.ndarray]:
        """Answer every prompt once, and score the answers.

        Args:
          variables: `{"policy", "value"}`.
          key: typed random key; the same key draws the same answers from the same policy.
          gold: a further reward, which training does not see.

        Returns:
          By name, `[N]` float32: "score", "kl" (nats of a whole response), "reward" (score minus
          `beta` times the KL), "tokens" of the response, and "gold" if there is a gold reward.
        """
        episodes = self.write(variables, np.arange(len(self.prompts)), key)
        settings = self.settings
        scored = jnp.asarray(self.reward.score(episodes, "the measurement"))
        scores = np.asarray(end_scores(scored, episodes.ended, settings))
        kl = np.asarray(episodes.kl)
        measured = {
            "score": scores,
            "kl": kl,
            "reward": scores - np.float32(settings.beta) * kl,
            "tokens": np.asarray(episodes.mask).sum(axis=1).astype(np.float32),
        }
        if gold is not None:
            measured["gold"] = gold.score(episodes, "the measurement")
        return measured
