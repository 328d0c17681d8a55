"""What an answer of a text task is, and how a model is made to give one.

A kind of answer says which field the training target shows, and turns a model's output into arrays
that a metric reads: items that a search finds, log-probabilities of a few texts, or free text.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from jaxrec.core import ConfigError, check_numbers
from jaxrec.data import ratings
from jaxrec.eval import Repeated, removed_items
from jaxrec.texts.datum import Datum

if TYPE_CHECKING:
    from jaxrec.eval import ParsedRatings
    from jaxrec.texts.questions import Questions

_STARS = np.array([ratings.star_of(text) for text in ratings.TEXTS], np.float64)


class Answerer(Protocol):
    """A model that answers prompts, such as `Prompted`."""

    @property
    def num_items(self) -> int:
        """I, items that it can recommend."""

    def recommend(
        self,
        prompts: Sequence[str],
        *,
        beams: int,
        allowed: np.ndarray | None = None,
        excluded: Sequence[np.ndarray] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Item numbers `[N, K]`, best first and -1 in unfilled places, with their scores."""

    def score(self, prompts: Sequence[str], texts: Sequence[str]) -> np.ndarray:
        """Log-probability of each text as the answer to each prompt, `[N, A]`."""

    def write(self, prompts: Sequence[str], max_tokens: int) -> list[str]:
        """Free text as the answer to each prompt."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnswerOptions:
    """Settings of a run that answers and their metrics need.

    Attributes:
      beams: K, items found for each prompt.
      filter_seen: never recommend an item of the history.
      repeated_target: whether a target in the history can be found, see `eval.removed_items`.
      max_tokens: most tokens of a free text.
      ks: cut-offs of ranking metrics.
    """

    beams: int = 20
    filter_seen: bool = True
    repeated_target: Repeated = "ranked"
    max_tokens: int = 32
    ks: tuple[int, ...] = (5, 10)


class AnswerKind(Protocol):
    """What an answer is.

    Attributes:
      valid_rows: most questions about rows in a validation during training; answers that cost more
        have fewer.
    """

    valid_rows: ClassVar[int]

    @property
    def target(self) -> str:
        """The target of templates, such as "{item}"."""

    def fields(self, datum: Datum) -> Mapping[str, str]:
        """Fields that the kind adds to those of the datum."""

    def answer(self, model: Answerer, questions: "Questions", options: AnswerOptions) -> Any:
        """The model's answers, in the form that the kind's metrics read."""


@dataclasses.dataclass(frozen=True)
class CatalogueItem:
    """One item of the whole catalogue, found by a search over the trie of all items."""

    target: ClassVar[str] = "{item}"
    valid_rows: ClassVar[int] = 1000

    def fields(self, datum: Datum) -> Mapping[str, str]:
        """None: the datum's item is the answer."""
        return {}

    def answer(self, model: Answerer, questions: "Questions", options: AnswerOptions) -> np.ndarray:
        """The best items for each prompt: `[N, K]`."""
        excluded = None
        if options.filter_seen:
            excluded = removed_items(questions.seen, questions.targets, options.repeated_target)
        return model.recommend(questions.prompts, beams=options.beams, excluded=excluded)[0]


@dataclasses.dataclass(frozen=True)
class OneOfCandidates:
    """One of the datum's candidates, found by a search that allows no other item."""

    target: ClassVar[str] = "{item}"
    valid_rows: ClassVar[int] = 1000

    def fields(self, datum: Datum) -> Mapping[str, str]:
        """None: the datum's item is the answer."""
        return {}

    def answer(self, model: Answerer, questions: "Questions", options: AnswerOptions) -> np.ndarray:
        """The best candidates of each prompt, whatever the history holds: `[N, K]`."""
        check_numbers(questions.candidates, model.num_items, "candidates", missing=False)
        allowed = np.zeros((len(questions.prompts), model.num_items), bool)
        np.put_along_axis(allowed, questions.candidates, True, axis=1)
        return model.recommend(questions.prompts, beams=options.beams, allowed=allowed)[0]


@dataclasses.dataclass(frozen=True)
class Choice:
    """One of a few fixed texts, by their likelihood; the datum's `answer` is its number.

    Of two texts the first is the positive one.

    Example:
      >>> from jaxrec.texts import Choice, Datum
      >>> Choice(("yes", "no")).fields(Datum(answer=1))
      {'answer': 'no'}
    """

    texts: tuple[str, ...]
    target: ClassVar[str] = "{answer}"
    valid_rows: ClassVar[int] = 1000

    def __post_init__(self) -> None:
        """Reject answers that cannot be told apart."""
        if len(set(self.texts)) < max(len(self.texts), 2):
            raise ConfigError(f"a choice needs two or more different texts, got {self.texts}")

    def fields(self, datum: Datum) -> Mapping[str, str]:
        """The right answer."""
        return {"answer": self.texts[datum.answer]}

    def answer(self, model: Answerer, questions: "Questions", options: AnswerOptions) -> np.ndarray:
        """Log-probability of each text: `[N, A]`."""
        return model.score(questions.prompts, self.texts)


@dataclasses.dataclass(frozen=True)
class Rating:
    """A number of stars as a decimal, by the likelihood of all decimals."""

    target: ClassVar[str] = "{rating}"
    valid_rows: ClassVar[int] = 1000

    def fields(self, datum: Datum) -> Mapping[str, str]:
        """None: the datum's rating is the answer."""
        return {}

    def answer(self, model: Answerer, questions: "Questions", options: AnswerOptions) -> np.ndarray:
        """The mean star that the model expects, over all decimals: `[N]` float64."""
        logs = model.score(questions.prompts, ratings.TEXTS).astype(np.float64)
        share = np.exp(logs - logs.max(axis=1, keepdims=True))
        return share @ _STARS / share.sum(axis=1)


@dataclasses.dataclass(frozen=True)
class FreeText:
    """Text that the model writes, and a parser where the text stands for a number.

    Attributes:
      field: the field that the text should be, such as "explanation".
      parse: reads numbers out of texts, given a default for texts without one; None where the text
        itself is the answer.
    """

    field: str
    parse: "Callable[[Sequence[str], float], ParsedRatings] | None" = None
    valid_rows: ClassVar[int] = 200

    @property
    def target(self) -> str:
        """The field alone."""
        return f"{{{self.field}}}"

    def fields(self, datum: Datum) -> Mapping[str, str]:
        """None: the data give the field."""
        return {}

    def answer(
        self, model: Answerer, questions: "Questions", options: AnswerOptions
    ) -> "list[str] | ParsedRatings":
        """The texts, or the numbers in them."""
        texts = model.write(questions.prompts, options.max_tokens)
        return texts if self.parse is None else self.parse(texts, questions.default)
