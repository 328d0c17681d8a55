"""Hallucination: what a text states against its source, or without anything that supports it.

An intrinsic hallucination contradicts the source that was given; an extrinsic one cannot be
verified by it (Ji et al., Survey of Hallucination in Natural Language Generation, arXiv:2202.03629,
section 2). Statements are triples (subject, relation, object). A triple contradicts a source in
which the same subject and relation have another object, if the relation allows only one.

`agreement` needs no source: samples of a model that knows a fact say the same, and those of a model
that guesses differ (Manakul et al., SelfCheckGPT, arXiv:2303.08896).
"""

import dataclasses
import re
from collections.abc import Callable, Collection, Iterable, Sequence

import numpy as np

from jaxrec.core import DataError
from jaxrec.eval.answers import token_f1
from jaxrec.eval.titles import plain_title

Triple = tuple[str, str, str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verdicts:
    """Numbers of the statements of a text; they add up to all statements.

    Attributes:
      supported: statements that the source holds.
      contradicted: statements that the source contradicts: intrinsic hallucinations.
      unverifiable: all others: extrinsic hallucinations.
    """

    supported: int
    contradicted: int
    unverifiable: int

    @property
    def total(self) -> int:
        """Number of statements."""
        return self.supported + self.contradicted + self.unverifiable


def judge_statements(
    statements: Iterable[Triple],
    source: Collection[Triple],
    functional: Collection[str] | None = None,
) -> Verdicts:
    """Compare the statements of a text with a source.

    Args:
      statements: triples that the text states; a repeated one counts once.
      source: triples of the source or of a knowledge graph.
      functional: relations of which a subject has one object at most; None for all relations.

    Example:
      >>> source = {("Paris", "country", "France")}
      >>> says = [("Paris", "country", "France"), ("Paris", "country", "Italy")]
      >>> found = judge_statements([*says, ("Rome", "country", "Italy")], source)
      >>> found.supported, found.contradicted, found.unverifiable
      (1, 1, 1)
    """
    held = set(source)
    known = {(subject, relation) for subject, relation, _ in held}
    counts = {"supported": 0, "contradicted": 0, "unverifiable": 0}
    for subject, relation, thing in set(statements):
        if (subject, relation, thing) in held:
            counts["supported"] += 1
        elif (subject, relation) in known and (functional is None or relation in functional):
            counts["contradicted"] += 1
        else:
            counts["unverifiable"] += 1
    return Verdicts(**counts)


def set_overlap(found: Collection[object], wanted: Collection[object]) -> tuple[int, int, int]:
    """Numbers of common, found and wanted things; each counts once.

    Precision is the first divided by the second, and recall the first divided by the third. For
    the entities of a summary, `wanted` holds the entities of its source, and one minus the
    precision is the share of entities that the summary made up (Nan et al., Entity-level Factual
    Consistency of Abstractive Text Summarization, arXiv:2102.09130).

    Example:
      >>> set_overlap(["Paris", "Rome", "Rome"], ["Paris", "Oslo", "Bern"])
      (1, 2, 3)
    """
    ours, theirs = set(found), set(wanted)
    return len(ours & theirs), len(ours), len(theirs)


def find_entities(text: str, names: Iterable[str]) -> set[str]:
    """Names of a list that a text mentions as whole words; the longest name wins.

    Args:
      text: any text.
      names: of entities. Case counts, because names such as "Will" are words too.

    Example:
      >>> sorted(find_entities("New York is no suburb of York.", ["York", "New York", "Yo"]))
      ['New York', 'York']
      >>> sorted(find_entities("They met in New York.", ["York", "New York"]))
      ['New York']
    """
    ordered = sorted((name for name in set(names) if name), key=lambda name: (-len(name), name))
    if not ordered:
        return set()
    pattern = rf"(?<!\w)(?:{'|'.join(map(re.escape, ordered))})(?!\w)"
    return set(re.findall(pattern, text))


def agreement(
    answer: str, samples: Sequence[str], same: Callable[[str, str], float] | None = None
) -> float:
    """Mean agreement of an answer with samples to the same prompt, from 0 to 1.

    Args:
      answer: what the model says without sampling.
      samples: what it says when it is sampled.
      same: agreement of two texts; None for the F1 of their words, see `token_f1`. For long texts,
        give a function that asks a model whether one text supports the other.

    Raises:
      DataError: no samples.

    Example:
      >>> agreement("Paris", ["Paris.", "paris", "Rome", "Lyon"])
      0.5
    """
    if isinstance(samples, str) or not len(samples):
        raise DataError(
            "agreement needs a list of at least one sample; raise the number of samples"
        )
    compare = same or (lambda a, b: token_f1(a, [b]))
    return sum(compare(answer, sample) for sample in samples) / len(samples)


def invented_titles(titles: Sequence[str], catalogue: Iterable[str]) -> list[bool]:
    """Whether each generated title is missing from a catalogue.

    Titles are compared by their `plain_title`, so case, accents, punctuation, articles and a year
    in brackets at the end do not count.

    Args:
      titles: what a model recommends.
      catalogue: titles that exist.

    Raises:
      DataError: the catalogue is empty.

    Example:
      >>> invented_titles(["the matrix", "Matrix 9"], ["Matrix, The (1999)", "Alien (1979)"])
      [False, True]
    """
    held = {plain_title(title) for title in catalogue}
    if not held:
        raise DataError("the catalogue is empty; give at least one title that exists")
    return [plain_title(title) not in held for title in titles]


def list_rates(
    items: np.ndarray,
    histories: Sequence[np.ndarray],
    allowed: Sequence[np.ndarray] | None = None,
    written: np.ndarray | None = None,
) -> dict[str, float]:
    """How many answers of generated lists are no item, not allowed, seen before or said twice.

    Args:
      items: `[N, K]` item numbers, best first; -1 for an answer that is no item.
      histories: N arrays of the items that each user has met.
      allowed: N arrays of the items that each question allows; None for the whole catalogue.
      written: `[N, K]` bool, which places hold an answer; None for all.

    Returns:
      "compliance": share of the questions whose first answer is an item that it allows.
      "hallucination": share of all answers that are no item. "repeats": share of all answers that
      are in the history. "duplicates": share of all answers that the same list has before.

    Raises:
      DataError: no answers, or another number of histories, allowed items or places.

    Example:
      >>> import numpy as np
      >>> list_rates(np.array([[3, -1, 3, 5]]), [np.array([5])])
      {'compliance': 1.0, 'hallucination': 0.25, 'repeats': 0.25, 'duplicates': 0.25}
    """
    written = np.ones(items.shape, bool) if written is None else written
    sizes = {len(items), len(histories), len(items if allowed is None else allowed)}
    if len(sizes) > 1 or written.shape != items.shape or not written.any():
        raise DataError(
            f"lists of shape {items.shape} with {len(histories)} histories; give one history and "
            "one set of allowed items for each list, and at least one answer"
        )
    legal = repeats = duplicates = invented = 0
    for row, history in enumerate(histories):
        said = items[row][written[row]].tolist()
        known = [item for item in said if item >= 0]
        met = set(history.tolist())
        invented += len(said) - len(known)
        repeats += sum(item in met for item in known)
        duplicates += len(known) - len(set(known))
        first = said[0] if said else -1
        legal += first >= 0 and (allowed is None or first in allowed[row].tolist())
    total = int(written.sum())
    return {
        "compliance": legal / len(items),
        "hallucination": invented / total,
        "repeats": repeats / total,
        "duplicates": duplicates / total,
    }
