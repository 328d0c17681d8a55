"""Arithmetic steps of a reasoning, found in its text and computed again.

A step is an equation with at least one operation, such as "48 / 2 = 24" or "(2 + 3) x $4 = $20". In
"2 + 3 * 4 = 2 + 12 = 14" each of the two signs "=" is a step. GSM8K's marks (Cobbe et al. 2021,
arXiv:2110.14168), "48/2 = <<48/2=24>>24", are steps too; text and mark of one equation count once.
All values are exact fractions, and nothing is ever evaluated as code.

How people write is understood in three cases. A result with decimals is right if it is the exact
one rounded: "10 / 3 = 3.33". In "5 + 3 = 8 * 2 = 16" a new equation begins at the 8. A percent sign
divides by 100, except in a result whose left side has none: "80 - 20 = 60%".

A number with a word behind it ends an expression, so "2 apples + 3 pears = 5" is not seen.
"""

import dataclasses
import itertools
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction

_MARK = re.compile(r"<<([^<>]*)>>")
_TOKEN = re.compile(
    r"(?P<number>[$€£]?(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)%?)"
    r"|(?P<sign>[-+*/×·÷−()=]|x(?=\s*[$€£]?[\d.(]))|(?P<space>[^\S\n]+)|(?P<other>[^\W\d_]+|.|\n)",
    re.IGNORECASE,
)
_BULLET = re.compile(r"(?m)^\s*[-*•–]\s+")
# A sign whose left neighbour is not part of the expression, such as that of "3 a - 5 = 10".
_LOOSE = "~"
_SIGNS = str.maketrans({"x": "*", "X": "*", "×": "*", "·": "*", "÷": "/", "−": "-"})
# Deeper brackets are not what anybody writes, and each level costs a call.
_DEPTH = 20
# Longer numbers are repetitions and no arithmetic. Python refuses to read 4,300 digits.
_DIGITS = 1000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """An equation of a text.

    Attributes:
      text: its two sides, without spaces and units.
      left: exact value of the left side; None if it divides by zero.
      right: exact value of the right side; None if it divides by zero.
      correct: whether both sides are equal, or the right one is the left one rounded.
    """

    text: str
    left: Fraction | None
    right: Fraction | None
    correct: bool


def arithmetic_steps(text: str) -> list[Step]:
    """Find the equations of a text and compute both sides of each.

    Args:
      text: a reasoning.

    Returns:
      The steps: first those that GSM8K's marks hold, then the others in the order of the text. An
      equation with a number of more than 1,000 digits is no step.

    Example:
      >>> [(step.text, step.correct) for step in arithmetic_steps("So 3 x 4 = 12, 12 + 5 = 18.")]
      [('3*4=12', True), ('12+5=18', False)]
      >>> arithmetic_steps("48/2 = <<48/2=24>>24 clips")[0].left
      Fraction(24, 1)
    """
    marked = [step for mark in _MARK.findall(text) for step in _steps_of(mark)]
    known = {step.text for step in marked}
    plain = _steps_of(_MARK.sub("", text))
    return marked + [step for step in plain if step.text not in known]


def verifies(text: str) -> bool | None:
    """Whether all arithmetic steps of a text are correct; None for a text without steps.

    Example:
      >>> verifies("2 + 2 = 4. 4 * 3 = 12."), verifies("2 + 2 = 5."), verifies("It is 4.")
      (True, False, None)
    """
    steps = arithmetic_steps(text)
    return all(step.correct for step in steps) if steps else None


@dataclasses.dataclass(frozen=True)
class _Side:
    """A side of an equation: its tokens and what they are worth."""

    tokens: tuple[str, ...]
    value: Fraction | None

    @property
    def computes(self) -> bool:
        return len(self.tokens) > 2 or (len(self.tokens) == 2 and self.tokens[0] not in "+-")

    @property
    def percent(self) -> bool:
        return any(token.endswith("%") for token in self.tokens)


def _steps_of(text: str) -> list[Step]:
    steps = []
    for run in _runs(_BULLET.sub("", text)):
        sides = _split(run)
        for place, (before, after) in enumerate(itertools.pairwise(sides)):
            left, right = _left(before), _right(after)
            if left is None or right is None or not (left.computes or right.computes):
                continue
            correct = _equal(left, right)
            if not correct and place + 2 < len(sides) and left.computes and right.computes:
                first = _side(right.tokens[:1])
                if first is not None and _equal(left, first):
                    right, correct = first, True
            shown = f"{''.join(left.tokens)}={''.join(right.tokens)}"
            steps.append(Step(text=shown, left=left.value, right=right.value, correct=correct))
    return steps


