r"""The forms of answers that a recommender is asked for, with the rules that repair them.

A form reads strictly. Its rules know how models miss it: they chat around the answer, write words
for numbers, a list of Python instead of lines, titles that are no candidates, or a title twice. No
rule adds anything that an answer does not say.
"""

import ast
import re
from collections.abc import Callable, Sequence

import numpy as np

from jaxrec.capacity import read_titles
from jaxrec.core import ConfigError
from jaxrec.eval import natural_title, split_year
from jaxrec.texts.grounding import Grounded, Grounding
from jaxrec.texts.repair import AnswerForm, Illegal
from jaxrec.texts.strict_parsers import read_rating

_WORDS = {"one": "1", "two": "2", "three": "3", "four": "4", "five": "5"}
# A number behind a bracket is the beginning of a year, where an answer is cut short.
_STARS = re.compile(r"(?<![\w.,/(-])(\d+(?:\.\d+)?)(?![\w-])(?!\.\d)")
_SCALE = re.compile(r"(?:/|\bout of\b)\s*\d+", re.IGNORECASE)
_ITEM = re.compile(r"^\s*(?:\d+\s*[.)]|[-*•](?=\s))\s*")
_SENTENCE = re.compile(r"(?<=[.!?])\s")
_LIST = re.compile(r"\[.*\]", re.DOTALL)
_QUOTES = "\"'“”‘’"


def rating_form(low: float = 1.0, high: float = 5.0) -> AnswerForm[float]:
    """A rating alone. The rule takes the one number of a scale that a text says, "four" included.

    Example:
      >>> from jaxrec.texts import rating_form
      >>> form = rating_form()
      >>> form.read("4"), form.repair("I would say four out of 5 stars."), form.read("9")
      (4.0, 4.0, Illegal(fault="'9' is no number from 1 to 5"))
    """

    def read(text: str) -> float | Illegal:
        value = read_rating(text, low, high)
        fault = f"{_shown(text)} is no number from {low:g} to {high:g}"
        return Illegal(fault) if value is None else value

    def number(text: str) -> str:
        spoken = re.sub(
            rf"\b({'|'.join(_WORDS)})\b", lambda word: _WORDS[word[0].lower()], text, flags=re.I
        )
        said = dict.fromkeys(_STARS.findall(_SCALE.sub("", spoken)))
        legal = [one for one in said if low <= float(one) <= high]
        # Two different numbers leave open which of them is the rating.
        return legal[0] if len(legal) == 1 else text

    return AnswerForm(read=read, rules=(number,))


def word_form(words: Sequence[str]) -> AnswerForm[int]:
    """One of a few words, read as its number. The rule takes the only one that a text says.

    Raises:
      ConfigError: fewer than two different words.

    Example:
      >>> from jaxrec.texts import word_form
      >>> form = word_form(("yes", "no"))
      >>> form.read(" Yes."), form.repair("No, they would not."), form.repair("yes or no").fault
      (0, 1, "'yes or no' is none of yes, no")
    """
    known = [word.lower() for word in words]
    if len(set(known)) < max(len(known), 2):
        raise ConfigError(f"a form needs two or more different words, got {list(words)}")

    def read(text: str) -> int | Illegal:
        bare = text.strip().strip(_QUOTES).rstrip(".!").lower()
        if bare in known:
            return known.index(bare)
        return Illegal(f"{_shown(text)} is none of {', '.join(words)}")

    def only(text: str) -> str:
        said = {word for word in known if re.search(rf"\b{re.escape(word)}\b", text.lower())}
        return said.pop() if len(said) == 1 else text

    return AnswerForm(read=read, rules=(only,))


def sentence_form(most_words: int) -> AnswerForm[str]:
    """One line of a few words. The rules drop quotes, and what follows the first line or sentence.

    Example:
      >>> from jaxrec.texts import sentence_form
      >>> form = sentence_form(4)
      >>> form.read("A fine film."), form.repair("A fine film. I saw it twice last week.")
      ('A fine film.', 'A fine film.')
    """

    def read(text: str) -> str | Illegal:
        line = text.strip()
        if not line:
            return Illegal("it is empty")
        if "\n" in line:
            return Illegal("it has several lines")
        if len(line.split()) > most_words:
            return Illegal(f"it has more than {most_words} words")
        return line

    def first_line(text: str) -> str:
        return next((line for line in text.splitlines() if line.strip()), "").strip()

    return AnswerForm(
        read=read,
        rules=(
            first_line,
            lambda text: text.strip(_QUOTES + " "),
            lambda text: _SENTENCE.split(text)[0],
        ),
    )


def title_list_form(most: int, longest: int = 120) -> AnswerForm[list[str]]:
    r"""A list of different titles, one a line, of any catalogue or none.

    The rules read a list of Python, drop lines around the list, and drop repeated titles and those
    beyond `most`.

    Args:
      most: most titles of a list.
      longest: most characters of a title; longer lines are sentences.

    Raises:
      ConfigError: `most` below 1.

    Example:
      >>> from jaxrec.texts import title_list_form
      >>> form = title_list_form(2)
      >>> form.read("1. Alien\n2. Heat"), form.repair("Sure! Here it is:\n1. Alien\n2. alien")
      (['Alien', 'Heat'], ['Alien'])
    """
    _check_most(most)

    def read(text: str) -> list[str] | Illegal:
        titles = read_titles(text)
        if not titles:
            return Illegal("it has no titles")
        if len(titles) > most:
            return Illegal(f"it has {len(titles)} titles, and at most {most} are wanted")
        for title in titles:
            if len(title) > longest:
                return Illegal(f"{_shown(title)} is no title")
        again = _repeated([title.casefold() for title in titles])
        return titles if again is None else Illegal(f"{titles[again]!r} is there twice")

    def shorter(text: str) -> str:
        titles = {title.casefold(): title for title in reversed(read_titles(text))}
        kept = [title for title in reversed(titles.values()) if len(title) <= longest]
        return _as_lines(kept[:most])

    return AnswerForm(read=read, rules=(python_list, listed_lines, shorter))


