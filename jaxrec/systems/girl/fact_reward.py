"""A reward that compares what a resume and a job description say, learned from pairs.

    U(C, J) = Σ_k w_k f_k(C, J)        -log σ(U(C, J+) - U(C, J-)) is minimized (Bradley-Terry)

    f                  what is compared
    shared skills      common skills over the root of the product of both numbers
    related skills     cosine of the sums of the skills' vectors, see below
    experience         -|√years of the resume - √years of the job|
    pay, squared       d and d², where d = log(offered / asked salary), cut to [-1, 1]
    usual pay, squared the same with the expected wish of a person who names none

The vectors of skills are the right singular vectors of the TF-IDF matrix of the jobs' skills. The
expected wish follows from skills and years by a ridge regression on people who name a wish. A job
that does not name its years or its salary is as far from the resume as `_FAR_YEARS` and `_FAR_PAY`.

Shapes: `N` samples, `S` skills, `D` width of a skill's vector, `F` features.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.decomposition import TruncatedSVD
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import normalize

from jaxrec.align import normalization
from jaxrec.core import DataError, read_arrays, write_arrays
from jaxrec.systems.girl.facts import FactReader, Facts

FEATURES = (
    "shared skills", "related skills", "experience", "pay", "pay squared", "usual pay",
    "usual pay squared",
)  # fmt: skip
_KIND = "reward of facts"
_WIDTH, _FAR_YEARS, _FAR_PAY = 24, 2.0, 0.7
# Weak penalties: of the weights of features with variance 1, and of the wishes.
_LOGISTIC, _RIDGE = 100.0, 3.0


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class FactReward:
    """A fitted reward.

    Attributes:
      reader: reads texts.
      vectors: `[S, D]` of the skills, multiplied by their inverse document frequencies.
      wish: `[S + 2]`, weights of the expected logarithm of a wish: of the skills, of √years, and a
        constant.
      weights: `[F]`.
      bias: what is added, so that the pairs that were learned have the mean 0.
    """

    reader: FactReader
    vectors: np.ndarray
    wish: np.ndarray
    weights: np.ndarray
    bias: float = 0.0

    def rewards(self, prompts: Sequence[str], answers: Sequence[str]) -> np.ndarray:
        """Return the reward of each answer to its prompt, `[N]` float32."""
        pairs = list(zip(prompts, answers, strict=True))
        if not pairs:
            return np.zeros(0, np.float32)
        cells = np.array([self.features(*map(self._read, pair)) for pair in pairs])
        return np.asarray(cells @ self.weights + self.bias, np.float32)

    @functools.cached_property
    def _read(self) -> Any:
        return functools.lru_cache(1 << 16)(self.reader.read)

    def features(self, resume: Facts, job: Facts) -> np.ndarray:
        """The features of a resume with a job, `[F]`, in the order of `FEATURES`."""
        own, asked = resume.skills, job.skills
        shared = len({*own} & {*asked}) / math.sqrt(max(len(own) * len(asked), 1))
        one, other = self.vectors[list(own)].sum(axis=0), self.vectors[list(asked)].sum(axis=0)
        lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
        related = float(one @ other) / lengths if lengths > 0 else 0.0
        steps = abs(math.sqrt(resume.years) - math.sqrt(job.years))
        experience = -(steps if math.isfinite(steps) else _FAR_YEARS)
        named = math.isfinite(resume.salary)
        d = job.salary - (resume.salary if named else self.expected_wish(resume))
        d = min(max(d, -1.0), 1.0) if math.isfinite(d) else -_FAR_PAY
        pay = (d, d * d, 0.0, 0.0) if named else (0.0, 0.0, d, d * d)
        return np.array([shared, related, experience, *pay])

    def expected_wish(self, resume: Facts) -> float:
        """The expected logarithm of the salary that a person wishes."""
        return float(_wish_inputs(resume, len(self.reader.skills)) @ self.wish)

    def save(self, path: Path) -> None:
        """Write it into a file."""
        arrays = {"vectors": self.vectors, "wish": self.wish, "weights": self.weights}
        settings = {"kind": _KIND, "skills": list(self.reader.skills), "bias": self.bias}
        write_arrays(path, arrays, settings)

    @classmethod
    def load(cls, path: Path) -> "FactReward":
        """Read a file of `save`.

        Raises:
          DataError: it is missing or damaged.
        """
        arrays, settings = read_arrays(path, _KIND, "jaxrec train")
        return cls(reader=FactReader(settings["skills"]), bias=settings["bias"], **arrays)


def fit_fact_reward(
    skills: Sequence[str], jobs: Sequence[str], resumes: Sequence[str], pairs: np.ndarray
) -> FactReward:
    """Fit a reward to pairs, and scale it to variance 1 over their jobs.

    Args:
      skills: names.
      jobs: texts of the jobs, whose skills the vectors are made of.
      resumes: texts.
      pairs: `[N, 3]`, places of the resume, of the better and of the worse job.

    Raises:
      DataError: no pairs, or texts without any skill.
    """
    if not len(pairs):
        raise DataError("a reward needs pairs of jobs to learn from, and there are none")
    reader = FactReader(skills)
    told = [reader.read(job) for job in jobs]
    people = {place: reader.read(resumes[place]) for place in np.unique(pairs[:, 0]).tolist()}
    begun = FactReward(
        reader=reader,
        vectors=_skill_vectors(told, len(skills)),
        wish=_fit_wish(list(people.values()), len(skills)),
        weights=np.ones(len(FEATURES)),
    )
    cells = np.array(
        [[begun.features(people[p], told[job]) for job in both] for p, *both in pairs.tolist()]
    )
    gaps = cells[:, 0] - cells[:, 1]
    scale = np.maximum(gaps.std(axis=0), 1e-9)
    model = LogisticRegression(C=_LOGISTIC, fit_intercept=False)
    # Each pair is read in both orders, because a fit needs both labels.
    model.fit(np.concatenate([gaps, -gaps]) / scale, np.repeat([1, 0], len(gaps)))
    weights = model.coef_[0] / scale
    gain, bias = normalization((cells @ weights).ravel())
    return dataclasses.replace(begun, weights=gain * weights, bias=bias)


def _skill_vectors(told: Sequence[Facts], count: int) -> np.ndarray:
    rows = np.repeat(np.arange(len(told)), [len(facts.skills) for facts in told])
    places = np.array([skill for facts in told for skill in facts.skills], np.int64)
    jobs = np.bincount(places, minlength=count)
    rarity = np.log(len(told) / np.maximum(jobs, 1))
    cells = normalize(csr_matrix((rarity[places], (rows, places)), (len(told), count)))
    width = min(_WIDTH, count - 1, len(told) - 1)
    if width < 1 or not cells.count_nonzero():
        raise DataError(
            "no job names a skill that other jobs lack, so no reward can be fitted; give other jobs"
        )
    svd = TruncatedSVD(width, algorithm="arpack", random_state=0).fit(cells)
    return rarity[:, None] * svd.components_.T


def _fit_wish(people: Sequence[Facts], count: int) -> np.ndarray:
    named = [facts for facts in people if math.isfinite(facts.salary)]
    if not named:
        return np.zeros(count + 2)
    inputs = np.array([_wish_inputs(facts, count) for facts in named])
    wishes = np.array([facts.salary for facts in named])
    # The constant is not penalized: wishes are centered instead.
    mean = wishes.mean()
    model = Ridge(_RIDGE, fit_intercept=False).fit(inputs, wishes - mean)
    return np.append(model.coef_[:-1], model.coef_[-1] + mean)


def _wish_inputs(facts: Facts, count: int) -> np.ndarray:
    """The inputs of the expected wish: skills, √years, and a constant."""
    row = np.zeros(count + 2)
    row[list(facts.skills)] = 1
    row[-2:] = math.sqrt(facts.years) if math.isfinite(facts.years) else _FAR_YEARS, 1
    return row
