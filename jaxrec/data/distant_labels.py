"""Distant labels: the spans of a text that a lexicon matches, and the words that it is unsure of.

From the first word on, the longest phrase that begins at a word is matched, and matching goes on
behind it. A certain phrase is a span. The words of an uncertain phrase are unknown, and so are
those of a partial match: a run of unmatched words that is a part of a phrase, but no phrase.
"""

import dataclasses
import functools
from collections.abc import Container, Mapping, Sequence
from typing import Literal

from jaxrec.core import ConfigError
from jaxrec.data.lexicon import Lexicon, Phrase, normalize_word
from jaxrec.data.tags import Span, tags_of_spans

Unmatched = Literal["outside", "unknown"]


@dataclasses.dataclass(frozen=True)
class DistantLabels:
    """What a lexicon says about a text.

    Attributes:
      spans: certain matches.
      unknown: words whose tag is unknown, sorted.

    Example:
      >>> from jaxrec.data import Span
      >>> DistantLabels((Span(0, 1, "skill"),), (2,)).tags(3)
      ['S-skill', 'O', 'U']
    """

    spans: tuple[Span, ...]
    unknown: tuple[int, ...]

    def tags(self, length: int) -> list[str]:
        """The labels as BIOES tags with U."""
        return tags_of_spans(self.spans, length, unknown=self.unknown)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Matcher:
    """Labels texts by lexicons; made by `Matcher.of`.

    Attributes:
      kinds: kind of each phrase; "" for a phrase that is uncertain.
      parts: runs of words that are a partial match.
      unmatched: what words without any match are: "outside", or "unknown" too.

    Example:
      >>> from jaxrec.data import Lexicon
      >>> matcher = Matcher.of([Lexicon.of("skill", ["object oriented design", "Java"])])
      >>> matcher.label("Java , object oriented code".split()).tags(5)
      ['S-skill', 'O', 'U', 'U', 'O']
    """

    kinds: Mapping[Phrase, str]
    parts: frozenset[Phrase]
    unmatched: Unmatched = "outside"

    @classmethod
    def of(
        cls, lexicons: Sequence[Lexicon], *, partial: int = 2, unmatched: Unmatched = "outside"
    ) -> "Matcher":
        """Index the phrases of lexicons of different kinds.

        A phrase that several lexicons have is uncertain, because its kind is.

        Args:
          lexicons: at least one.
          partial: fewest words of a partial match; 0 for no partial matches.
          unmatched: what words without any match are.

        Raises:
          ConfigError: no lexicons, or a negative `partial`.
        """
        if not lexicons or partial < 0:
            raise ConfigError(
                f"distant labels need at least one lexicon and a partial match of at least 0 "
                f"words, got {len(lexicons)} lexicons and {partial} words"
            )
        kinds: dict[Phrase, str] = {}
        for lexicon in lexicons:
            for phrase in lexicon.certain | lexicon.uncertain:
                sure = phrase in lexicon.certain and phrase not in kinds
                kinds[phrase] = lexicon.kind if sure else ""
        parts = {
            phrase[a:b]
            for phrase in kinds
            for a in range(len(phrase))
            for b in range(a + partial, len(phrase) + 1)
            if partial and b - a < len(phrase)
        }
        return cls(kinds=kinds, parts=frozenset(parts), unmatched=unmatched)

    def label(self, words: Sequence[str]) -> DistantLabels:
        """Label one text.

        Args:
          words: of the text, as they are written.
        """
        normal = tuple(map(normalize_word, words))
        spans: list[Span] = []
        unknown: set[int] = set()
        free = set(range(len(normal)))
        place = 0
        while place < len(normal):
            end = _longest(normal, place, self.kinds, self._longest_phrase)
            if end > place:
                matched = range(place, end)
                free.difference_update(matched)
                kind = self.kinds[normal[place:end]]
                if kind:
                    spans.append(Span(place, end, kind))
                else:
                    unknown.update(matched)
            place = max(end, place + 1)
        for place in free:
            # A part lies completely in words that no phrase matches.
            stop = next(n for n in range(place, len(normal) + 1) if n not in free)
            unknown.update(
                range(place, _longest(normal[:stop], place, self.parts, self._longest_part))
            )
        if self.unmatched == "unknown":
            unknown |= free
        return DistantLabels(tuple(spans), tuple(sorted(unknown)))

    @functools.cached_property
    def _longest_phrase(self) -> int:
        return max(map(len, self.kinds))

    @functools.cached_property
    def _longest_part(self) -> int:
        return max(map(len, self.parts), default=0)


def _longest(words: Phrase, start: int, known: Container[Phrase], most: int) -> int:
    """Where the longest known run of words from `start` on ends; `start` if there is none."""
    for end in range(min(start + most, len(words)), start, -1):
        if words[start:end] in known:
            return end
    return start
