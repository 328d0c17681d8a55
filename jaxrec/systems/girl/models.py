"""The models of a run: generator, reward models and policy, opened or trained in stages.

    sft      generator: resume -> description of a job that the person matched with
    reward   reward model of a resume and a description, from pairs of applications
    gold     the same from pairs of other people, which the policy never sees
    (run)    policy: the generator after PPO on the reward

The rewards start from the tuned generator, and so does the policy. Rewards of facts have no network
and start from nothing; see `fact_reward`.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from jaxrec.align import (
    PpoTask,
    Reward,
    RewardModel,
    encode_answers,
    host_text_reward,
    pad_rows,
    rescale,
    text_reward,
)
from jaxrec.core import ConfigError, DataError, read_json
from jaxrec.peft import TuneConfig
from jaxrec.runs import is_run, run_identity
from jaxrec.systems.girl.config import GirlConfig
from jaxrec.systems.girl.data import GirlData, Pair
from jaxrec.systems.girl.fact_reward import FactReward
from jaxrec.systems.girl.prompts import Writer
from jaxrec.texts import Policy, ScoredText, TextModel, tuned as tuned_text
from jaxrec.train import TrainConfig

SFT, REWARD, GOLD = "sft", "reward", "gold"
SCALES = "reward.json"
# Texts that the tokenizer of a model from scratch is trained on, at most.
_TOKENIZER_TEXTS = 5000


class Scale(TypedDict):
    """The normalization of a reward model, as `reward.json` holds it."""

    gain: float
    bias: float


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Models:
    """What the stages of a run share.

    Attributes:
      config: of the run.
      directory: of the run, which need not exist.
      text: the generator as it begins.
      writer: makes its prompts.
    """

    config: GirlConfig
    directory: Path
    text: TextModel
    writer: Writer

    @classmethod
    def open(cls, config: GirlConfig, directory: Path, data: GirlData | None) -> "Models":
        """Open the generator of a run as it began, or make the one of a new run.

        Args:
          config: of the run.
          directory: of the run, which need not exist.
          data: what the tokenizer of a new generator is trained on; None for an existing run.

        Raises:
          ConfigError: the base writes no text, or reads too few tokens.
          DataError: the base or a file of the run cannot be read.
        """
        tune, seed = TuneConfig(method="full", base=config.base), config.sft.seed
        if config.base:
            text = tuned_text.from_base(tune, seed)
        elif is_run(directory) or data is None:
            text = TextModel.load(tune, config.model, directory, seed)
        else:
            text = _from_scratch(config, data)
        text.spec.config.check_length(
            config.longest, "--max-prompt with --ppo.response", "lower one, or take another base"
        )
        if text.tokenizer.eos_token_id is None:
            raise ConfigError(
                f"base {config.base} has no end-of-text token, so no description would end; take "
                "another base"
            )
        writer = Writer(
            template=config.template, tokenizer=text.tokenizer, max_prompt=config.max_prompt
        )
        return cls(config=config, directory=directory, text=text, writer=writer)

    @property
    def owner(self) -> Mapping[str, str]:
        """The identity of the run."""
        return run_identity(self.directory)

    def targets(self, data: GirlData, part: str, most: int = 0) -> dict[str, np.ndarray]:
        """Prompts with the descriptions to learn, see `Writer`; the first `most`, or all."""
        chosen = data.targets[part][: most or None].tolist()
        return self.writer.targets(
            [data.resumes[person] for person, _ in chosen],
            [data.jobs[job] for _, job in chosen],
            self.config.ppo.response,
        )

    def pairs(self, data: GirlData, pairs: Sequence[Pair]) -> dict[str, np.ndarray]:
        """Prompts with the better and the worse job: "tokens" and "valid" `[N, 2, T]`.

        Raises:
          DataError: a description does not fit.
        """
        prompts = self.writer.texts([data.resumes[pair.person] for pair in pairs])
        rows: list[np.ndarray] = []
        for side in ("better", "worse"):
            jobs = [data.jobs[getattr(pair, side)] for pair in pairs]
            found = encode_answers(self.text.tokenizer, prompts, jobs, self.config.longest)
            for row in found:
                if isinstance(row, str):
                    raise DataError(
                        f"a pair belongs to the {row} of {self.config.longest} tokens; raise "
                        "--ppo.response"
                    )
            rows += [row for row in found if not isinstance(row, str)]
        length = -(-max(map(len, rows)) // 16) * 16
        tokens, valid = pad_rows(rows, min(length, self.config.longest))
        shape = (2, len(pairs), tokens.shape[1])
        return {
            name: np.ascontiguousarray(cells.reshape(shape).swapaxes(0, 1))
            for name, cells in (("tokens", tokens), ("valid", valid))
        }

    @property
    def scored(self) -> ScoredText:
        """The generator with a scalar head."""
        return ScoredText.of(self.text, summed=self.config.reward_head == "sum")

    @property
    def policy(self) -> Policy:
        """The generator with a value network."""
        config = self.config
        return Policy.of(
            self.text,
            config.ppo,
            config.train,
            separate=config.critic == "reward",
            summed=config.reward_head == "sum",
        )

    def training(self, name: str) -> TrainConfig:
        """The training of a reward model."""
        return self.config.gold_reward if name == GOLD else self.config.reward

    def generator(self) -> Any:
        """The trainable part of the tuned generator.

        Raises:
          DataError: not trained yet, or damaged.
        """
        return self.text.trained(self.directory / SFT, self.config.sft, self.owner)

    def reward_model(self, name: str = REWARD) -> RewardModel | FactReward:
        """A reward model with its normalization.

        Raises:
          DataError: not trained yet, or damaged.
        """
        if self.config.reward_head == "facts":
            return FactReward.load(self.facts_path(name))
        scale = read_json(self.directory / SCALES, dict[str, Scale])[name]
        found = self.scored.trained(self.directory / name, self.training(name), self.owner)
        out = rescale(found["params"]["out"], scale["gain"], scale["bias"])
        return RewardModel(
            head=self.scored.head,
            params=found | {"params": found["params"] | {"out": out}},
            tokenizer=self.text.tokenizer,
            max_length=self.config.longest,
            batch_size=self.config.eval.batch_size,
        )

    def facts_path(self, name: str) -> Path:
        """The file of a reward of facts."""
        return self.directory / f"{name}_facts.npz"

    def trained_policy(self, prompt: int) -> Any:
        """The variables of the policy's best checkpoint.

        Args:
          prompt: number of tokens of a prompt in its training.

        Raises:
          DataError: not trained yet, or damaged.
        """
        policy = self.policy
        return policy.trained(self.directory, policy.batch(prompt), self.owner)

    def task(
        self, prompts: tuple[np.ndarray, np.ndarray], reference: Any, reward: Reward
    ) -> PpoTask:
        """Prompts `[N, P]` with the policy, its reference and the reward."""
        return PpoTask(
            actor=self.policy.actor,
            reference=reference,
            prompts=prompts[0],
            valid=prompts[1],
            reward=reward,
            settings=self.config.ppo,
            ends=(self.text.tokenizer.eos_token_id,),
            pad=self.text.tokenizer.pad_token_id or 0,
        )

    def reward(self, name: str) -> Reward:
        """A reward model as the reward of episodes."""
        model, title = self.reward_model(name), f"{name} model"
        tokenizer = self.text.tokenizer
        if isinstance(model, FactReward):
            return host_text_reward(model.rewards, tokenizer, title)
        return text_reward(model, tokenizer, self.text.spec.config.vocab_size, title)


def _from_scratch(config: GirlConfig, data: GirlData) -> TextModel:
    """A generator with random parameters and a tokenizer of the texts that it learns from."""
    chosen = data.targets["train"][: _TOKENIZER_TEXTS // 2]
    texts = [config.template, *(data.resumes[person] for person, _ in chosen.tolist())]
    texts += [data.jobs[job] for _, job in chosen.tolist()]
    words: list[str] = []
    if config.skill_tokens:
        # Skills stand behind a space, except at the beginning of a sentence.
        words = [f" {skill}" for skill in data.skills]
        # The tokenizer's own tokens shall spell everything else.
        every = re.compile("|".join(map(re.escape, sorted(words, key=len, reverse=True))))
        texts = [every.sub("", text) for text in texts]
    seed = config.sft.seed
    return tuned_text.from_scratch(config.model, texts, config.vocab_size, words, seed)
