"""Short answers against references: exact match and token F1, normalized as for SQuAD.

Rajpurkar et al., SQuAD: 100,000+ Questions for Machine Comprehension of Text (EMNLP 2016), section
6.1: case, punctuation, the articles a, an, the, and extra spaces do not count. Of several
references the best one counts.
"""

import re
import string
from collections import Counter
from collections.abc import Sequence

from jaxrec.core import DataError

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize_answer(text: str) -> str:
    """Lower the case and remove punctuation, articles and extra spaces.

    Example:
      >>> normalize_answer(" The  Eiffel-Tower! ")
      'eiffeltower'
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def exact_match(text: str, references: Sequence[str]) -> float:
    """1 if a text equals one of the references after `normalize_answer`, or else 0.

    Args:
      text: the answer.
      references: at least one right answer.

    Raises:
      DataError: no references, or a text in place of a list of them.

    Example:
      >>> exact_match("the Seine.", ["Seine", "River Seine"])
      1.0
    """
    wanted = {normalize_answer(reference) for reference in _checked(references)}
    return float(normalize_answer(text) in wanted)


def token_f1(text: str, references: Sequence[str]) -> float:
    """F1 of the words that a text shares with the best of its references, normalized.

    See `normalize_answer`. Two texts without words are equal, so their F1 is 1.

    Args:
      text: the answer.
      references: at least one right answer.

    Raises:
      DataError: no references, or a text in place of a list of them.

    Example:
      >>> token_f1("the river Seine", ["Seine"])
      0.6666666666666666
    """
    return max(_f1(text, reference) for reference in _checked(references))


def _f1(text: str, reference: str) -> float:
    ours, theirs = (normalize_answer(part).split() for part in (text, reference))
    if not ours or not theirs:
        return float(ours == theirs)
    common = (Counter(ours) & Counter(theirs)).total()
    return 2 * common / (len(ours) + len(theirs))


def _checked(references: Sequence[str]) -> Sequence[str]:
    if isinstance(references, str):
        raise DataError(f"references must be a list of texts, got one: [{references[:40]!r}]")
    if not len(references):
        raise DataError("an answer has no references; give at least one right answer")
    return references
