"""Recommendation with generated descriptions: all predictors, trained and measured.

    row                 predictor                       reads
    mlp base            MLP([c; j])                     resume, job
    mlp sft, mlp girl   MLP([c; j; j'])                 and descriptions of the generator, of GIRL
    mlp shuffled        MLP([c; j; j'])                 and GIRL's descriptions for somebody else
    dot base            c · j                           nothing is trained
    dot calibrated      a (c · j) + b                   two numbers are fitted
    dot base mlp        c' · j with c' = MLP(c)
    dot sft, dot girl   c' · j with c' = MLP([c; j'])

The log loss of a raw product is mostly that of its missing calibration, so a gain in log loss over
"dot base" says little; the next two rows are the fair opponents.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.stats
from sklearn.linear_model import LogisticRegression

from jaxrec.core import DataError
from jaxrec.eval import auc_interval, pooled_auc
from jaxrec.systems.girl.config import MatchConfig
from jaxrec.systems.girl.predictors import (
    Rows,
    Scorer,
    Vectors,
    check_rows,
    fit_scorer,
    raw_dot,
    score_rows,
)

# A constant score that no sign of a logit can overflow.
_FINITE = 30.0
_ROUNDING = 1e-12


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Encoded:
    """Vectors of the recommendation.

    Attributes:
      people: `[U, D]` of the resumes.
      jobs: `[J, D]`.
      written: by source, such as "girl", `[U, m, D]` of the descriptions that were generated.
      blocks: widths of the blocks of a vector, which add up to D.
    """

    people: np.ndarray
    jobs: np.ndarray
    written: Mapping[str, np.ndarray]
    blocks: tuple[int, ...]

    def read(self, source: str, count: int = 0) -> Vectors:
        """What a predictor with descriptions of a source reads; "" for none.

        Args:
          source: a name of `written`.
          count: number of descriptions to average; 0 for all.
        """
        chosen = self.written[source][:, : count or None].mean(axis=1) if source else None
        return Vectors(people=self.people, jobs=self.jobs, written=chosen, blocks=self.blocks)


@dataclasses.dataclass(frozen=True)
class Predictor:
    """One row of the table.

    Attributes:
      kind: "mlp" or "dot".
      source: of the descriptions; "" for none.
      count: number of descriptions; 0 for all.
    """

    kind: Any
    source: str = ""
    count: int = 0


def predictors(descriptions: int) -> dict[str, Predictor]:
    """All predictors that are trained, by the name of their row.

    Args:
      descriptions: m, number of descriptions of each person.

    Example:
      >>> [name for name in predictors(3) if name.startswith("dot")]
      ['dot base mlp', 'dot sft', 'dot girl', 'dot girl, 1 description', 'dot shuffled']
    """
    found = {}
    for kind in ("mlp", "dot"):
        found["mlp base" if kind == "mlp" else "dot base mlp"] = Predictor(kind)
        for source in ("sft", "girl"):
            found[f"{kind} {source}"] = Predictor(kind, source)
        if descriptions > 1:
            found[f"{kind} girl, 1 description"] = Predictor(kind, "girl", 1)
        found[f"{kind} shuffled"] = Predictor(kind, "shuffled")
    return found


def fit_predictors(
    config: MatchConfig, encoded: Encoded, rows: Mapping[str, Rows], seed: int
) -> dict[str, Any]:
    """Train every predictor with all seeds: parameters with a leading axis S, by row.

    Args:
      config: of the training.
      encoded: the vectors.
      rows: "train" and "valid".
      seed: of all trainings.

    Raises:
      DataError: too few rows, or rows of one label alone.
    """
    return {
        name: fit_scorer(
            scorer_of(config, one.kind, encoded.blocks),
            config,
            encoded.read(one.source, one.count),
            rows["train"],
            rows["valid"],
            seed,
        )
        for name, one in predictors(config.descriptions).items()
    }


def scorer_of(config: MatchConfig, kind: Any, blocks: tuple[int, ...]) -> Scorer:
    """The network of a predictor."""
    return Scorer(
        kind=kind,
        hidden=config.hidden,
        dropout=config.dropout,
        residual=config.residual,
        blocks=blocks,
    )


def logits_of(
    config: MatchConfig, encoded: Encoded, params: Mapping[str, Any], train: Rows, rows: Rows
) -> dict[str, np.ndarray]:
    """The logits of rows by every predictor, `[S, N]`; an untrained one has S = 1.

    Args:
      config: of the training.
      encoded: the vectors.
      params: from `fit_predictors`.
      train: rows by which the raw product is calibrated.
      rows: what is predicted.
    """
    found = {}
    for name, one in predictors(config.descriptions).items():
        scorer = scorer_of(config, one.kind, encoded.blocks)
        vectors = encoded.read(one.source, one.count)
        found[name] = score_rows(scorer, params[name], vectors, rows)
    raw = raw_dot(encoded.read(""), rows)
    found["dot base"] = raw[None]
    found["dot calibrated"] = calibrated(raw_dot(encoded.read(""), train), train.label, raw)[None]
    return found


def calibrated(logits: np.ndarray, labels: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Fit a temperature and a bias to logits `[N]`, and apply them to others `[M]`.

    (Platt scaling.) The fit is that of scikit-learn without regularization.

    Example:
      >>> rng = np.random.default_rng(0)
      >>> logits = rng.normal(size=4000)
      >>> labels = rng.random(4000) < 1 / (1 + np.exp(-(2 * logits - 1)))
      >>> bool(np.allclose(calibrated(logits, labels, np.array([0.0, 1.0])), [-1, 1], atol=0.2))
      True
    """
    model = LogisticRegression(C=np.inf)
    model.fit(logits[:, None], labels > 0)
    return model.decision_function(others[:, None])


