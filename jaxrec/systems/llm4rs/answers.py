"""Answers of a language model as scores of the candidates, free or restricted to the legal ones.

    point   a rating of each candidate
    pair    the number of the other candidates that a candidate wins against
    list    the place in an ordering

An answer that cannot be read counts as a random ranking, and is counted: the candidates of a pair
share the win, and an instance without a legal ordering, or without a legal rating for each of its
candidates, has tied candidates.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from jaxrec.prompting import GenerateOptions, LanguageModel, option_probabilities
from jaxrec.systems.llm4rs.config import Answers, Form
from jaxrec.systems.llm4rs.prompts import Prompter
from jaxrec.texts import (
    LETTERS,
    AskTotals,
    Datum,
    ask_model,
    candidate_metrics,
    order_scores,
    read_choice,
    read_order,
    read_rating,
    score_model,
)

# As published: greedy, 20 tokens, one line.
_FREE = GenerateOptions(max_tokens=20, stop=("\n",))
RATINGS = (1, 2, 3, 4, 5)
_LEADS = {"point": "The rating is", "pair": "The answer index is", "list": "The answer index is"}


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Answered:
    """What a model answers in one form.

    Attributes:
      scores: `[N, A]` float64, one score for each candidate of each instance; higher is better.
      legal: `[N]` float64, share of the instance's answers that are legal.
      totals: prompts, failures, tokens and cost of all instances.
    """

    scores: np.ndarray
    legal: np.ndarray
    totals: AskTotals


def ask_form(
    model: LanguageModel,
    prompter: Prompter,
    data: Sequence[Datum],
    form: Form,
    answers: Answers = "free",
    *,
    batch: int = 256,
    failures: int = 3,
) -> Answered:
    """Ask a model to rank the candidates of instances in one form.

    Args:
      model: any language model; constrained answers need likelihoods.
      prompter: writes the prompts.
      data: N instances.
      form: "point", "pair" or "list".
      answers: "free" reads what the model writes. "constrained" compares the likelihoods of the
        legal answers: the expected rating, the probability of winning each pair, or the
        log-probability of each letter as the first one.
      batch: prompts in each call of the model.
      failures: see `texts.ask_model`.

    Raises:
      ConfigError: what the model rejects, such as a prompt that is too long.
      ServiceError: a service failed too often.

    Example:
      >>> from jaxrec.prompting import ScriptedModel
      >>> from jaxrec.systems.llm4rs import PromptConfig
      >>> prompter = Prompter(config=PromptConfig(), titles=["Alien", "Babe", "Cats"])
      >>> one = Datum(history=np.array([0]), candidates=np.array([2, 1]), item=1)
      >>> found = ask_form(ScriptedModel(lambda prompt, _: " B A."), prompter, [one], "list")
      >>> found.scores.tolist(), found.legal.tolist()
      ([[1.0, 2.0]], [1.0])
    """
    places = [prompter.places(form, datum) for datum in data]
    prompts = [prompt for datum in data for prompt in prompter.prompts(form, datum)]
    counts = [len(row) for row in places]
    title = f"{form}, {answers}"
    if answers == "free":
        replies, totals = ask_model(
            model, prompts, _FREE, batch=batch, most_failures=failures, title=title
        )
        read = [
            None if reply.failure is not None else _read(form, reply.text, len(asked))
            for reply, asked in zip(replies, (row for rows in places for row in rows), strict=True)
        ]
    else:
        options = [_options(form, len(row)) for rows in places for row in rows]
        logprobs, totals = score_model(
            model, prompts, options, batch=batch, most_failures=failures, title=title
        )
        read = [None if np.isnan(row).any() else _values(form, row) for row in logprobs]
    ends = np.cumsum([0, *counts])
    parts = [read[begin:end] for begin, end in itertools.pairwise(ends.tolist())]
    scores = [
        _scores(form, asked, part, len(np.asarray(datum.candidates)))
        for datum, asked, part in zip(data, places, parts, strict=True)
    ]
    legal = [float(np.mean([value is not None for value in part])) for part in parts]
    return Answered(scores=np.array(scores, np.float64), legal=np.array(legal), totals=totals)


def random_level(data: Sequence[Datum], ks: Sequence[int] = (1, 3)) -> Mapping[str, float]:
    """Return the exact means of all metrics under a random ranking.

    Example:
      >>> one = Datum(candidates=np.arange(5), item=2)
      >>> round(random_level([one])["ndcg@3"], 4)
      0.4262
    """
    zeros = [np.zeros(len(np.asarray(datum.candidates))) for datum in data]
    return {
        name: float(values.mean())
        for name, values in candidate_metrics(np.array(zeros), data, ks).items()
    }


# What one answer says: a rating, or a value for each item that was asked about.
Values = Sequence[float]


def _read(form: Form, text: str, count: int) -> Values | None:
    """Read a free answer about so many candidates."""
    lead = _LEADS[form]
    if form == "point":
        rating = read_rating(text, RATINGS[0], RATINGS[-1], lead=lead)
        return None if rating is None else [rating]
    if form == "pair":
        choice = read_choice(text, count, lead=lead)
        return None if choice is None else [float(choice == place) for place in range(count)]
    order = read_order(text, count, lead=lead)
    return None if order is None else order_scores(order, count)


def _options(form: Form, count: int) -> list[str]:
    """List the legal answers that are compared."""
    if form == "point":
        return [f" {rating}" for rating in RATINGS]
    return [f" {letter}" for letter in LETTERS[:count]]


def _values(form: Form, logprobs: np.ndarray) -> Values:
    """Turn log-probabilities of the legal answers into values."""
    if form == "list":
        return logprobs.tolist()
    shares = option_probabilities(logprobs)
    return [float(shares @ RATINGS)] if form == "point" else shares.tolist()


def _scores(
    form: Form, places: Sequence[Sequence[int]], read: Sequence[Values | None], count: int
) -> np.ndarray:
    """Add up the values of an instance's answers: `[A]`."""
    scores = np.zeros(count)
    if form != "pair" and any(values is None for values in read):
        return scores
    for asked, values in zip(places, read, strict=True):
        scores[list(asked)] += 1 / len(asked) if values is None else np.array(values)
    return scores
