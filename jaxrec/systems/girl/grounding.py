"""From a generated description to real jobs: a reward of each job, and its similarity.

A job J is ranked for a resume C with the generated descriptions J' by

    z(U(C, J)) + κ z(sim(J', J))

where U is the reward model, sim the mean cosine of TF-IDF vectors, and z standardizes over the jobs
(the grounding step of Zheng et al., Frontiers of Computer Science 20(1), 2026, in our own form).

Shapes: `J` jobs, `m` descriptions.
"""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
import scipy.sparse
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, TfidfVectorizer

from jaxrec.core import DataError
from jaxrec.data import Lexicon, Matcher, normalize_word, word_places
from jaxrec.data.recruitment import SECTIONS, Resume
from jaxrec.systems.girl.facts import FactReader, fact_text

# The labels of a description and of a resume say nothing about a job.
_LABELS = ("title", "salary", "responsibilities", "qualifications")
_STOP_WORDS = {*ENGLISH_STOP_WORDS, *_LABELS, *SECTIONS}


def word_counter() -> TfidfVectorizer:
    """TF-IDF of the words of resumes and jobs, without numbers, labels and stop words."""
    return TfidfVectorizer(
        sublinear_tf=True, stop_words=sorted(_STOP_WORDS), token_pattern=r"(?u)\b[^\W\d]\w*\b"
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Catalogue:
    """Real jobs that descriptions are grounded to.

    Attributes:
      titles: of the J jobs.
      texts: their descriptions.

    Raises:
      DataError: no jobs, or another number of texts.
    """

    titles: Sequence[str]
    texts: Sequence[str]

    def __post_init__(self) -> None:
        """Reject an empty catalogue."""
        if not self.titles or len(self.titles) != len(self.texts):
            raise DataError(
                f"a catalogue needs a text for each of its jobs, got {len(self.titles)} titles and "
                f"{len(self.texts)} texts"
            )

    @functools.cached_property
    def _fitted(self) -> tuple[TfidfVectorizer, scipy.sparse.csr_matrix]:
        vectorizer = word_counter()
        return vectorizer, vectorizer.fit_transform(self.texts)

    def similarities(self, descriptions: Sequence[str]) -> np.ndarray:
        """The mean cosine of each job with descriptions: `[J]` float64.

        Args:
          descriptions: m of them.

        Example:
          >>> jobs = Catalogue(["Baker", "Nurse"], ["bakes bread", "cares for people"])
          >>> jobs.similarities(["bread"]).round(2).tolist()
          [0.71, 0.0]
        """
        vectorizer, jobs = self._fitted
        found = jobs @ vectorizer.transform(descriptions).T
        return np.asarray(found.mean(axis=1)).ravel()

    def shared(self, job: int, text: str, most: int = 4) -> list[str]:
        """The words that a job shares with a text, those that weigh most in the job first.

        Example:
          >>> jobs = Catalogue(["Baker", "Nurse"], ["bakes fresh bread", "cares for people"])
          >>> jobs.shared(0, "I like bread and people")
          ['bread']
        """
        vectorizer, jobs = self._fitted
        row = jobs[job]
        known = set(vectorizer.transform([text]).indices.tolist())
        order = np.argsort(-row.data, kind="stable")
        names = vectorizer.get_feature_names_out()
        return [str(names[row.indices[k]]) for k in order if row.indices[k] in known][:most]


def grounded_scores(rewards: np.ndarray, similarities: np.ndarray, kappa: float) -> np.ndarray:
    """Score jobs by their rewards and similarities `[J]`; see the head of this module.

    Equal rewards, or equal similarities, say nothing and count 0.

    Args:
      rewards: U(C, J).
      similarities: sim(J', J).
      kappa: κ.

    Example:
      >>> grounded_scores(np.array([1.0, 3.0]), np.array([0.5, 0.5]), kappa=1.0).tolist()
      [-1.0, 1.0]
    """
    return _standardized(rewards) + kappa * _standardized(similarities)


def _standardized(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, np.float64)
    moved = values - values.mean()
    deviation = values.std()
    # A deviation that is rounding alone would be blown up to 1.
    return moved / deviation if deviation > 1e-9 * (1 + np.abs(values).max()) else 0 * moved


def known_skills(text: str, skills: Sequence[str]) -> list[str]:
    """The skills that a text names, in the order in which it names them first.

    Skills are compared word by word, by `normalize_word`. Where one skill holds another, the longer
    one counts.

    Args:
      text: such as a resume.
      skills: names.

    Example:
      >>> known_skills("I plan budgets, and plan a lot. Budget!", ["plan", "plan budgets", "sew"])
      ['plan budgets', 'plan']
    """
    matcher = Matcher.of([Lexicon.of("skill", skills)], partial=0)
    names = {tuple(normalize_word(s[a:b]) for a, b in word_places(s)): s for s in skills}
    words = [text[a:b] for a, b in word_places(text)]
    spans = sorted(matcher.label(words).spans)
    phrases = [tuple(map(normalize_word, words[span.start : span.end])) for span in spans]
    return list(dict.fromkeys(names[phrase] for phrase in phrases))


def as_resume(text: str, skills: Sequence[str], most: int, *, facts: bool = False) -> str:
    """Write a resume from elsewhere as the generator has read resumes.

    A generator that knows planted resumes alone reads the skills of another one, and nothing else
    of it means anything to it. One that has read short forms of resumes also reads the years of
    work and the wished salary.

    Args:
      text: of any length and form.
      skills: that the generator knows.
      most: number of skills to take, the first ones.
      facts: whether the generator has read short forms, see `facts`.

    Raises:
      DataError: an empty text, or one that names no known skill.

    Example:
      >>> print(as_resume("Ten years of sewing: I can sew and plan.", ["plan", "sew"], most=8))
      Profile: Sew.
      Experience: Plan.
      >>> text = "Ten years of sewing: I can sew and plan."
      >>> print(as_resume(text, ["plan", "sew"], most=1, facts=True))
      Work: 10 years
      Skills: sew
    """
    if not text.strip():
        raise DataError("the resume is empty; give a file with the text of a resume")
    found = FactReader(skills).read(text)
    named = [skills[k] for k in found.skills] if facts else known_skills(text, skills)
    named = named[:most]
    if not named:
        raise DataError(
            f"the resume {' '.join(text.split())[:40]!r} names none of the {len(skills):,} skills "
            f"that the run knows, such as {', '.join(map(repr, skills[:3]))}; give a longer "
            "resume, or train on data with its skills"
        )
    if facts:
        return fact_text(dataclasses.replace(found, skills=found.skills[:most]), skills)
    half = -(-len(named) // 2)
    first, second = (_listed(part) for part in (named[:half], named[half:] or named))
    return Resume(id="", sections={"profile": first, "experience": second}).text()


def _listed(names: Sequence[str]) -> str:
    *first, last = names
    text = f"{', '.join(first)} and {last}" if first else last
    return text[:1].upper() + text[1:] + "."
