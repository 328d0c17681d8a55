"""Ask a language model many prompts, and count what that takes.

Questions go to the model in batches. A service that refuses a batch or does not answer is asked
again, one question at a time. A question that fails even so is counted, and the study goes on. When
several in a row fail, or none of the first ones has a usable answer, the service is taken for
broken and the study stops; with stored answers the same command resumes it.
"""

import collections
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from jaxrec.core import ConfigError, ProgressBar
from jaxrec.prompting import GenerateOptions, LanguageModel, Reply, ServiceError, Usage

Question = TypeVar("Question")


@dataclasses.dataclass(frozen=True, kw_only=True)
class AskTotals:
    """What questions took; totals add up.

    Attributes:
      prompts: number of prompts, those that failed included.
      failures: number of prompts without a usable answer, by the reason.
      usage: calls, tokens and cost.

    Example:
      >>> from jaxrec.prompting import Usage
      >>> one = AskTotals(prompts=2, failures={"it is no JSON": 1}, usage=Usage(prompt_tokens=8))
      >>> both = one + one
      >>> both.prompts, both.failed, both.tokens
      (4, 2, 16)
    """

    prompts: int = 0
    failures: Mapping[str, int] = dataclasses.field(default_factory=dict)
    usage: Usage = Usage()

    def __add__(self, other: "AskTotals") -> "AskTotals":
        return AskTotals(
            prompts=self.prompts + other.prompts,
            failures=dict(collections.Counter(self.failures) + collections.Counter(other.failures)),
            usage=self.usage + other.usage,
        )

    @property
    def failed(self) -> int:
        """Number of prompts without a usable answer."""
        return sum(self.failures.values())

    @property
    def tokens(self) -> int:
        """Tokens of prompts and completions, as a service bills them: shared ones count too."""
        return self.usage.prompt_tokens + self.usage.completion_tokens

    def to_json(self) -> dict[str, Any]:
        """Return the totals as JSON values."""
        return {
            "prompts": self.prompts,
            "failed": self.failed,
            "failures": dict(self.failures),
            "tokens": self.tokens,
            "prompt_tokens": self.usage.prompt_tokens,
            "completion_tokens": self.usage.completion_tokens,
            "cost": self.usage.cost,
        }


class Replies(NamedTuple):
    """The reply to each prompt, and what all of them took."""

    replies: list[Reply]
    totals: AskTotals


class OptionScores(NamedTuple):
    """The log-probabilities of each prompt's options, NaN where the question failed, and totals."""

    logprobs: list[np.ndarray]
    totals: AskTotals


def ask_model(
    model: LanguageModel,
    prompts: Sequence[str],
    options: GenerateOptions,
    *,
    batch: int = 64,
    most_failures: int = 3,
    title: str = "ask",
) -> Replies:
    """Let a model continue prompts.

    Args:
      model: any language model.
      prompts: N texts.
      options: how they are continued.
      batch: number of prompts in each call of the model.
      most_failures: number of prompts in a row that a service may fail to answer. Such a prompt
        gets a reply with a `failure`. A study also stops where more than so many questions have
        been asked and none has a usable answer, as at an address that is no service.
      title: of the progress bar.

    Returns:
      N replies, and the totals. A reply with a `failure` has empty texts.

    Raises:
      ConfigError: a batch below 1, a negative number of failures, or what the model rejects.
      ServiceError: more questions in a row failed than are allowed, or no answer is usable.

    Example:
      >>> from jaxrec.prompting import GenerateOptions, ScriptedModel
      >>> model = ScriptedModel(lambda prompt, _: " B")
      >>> replies, totals = ask_model(model, ["A or B?", "B or C?"], GenerateOptions())
      >>> [reply.text for reply in replies], totals.prompts, totals.tokens
      ([' B', ' B'], 2, 8)
    """

    def ask(chunk: Sequence[str]) -> list[Reply]:
        return model.generate(chunk, options)

    def failed(_: str, reason: str) -> Reply:
        texts, cut = ("",) * options.n, (False,) * options.n
        return Reply(texts=texts, truncated=cut, usage=Usage(calls=1), failure=reason)

    def unusable(reply: Reply) -> str | None:
        return reply.failure

    replies = _in_batches(ask, prompts, failed, unusable, batch, most_failures, title)
    reasons = collections.Counter(r.failure for r in replies if r.failure is not None)
    usage = sum((reply.usage for reply in replies), Usage())
    return Replies(replies, AskTotals(prompts=len(prompts), failures=dict(reasons), usage=usage))


