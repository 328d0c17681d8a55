"""Which documents of a corpus repeat earlier ones, exactly or nearly.

Every document has one row of hashes: of its normalized text, then of each band of its MinHash
signature. One column is in memory at a time. Documents with equal hashes of a band are candidates;
pairs whose true Jaccard similarity reaches the threshold are joined, and the first document of
every cluster stays.
"""

import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from jaxrec.core import Count, PositiveShare, Whole, check_ranges
from jaxrec.data.corpora.hashing import text_hash
from jaxrec.data.corpora.minhash import MinHash, jaccard, normalize, shingles

KEPT, EXACT, NEAR = range(3)
REASONS = {EXACT: "exact duplicate", NEAR: "near-duplicate"}
_COMPARED = 64  # clusters of one group that a document is compared with
_CACHED = 4096  # sets of shingles in memory
_FAILED = 1 << 20  # pairs that are remembered as not similar


@dataclasses.dataclass(frozen=True, kw_only=True)
class Duplicates:
    """How repeated documents and parts of documents are found.

    Attributes:
      exact: drop documents whose normalized text an earlier one has.
      near: drop documents that are nearly an earlier one, by MinHash and the Jaccard similarity.
      bands, rows: the signature: `bands` bands of `rows` hashes each.
      shingle: words of a run.
      threshold: smallest Jaccard similarity of a pair that is joined.
      sentences: remove runs of this many sentences that occur earlier; 0 for none, 3 in FineWeb.
      min_sentences, min_words: a document that is left with fewer after that is dropped.
      tokens: remove runs of at least this many words that occur earlier; 0 for none, 50 in Lee et
        al., arXiv:2107.06499.
    """

    exact: bool = True
    near: bool = True
    bands: Count = 14
    rows: Count = 8
    shingle: Count = 5
    threshold: PositiveShare = 0.8
    sentences: Whole = 0
    min_sentences: Whole = 3
    min_words: Whole = 50
    tokens: Whole = 0

    def __post_init__(self) -> None:
        """Reject numbers out of range."""
        check_ranges(self, "--duplicates.")


class Keys:
    """The row of hashes of a document.

    Example:
      >>> keys = Keys(Duplicates(bands=2, rows=3))
      >>> keys.of("A film.").shape, bool(keys.of("A film.")[0] == keys.of("a  FILM")[0])
      ((3,), True)
    """

    def __init__(self, settings: Duplicates, seed: int = 0) -> None:
        self.settings = settings
        self._hasher = MinHash(settings.bands, settings.rows, seed) if settings.near else None
        self.columns = 1 + (settings.bands if settings.near else 0)

    def of(self, text: str) -> np.ndarray:
        """Return the hash of the normalized text and those of the bands, uint64 [1 + b]."""
        normal = normalize(text)
        # Texts of marks alone are told apart by the marks.
        row = [np.array([text_hash(normal or text)], np.uint64)]
        if self._hasher is not None:
            row.append(self._hasher.bands_of(self.shingles(text, normal)))
        return np.concatenate(row)

    def shingles(self, text: str, normal: str | None = None) -> np.ndarray:
        """Return the hashed runs of words of a text, uint64 [n]; see `shingles`."""
        normal = normalize(text) if normal is None else normal
        return shingles(normal or text, self.settings.shingle)


