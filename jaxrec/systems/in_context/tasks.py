"""Made-up tasks that a small model can learn from demonstrations alone.

    besa lumo tiki gold
    fuma keto rabi red
    lumo neva besa

A task has a few groups of words, and each group has a label. An input shows some words of one
group. Groups and labels are drawn anew for each task, so the weights of a model cannot know them:
only a demonstration with words of the query tells its label. A demonstration of another group tells
nothing, even if it has the same label.

(Small language models show little in-context learning; those trained on sequences of examples of
random functions do: Garg et al. 2022, arXiv:2208.01066; Chan et al. 2022, arXiv:2205.05055.)
"""

import dataclasses
import hashlib
import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from jaxrec.data import MarkedText
from jaxrec.prompting import Demonstration, Verbalizer
from jaxrec.systems.in_context.config import InContextDataConfig

_CONSONANTS, _VOWELS = "bdfgklmnprstvz", "aeiou"
VERBALIZER = Verbalizer(query=" {input}", answer=" {answer}", separator="\n")


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Words:
    """The words of all tasks.

    Attributes:
      inputs: words of inputs.
      labels: words of answers.
    """

    inputs: tuple[str, ...]
    labels: tuple[str, ...]

    @classmethod
    def of(cls, config: InContextDataConfig) -> "Words":
        """Draw the words: of two syllables in inputs, and of three in answers.

        Example:
          >>> words = Words.of(InContextDataConfig())
          >>> len(words.inputs), len(words.labels)
          (24, 4)
        """
        rng = np.random.default_rng([config.seed, 0])
        syllables = [a + b for a in _CONSONANTS for b in _VOWELS]
        pairs = ["".join(parts) for parts in itertools.product(syllables, repeat=2)]
        triples = ["".join(rng.choice(syllables, 3)) for _ in range(10 * config.labels)]
        labels = list(dict.fromkeys(triples))[: config.labels]
        chosen = rng.choice(len(pairs), config.vocabulary, replace=False)
        return cls(inputs=tuple(pairs[number] for number in chosen), labels=tuple(labels))


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Task:
    """A random function from inputs to labels.

    Attributes:
      groups: words of each group.
      labels: label of each group.
      shown: number of words of its group that an input shows.
    """

    groups: tuple[tuple[str, ...], ...]
    labels: tuple[str, ...]
    shown: int

    @classmethod
    def of(
        cls, config: InContextDataConfig, words: Words, groups: int, rng: np.random.Generator
    ) -> "Task":
        """Draw a task with so many groups; groups may share a label."""
        order = rng.permutation(words.inputs).tolist()
        size = config.group_words
        return cls(
            groups=tuple(tuple(order[n * size : (n + 1) * size]) for n in range(groups)),
            labels=tuple(rng.choice(words.labels, groups).tolist()),
            shown=config.shown_words,
        )

    def example(self, group: int, rng: np.random.Generator) -> Demonstration:
        """Draw an input of a group, with its label."""
        shown = rng.choice(self.groups[group], self.shown, replace=False).tolist()
        return Demonstration(" ".join(shown), self.labels[group])


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Question:
    """A query of a held-out task, and what it may be answered from.

    Attributes:
      query: the input, with its answer.
      pool: further examples of the task, without the query.
      candidates: demonstrations of which one is from the query's group. About half of the others
        have the query's answer too.
      planted: number of that one among the candidates.
    """

    query: Demonstration
    pool: tuple[Demonstration, ...]
    candidates: tuple[Demonstration, ...]
    planted: int


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Tasks:
    """The texts and questions of a run.

    Attributes:
      name: what they are called.
      words: the words of all tasks.
      train: texts to train on, each of examples of its own task, with marked answers.
      valid: questions for validation.
      test: questions for test.
    """

    name: str
    words: Words
    train: Sequence[MarkedText]
    valid: Sequence[Question]
    test: Sequence[Question]

    def describe(self) -> Mapping[str, object]:
        """Say what the run is trained and measured on: JSON-able."""
        digest = hashlib.sha256()
        for text in self.train:
            digest.update(text.text.encode() + b"\0")
        for question in (*self.valid, *self.test):
            digest.update(repr((question.query, question.pool, question.candidates)).encode())
        return {
            "dataset": self.name,
            "train": len(self.train),
            "test": f"{len(self.test)} tasks",
            "fingerprint": digest.hexdigest(),
        }


