"""A judge of pairs of answers, who sees each pair in both orders.

Zheng et al., Judging LLM-as-a-Judge with MT-Bench and Chatbot Arena (arXiv:2306.05685). The judge
is a language model, or a score of answers such as a reward model or a rule. A win counts only if
both orders name the same winner; see `jaxrec.eval.both_orders`.
"""

import dataclasses
import re
from collections.abc import Callable, Sequence

from jaxrec.core import ConfigError
from jaxrec.eval import Verdict, Wins, tally
from jaxrec.prompting import GenerateOptions, LanguageModel

_VERDICT = re.compile(r"\[\[([ABC])\]\]")
_LETTERS: dict[str, Verdict] = {"A": "first", "B": "second", "C": "tie"}
_OPTIONS = GenerateOptions(max_tokens=256)
_TEMPLATE = """Two assistants answered the request below. Which answer is better in {criterion}? \
The order of the answers and their length must not matter. Explain your comparison in a few \
sentences. Then end with your verdict: [[A]] if answer A is better, [[B]] if answer B is better, \
or [[C]] if they are equally good.

Request:
{request}

Answer A:
{first}

Answer B:
{second}

Comparison:"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """A request and two answers.

    Attributes:
      request: what both answer.
      answer: the answer whose wins are counted.
      opponent: the answer that it is compared with.
    """

    request: str
    answer: str
    opponent: str


# Verdicts on requests, first answers and second answers, as (request, first, second).
Judge = Callable[[Sequence[tuple[str, str, str]]], list[Verdict]]


def read_verdict(text: str) -> Verdict:
    """Read the last verdict of a judge's reply; "unusable" without one.

    Example:
      >>> read_verdict("[[A]] is tempting, but B is right: [[B]]"), read_verdict("Both are fine.")
      ('second', 'unusable')
    """
    found = _VERDICT.findall(text)
    return _LETTERS[found[-1]] if found else "unusable"


def model_judge(
    model: LanguageModel,
    *,
    criterion: str = "helpfulness, relevance and accuracy",
    options: GenerateOptions = _OPTIONS,
) -> Judge:
    """Return a judge that asks a language model.

    Args:
      model: who judges.
      criterion: what makes an answer better, such as "richness of detail" or "conciseness".
      options: of its reply; one for each question.

    Raises:
      ConfigError: several replies to a question.

    Example:
      >>> from jaxrec.prompting import ScriptedModel
      >>> judge = model_judge(ScriptedModel(lambda prompt, sample: "Equal. [[C]]"))
      >>> judge([("Hi", "Hello!", "Hey!")])
      ['tie']
    """
    if options.n > 1:
        raise ConfigError(f"a judge gives one reply to each question; set n=1, got n={options.n}")

    def judge(pairs: Sequence[tuple[str, str, str]]) -> list[Verdict]:
        prompts = [
            _TEMPLATE.format(criterion=criterion, request=request, first=first, second=second)
            for request, first, second in pairs
        ]
        return [read_verdict(reply.text) for reply in model.generate(prompts, options)]

    return judge


def score_judge(score: Callable[[str, str], float], *, margin: float = 0.0) -> Judge:
    """Return a judge that compares the scores of answers, such as the rewards of a reward model.

    Args:
      score: of a request and an answer; nan makes the verdict unusable.
      margin: scores that differ by no more are a tie.

    Raises:
      ConfigError: a negative margin.

    Example:
      >>> judge = score_judge(lambda request, answer: float(len(answer)), margin=1)
      >>> judge([("Hi", "Hello!", "Hey!"), ("Hi", "Hey", "Hey!")])
      ['first', 'tie']
    """
    if not margin >= 0:
        raise ConfigError(f"margin must be a number from 0 on, got {margin}")

    def judge(pairs: Sequence[tuple[str, str, str]]) -> list[Verdict]:
        return [
            _by_score(score(request, first), score(request, second), margin)
            for request, first, second in pairs
        ]

    return judge


def _by_score(first: float, second: float, margin: float) -> Verdict:
    difference = first - second
    if difference != difference:
        # Two infinite rewards, or one that is nan, cannot be compared.
        return "unusable"
    if abs(difference) <= margin:
        return "tie"
    return "first" if difference > 0 else "second"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judged:
    """What a judge said.

    Attributes:
      wins: shares of wins, ties and losses.
      verdicts: for each comparison those with the answer first and with it second.
    """

    wins: Wins
    verdicts: tuple[tuple[Verdict, Verdict], ...]


def compare_answers(judge: Judge, comparisons: Sequence[Comparison]) -> Judged:
    """Let a judge compare answers with those of an opponent, each pair in both orders.

    Args:
      judge: see `model_judge` and `score_judge`.
      comparisons: at least one.

    Raises:
      DataError: no comparison has a usable verdict.
      ConfigError: the judge returns another number of verdicts than it was given pairs.

    Example:
      >>> judge = score_judge(lambda request, answer: float("please" in answer))
      >>> pair = Comparison(request="Ask.", answer="A tea, please.", opponent="Tea!")
      >>> compare_answers(judge, [pair]).wins.win
      1.0
    """
    forward = [(c.request, c.answer, c.opponent) for c in comparisons]
    backward = [(c.request, c.opponent, c.answer) for c in comparisons]
    found = judge([*forward, *backward])
    if len(found) != 2 * len(comparisons):
        raise ConfigError(
            f"the judge was given {2 * len(comparisons)} pairs and returned {len(found)} verdicts; "
            "return one for each pair, in order"
        )
    half = len(comparisons)
    verdicts = tuple(zip(found[:half], found[half:], strict=True))
    return Judged(wins=tally(verdicts), verdicts=verdicts)
