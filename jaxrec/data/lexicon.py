"""A lexicon of phrases of one kind, and which of them are safe: by frequency and association.

A phrase that a corpus does not have often enough says little, and is dropped. A phrase that is very
frequent is mostly meant otherwise, and is uncertain. A phrase of several words that occurs about as
often as its parts meet by chance is no term, and is uncertain too. The measure is pointwise mutual
information (Church and Hanks, Computational Linguistics 1990), here the least one over all ways to
cut a phrase in two.
"""

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from jaxrec.core import ConfigError, DataError
from jaxrec.data.resumes import word_places

Phrase = tuple[str, ...]
# Punctuation at the ends of a word, but not the dot of .NET, the + of C++, the # of C#, or what
# marks a word that stands for a name, such as <ORGANIZATION>.
_EDGES = re.compile(r"^[^\w.+#<]+(?=.)|(?<=.)[^\w+#>]+$")


@dataclasses.dataclass(frozen=True, eq=False)
class Lexicon:
    """Phrases of one kind, each as normalized words.

    Attributes:
      kind: of the entities, such as "skill".
      certain: phrases that are entities wherever they occur.
      uncertain: phrases that may be entities.

    Raises:
      ConfigError: an empty lexicon, an empty phrase, or one that is both certain and uncertain.

    Example:
      >>> sorted(Lexicon.of("skill", ["Machine Learning", "C++,"]).certain)
      [('c++',), ('machine', 'learning')]
    """

    kind: str
    certain: frozenset[Phrase]
    uncertain: frozenset[Phrase] = frozenset()

    def __post_init__(self) -> None:
        """Reject a lexicon that can match nothing."""
        phrases = self.certain | self.uncertain
        if not phrases:
            raise ConfigError(f"the lexicon of {self.kind} is empty; give at least one phrase")
        if () in phrases or any("" in phrase for phrase in phrases):
            raise ConfigError(f"the lexicon of {self.kind} has a phrase without words")
        if both := self.certain & self.uncertain:
            raise ConfigError(
                f"the lexicon of {self.kind} has {' '.join(min(both))!r} as certain and uncertain"
            )

    @classmethod
    def of(cls, kind: str, phrases: Iterable[str | Sequence[str]]) -> "Lexicon":
        """Make a lexicon of certain phrases.

        Args:
          kind: of the entities.
          phrases: texts, or sequences of words; punctuation marks at both ends are
            left out, and so are phrases of them alone.

        Raises:
          ConfigError: no phrase is left.
        """
        split = ([p[a:b] for a, b in word_places(p)] if isinstance(p, str) else p for p in phrases)
        trimmed = (_trimmed([normalize_word(word) for word in words]) for words in split)
        return cls(kind, frozenset(phrase for phrase in trimmed if phrase))

    def __len__(self) -> int:
        return len(self.certain) + len(self.uncertain)

    def sample(self, share: float, seed: int) -> "Lexicon":
        """Keep a random share of the phrases, for experiments on coverage.

        Args:
          share: above 0, at most 1.
          seed: of the draw. A larger share with the same seed keeps the phrases of a smaller one.

        Raises:
          ConfigError: the share is out of range, or keeps nothing.

        Example:
          >>> len(Lexicon.of("skill", ["a", "b", "c", "d"]).sample(0.5, seed=0))
          2
        """
        if not 0 < share <= 1:
            raise ConfigError(f"the share of a lexicon to keep must be in (0, 1], got {share}")
        phrases = sorted(self.certain | self.uncertain)
        order = np.random.default_rng(seed).permutation(len(phrases))
        kept = {phrases[place] for place in order[: round(share * len(phrases))].tolist()}
        return Lexicon(self.kind, self.certain & kept, self.uncertain & kept)


def normalize_word(word: str) -> str:
    """Return a word in the form in which lexicons compare: case folded, without marks at its ends.

    Args:
      word: any; one of punctuation alone stays as it is.

    Example:
      >>> [normalize_word(word) for word in ("(Python),", ".NET", "C++", "skills:", "-")]
      ['python', '.net', 'c++', 'skills', '-']
    """
    return _EDGES.sub("", word.casefold()) or word