def find_duplicates(
    column: Callable[[int], np.ndarray], keys: Keys, text: Callable[[int], str]
) -> np.ndarray:
    """Return which documents are dropped as duplicates.

    Args:
      column: returns the hashes of all documents in one column of `Keys.of`, uint64 [n].
      keys: made the hashes.
      text: returns the text of a document.

    Returns:
      uint8 [n]: `KEPT`, `EXACT` or `NEAR`.

    Example:
      >>> texts = ["one film of many", "another film", "One film, of many!"]
      >>> keys = Keys(Duplicates())
      >>> rows = np.stack([keys.of(text) for text in texts])
      >>> find_duplicates(lambda n: rows[:, n], keys, lambda n: texts[n]).tolist()
      [0, 0, 1]
    """
    hashes = column(0)
    verdicts = np.full(len(hashes), KEPT, np.uint8)
    if keys.settings.exact:
        for group in groups(hashes):
            verdicts[group[1:]] = EXACT
    if not keys.settings.near:
        return verdicts
    clusters = Clusters(len(hashes))
    similar = _Similar(keys, text)
    for number in range(1, keys.columns):
        hashes = column(number)
        # Equal texts would be compared with one another in every band.
        alive = np.flatnonzero(verdicts != EXACT)
        for group in groups(hashes[alive]):
            _join(alive[group].tolist(), clusters, similar)
    verdicts[(clusters.roots() != np.arange(len(verdicts))) & (verdicts == KEPT)] = NEAR
    return verdicts


def groups(hashes: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the places of equal hashes, in increasing order, for every hash that occurs twice.

    Example:
      >>> [group.tolist() for group in groups(np.array([7, 5, 7, 5, 1]))]
      [[1, 3], [0, 2]]
    """
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    sizes = np.diff(first, append=len(ordered))
    for begin, size in zip(first[sizes > 1].tolist(), sizes[sizes > 1].tolist(), strict=True):
        yield order[begin : begin + size]


class Clusters:
    """Union-find whose root is the lowest number of a cluster.

    Example:
      >>> clusters = Clusters(4)
      >>> clusters.join(3, 2)
      >>> clusters.join(2, 0)
      >>> clusters.roots().tolist()
      [0, 1, 0, 0]
    """

    def __init__(self, count: int) -> None:
        self._parent = np.arange(count, dtype=np.int32 if count < 2**31 else np.int64)

    def root(self, member: int) -> int:
        """Return the lowest number of the member's cluster."""
        parent = self._parent
        while (above := int(parent[member])) != member:
            parent[member] = parent[above]
            member = int(parent[member])
        return member

    def join(self, a: int, b: int) -> None:
        """Join the clusters of two members."""
        low, high = sorted((self.root(a), self.root(b)))
        self._parent[high] = low

    def roots(self) -> np.ndarray:
        """Return the lowest number of each member's cluster, int [n]."""
        parent = self._parent
        while not np.array_equal(above := parent[parent], parent):
            parent = above
        return parent


class _Similar:
    """Whether two documents reach the threshold; recent sets of shingles are kept."""

    def __init__(self, keys: Keys, text: Callable[[int], str]) -> None:
        self._keys, self._text = keys, text
        self._sets: OrderedDict[int, np.ndarray] = OrderedDict()
        self._failed: set[tuple[int, int]] = set()

    def __call__(self, a: int, b: int) -> bool:
        if (a, b) in self._failed:
            return False
        one, two = self._set(a), self._set(b)
        least = self._keys.settings.threshold
        # The similarity is at most the ratio of the sizes.
        short, long = sorted((len(one), len(two)))
        if short / long >= least and jaccard(one, two) >= least:
            return True
        if len(self._failed) >= _FAILED:
            self._failed.clear()
        self._failed.add((a, b))
        return False

    def _set(self, document: int) -> np.ndarray:
        found = self._sets.pop(document, None)
        if found is None:
            found = np.unique(self._keys.shingles(self._text(document)))
            if len(self._sets) >= _CACHED:
                self._sets.popitem(last=False)
        self._sets[document] = found
        return found


def _join(group: Sequence[int], clusters: Clusters, similar: _Similar) -> None:
    """Join the similar documents of a group of candidates.

    Each is compared with one document of every cluster before it, of at most 64: a group of
    hundreds of documents that are not alike has no meaning.
    """
    leaders: list[int] = []
    for document in group:
        roots = {clusters.root(leader) for leader in leaders}
        if clusters.root(document) in roots:
            continue
        for leader in leaders:
            if clusters.root(leader) != clusters.root(document) and similar(leader, document):
                clusters.join(leader, document)
        if len(leaders) < _COMPARED:
            leaders.append(document)