def candidate_list_form(
    grounding: Grounding, candidates: np.ndarray, most: int
) -> AnswerForm[np.ndarray]:
    r"""A list of some candidates, best first, one a line; read as their item numbers `[K]`.

    A title counts as written in the catalogue, up to `eval.plain_title`. The rules read a list of
    Python, drop lines around the list, look for candidates in running text, correct titles to the
    nearest candidate, and drop other titles, repeated ones, and those beyond `most`.

    Args:
      grounding: the catalogue.
      candidates: `[A]` numbers of the items to choose from.
      most: most items of a list.

    Raises:
      ConfigError: `most` below 1.

    Example:
      >>> import numpy as np
      >>> from jaxrec.texts import Grounding, candidate_list_form
      >>> form = candidate_list_form(Grounding(["Alien", "Heat", "Cats"]), np.array([0, 2]), 2)
      >>> form.read("1. Cats\n2. Alien").tolist(), form.read("Heat").fault
      ([2, 0], "'Heat' is no candidate")
      >>> form.repair("I would watch cats, then Alien.").tolist()
      [2, 0]
    """
    _check_most(most)
    mentioned = _mention(grounding, candidates)

    def found(titles: Sequence[str]) -> list[Grounded]:
        return grounding.find(titles, [candidates] * len(titles))

    def read(text: str) -> np.ndarray | Illegal:
        titles = read_titles(text)
        if not titles:
            return Illegal("it has no titles")
        if len(titles) > most:
            return Illegal(f"it has {len(titles)} titles, and at most {most} are wanted")
        by_string = grounding.by_string(titles, [candidates] * len(titles))
        for title, one in zip(titles, by_string, strict=True):
            if one.how == "ambiguous":
                return Illegal(f"{_shown(title)} means several candidates")
            if one.item < 0:
                return Illegal(f"{_shown(title)} is no candidate")
        items = [one.item for one in by_string]
        again = _repeated(items)
        if again is not None:
            return Illegal(f"{titles[again]!r} is there twice")
        return np.array(items, np.int64)

    def corrected(text: str) -> str:
        items = dict.fromkeys(one.item for one in found(read_titles(text)) if one.item >= 0)
        titles = [grounding.titles[item] for item in items]
        # Nothing is lost for the next rule where no line is a candidate.
        return _as_lines(titles[:most]) if titles else text

    def running(text: str) -> str:
        items = mentioned(text)
        return _as_lines([grounding.titles[item] for item in items[:most]]) if items else text

    def sentence(text: str) -> str:
        # A whole sentence may be near some title.
        return text if "\n" in text.strip() or _ITEM.match(text) else running(text)

    return AnswerForm(read=read, rules=(python_list, listed_lines, sentence, corrected, running))


def python_list(text: str) -> str:
    r"""Turn a list in square brackets, as Python or JSON writes it, into lines.

    Example:
      >>> python_list('Sure: ["Alien", "Heat"]')
      '1. Alien\n2. Heat'
    """
    match = _LIST.search(text)
    if match is None:
        return text
    try:
        value = ast.literal_eval(match[0])
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        return text
    return _as_lines([" ".join(one.split()) for one in value])


def listed_lines(text: str) -> str:
    r"""Keep the numbered or bulleted lines where there are some.

    Example:
      >>> listed_lines("Here you are:\n1. Alien\n2. Heat\nEnjoy!")
      '1. Alien\n2. Heat'
    """
    lines = [line for line in text.splitlines() if _ITEM.match(line)]
    return "\n".join(lines) if lines else text


def _mention(grounding: Grounding, candidates: np.ndarray) -> Callable[[str], list[int]]:
    """A function from a text to the candidates that it mentions, in their order there."""

    def mentioned(text: str) -> list[int]:
        written: dict[str, list[int]] = {}
        for item in candidates.tolist():
            dated = split_year(natural_title(grounding.titles[item]))
            written.setdefault(dated.title.casefold(), []).append(item)
        # The longest title first, and no number behind it: "Alien 3" is no mention of "Alien".
        names = sorted((name for name in written if name), key=lambda name: -len(name))
        pattern = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, names))})(?!\w|\s*\d)")
        said = dict.fromkeys(pattern.findall(text.casefold()))
        return [written[name][0] for name in said if len(written[name]) == 1]

    return mentioned


def _repeated(values: Sequence[object]) -> int | None:
    """The place of the first value that was there before."""
    return next((n for n, value in enumerate(values) if value in values[:n]), None)


def _as_lines(titles: Sequence[str]) -> str:
    return "\n".join(f"{place}. {title}" for place, title in enumerate(titles, 1))


def _shown(text: str) -> str:
    line = " ".join(text.split())
    return repr(line if len(line) <= 60 else f"{line[:60]}...")


def _check_most(most: int) -> None:
    if most < 1:
        raise ConfigError(f"a list needs at least 1 title, got {most}")
