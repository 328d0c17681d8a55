"""Grounding: which item of the catalogue a title means that a model wrote freely.

A title is first compared by its normalized string (`eval.plain_title`), and then by vectors, of
which the nearest one counts if its cosine reaches a threshold (Liu et al., Is ChatGPT a Good
Recommender?, arXiv:2304.10149, compare by BERT). A title that reaches nothing is a hallucination.

Shapes: `I` items, `N` texts, `E` width of vectors.
"""

import dataclasses
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import scipy.sparse

from jaxrec.core import ConfigError, DataError
from jaxrec.eval import plain_title, split_year, without_brackets

How = Literal["title", "vector", "ambiguous", "missing"]
# Rows of unit length, or zeros, as an array or a sparse matrix of SciPy.
Vectors = Callable[[Sequence[str]], Any]
# Parts that tell the films of a series apart, however alike their titles are otherwise.
_NUMBER = re.compile(r"\b(?:\d\w*|i{2,3}|i?v|vi{1,3}|i?x)\b")
# Cosines closer than this are equal up to rounding.
_EQUAL = 1e-6


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grounded:
    """What a written title means.

    Attributes:
      text: the title as it was written.
      item: number of the item; -1 for none.
      how: found by "title" or by "vector", "ambiguous" between several items, or "missing".
      similarity: cosine to the nearest item; 1 where the strings are equal.
      rivals: the items that an ambiguous title can mean.
    """

    text: str
    item: int
    how: How
    similarity: float
    rivals: tuple[int, ...] = ()


class Grounding:
    """A catalogue in which titles are looked up.

    A text without a year means the one item with its title. If several items have the title, its
    year decides between them; where it does not, the text is ambiguous. Remarks in brackets may be
    left out. By vectors, numbers must agree: "Alien 3" is never "Alien", however near they are.

    Args:
      titles: of the I items.
      threshold: least cosine of a title that is found by its vector, above 0; above 1 only strings
        count.
      vectors: encodes texts as `[N, E]` rows of unit length, or zeros, such as
        `items.text.encode` with an encoder; None for TF-IDF of the letters.

    Raises:
      ConfigError: a threshold out of range.
      DataError: no titles, or an empty one.

    Example:
      >>> from jaxrec.texts import Grounding
      >>> films = Grounding(["Usual Suspects, The (1995)", "Sabrina (1954)", "Sabrina (1995)"])
      >>> for text in ("The Usual Suspects", "the usual supects", "Sabrina", "Cats"):
      ...     found = films.find([text])[0]
      ...     print(found.item, found.how, found.rivals)
      0 title ()
      0 vector ()
      -1 ambiguous (1, 2)
      -1 missing ()
      >>> films.find(["Sabrina (1995)"])[0].item
      2
    """

    def __init__(
        self, titles: Sequence[str], threshold: float = 0.7, vectors: Vectors | None = None
    ) -> None:
        if not threshold > 0:
            raise ConfigError(f"threshold must be above 0, got {threshold}")
        if not len(titles):
            raise DataError("the catalogue is empty; give at least one title that exists")
        empty = [item for item, title in enumerate(titles) if not title.strip()]
        if empty:
            raise DataError(
                f"item {empty[0]} has no title, so no text can mean it; give it one, or take items "
                "with titles"
            )
        self.titles, self.threshold = list(titles), threshold
        self._vectors = vectors
        self._plain = [plain_title(title) for title in titles]
        self._years = [split_year(title).year for title in titles]
        self._by_title = _groups(self._plain)
        self._by_part = _groups([plain_title(without_brackets(title)) for title in titles])
        self._numbers = np.array([_numbers(title) for title in self._plain])

    def find(
        self, texts: Sequence[str], among: Sequence[np.ndarray] | None = None
    ) -> list[Grounded]:
        """Look up N texts.

        Args:
          texts: titles as they were written.
          among: for each text the numbers of the items that it can mean; None for all.

        Raises:
          ConfigError: not one array of items for each text.
        """
        found = self.by_string(texts, among)
        far = [n for n, one in enumerate(found) if one.how == "missing" and texts[n].strip()]
        if far and self.threshold <= 1:
            cosines = self._cosines([texts[n] for n in far])
            for n, row in zip(far, cosines, strict=True):
                found[n] = self._by_vector(texts[n], row, None if among is None else among[n])
        return found

    def by_string(
        self, texts: Sequence[str], among: Sequence[np.ndarray] | None = None
    ) -> list[Grounded]:
        """Look up N texts by their normalized strings alone; see `find`."""
        if among is not None and len(among) != len(texts):
            raise ConfigError(f"{len(texts)} texts need as many arrays of items, got {len(among)}")
        return [
            self._by_string(text, None if among is None else set(among[n].tolist()))
            for n, text in enumerate(texts)
        ]

    def duplicates(self, items: np.ndarray | None = None) -> list[tuple[int, ...]]:
        """Items that no text can tell apart: same title, and the same year or none.

        Args:
          items: numbers to compare; None for all.

        Example:
          >>> from jaxrec.texts import Grounding
          >>> Grounding(["Kiss, The", "The Kiss", "Kiss (1999)"]).duplicates()
          [(0, 1)]
        """
        groups: dict[tuple[str, int | None], list[int]] = {}
        for item in range(len(self.titles)) if items is None else items.tolist():
            groups.setdefault((self._plain[item], self._years[item]), []).append(item)
        return [tuple(group) for group in groups.values() if len(group) > 1]

    def _by_string(self, text: str, held: set[int] | None) -> Grounded:
        dated = split_year(text)
        for groups in (self._by_title, self._by_part):
            items = [
                item for item in groups.get(plain_title(text), ()) if held is None or item in held
            ]
            if len(items) > 1 and dated.year is not None:
                same = [item for item in items if self._years[item] == dated.year]
                items = same or items
            if items:
                return _settled(text, items, "title", 1.0)
        return Grounded(text=text, item=-1, how="missing", similarity=0.0)

    def _by_vector(self, text: str, cosines: np.ndarray, held: np.ndarray | None) -> Grounded:
        numbers = _numbers(plain_title(text))
        able = self._numbers == numbers
        if held is not None:
            inside = np.zeros(len(able), bool)
            inside[held] = True
            able &= inside
        scores = np.where(able, cosines, -1.0)
        best = float(scores.max())
        if best < self.threshold:
            return Grounded(text=text, item=-1, how="missing", similarity=max(best, 0.0))
        return _settled(text, np.flatnonzero(scores > best - _EQUAL).tolist(), "vector", best)

    def _cosines(self, texts: Sequence[str]) -> np.ndarray:
        """Cosines of texts and items, `[N, I]`."""
        encode, items = self._encoded
        product = encode([plain_title(text) for text in texts]) @ items.T
        return np.asarray(product.toarray() if scipy.sparse.issparse(product) else product)

    @functools.cached_property
    def _encoded(self) -> tuple[Vectors, Any]:
        """How texts become vectors, and the vectors of the items, `[I, E]`."""
        encode = self._vectors or _letters(self._plain)
        return encode, encode(self._plain)


