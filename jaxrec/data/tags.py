"""Tags and spans: BIO and BIOES with unknown tags, legal sequences, and the repair of illegal ones.

In BIOES a span of kind K is tagged B-K I-K ... E-K, or S-K if it has one token; tokens outside of
all spans are O. BIO has neither E nor S. `U` stands for an unknown tag: a token that may have any
tag, so it is no state of a model. Spans of one sequence of tags never overlap.
"""

import dataclasses
import functools
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np

from jaxrec.core import ConfigError, DataError

Scheme = Literal["BIO", "BIOES"]
OUTSIDE, UNKNOWN = "O", "U"
_PREFIXES: dict[str, str] = {"BIO": "BI", "BIOES": "BIES"}


@dataclasses.dataclass(frozen=True, order=True)
class Span:
    """Tokens `start` to `end - 1` of a text, which are one entity.

    Attributes:
      start: first token.
      end: token after the last one.
      kind: of the entity, such as "skill".

    Example:
      >>> Span(2, 4, "skill").end
      4
    """

    start: int
    end: int
    kind: str


@dataclasses.dataclass(frozen=True)
class TagSet:
    """The BIOES tags of some kinds as numbers: O is 0, then B, I, E and S of each kind.

    Attributes:
      kinds: names of the kinds.

    Raises:
      ConfigError: no kinds, or a name twice, or an empty one.

    Example:
      >>> TagSet(("skill",)).names
      ('O', 'B-skill', 'I-skill', 'E-skill', 'S-skill')
    """

    kinds: tuple[str, ...]

    def __post_init__(self) -> None:
        """Reject kinds that cannot be told apart."""
        if not self.kinds or "" in self.kinds or len(set(self.kinds)) < len(self.kinds):
            raise ConfigError(
                f"kinds of entities {list(self.kinds)} must be one or more different names"
            )

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the tags, in the order of their numbers."""
        return (OUTSIDE, *(f"{p}-{kind}" for kind in self.kinds for p in _PREFIXES["BIOES"]))

    def __len__(self) -> int:
        """C, the number of tags."""
        return len(self.names)

    @functools.cached_property
    def legal(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Which tags may follow which, `[C, C]` bool, and which may begin and end, `[C]` bool."""
        names = self.names
        follows = np.array([[_may_follow(a, b) for b in names] for a in names])
        starts = np.array([_may_follow(OUTSIDE, name) for name in names])
        ends = np.array([_may_follow(name, OUTSIDE) for name in names])
        return follows, starts, ends

    def numbers(self, tags: Sequence[str]) -> np.ndarray:
        """Return the numbers of tags, `[T]` int32; -1 for an unknown tag.

        Raises:
          DataError: a tag that is not in the set.

        Example:
          >>> TagSet(("skill",)).numbers(["O", "S-skill", "U"]).tolist()
          [0, 4, -1]
        """
        number = {name: place for place, name in enumerate(self.names)} | {UNKNOWN: -1}
        for place, tag in enumerate(tags):
            if tag not in number:
                raise DataError(
                    f"token {place} has the tag {tag!r:.60}; tags: {', '.join(self.names)} and "
                    f"{UNKNOWN}"
                )
        return np.array([number[tag] for tag in tags], np.int32)

    def allowed(self, numbers: np.ndarray) -> np.ndarray:
        """Return the tags that partial labels allow: `[...]` int to `[..., C]` bool; -1 allows all.

        Example:
          >>> TagSet(("skill",)).allowed(np.array([0, -1])).astype(int).tolist()
          [[1, 0, 0, 0, 0], [1, 1, 1, 1, 1]]
        """
        return (numbers[..., None] == np.arange(len(self))) | (numbers[..., None] < 0)


def tags_of_spans(
    spans: Iterable[Span], length: int, scheme: Scheme = "BIOES", unknown: Iterable[int] = ()
) -> list[str]:
    """Write spans as tags.

    Args:
      spans: do not overlap.
      length: T, number of tokens.
      scheme: of the tags.
      unknown: tokens outside of the spans whose tag is unknown.

    Raises:
      DataError: spans that overlap, are empty or lie outside of the text, or an unknown token
        inside a span.

    Example:
      >>> tags_of_spans([Span(1, 3, "skill")], 5, unknown=[4])
      ['O', 'B-skill', 'E-skill', 'O', 'U']
    """
    tags = [OUTSIDE] * length
    for span in spans:
        if not 0 <= span.start < span.end <= length:
            raise DataError(f"{span} has no tokens of a text of {length} tokens")
        for place in range(span.start, span.end):
            if tags[place] != OUTSIDE:
                raise DataError(f"{span} overlaps another span at token {place}")
            first, last = place == span.start, place == span.end - 1
            prefix = "B" if first else "I"
            if scheme == "BIOES" and last:
                prefix = "S" if first else "E"
            tags[place] = f"{prefix}-{span.kind}"
    for place in unknown:
        if not 0 <= place < length or tags[place] != OUTSIDE:
            raise DataError(
                f"token {place} cannot be unknown: it lies in a span or outside of a text of "
                f"{length} tokens"
            )
        tags[place] = UNKNOWN
    return tags


