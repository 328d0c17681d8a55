"""The kinds of questions that a task asks a language model.

Each kind knows how to ask many of its questions with one call, so that a model can batch them. A
kind of one's own is a frozen dataclass with the class method `ask`, for instance for a game of
several turns.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol, Self

from jaxrec.core import ConfigError
from jaxrec.prompting import GenerateOptions, LanguageModel, Reply, Score, TextScore


class Question(Protocol):
    """What a task asks about one document."""

    @classmethod
    def ask(cls, model: LanguageModel, questions: Sequence[Self]) -> list[Any]:
        """Return the answer to each question, in order."""
        ...


@dataclasses.dataclass(frozen=True)
class Choose:
    """Which of several continuations is likelier; the answer is a `Score` for each.

    With an empty prompt the options are whole texts, so two options make a pair preference.

    Attributes:
      prompt: what the options continue.
      options: at least two continuations, with their leading spaces.

    Raises:
      ConfigError: fewer than two options, or an empty one.

    Example:
      >>> from jaxrec.prompting import ScriptedModel
      >>> model = ScriptedModel(logprob=lambda prompt, option: -float(len(option)))
      >>> (answer,) = Choose.ask(model, [Choose("A bird can", (" fly", " read"))])
      >>> [score.logprob for score in answer]
      [-4.0, -5.0]
    """

    prompt: str
    options: tuple[str, ...]

    def __post_init__(self) -> None:
        if isinstance(self.options, str) or len(self.options) < 2 or not all(self.options):
            raise ConfigError(
                f"options must be two texts or more, none of them empty, got {self.options!r:.80}"
            )
        object.__setattr__(self, "options", tuple(self.options))

    @classmethod
    def ask(cls, model: LanguageModel, questions: Sequence[Self]) -> list[tuple[Score, ...]]:
        """Score all options of all questions."""
        return model.score([q.prompt for q in questions], [q.options for q in questions])


@dataclasses.dataclass(frozen=True)
class Follow:
    """How likely one continuation is, and whether a model writes it; the answer is a `Score`.

    Attributes:
      prompt: what is continued.
      text: the continuation, with its leading space.

    Raises:
      ConfigError: the continuation is empty.

    Example:
      >>> from jaxrec.prompting import ScriptedModel
      >>> model = ScriptedModel(logprob=lambda prompt, text: -0.5)
      >>> Follow.ask(model, [Follow("to be or not to", " be")])[0].logprob
      -0.5
    """

    prompt: str
    text: str

    def __post_init__(self) -> None:
        if not self.text:
            raise ConfigError("the continuation to score is empty; give it at least one character")

    @classmethod
    def ask(cls, model: LanguageModel, questions: Sequence[Self]) -> list[Score]:
        """Score the continuation of each question."""
        rows = model.score([q.prompt for q in questions], [(q.text,) for q in questions])
        return [row[0] for row in rows]


@dataclasses.dataclass(frozen=True)
class Several:
    """Several questions about one document; the answer is a tuple of theirs.

    Attributes:
      questions: of any kinds.

    Example:
      >>> from jaxrec.prompting import ScriptedModel
      >>> model = ScriptedModel(logprob=lambda prompt, text: -0.5)
      >>> ((first, second),) = Several.ask(model, [Several((Read("a"), Read("a b")))])
      >>> first.logprob, second.logprob
      (-0.5, -1.0)
    """

    questions: tuple[Question, ...]

    @classmethod
    def ask(cls, model: LanguageModel, questions: Sequence[Self]) -> list[tuple[Any, ...]]:
        """Ask all of them, those of one kind with one call."""
        answers = iter(ask_all(model, [part for q in questions for part in q.questions]))
        return [tuple(next(answers) for _ in q.questions) for q in questions]


def ask_all(model: LanguageModel, questions: Sequence[Question]) -> list[Any]:
    """Return the answers to questions of any kinds in order; those of one kind go into one call.

    Args:
      model: any language model.
      questions: of any kinds.

    Example:
      >>> from jaxrec.prompting import ScriptedModel
      >>> model = ScriptedModel(lambda prompt, sample: " yes", logprob=lambda prompt, text: -0.5)
      >>> reply, score = ask_all(model, [Write("Is it?"), Follow("It", " is")])
      >>> reply.text, score.logprob
      (' yes', -0.5)
    """
    kinds: dict[type, list[int]] = {}
    for place, question in enumerate(questions):
        kinds.setdefault(type(question), []).append(place)
    answers: dict[int, Any] = {}
    for kind, places in kinds.items():
        asked: Any = kind
        found = asked.ask(model, [questions[place] for place in places])
        answers |= dict(zip(places, found, strict=True))
    return [answers[place] for place in range(len(questions))]


@dataclasses.dataclass(frozen=True)
class Write:
    r"""A text that the model continues freely; the answer is a `Reply`.

    Attributes:
      prompt: what the model continues.
      options: number of tokens, stop strings and draws; greedy by default.

    Example:
      >>> from jaxrec.prompting import ScriptedModel
      >>> model = ScriptedModel(lambda prompt, sample: " 4\nQuestion:")
      >>> question = Write("2 + 2 =", GenerateOptions(stop=("\n",)))
      >>> Write.ask(model, [question])[0].text
      ' 4'
    """

    prompt: str
    options: GenerateOptions = GenerateOptions()

    @classmethod
    def ask(cls, model: LanguageModel, questions: Sequence[Self]) -> list[Reply]:
        """Continue all prompts; those with equal options go into one call."""
        groups: dict[GenerateOptions, list[int]] = {}
        for place, question in enumerate(questions):
            groups.setdefault(question.options, []).append(place)
        replies: dict[int, Reply] = {}
        for options, places in groups.items():
            made = model.generate([questions[place].prompt for place in places], options)
            replies |= dict(zip(places, made, strict=True))
        return [replies[place] for place in range(len(questions))]


@dataclasses.dataclass(frozen=True)
class Read:
    """A whole text that the model reads; the answer is a `TextScore`.

    Attributes:
      text: the text; one longer than the context is read in several windows.

    Raises:
      ConfigError: the text is empty.

    Example:
      >>> from jaxrec.prompting import ScriptedModel
      >>> model = ScriptedModel(logprob=lambda prompt, word: -1.0)
      >>> Read.ask(model, [Read("to be or not")])[0].logprob
      -4.0
    """

    text: str

    def __post_init__(self) -> None:
        if not self.text:
            raise ConfigError("the text to read is empty; give it at least one character")

    @classmethod
    def ask(cls, model: LanguageModel, questions: Sequence[Self]) -> list[TextScore]:
        """Score all texts."""
        return model.score_text([question.text for question in questions])