def grounding_shares(found: Sequence[Grounded]) -> Mapping[str, float]:
    """Shares of written titles by how they were found; "hallucinated" names none of the catalogue.

    Returns:
      "by_title", "by_vector", "ambiguous" and "hallucinated", which add up to 1; nan without texts.

    Example:
      >>> from jaxrec.texts import Grounding, grounding_shares
      >>> films = Grounding(["Alien", "Heat"])
      >>> dict(grounding_shares(films.find(["alien", "Cats", "Heat", "Dogs"])))
      {'by_title': 0.5, 'by_vector': 0.0, 'ambiguous': 0.0, 'hallucinated': 0.5}
    """
    names = {"title": "by_title", "vector": "by_vector"}
    names |= {"ambiguous": "ambiguous", "missing": "hallucinated"}
    if not found:
        return dict.fromkeys(names.values(), float("nan"))
    return {name: sum(one.how == how for one in found) / len(found) for how, name in names.items()}


def _settled(text: str, items: Sequence[int], how: How, similarity: float) -> Grounded:
    if len(items) > 1:
        return Grounded(
            text=text, item=-1, how="ambiguous", similarity=similarity, rivals=tuple(items)
        )
    return Grounded(text=text, item=items[0], how=how, similarity=similarity)


def _groups(keys: Sequence[str]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for item, key in enumerate(keys):
        groups.setdefault(key, []).append(item)
    return groups


def _numbers(plain: str) -> str:
    return " ".join(sorted(_NUMBER.findall(plain)))


def _letters(titles: Sequence[str]) -> Vectors:
    """TF-IDF of two to four letters in a row, so that a typing error changes a few of them."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True)
    return letters.fit(titles).transform
