r"""Answers read out of what a model writes: numbers, choices, yes or no, and letters.

The rules are those of zero-shot chain of thought (Kojima et al. 2022, arXiv:2205.11916, and the
code published with it). A text after an extraction trigger holds its answer first. A text that
imitates exemplars holds it after "The answer is"; where these words are missing, the last candidate
counts. `gsm8k_strict` and `gsm8k_flexible` are the two rules of lm-evaluation-harness for GSM8K.

Four details differ from the published code. A Unicode minus is a minus. Numbers are written in one
form, so that "18.00" and "18" are one answer. A choice is a capital letter that stands alone, and
yes or no is a whole word; the published code takes the B of "Because", and does not see the yes of
"yes!". Letters need the words "The answer is" in a text that imitates exemplars; the published code
takes the whole text instead.

Two habits of the published code are kept so that figures are comparable: a minus directly before a
digit is always a sign, so that "-5-3" holds -5 and -3, and "3/4" holds 3 and 4.
"""

import re
from collections.abc import Callable, Mapping
from typing import Literal, get_args

from jaxrec.core import ConfigError, nearest

AnswerKind = Literal["number", "choice", "yes_no", "letters"]
AnswerRule = Literal["first", "few_shot"]
ANSWER_KINDS: tuple[AnswerKind, ...] = get_args(AnswerKind)
ANSWER_RULES: tuple[AnswerRule, ...] = get_args(AnswerRule)
ANSWER_TRIGGER = "The answer is"

# Minus, figure dash, non-breaking hyphen and full-width minus, all of which models write.
_MINUSES = str.maketrans(dict.fromkeys("\u2212\u2012\u2011\uff0d", "-"))
_NUMBER = re.compile(r"-?\d+\.?\d*", re.ASCII)
_CHOICE = re.compile(r"(?<![A-Za-z0-9])[A-E](?![A-Za-z0-9'’])")
# A word with its inner hyphens and apostrophes, so that "no-one" is not a no.
_WORD = re.compile(r"[^\W_]+(?:[-'’][^\W_]+)*")
_LETTERS = re.compile(r"[\"'“”‘’.\s]")
# lm-evaluation-harness, task gsm8k, version 3: filters, and what exact match ignores.
_STRICT = re.compile(r"#### (\-?[0-9\.\,]+)")
_FLEXIBLE = re.compile(r"(-?[$0-9.,]{2,})|(-?[0-9]+)")
_IGNORED = re.compile(r"[,$]")


def extract(text: str, kind: AnswerKind, rule: AnswerRule = "first") -> str | None:
    """Read the answer out of a text.

    Args:
      text: what the model wrote.
      kind: "number" for a decimal number, "choice" for one of A to E, "yes_no" for "yes" or "no",
        and "letters" for the text without quotes, dots and white space.
      rule: "first" takes the first candidate. "few_shot" takes the first candidate after the last
        "The answer is", or the last candidate of a text without these words.

    Returns:
      The answer, or None if the text holds none.

    Raises:
      ConfigError: an unknown kind or rule, or no text.

    Example:
      >>> extract("She pays $1,234.50.", "number"), extract("It is (C).", "choice")
      ('1234.5', 'C')
      >>> extract("3 + 4 = 7. The answer is 7.", "number", "few_shot")
      '7'
      >>> extract("I do not know.", "yes_no") is None
      True
    """
    check_kind(kind)
    _check_text(text)
    if rule not in ANSWER_RULES:
        raise ConfigError(
            f"no rule {rule!r}{nearest(rule, ANSWER_RULES)}; rules: {', '.join(ANSWER_RULES)}"
        )
    parts = text.split(ANSWER_TRIGGER) if rule == "few_shot" else [text]
    unmarked = rule == "few_shot" and len(parts) == 1
    candidates = _CANDIDATES[kind](parts[-1])
    if not candidates or (unmarked and kind == "letters"):
        return None
    return candidates[-1 if unmarked else 0]


