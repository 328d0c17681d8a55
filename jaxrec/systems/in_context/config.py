"""A run of in-context learning as one frozen value."""

import dataclasses
from typing import ClassVar

from jaxrec.core import ConfigError, Count, Seed, check_ranges
from jaxrec.models import TransformerConfig
from jaxrec.train import TrainConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class InContextDataConfig:
    """Made-up tasks: each is a random function from a few words to a label.

    Attributes:
      name: what the tasks are called.
      vocabulary: number of different words of all tasks.
      labels: number of labels.
      groups: most groups of a task; each group has words and a label of its own, drawn at random.
      group_words: number of words of a group.
      shown_words: number of them that an input shows.
      length: examples of a text in training.
      texts: number of texts to train on.
      pool: examples of a task that demonstrations are selected from.
      tasks: number of tasks for validation, and as many for test. Each has one query.
      seed: seed of the words, the tasks and their examples.

    Raises:
      ConfigError: a value out of range, too few words, or inputs of a group that share no word.
    """

    name: str = "groups of words"
    vocabulary: Count = 24
    labels: Count = 4
    groups: Count = 6
    group_words: Count = 4
    shown_words: Count = 3
    length: Count = 9
    texts: Count = 40_000
    pool: Count = 48
    tasks: Count = 300
    seed: Seed = 0

    def __post_init__(self) -> None:
        """Reject tasks that cannot be made, or that no neighbour helps with."""
        check_ranges(self, "--data.")
        if self.groups * self.group_words > self.vocabulary:
            raise ConfigError(
                f"--data.groups {self.groups} of --data.group-words {self.group_words} need more "
                f"than --data.vocabulary {self.vocabulary} words; raise the latter"
            )
        if not self.group_words / 2 < self.shown_words < self.group_words:
            raise ConfigError(
                f"--data.shown-words {self.shown_words} must be more than half of "
                f"--data.group-words {self.group_words} and below them, so that two inputs of a "
                "group share a word and need not be equal"
            )
        if self.labels < 2 or self.groups < 2 or self.pool <= self.groups:
            raise ConfigError(
                f"--data.labels {self.labels} and --data.groups {self.groups} must be at least 2, "
                f"and --data.pool {self.pool} above the number of groups"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class InContextEvalConfig:
    """How a model is measured.

    Attributes:
      demonstrations: numbers of demonstrations, k.
      candidates: demonstrations to choose from where one useful one is planted.
      valid_tasks: number of validation tasks that checkpoints are ranked by.
      batch_size: prompts in each call of the model.
      resamples: number of resamples of the bootstrap over tasks.
    """

    demonstrations: tuple[Count, ...] = (1, 2, 4, 8)
    candidates: Count = 16
    valid_tasks: Count = 100
    batch_size: Count = 64
    resamples: Count = 1000

    def __post_init__(self) -> None:
        """Reject numbers out of range."""
        check_ranges(self, "--eval.")
        if not self.demonstrations or self.candidates < 2:
            raise ConfigError(
                "--eval.demonstrations needs a number, and --eval.candidates at least 2"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class InContextConfig:
    """A run that learns to learn from demonstrations.

    Attributes:
      data: the tasks.
      model: shape of the model.
      vocab_size: size of the tokenizer that is trained on the texts.
      train: training. Checkpoints are ranked by the accuracy with the most nearest neighbours.
      eval: measurements.

    Raises:
      ConfigError: a value out of range, or more demonstrations than a task's pool or a training
        text has.

    Example:
      >>> from jaxrec.systems.in_context import InContextConfig
      >>> InContextConfig().data.labels
      4
    """

    system: ClassVar[str] = "jaxrec.systems.in_context"

    data: InContextDataConfig = InContextDataConfig()
    # The first block sees one example at a time, so it can only gather the words of an input.
    model: TransformerConfig = TransformerConfig(
        width=64,
        depth=2,
        num_heads=2,
        mlp_width=64,
        positions="none",
        window=4,
        global_every=2,
        tie_embeddings=False,
        remat="none",
    )
    vocab_size: Count = 400
    train: TrainConfig = TrainConfig(
        steps=2000, batch_size=32, lr=3e-3, warmup_steps=50, weight_decay=0.0, eval_every=2000
    )
    eval: InContextEvalConfig = InContextEvalConfig()

    def __post_init__(self) -> None:
        """Reject prompts that are longer than what was trained."""
        check_ranges(self, "--")
        most = max(self.eval.demonstrations)
        if most >= self.data.length or most > self.data.pool:
            raise ConfigError(
                f"--eval.demonstrations {most} must be below --data.length {self.data.length}, the "
                "number of examples of a training text, and at most --data.pool "
                f"{self.data.pool}"
            )