def spans_of_tags(tags: Sequence[str], scheme: Scheme = "BIOES") -> list[Span]:
    """Read the spans of a legal sequence of tags; unknown tokens are in no span.

    Raises:
      DataError: a tag that the scheme does not have, or an illegal sequence; the message names the
        token. See `repair_tags`.

    Example:
      >>> spans_of_tags(["O", "B-skill", "I-skill", "E-skill", "S-skill"])
      [Span(start=1, end=4, kind='skill'), Span(start=4, end=5, kind='skill')]
      >>> spans_of_tags(["O", "I-skill"], "BIO")
      Traceback (most recent call last):
      jaxrec.core.errors.DataError: token 1: I-skill after O is no legal BIO sequence; ...
    """
    before = OUTSIDE
    for place, tag in enumerate([*tags, OUTSIDE]):
        if place < len(tags):
            _check_tag(tag, place, scheme)
        after = OUTSIDE if tag == UNKNOWN else tag
        if not _may_follow(before, after, scheme):
            what = f"{tag} after {before}" if place < len(tags) else f"{before} at the end"
            raise DataError(
                f"token {place}: {what} is no legal {scheme} sequence; correct the tags, or repair "
                "them"
            )
        before = after
    return _runs(tags)


def repair_tags(tags: Sequence[str], scheme: Scheme = "BIOES") -> tuple[list[str], int]:
    """Make a sequence of tags legal, and count the tags that change.

    The spans are read leniently, as conlleval does: a span begins at B, S, at another kind, and at
    an I or E that follows no open span; it ends at E, S and before everything that cannot continue
    it. Legal sequences stay as they are.

    Args:
      tags: of one text; unknown ones stay.
      scheme: of the tags.

    Returns:
      The legal sequence, and how many tags differ.

    Raises:
      DataError: a tag that the scheme does not have.

    Example:
      >>> repair_tags(["I-skill", "O", "B-skill", "I-skill"])
      (['S-skill', 'O', 'B-skill', 'E-skill'], 2)
    """
    for place, tag in enumerate(tags):
        _check_tag(tag, place, scheme)
    unknown = [place for place, tag in enumerate(tags) if tag == UNKNOWN]
    repaired = tags_of_spans(_runs(tags), len(tags), scheme, unknown)
    return repaired, sum(a != b for a, b in zip(tags, repaired, strict=True))


def _runs(tags: Sequence[str]) -> list[Span]:
    """The spans of any sequence, read leniently."""
    spans: list[Span] = []
    start, kind, is_open = 0, "", False
    for place, tag in enumerate([*tags, OUTSIDE]):
        prefix, _, own = tag.partition("-")
        continues = is_open and prefix in ("I", "E") and own == kind
        if is_open and not continues:
            spans.append(Span(start, place, kind))
            is_open = False
        if prefix in ("O", "U"):
            continue
        if not continues:
            start, kind, is_open = place, own, True
        if prefix in ("E", "S"):
            spans.append(Span(start, place + 1, kind))
            is_open = False
    return spans


def _check_tag(tag: str, place: int, scheme: Scheme) -> None:
    prefix, dash, kind = tag.partition("-")
    if tag in (OUTSIDE, UNKNOWN) or (dash and kind and prefix in tuple(_PREFIXES[scheme])):
        return
    raise DataError(
        f"token {place}: {tag!r:.60} is no tag of {scheme}; expected {OUTSIDE}, {UNKNOWN}, or one "
        f"of {', '.join(_PREFIXES[scheme])} with a kind, such as B-skill"
    )


def _may_follow(before: str, after: str, scheme: Scheme = "BIOES") -> bool:
    """Whether a tag may directly follow another; O stands for the start and the end of a text."""
    (a, _, kind), (b, _, own) = before.partition("-"), after.partition("-")
    continues = b in ("I", "E")
    if scheme == "BIO":
        return not continues or (a in ("B", "I") and kind == own)
    must = a in ("B", "I")
    return continues == must and (not must or kind == own)
