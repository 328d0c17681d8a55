"""How the answers to a text task are measured.

A metric reads the answers of one kind and the questions that they belong to, whose data hold the
ground truth as numbers. `score` makes one number of its metrics, higher being better, by which
checkpoints are ranked.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

import numpy as np

from jaxrec.eval import (
    ParsedRatings,
    average,
    bleu,
    list_metrics,
    pooled_auc,
    rating_errors,
    rouge,
    says,
    set_overlap,
    within_user_auc,
)
from jaxrec.texts.answer_kinds import AnswerOptions
from jaxrec.texts.fact_sentences import statements
from jaxrec.texts.questions import Questions


class Metric(Protocol):
    """Measures answers.

    Attributes:
      shown: names of the metrics that the log of a validation shows.
    """

    shown: ClassVar[tuple[str, ...]]

    def measure(
        self, answers: Any, questions: Questions, options: AnswerOptions
    ) -> dict[str, float]:
        """All metrics by name."""

    def score(self, metrics: Mapping[str, float]) -> float:
        """One number; higher is better."""


@dataclasses.dataclass(frozen=True)
class ListMetrics:
    """HR, NDCG and MRR of lists of items `[N, K]`.

    Example:
      >>> import numpy as np
      >>> from jaxrec.texts import AnswerOptions, Datum, ListMetrics, Questions
      >>> asked = Questions(data=[Datum(item=4)], prompts=["what next ?"])
      >>> ListMetrics().measure(np.array([[4, 2]]), asked, AnswerOptions(ks=(1,)))["hr@1"]
      1.0
    """

    shown: ClassVar[tuple[str, ...]] = ("hr@10", "ndcg@10")

    def measure(
        self, answers: np.ndarray, questions: Questions, options: AnswerOptions
    ) -> dict[str, float]:
        """Means over all questions."""
        return average(list_metrics(answers, questions.targets, options.ks))

    def score(self, metrics: Mapping[str, float]) -> float:
        """NDCG@10."""
        return metrics["ndcg@10"]


@dataclasses.dataclass(frozen=True)
class ChoiceMetrics:
    """Accuracy of log-probabilities `[N, A]`, and the AUC of the first of two answers.

    The AUC goes by the gap of the two answers' log-probabilities, so it does not depend on which
    answer the model prefers in general. It is nan where all questions have one answer.

    Example:
      >>> import numpy as np
      >>> from jaxrec.texts import AnswerOptions, ChoiceMetrics, Datum, Questions
      >>> asked = Questions(data=[Datum(answer=0), Datum(answer=1)], prompts=["a", "b"])
      >>> logs = np.log([[0.4, 0.6], [0.1, 0.9]])
      >>> ChoiceMetrics().measure(logs, asked, AnswerOptions())
      {'accuracy': 0.5, 'auc': 1.0}
    """

    shown: ClassVar[tuple[str, ...]] = ("accuracy", "auc")

    def measure(
        self, answers: np.ndarray, questions: Questions, options: AnswerOptions
    ) -> dict[str, float]:
        """Accuracy, and the AUC where there are two answers."""
        truth = questions.answers
        metrics = {"accuracy": float(np.mean(answers.argmax(axis=1) == truth))}
        if answers.shape[1] == 2:
            both = len(np.unique(truth)) == 2
            gaps = answers[:, 0] - answers[:, 1]
            metrics["auc"] = pooled_auc(truth == 0, gaps) if both else float("nan")
        return metrics

    def score(self, metrics: Mapping[str, float]) -> float:
        """The AUC, or the accuracy where there is none."""
        auc = metrics.get("auc", float("nan"))
        return metrics["accuracy"] if np.isnan(auc) else auc


@dataclasses.dataclass(frozen=True)
class GapAuc:
    """AUC over all questions and within users, of the gaps `[N]` between two answers' logits.

    The first alone does not tell a model that counts likes from one that reads titles, so
    checkpoints are ranked by the mean of both.

    Example:
      >>> import numpy as np
      >>> from jaxrec.texts import AnswerOptions, Datum, GapAuc, Questions
      >>> data = [Datum(user=user, answer=answer) for user in (0, 1) for answer in (0, 1)]
      >>> asked = Questions(data=data, prompts=[""] * 4)
      >>> GapAuc().measure(np.array([2.0, 1.0, -1.0, -2.0]), asked, AnswerOptions())
      {'mean_auc': 0.875, 'auc': 0.75, 'within_user_auc': 1.0}
    """

    shown: ClassVar[tuple[str, ...]] = ("mean_auc", "auc", "within_user_auc")

    def measure(
        self, answers: np.ndarray, questions: Questions, options: AnswerOptions
    ) -> dict[str, float]:
        """Both AUCs and their mean.

        Raises:
          DataError: all questions, or all of every user, have one answer.
        """
        positive = questions.answers == 0
        auc = pooled_auc(positive, answers)
        within = within_user_auc(positive, answers, questions.users)
        return {"mean_auc": (auc + within) / 2, "auc": auc, "within_user_auc": within}

    def score(self, metrics: Mapping[str, float]) -> float:
        """The mean of both."""
        return metrics["mean_auc"]


@dataclasses.dataclass(frozen=True)
class RatingErrors:
    """RMSE and MAE of stars `[N]`; of numbers read out of texts also the share that could be read.

    Example:
      >>> import numpy as np
      >>> from jaxrec.texts import AnswerOptions, Datum, Questions, RatingErrors
      >>> asked = Questions(data=[Datum(star=4), Datum(star=2)], prompts=["", ""])
      >>> RatingErrors().measure(np.array([4.0, 4.0]), asked, AnswerOptions())["mae"]
      1.0
    """

    shown: ClassVar[tuple[str, ...]] = ("rmse",)

    def measure(
        self, answers: np.ndarray | ParsedRatings, questions: Questions, options: AnswerOptions
    ) -> dict[str, float]:
        """Errors over all questions."""
        if isinstance(answers, ParsedRatings):
            parsed = {"parsed": float(answers.parsed.mean())}
            return rating_errors(answers.values, questions.stars) | parsed
        return rating_errors(answers, questions.stars)

    def score(self, metrics: Mapping[str, float]) -> float:
        """The RMSE, negative."""
        return -metrics["rmse"]


@dataclasses.dataclass(frozen=True)
class TextOverlap:
    """BLEU and ROUGE of texts against the field that they should be, and the share with its hint.

    Overlaps alone do not tell a model that writes one sentence for all from one that explains, so
    "distinct" is the number of different texts divided by that of all (the unique sentence ratio of
    Li et al., Generate Neural Template Explanations for Recommendation, CIKM 2020).

    Attributes:
      field: name of the field that holds the reference.

    Example:
      >>> from jaxrec.texts import AnswerOptions, Datum, Questions, TextOverlap
      >>> fields = [{"title": "a good film", "hint": "film"}]
      >>> asked = Questions(data=[Datum()], prompts=[""], fields=fields)
      >>> TextOverlap("title").measure(["a bad film"], asked, AnswerOptions())["says_hint"]
      1.0
    """

    field: str
    shown: ClassVar[tuple[str, ...]] = ("rougeL",)

    def measure(
        self, answers: Sequence[str], questions: Questions, options: AnswerOptions
    ) -> dict[str, float]:
        """All overlaps; the share of different texts; "says_hint" where the data have hints."""
        wanted = [fields[self.field] for fields in questions.fields]
        metrics = {f"bleu{order}": bleu(answers, wanted, order) for order in (4, 2, 1)}
        metrics |= rouge(answers, wanted) | {"distinct": len(set(answers)) / len(answers)}
        if all("hint" in fields for fields in questions.fields):
            hints = [fields["hint"] for fields in questions.fields]
            metrics["says_hint"] = float(says(answers, hints).mean())
        return metrics

    def score(self, metrics: Mapping[str, float]) -> float:
        """ROUGE-L."""
        return metrics["rougeL"]


@dataclasses.dataclass(frozen=True)
class FactShares:
    """Share of the statements of texts that are facts, and share of the facts that are stated.

    The sentence that a text should be says which facts there are. A text without a statement has
    no facts right.

    Attributes:
      field: name of the field that holds the right sentence.

    Example:
      >>> from jaxrec.texts import AnswerOptions, Datum, FactShares, Questions
      >>> asked = Questions(
      ...     data=[Datum()], prompts=[""], fields=[{"about": "a film of war from 1994"}]
      ... )
      >>> FactShares("about").measure(["a film of war , drama"], asked, AnswerOptions())
      {'precision': 0.5, 'coverage': 0.5, 'readable': 1.0}
    """

    field: str
    shown: ClassVar[tuple[str, ...]] = ("precision", "coverage")

    def measure(
        self, answers: Sequence[str], questions: Questions, options: AnswerOptions
    ) -> dict[str, float]:
        """Means over texts, and the share of texts with a statement."""
        said = [statements(text) for text in answers]
        true = [statements(fields[self.field]) for fields in questions.fields]
        return average(fact_shares(said, true))

    def score(self, metrics: Mapping[str, float]) -> float:
        """Precision."""
        return metrics["precision"]


def fact_shares(
    said: Sequence[Sequence[tuple[str, str]]], true: Sequence[Sequence[tuple[str, str]]]
) -> dict[str, np.ndarray]:
    """Compare statements with facts, text by text: [N] each of precision, coverage and readable.

    Args:
      said: N lists of statements.
      true: N lists of facts, at least one each.

    Example:
      >>> found = fact_shares([[("released_in", "1994")], []], [[("released_in", "1995")]] * 2)
      >>> {name: values.tolist() for name, values in found.items()}
      {'precision': [0.0, 0.0], 'coverage': [0.0, 0.0], 'readable': [1.0, 0.0]}
    """
    overlaps = [set_overlap(mine, facts) for mine, facts in zip(said, true, strict=True)]
    right, stated, held = np.array(overlaps, np.float64).T
    return {
        "precision": right / np.maximum(stated, 1),
        "coverage": right / held,
        "readable": (stated > 0).astype(np.float64),
    }