def make_tasks(config: InContextDataConfig, candidates: int) -> Tasks:
    """Make the texts and questions of a config.

    Args:
      config: of the tasks.
      candidates: number of candidates of each question.

    Example:
      >>> tasks = make_tasks(InContextDataConfig(texts=2, tasks=3), 4)
      >>> len(tasks.train), len(tasks.test), len(tasks.test[0].candidates)
      (2, 3, 4)
    """
    words = Words.of(config)
    rng = np.random.default_rng([config.seed, 1])
    parts = [
        [
            _question(config, words, candidates, np.random.default_rng([config.seed, part, number]))
            for number in range(config.tasks)
        ]
        for part in (2, 3)
    ]
    return Tasks(
        name=config.name,
        words=words,
        train=_texts(config, words, rng),
        valid=parts[0],
        test=parts[1],
    )


def _texts(config: InContextDataConfig, words: Words, rng: np.random.Generator) -> list[MarkedText]:
    """Write texts, each with examples of a task of its own, all at once.

    The number of groups differs, from a third of the most on.
    """
    count, length, size = config.texts, config.length, config.group_words
    groups = rng.integers(-(-config.groups // 3), config.groups + 1, (count, 1))
    order = rng.permuted(np.tile(np.arange(config.vocabulary), (count, 1)), axis=1)
    labels = rng.integers(config.labels, size=(count, config.groups))
    group = rng.integers(groups, size=(count, length))
    places = rng.permuted(np.tile(np.arange(size), (count, length, 1)), axis=2)
    own = group[..., None] * size + places[..., : config.shown_words]
    numbers = np.take_along_axis(order[:, None], own, axis=2)
    inputs = np.array(words.inputs, object)[numbers].tolist()
    answers = np.array(words.labels, object)[np.take_along_axis(labels, group, axis=1)].tolist()
    return [_text(*row) for row in zip(inputs, answers, strict=True)]


def _text(inputs: Sequence[Sequence[str]], answers: Sequence[str]) -> MarkedText:
    text, spans = "", []
    for place, (shown, answer) in enumerate(zip(inputs, answers, strict=True)):
        text += VERBALIZER.separator if place else ""
        text += VERBALIZER.open(" ".join(shown))
        begin = len(text)
        text += VERBALIZER.continuation(answer)
        spans.append((begin, len(text)))
    return MarkedText(text, tuple(spans))


def _question(
    config: InContextDataConfig, words: Words, candidates: int, rng: np.random.Generator
) -> Question:
    task = Task.of(config, words, config.groups, rng)
    query = task.example(0, rng)
    pool: list[Demonstration] = []
    while len(pool) < config.pool:
        example = task.example(int(rng.integers(config.groups)), rng)
        # Inputs with the same words in another order would be copies of the query.
        if set(example.input.split()) != set(query.input.split()):
            pool.append(example)
    alike = dataclasses.replace(task, labels=tuple(query.answer for _ in task.labels))
    useful = task.example(0, rng)
    while set(useful.input.split()) == set(query.input.split()):
        useful = task.example(0, rng)
    shown = [
        (alike if rng.integers(2) else task).example(int(rng.integers(1, config.groups)), rng)
        for _ in range(candidates - 1)
    ]
    planted = int(rng.integers(candidates))
    shown.insert(planted, useful)
    return Question(query=query, pool=tuple(pool), candidates=tuple(shown), planted=planted)