def score_model(
    model: LanguageModel,
    prompts: Sequence[str],
    options: Sequence[Sequence[str]],
    *,
    batch: int = 64,
    most_failures: int = 3,
    title: str = "score",
) -> OptionScores:
    """Let a model score continuations, such as the legal answers to each prompt.

    Args:
      model: any language model with likelihoods.
      prompts: N texts.
      options: the continuations of each prompt.
      batch: see `ask_model`.
      most_failures: see `ask_model`.
      title: of the progress bar.

    Returns:
      N arrays of log-probabilities in nats, and the totals. A model of this library reads a prompt
      once for all of its options, so the totals hold its tokens once, with the longest option. The
      cost is what the service charges, for all options.

    Raises:
      ConfigError: see `ask_model`; also other numbers of prompts and rows of options.
      ServiceError: see `ask_model`.

    Example:
      >>> from jaxrec.prompting import ScriptedModel
      >>> model = ScriptedModel(logprob=lambda prompt, text: -float(len(text)))
      >>> score_model(model, ["yes or no?"], [[" yes", " no"]]).logprobs[0].tolist()
      [-4.0, -3.0]
    """
    if len(prompts) != len(options):
        raise ConfigError(
            f"{len(prompts)} prompts and {len(options)} rows of options; give a row each"
        )

    def ask(chunk: Sequence[tuple[str, Sequence[str]]]) -> list[tuple[np.ndarray, Usage, str]]:
        rows = model.score([prompt for prompt, _ in chunk], [texts for _, texts in chunk])
        found = []
        for row in rows:
            # The prompt's tokens stand in the usage of every option.
            tokens = max((score.usage.prompt_tokens for score in row), default=0)
            usage = sum((score.usage for score in row), Usage())
            usage = dataclasses.replace(usage, calls=1, prompt_tokens=tokens)
            found.append((np.array([score.logprob for score in row]), usage, ""))
        return found

    def failed(question: tuple[str, Sequence[str]], reason: str) -> tuple[np.ndarray, Usage, str]:
        return np.full(len(question[1]), np.nan), Usage(calls=1), reason

    def unusable(answer: tuple[np.ndarray, Usage, str]) -> str | None:
        return answer[2] or None

    pairs = list(zip(prompts, options, strict=True))
    found = _in_batches(ask, pairs, failed, unusable, batch, most_failures, title)
    reasons = collections.Counter(reason for _, _, reason in found if reason)
    usage = sum((usage for _, usage, _ in found), Usage())
    totals = AskTotals(prompts=len(prompts), failures=dict(reasons), usage=usage)
    return OptionScores([logprobs for logprobs, _, _ in found], totals)


Answer = TypeVar("Answer")


def _in_batches(
    ask: Callable[[Sequence[Question]], list[Answer]],
    questions: Sequence[Question],
    failed: Callable[[Question, str], Answer],
    unusable: Callable[[Answer], str | None],
    batch: int,
    most_failures: int,
    title: str,
) -> list[Answer]:
    """Ask questions in batches, and one by one where a batch fails.

    `unusable` says why an answer cannot be used; None for one that can.
    """
    if isinstance(questions, str):
        raise ConfigError(f"expected a list of texts, got one text: [{questions[:20]!r}]")
    if batch < 1 or most_failures < 0:
        raise ConfigError(
            f"batch must be at least 1 and most_failures at least 0, got {batch} and "
            f"{most_failures}"
        )
    answers: list[Answer] = []
    in_a_row, usable = 0, False
    with ProgressBar(title, len(questions), unit="prompt") as bar:
        for first in range(0, len(questions), batch):
            chunk = questions[first : first + batch]
            try:
                answers += ask(chunk)
                in_a_row = 0
            except ServiceError:
                # Another attempt at each question; what is stored already costs nothing.
                for question in chunk:
                    try:
                        answers += ask([question])
                        in_a_row = 0
                    except ServiceError as error:
                        in_a_row += 1
                        if in_a_row > most_failures:
                            raise ServiceError(
                                f"{in_a_row} questions in a row failed, after {len(answers)} of "
                                f"{len(questions)} were asked: {error}; stored answers are kept, "
                                "and the same command asks the rest"
                            ) from error
                        answers.append(failed(question, str(error)))
            usable = usable or any(unusable(one) is None for one in answers[first:])
            if not usable and len(answers) > most_failures:
                raise ServiceError(
                    f"none of the first {len(answers)} of {len(questions)} questions has a usable "
                    f"answer: {unusable(answers[-1])}; check the address and the model's name, and "
                    "the same command asks them again"
                )
            bar.update(len(answers))
    return answers
