"""Published rules of quality for web pages: Gopher's two sets, C4's and FineWeb's.

A rule reads the shared splits of a document and returns them, changed or not, or the name of the
limit that the document breaks. Limits and order are those of DataTrove, which published them for
FineWeb; `python tools/bench corpora` compares every decision with it.

Sources: Rae et al., arXiv:2112.11446, appendix A (Gopher); Raffel et al., arXiv:1910.10683, section
2.2 (C4); Penedo et al., arXiv:2406.17557, section 3 (FineWeb).
"""

import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from jaxrec.core import ConfigError, Count, NotNegative, Share, Whole, check_ranges, option
from jaxrec.data.corpora.hashing import ngram_hashes
from jaxrec.data.corpora.words import SYMBOLS, TERMINAL, Parts

Rule = Callable[[Parts], Parts | str]

_BULLETS = ("•", "-")
_ELLIPSES = ("...", "…")
_PARAGRAPHS = re.compile(r"\n{2,}")
_LINES = re.compile(r"\n+")
_CITATION = re.compile(r"\[\d*\]|\[edit\]|\[citation needed\]")
_C4_ENDS = (".", "?", "!", '"', "'")
_POLICIES = (
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class GopherQuality:
    """Limits of Gopher's quality rules.

    Attributes:
      min_words, max_words: words that are not symbols alone.
      min_mean_length, max_mean_length: mean number of characters of these words.
      symbols: largest number of "#", and of ellipses, per word.
      bullets: largest share of lines that begin with a bullet.
      ellipses: largest share of lines that end with an ellipsis.
      letters: smallest share of words with a letter.
      min_stop_words: smallest number of distinct stop words.
      stop_words: the words that are counted.
    """

    min_words: Count = 50
    max_words: Count = 100_000
    min_mean_length: NotNegative = 3
    max_mean_length: NotNegative = 10
    symbols: NotNegative = 0.1
    bullets: Share = 0.9
    ellipses: Share = 0.3
    letters: Share = 0.8
    min_stop_words: Whole = 2
    stop_words: tuple[str, ...] = ("the", "be", "to", "of", "and", "that", "have", "with")

    def __post_init__(self) -> None:
        """Reject numbers out of range, and limits that exclude every document."""
        check_ranges(self, "--quality.gopher-quality.")
        for low, high in (("min_words", "max_words"), ("min_mean_length", "max_mean_length")):
            if getattr(self, low) > getattr(self, high):
                raise ConfigError(
                    f"--quality.gopher-quality.{option('--' + low)[2:]} {getattr(self, low)} is "
                    f"above its upper limit {getattr(self, high)}, so no document passes; lower it"
                )


def gopher_quality(parts: Parts, limits: GopherQuality) -> Parts | str:
    """Apply Gopher's quality rules.

    Example:
      >>> from jaxrec.data.corpora import splitters
      >>> gopher_quality(Parts("A short text.", splitters("plain")), GopherQuality())
      'too few words'
    """
    words = parts.words
    # Most words are letters alone, so that no other of their properties needs a look.
    others = Counter(word for word in words if not word.isalpha())
    symbols = {word: times for word, times in others.items() if SYMBOLS.issuperset(word)}
    count, real = len(words), len(words) - sum(symbols.values())
    if real < limits.min_words:
        return "too few words"
    if real > limits.max_words:
        return "too many words"
    characters = sum(map(len, words)) - sum(len(word) * times for word, times in symbols.items())
    mean = characters / real
    if mean < limits.min_mean_length:
        return "words too short"
    if mean > limits.max_mean_length:
        return "words too long"
    text = parts.text
    if text.count("#") / count > limits.symbols:
        return "too many hashes"
    if sum(map(text.count, _ELLIPSES)) / count > limits.symbols:
        return "too many ellipses"
    lines = parts.lines
    if sum(line.lstrip().startswith(_BULLETS) for line in lines) / len(lines) > limits.bullets:
        return "too many bullets"
    if sum(line.rstrip().endswith(_ELLIPSES) for line in lines) / len(lines) > limits.ellipses:
        return "too many lines end with an ellipsis"
    without = sum(n for word, n in others.items() if not any(map(str.isalpha, word)))
    if (count - without) / count < limits.letters:
        return "too few words with letters"
    if len(set(limits.stop_words).intersection(words)) < limits.min_stop_words:
        return "too few stop words"
    return parts


@dataclasses.dataclass(frozen=True, kw_only=True)
class GopherRepetition:
    """Limits of Gopher's repetition rules: shares of the characters unless said otherwise.

    Attributes:
      lines, paragraphs: largest share of lines, and of paragraphs, that repeat an earlier one.
      line_characters, paragraph_characters: their characters.
      top: the most frequent run of 2, 3, ... words.
      repeated: all repeated runs of 5, 6, ... words.
    """

    lines: Share = 0.3
    paragraphs: Share = 0.3
    line_characters: Share = 0.2
    paragraph_characters: Share = 0.2
    top: tuple[Share, ...] = (0.2, 0.18, 0.16)
    repeated: tuple[Share, ...] = (0.15, 0.14, 0.13, 0.12, 0.11, 0.1)

    def __post_init__(self) -> None:
        """Reject numbers out of range."""
        check_ranges(self, "--quality.gopher-repetition.")


_FIRST_TOP, _FIRST_REPEATED = 2, 5  # words of the shortest runs


def gopher_repetition(parts: Parts, limits: GopherRepetition) -> Parts | str:
    r"""Apply Gopher's repetition rules.

    Example:
      >>> from jaxrec.data.corpora import splitters
      >>> gopher_repetition(Parts("a line\n" * 9, splitters("plain")), GopherRepetition())
      'repeated lines'
    """
    text = parts.text
    size = len(text)
    blocks = _PARAGRAPHS.split(text.strip())
    repeats, characters = _repeats(blocks)
    if repeats / len(blocks) > limits.paragraphs:
        return "repeated paragraphs"
    if characters / size > limits.paragraph_characters:
        return "characters of repeated paragraphs"
    lines = _LINES.split(text)
    repeats, characters = _repeats(lines)
    if repeats / len(lines) > limits.lines:
        return "repeated lines"
    if characters / size > limits.line_characters:
        return "characters of repeated lines"
    if not parts.words:
        return parts
    ends = np.cumsum(np.fromiter(map(len, parts.words), np.int64, len(parts.words)))
    return _top_fault(parts, ends, limits.top) or _run_fault(parts, ends, limits.repeated) or parts


def _top_fault(parts: Parts, ends: np.ndarray, limits: Sequence[float]) -> str | None:
    """Return which most frequent run of 2, 3, ... words has more than its share of characters.

    Args:
      parts: the splits of the text.
      ends: [n] where each word ends if nothing stands between them.
      limits: the shares.
    """
    size, most = len(parts.text), len(ends)
    longest = _FIRST_TOP + len(limits) - 1
    for words, runs in enumerate(ngram_hashes(*parts.hashed, longest, spaced=True), start=1):
        if words < _FIRST_TOP:
            continue
        # A run is at most as frequent as a shorter one in it, which bounds its characters.
        limit, lengths = limits[words - _FIRST_TOP], _lengths(ends, words) + (words - 1)
        if most * int(lengths.max()) / size <= limit:
            continue
        ordered = np.sort(runs)
        first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
        counts = np.diff(first, append=len(ordered))
        most = int(counts.max())
        if most * int(lengths.max()) / size > limit:
            frequent = ordered[first[counts == most]]
            at = int(np.argmax(np.isin(runs, frequent)))  # the earliest of equally frequent ones
            if int(lengths[at]) * most / size > limit:
                return f"most frequent run of {words} words"
    return None


def _run_fault(parts: Parts, ends: np.ndarray, limits: Sequence[float]) -> str | None:
    """Return for which length repeated runs of 5, 6, ... words have more than their share.

    Args:
      parts: the splits of the text.
      ends: [n] where each word ends if nothing stands between them.
      limits: the shares.
    """
    size, places = len(parts.text), None
    longest = _FIRST_REPEATED + len(limits) - 1
    for words, runs in enumerate(ngram_hashes(*parts.hashed, longest), start=1):
        if words < _FIRST_REPEATED:
            continue
        # A run that occurs twice begins with a shorter one that does, so only these are sorted.
        places = np.arange(len(runs)) if places is None else places[places < len(runs)]
        order = np.argsort(runs[places])
        ordered = runs[places[order]]
        same = np.concatenate([[False], ordered[1:] == ordered[:-1]])
        again = int(same.sum())
        if not again:
            return None
        same[:-1] |= same[1:]
        places = np.sort(places[order[same]])
        limit, lengths = limits[words - _FIRST_REPEATED], _lengths(ends, words)
        # Few repeated runs cannot reach the limit, so that most texts are not walked through.
        if again * int(lengths.max()) / size > limit and (
            _repeated_characters(runs, places, lengths, words) / size > limit
        ):
            return f"repeated runs of {words} words"
    return None


def _repeats(parts: Sequence[str]) -> tuple[int, int]:
    """Count the parts that repeat an earlier one, and their characters."""
    distinct = set(parts)
    if len(distinct) == len(parts):
        return 0, 0
    return len(parts) - len(distinct), sum(map(len, parts)) - sum(map(len, distinct))


def _lengths(ends: np.ndarray, words: int) -> np.ndarray:
    """Return the characters of every run of some words, given where each word ends."""
    last = ends[words - 1 :].copy()
    last[1:] -= ends[: len(last) - 1]
    return last


def _repeated_characters(
    runs: np.ndarray, places: np.ndarray, lengths: np.ndarray, words: int
) -> int:
    """Count the characters of repeated runs that do not overlap, from left to right.

    Args:
      runs: uint64 [n] hashes of the runs.
      places: where the runs stand that occur more than once, in order.
      lengths: [n] characters of each run.
      words: words of a run.
    """
    seen: set[int] = set()
    total = free = 0
    here = runs[places].tolist(), places.tolist(), lengths[places].tolist()
    for run, at, characters in zip(*here, strict=True):
        if at < free:
            continue
        if run in seen:
            total += characters
            free = at + words
        else:
            seen.add(run)
    return total


@dataclasses.dataclass(frozen=True, kw_only=True)
class C4:
    """C4's rules, which also remove lines and the marks of citations.

    Attributes:
      min_sentences: smallest number of sentences in the lines that are left.
      min_line_words: smallest number of words of a line.
      max_word_length: characters of a word beyond which its line is removed.
      bad_words: words that no page may have; C4's list is a download, so none stand here.
    """

    min_sentences: Whole = 5
    min_line_words: Whole = 3
    max_word_length: Count = 1000
    bad_words: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Reject numbers out of range."""
        check_ranges(self, "--quality.c4.")


def c4(parts: Parts, limits: C4) -> Parts | str:
    r"""Apply C4's rules, and return the lines that they keep.

    Example:
      >>> from jaxrec.data.corpora import splitters
      >>> text = "Menu\nA film that is good.[1]\nUse cookies of this site."
      >>> c4(Parts(text, splitters("plain")), C4(min_sentences=1)).text
      'A film that is good.'
    """
    if limits.bad_words and _has_word(parts.text, limits.bad_words):
        return "bad word"
    kept = []
    for line in parts.lines:
        line = line.strip()
        words = line.split()
        longest = limits.max_word_length
        if len(line) > longest and any(len(word) > longest for word in words):
            continue
        if "[" in line:
            line = _CITATION.sub("", line)
        if not line.endswith(_C4_ENDS) or line.endswith("..."):
            continue
        if len(words) < limits.min_line_words:
            continue
        lower = line.lower()
        if "lorem ipsum" in lower:
            return "lorem ipsum"
        if "javascript" in lower:
            continue
        if "{" in line:
            return "curly bracket"
        if any(policy in lower for policy in _POLICIES):
            continue
        kept.append(line)
    # Each line has a sentence, so that most documents are long enough without splitting any.
    if len(kept) < limits.min_sentences:
        sentences = sum(len(parts.split.sentences(line)) for line in kept)
        if sentences < limits.min_sentences:
            return "too few sentences"
    text = "\n".join(kept).strip()
    if not text:
        return "no line is left"
    return parts if text == parts.text else Parts(text, parts.split)


def _has_word(text: str, words: Sequence[str]) -> bool:
    found = re.search(rf"(?:\W|^)(?:{'|'.join(map(re.escape, words))})(?:\W|$)", text.lower())
    return found is not None


@dataclasses.dataclass(frozen=True, kw_only=True)
class FineWeb:
    """Limits of FineWeb's rules.

    Attributes:
      ends: smallest share of lines that end with the end of a sentence.
      short: largest share of lines of at most `short_line` characters.
      short_line: characters of a short line.
      repeated: largest share of characters in lines that repeat an earlier one.
      breaks: largest number of line breaks per word.
    """

    ends: Share = 0.12
    short: Share = 0.67
    short_line: Whole = 30
    repeated: Share = 0.01
    breaks: NotNegative = 0.3

    def __post_init__(self) -> None:
        """Reject numbers out of range."""
        check_ranges(self, "--quality.fineweb.")


def fineweb(parts: Parts, limits: FineWeb) -> Parts | str:
    r"""Apply FineWeb's rules.

    Example:
      >>> from jaxrec.data.corpora import splitters
      >>> fineweb(Parts("a list\nof words\n", splitters("plain")), FineWeb())
      'too few lines end a sentence'
    """
    text = parts.text
    lines = [line for line in text.split("\n") if line and not line.isspace()]
    if not lines:
        return "empty"
    if sum(line[-1] in TERMINAL for line in lines) / len(lines) < limits.ends:
        return "too few lines end a sentence"
    if sum(len(line) <= limits.short_line for line in lines) / len(lines) > limits.short:
        return "too many short lines"
    breaks = text.count("\n")
    if _repeats(lines)[1] / (len(text) - breaks) > limits.repeated:
        return "characters of repeated lines"
    if not parts.words or breaks / len(parts.words) > limits.breaks:
        return "too many line breaks"
    return parts


def count_reasons(reasons: Sequence[str]) -> dict[str, int]:
    """Return how often each reason occurs, the most frequent first.

    Example:
      >>> count_reasons(["a", "b", "b"])
      {'b': 2, 'a': 1}
    """
    return dict(sorted(Counter(reasons).items(), key=lambda pair: (-pair[1], pair[0])))