def filter_lexicon(
    lexicon: Lexicon,
    texts: Iterable[Sequence[str]],
    *,
    min_count: int = 1,
    max_count: int = 0,
    min_pmi: float = -math.inf,
) -> Lexicon:
    """Drop rare phrases, and make phrases uncertain that are too frequent, or no terms.

    A phrase that is everywhere is rarely meant as a term: "design" is a skill in few of its places.

    Args:
      lexicon: phrases.
      texts: words of each text of a corpus.
      min_count: fewest occurrences of a phrase that stays. Occurrences may overlap.
      max_count: most occurrences of a certain phrase; 0 for no limit.
      min_pmi: least `phrase_pmi` of a certain phrase, in nats.

    Raises:
      ConfigError: no phrase is frequent enough.
      DataError: no words in the corpus.

    Example:
      >>> texts = [["deep", "learning"], ["deep", "sea"], ["of", "the"], ["the", "of"]]
      >>> lexicon = Lexicon.of("skill", ["deep learning", "of the", "rare"])
      >>> found = filter_lexicon(lexicon, texts, min_count=1, min_pmi=1.0)
      >>> found.certain, found.uncertain
      (frozenset({('deep', 'learning')}), frozenset({('of', 'the')}))
    """
    phrases = lexicon.certain | lexicon.uncertain
    counts, total = count_phrases(phrases, texts)
    kept = {phrase for phrase in phrases if counts[phrase] >= min_count}
    if not kept:
        raise ConfigError(
            f"no phrase of the lexicon of {lexicon.kind} occurs {min_count} times in the texts; "
            "lower the count, or give another lexicon"
        )
    weak = {
        phrase
        for phrase in kept
        if (max_count and counts[phrase] > max_count) or phrase_pmi(phrase, counts, total) < min_pmi
    }
    return Lexicon(
        lexicon.kind,
        frozenset((lexicon.certain & kept) - weak),
        frozenset((lexicon.uncertain & kept) | weak),
    )


def count_phrases(
    phrases: Iterable[Phrase], texts: Iterable[Sequence[str]]
) -> tuple[Counter[Phrase], int]:
    """Count phrases and all of their parts, and the words of the texts.

    Args:
      phrases: normalized words.
      texts: words of each text, which are normalized here.

    Returns:
      Occurrences of every run of words that is a part of a phrase, and the number of words.

    Raises:
      DataError: the texts have no words.

    Example:
      >>> counts, total = count_phrases([("a", "b")], [["A", "b", "a"]])
      >>> counts["a", "b"], counts[("a",)], total
      (1, 2, 3)
    """
    parts = {
        phrase[start:end]
        for phrase in phrases
        for start in range(len(phrase))
        for end in range(start + 1, len(phrase) + 1)
    }
    longest = max(map(len, parts), default=0)
    counts: Counter[Phrase] = Counter()
    total = 0
    for words in texts:
        normal = tuple(map(normalize_word, words))
        total += len(normal)
        for start in range(len(normal)):
            for end in range(start + 1, min(start + longest, len(normal)) + 1):
                if normal[start:end] in parts:
                    counts[normal[start:end]] += 1
    if not total:
        raise DataError("the texts that a lexicon is filtered by have no words")
    return counts, total


def phrase_pmi(phrase: Phrase, counts: Counter[Phrase], total: int) -> float:
    """The least ln [p(phrase) / (p(left) p(right))] over all cuts of a phrase in two.

    Args:
      phrase: normalized words.
      counts: occurrences of the phrase and of its parts.
      total: number of words of the corpus.

    Returns:
      Nats; infinity for a single word, and minus infinity for a phrase that does not occur.

    Example:
      >>> counts = Counter({("a", "b"): 2, ("a",): 2, ("b",): 4})
      >>> round(phrase_pmi(("a", "b"), counts, 8), 4)  # ln (2/8) / (2/8 · 4/8)
      0.6931
    """
    if len(phrase) == 1:
        return math.inf
    if not counts[phrase]:
        return -math.inf
    return min(
        math.log(counts[phrase] * total / (counts[phrase[:cut]] * counts[phrase[cut:]]))
        for cut in range(1, len(phrase))
    )


def _trimmed(words: Sequence[str]) -> Phrase:
    """The words without the punctuation marks at both ends."""
    places = [n for n, word in enumerate(words) if any(letter.isalnum() for letter in word)]
    return tuple(words[places[0] : places[-1] + 1]) if places else ()