def _runs(text: str) -> Iterator[list[str]]:
    """Stretches of numbers and signs that hold an equality sign."""
    run: list[str] = []
    for found in _TOKEN.finditer(f"{text}\n"):
        before, after = text[: found.start()][-1:], text[found.end() :][:1]
        if found.lastgroup == "space":
            continue
        if found.lastgroup == "other":
            if "=" in run:
                # A letter directly behind is a variable: in "75 = 3x" nothing can be computed.
                yield [*run, _LOOSE] if before.isalnum() and found.group().isalpha() else run
            run = []
        elif found.lastgroup == "number":
            run.append(found.group().lstrip("$€£").replace(",", ""))
        else:
            sign = found.group().translate(_SIGNS)
            if sign == "(" and (before.isdigit() or before == ")"):
                run.append("*")
            if sign == "-" and not run and (before.isalnum() or after.isspace()):
                sign = _LOOSE
            run.append(sign)


def _split(run: Sequence[str]) -> list[tuple[str, ...]]:
    sides: list[list[str]] = [[]]
    for token in run:
        if token == "=":
            sides.append([])
        else:
            sides[-1].append(token)
    return [tuple(side) for side in sides]


def _left(tokens: Sequence[str]) -> _Side | None:
    """The side before "=": an expression that nothing but an open bracket precedes."""
    bare = tuple(tokens)
    while bare:
        side = _side(bare)
        if side is not None or bare[0] != "(":
            return side
        bare = bare[1:]
    return None


def _right(tokens: Sequence[str]) -> _Side | None:
    """The side after "=": the longest expression that a bracket, a dash or nothing follows."""
    for size in range(len(tokens), 0, -1):
        side, rest = _side(tokens[:size]), tuple(tokens[size:])
        if side is not None:
            number = not side.computes and rest == (_LOOSE,)
            return side if not rest or number or rest == ("-",) or rest[0] in "()" else None
    return None


def _side(tokens: Sequence[str]) -> _Side | None:
    try:
        return _Side(tuple(tokens), _Parser(tokens).whole())
    except ZeroDivisionError:
        return _Side(tuple(tokens), None)
    except _NotAnExpressionError:
        return None


def _equal(left: _Side, right: _Side) -> bool:
    if left.value is None or right.value is None:
        return False
    scales = [1, 100] if right.percent and not left.percent else [1]
    if any(left.value == right.value * scale for scale in scales):
        return True
    # The last decimal of a rounded number is off by at most one half.
    written = right.tokens[-1].rstrip("%")
    decimals = len(written.partition(".")[2])
    if right.computes or not decimals:
        return False
    last = Fraction(1, 10**decimals) / (100 if right.percent else 1)
    return any(abs(left.value - right.value * scale) <= last * scale / 2 for scale in scales)


class _NotAnExpressionError(Exception):
    """The tokens are no whole expression."""


class _Parser:
    """Recursive descent over `sum := product (+- product)*`, `product := factor (*/ factor)*`."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self.tokens = tokens
        self.place = 0
        self.depth = 0

    def whole(self) -> Fraction:
        value = self.sum()
        if self.place < len(self.tokens):
            raise _NotAnExpressionError
        return value

    def sum(self) -> Fraction:
        value = self.product()
        while self.next() in ("+", "-"):
            value += self.product() if self.take() == "+" else -self.product()
        return value

    def product(self) -> Fraction:
        value = self.factor()
        while self.next() in ("*", "/"):
            if self.take() == "*":
                value *= self.factor()
            else:
                value /= self.factor()
        return value

    def factor(self) -> Fraction:
        token = self.take()
        if token == "(" and self.depth < _DEPTH:
            self.depth += 1
            value = self.sum()
            self.depth -= 1
            if self.take() != ")":
                raise _NotAnExpressionError
            return value
        if token == "-" and self.next() not in ("+", "-", ""):
            return -self.factor()
        if len(token) > _DIGITS or not (token[-1:].isdigit() or token.endswith("%")):
            raise _NotAnExpressionError
        return Fraction(token.rstrip("%")) / (100 if token.endswith("%") else 1)

    def next(self) -> str:
        return self.tokens[self.place] if self.place < len(self.tokens) else ""

    def take(self) -> str:
        token = self.next()
        self.place += 1
        return token