def check_kind(kind: str) -> None:
    """Reject an unknown kind of answer.

    Raises:
      ConfigError: there is no such kind; the message has the nearest one.

    Example:
      >>> check_kind("numbers")
      Traceback (most recent call last):
      jaxrec.core.errors.ConfigError: no kind of answer 'numbers', did you mean 'number'?; ...
    """
    if kind not in ANSWER_KINDS:
        raise ConfigError(
            f"no kind of answer {kind!r}{nearest(kind, ANSWER_KINDS)}; kinds: "
            f"{', '.join(ANSWER_KINDS)}"
        )


def canonical(answer: str, kind: AnswerKind) -> str:
    """Write a ground truth as `extract` writes answers.

    Raises:
      ConfigError: the text is no answer of this kind, or holds several.

    Example:
      >>> canonical("1,000.0", "number"), canonical("Yes", "yes_no")
      ('1000', 'yes')
    """
    check_kind(kind)
    _check_text(answer)
    candidates = _CANDIDATES[kind](answer)
    if len(candidates) != 1:
        raise ConfigError(
            f"the right answer {answer!r} must hold exactly one answer of the kind {kind!r}, and "
            f"it holds {len(candidates)}; give the bare answer"
        )
    return candidates[0]


def gsm8k_strict(text: str) -> str | None:
    r"""Read the first number after "#### ", as GSM8K's solutions mark it.

    Source: lm-evaluation-harness, task gsm8k, filter "strict-match".

    Returns:
      The number without commas, dollar signs and a final dot, which its exact match ignores; None
      if there is none.

    Raises:
      ConfigError: no text.

    Example:
      >>> gsm8k_strict("48 / 2 = 24\n#### 1,024."), gsm8k_strict("The answer is 24.")
      ('1024', None)
    """
    _check_text(text)
    found = _STRICT.search(text)
    return _ignore(found.group(1)) if found else None


def gsm8k_flexible(text: str) -> str | None:
    """Read the last number of a text, with a dollar sign or without.

    Source: lm-evaluation-harness, task gsm8k, filter "flexible-extract". Two characters of "$.,"
    without a digit also match its pattern, and so does the harness: an ellipsis at the end of a
    text hides the number before it.

    Returns:
      The number without commas, dollar signs and a final dot; None if there is none.

    Raises:
      ConfigError: no text.

    Example:
      >>> gsm8k_flexible("So she pays $1,024."), gsm8k_flexible("no idea")
      ('1024', None)
    """
    _check_text(text)
    found = list(_FLEXIBLE.finditer(text))
    return _ignore(found[-1].group()) if found else None


def _check_text(text: object) -> None:
    if not isinstance(text, str):
        raise ConfigError(
            f"an answer is read out of a text, got {text!r:.60}; give the text that the model "
            "wrote, such as reply.text"
        )


def _ignore(text: str) -> str:
    return _IGNORED.sub("", text).removesuffix(".")


def _numbers(text: str) -> list[str]:
    return [_shortest(n) for n in _NUMBER.findall(text.translate(_MINUSES).replace(",", ""))]


def _shortest(number: str) -> str:
    """One form for each value: no leading zeros, no zeros at the end of decimals, no -0."""
    whole, _, decimals = number.partition(".")
    sign, digits = ("-", whole[1:]) if whole.startswith("-") else ("", whole)
    digits, decimals = digits.lstrip("0") or "0", decimals.rstrip("0")
    value = f"{digits}.{decimals}" if decimals else digits
    return value if value == "0" else sign + value


def _choices(text: str) -> list[str]:
    return _CHOICE.findall(text)


def _yes_no(text: str) -> list[str]:
    return [word for word in _WORD.findall(text.lower()) if word in ("yes", "no")]


def _letters(text: str) -> list[str]:
    bare = _LETTERS.sub("", text)
    return [bare] if bare else []


_CANDIDATES: Mapping[AnswerKind, Callable[[str], list[str]]] = {
    "number": _numbers,
    "choice": _choices,
    "yes_no": _yes_no,
    "letters": _letters,
}
