"""A run on last letters as one frozen value."""

import dataclasses
from typing import ClassVar

from jaxrec.core import ConfigError, Count, Positive, Seed, Whole, check_ranges
from jaxrec.models import TransformerConfig
from jaxrec.train import TrainConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class LettersDataConfig:
    """Questions with made-up names.

    Attributes:
      name: what the data are called.
      words: most names of a question in training; each number from 1 on is equally frequent.
      longest: most names of a question in the test of longer questions, which begin at `words` + 1.
      train_questions: number of questions to learn.
      published: file of published questions with real names, "" for none. A relative path is looked
        up below JAXREC_DATA too. A measurement leaves out a file that does not exist, and says so.
      seed: seed of names and questions.
    """

    name: str = "last letters"
    words: Count = 4
    longest: Count = 8
    train_questions: Count = 30_000
    published: str = "last-letters/last_letters.json"
    seed: Seed = 0

    def __post_init__(self) -> None:
        """Reject lengths that leave nothing to test."""
        check_ranges(self, "--data.")
        if self.longest <= self.words:
            raise ConfigError(
                f"data.longest {self.longest} must be above data.words {self.words}, so that there "
                "are questions longer than those of training"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class LettersEvalConfig:
    """How answers are measured.

    Attributes:
      valid_instances: number of validation questions, of the trained lengths.
      test_instances: number of questions of each part of a measurement.
      max_tokens: most tokens of a reasoning with its answer.
      samples: number of chains of each question in the row of self-consistency; 0 for no such row.
      temperature: of these samples.
      top_k: number of likeliest tokens that they are drawn from.
      batch_size: prompts in each call of the model.
      resamples: number of resamples of the bootstrap over questions.
    """

    valid_instances: Count = 100
    test_instances: Count = 200
    max_tokens: Count = 256
    samples: Whole = 0
    temperature: Positive = 0.7
    top_k: Count = 40
    batch_size: Count = 64
    resamples: Count = 1000

    def __post_init__(self) -> None:
        """Reject numbers out of range."""
        check_ranges(self, "--eval.")
        if self.samples == 1:
            raise ConfigError("eval.samples 1 leaves nothing to vote on; give 0, or at least 2")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LettersConfig:
    """A run on last letters.

    Attributes:
      data: the questions.
      rationale: whether the texts that are learned spell the letters one by one before the answer.
      train: training. Checkpoints are ranked by the accuracy on validation questions.
      model: shape of the model, which reads and writes characters.
      eval: measurements.

    Example:
      >>> from jaxrec.systems.last_letters import LettersConfig
      >>> LettersConfig(rationale=False).data.words
      4
    """

    system: ClassVar[str] = "jaxrec.systems.last_letters"

    data: LettersDataConfig = LettersDataConfig()
    rationale: bool = True
    train: TrainConfig = TrainConfig(steps=1000)
    model: TransformerConfig = TransformerConfig(
        width=128, depth=3, num_heads=4, mlp_width=256, positions="relative"
    )
    eval: LettersEvalConfig = LettersEvalConfig()

    def __post_init__(self) -> None:
        """Reject settings out of range."""
        check_ranges(self, "--")
