"""The rewards of a run: a rule, a reward model that another run has trained, or their sum.

Reward models are opened through `System`, so PPO takes those of any system that offers one. What
they can get wrong is found before any training: a directory without a reward model, a context that
is too short, and rewards that are not finite.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import NotRequired, TypedDict

import jax.numpy as jnp
import numpy as np

from jaxrec.align import (
    Episodes,
    Reward,
    RewardModel,
    check_text_reward,
    text_reward,
    weighted_sum,
)
from jaxrec.core import ConfigError, DataError, read_json
from jaxrec.models import checksum
from jaxrec.runs import open_reward
from jaxrec.systems.ppo.config import PpoConfig, RewardRunConfig
from jaxrec.systems.ppo.rules import make_reward
from jaxrec.systems.ppo.texts import Corpus
from jaxrec.texts import TextModel

# Prompts on which a reward model is tried before training.
_TRIED = 4


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Rewards:
    """What responses are scored by.

    Attributes:
      reward: what training optimizes.
      gold: what training does not see; None for nothing.
      checksums: SHA-256 of the parameters of each reward model, by the setting that names it.
    """

    reward: Reward
    gold: Reward | None
    checksums: Mapping[str, str]

    @classmethod
    def of(cls, config: PpoConfig, text: TextModel, prompts: np.ndarray) -> "Rewards":
        """Make the rewards of a config, and try them.

        Args:
          config: of the run.
          text: the policy.
          prompts: `[N, P]` tokens of the prompts, without padding.

        Raises:
          ConfigError: a run that has no reward model, or one that cannot read the texts.
          DataError: no run, a damaged one, or rewards that are not finite.
        """
        checksums: dict[str, str] = {}
        size, response = text.spec.config.vocab_size, config.ppo.response

        def made(run: RewardRunConfig, setting: str) -> list[tuple[float, Reward]]:
            if not run.run:
                return []
            model = _opened(config, run, setting, text, prompts)
            checksums[f"{setting}.run"] = checksum(model.params)
            reward = text_reward(model, text.tokenizer, size, run.title)
            _try(reward, prompts[:_TRIED], response)
            return [(run.weight, reward)]

        rewards = made(config.reward_run, "reward_run")
        if config.reward:
            rule = make_reward(config.reward, text.tokenizer, size)
            rewards.insert(0, (config.rule_weight, rule))
        gold = made(config.gold_run, "gold_run")
        if config.gold:
            gold = [(1.0, make_reward(config.gold, text.tokenizer, size))]
        return cls(
            reward=weighted_sum(rewards),
            gold=weighted_sum(gold) if gold else None,
            checksums=checksums,
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Scored:
    """A corpus with the reward models of a run, as its directory describes its data.

    Attributes:
      corpus: the texts.
      checksums: see `Rewards`.
    """

    corpus: Corpus
    checksums: Mapping[str, str]

    def describe(self) -> Mapping[str, object]:
        """Say what the run learns from: JSON-able."""
        models = {"reward_models": dict(self.checksums)} if self.checksums else {}
        return dict(self.corpus.describe()) | models


class _Data(TypedDict):
    reward_models: NotRequired[dict[str, str]]


class _Begun(TypedDict):
    """What is read of a run's `env.json`."""

    data: _Data


def check_models(config: PpoConfig, rewards: Rewards, directory: Path) -> None:
    """Check that a run has the reward models that it began with.

    Raises:
      DataError: the parameters of one have changed since.
    """
    begun = read_json(directory / "env.json", _Begun)["data"].get("reward_models", {})
    for setting, value in rewards.checksums.items():
        if begun.get(setting) != value:
            run = getattr(config, setting.partition(".")[0]).run
            raise DataError(
                f"the reward model of {setting} {run} has changed since {directory} began; restore "
                "it, or give another --run-dir"
            )


def _opened(
    config: PpoConfig, run: RewardRunConfig, setting: str, text: TextModel, prompts: np.ndarray
) -> RewardModel:
    """Open the reward model of a run, and check that it can read what the policy will write."""
    try:
        model = open_reward(Path(run.run), gold=run.second)
        size, response = text.spec.config.vocab_size, config.ppo.response
        check_text_reward(model, text.tokenizer, size, prompts, response)
    except (ConfigError, DataError) as error:
        raise type(error)(f"{setting}.run {run.run}: {error}") from error
    return model


def _try(reward: Reward, prompts: np.ndarray, response: int) -> None:
    """Score texts of the prompts themselves: what fails on them would fail in every rollout."""
    count = len(prompts)
    written = np.stack([np.resize(prompt, response) for prompt in prompts])
    mask = jnp.ones((count, response), bool)
    zeros = jnp.zeros((count, response), jnp.float32)
    tokens = jnp.asarray(np.concatenate([prompts, written], axis=1))
    episodes = Episodes(
        tokens=tokens,
        valid=jnp.ones(tokens.shape, bool),
        mask=mask,
        ended=jnp.zeros(count, bool),
        logprobs=zeros,
        reference=zeros,
        entropy=zeros,
        values=zeros,
    )
    reward.score(episodes, "some prompts before training")