def measure_rows(
    logits: Mapping[str, np.ndarray], rows: Rows, resamples: int
) -> dict[str, dict[str, Any]]:
    """AUC and log loss of every predictor, the mean over seeds, with their values by seed.

    Intervals resample people, on the scores averaged over seeds.

    Args:
      logits: `[S, N]` by row.
      rows: what was predicted.
      resamples: of the bootstrap.

    Raises:
      DataError: rows of one label alone.
    """
    check_rows(rows, "test")
    found = {}
    for name, scores in logits.items():
        auc = [pooled_auc(rows.label, own) for own in scores]
        losses = [log_loss_of(own, rows.label) for own in scores]
        mean = scores.mean(axis=0)
        interval = auc_interval(rows.label, mean, rows.person, resamples=resamples)
        found[name] = {
            "auc": float(np.mean(auc)),
            "log_loss": float(np.mean(losses)),
            "auc_by_seed": auc,
            "log_loss_by_seed": losses,
            "interval": [interval.low, interval.high],
        }
    return found


def log_loss_of(logits: np.ndarray, labels: np.ndarray) -> float:
    """The mean negative log-likelihood of labels `[N]` in nats.

    Example:
      >>> round(log_loss_of(np.zeros(2), np.array([0, 1])), 4)
      0.6931
    """
    x = np.clip(np.asarray(logits, np.float64), -_FINITE, _FINITE)
    return float(np.mean(np.logaddexp(0, x) - x * labels))


def paired_gain(ours: list[float], theirs: list[float]) -> tuple[float, float]:
    """The mean difference of two rows over seeds, and the p-value of a paired t-test.

    A row that is not trained has one value, which every seed is compared with. One seed alone has
    no p-value, which is then NaN; nor have differences that are the same for all seeds.

    Args:
      ours: values by seed.
      theirs: of the other row.

    Raises:
      DataError: other numbers of seeds.

    Example:
      >>> gain, p = paired_gain([0.7, 0.72, 0.71], [0.6, 0.61, 0.6])
      >>> round(gain, 3), p < 0.01
      (0.107, True)
    """
    a, b = np.asarray(ours), np.asarray(theirs)
    if len(b) == 1:
        b = np.repeat(b, len(a))
    if len(a) == 1:
        a = np.repeat(a, len(b))
    if a.shape != b.shape:
        raise DataError(f"a paired test needs the same seeds, got {len(a)} and {len(b)}")
    difference = float((a - b).mean())
    # Differences that vary by rounding alone come from predictors that do not depend on the seed.
    if len(a) < 2 or np.ptp(a - b) < _ROUNDING:
        return difference, float("nan")
    return difference, float(scipy.stats.ttest_rel(a, b).pvalue)
