"""The game of 24: combine four numbers by + - * / into 24, each used once.

The task of Tree of Thoughts (Yao et al. 2023, arXiv:2305.10601, section 4.1). All arithmetic is in
fractions, because 8 / (3 - 8 / 3) is 24 and no floating-point number on the way is exact. Answers
are parsed as syntax trees and never executed.
"""

import ast
import csv
import dataclasses
import functools
import io
import itertools
import os
import re
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from jaxrec.core import ConfigError, DataError, check_file
from jaxrec.data import files
from jaxrec.prompting.tree_breadth import Expansion, Values

TARGET = 24
# What the words of a judgment are worth in the code that the paper's authors published.
GAME24_VALUES = {"impossible": 0.001, "likely": 1.0, "sure": 20.0}
# An answer of four numbers is short; longer texts are not parsed.
_LONGEST = 200
_SIGNS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Game24State:
    """A puzzle and the steps that were taken.

    Attributes:
      numbers: the puzzle.
      left: numbers that are left, one fewer after each step.
      terms: the expression that each of them came from.
      lines: the steps, such as "4 + 8 = 12 (left: 5 6 12)".
      answer: the final expression; "" before it is given.
    """

    numbers: tuple[int, ...]
    left: tuple[Fraction, ...]
    terms: tuple[str, ...]
    lines: tuple[str, ...] = ()
    answer: str = ""

    @property
    def solved(self) -> bool:
        """Whether the answer uses the four numbers and is 24."""
        return not check_game24(self.numbers, self.answer)


def game24_start(numbers: Sequence[int]) -> Game24State:
    """Return the puzzle before the first step.

    Args:
      numbers: four whole numbers from 1 on.

    Raises:
      ConfigError: not four numbers, or one that is no whole number from 1 on.

    Example:
      >>> game24_start([4, 5, 6, 10]).terms
      ('4', '5', '6', '10')
    """
    if len(numbers) != 4 or any(type(one) is not int or one < 1 for one in numbers):
        raise ConfigError(f"numbers must be four whole numbers from 1 on, got {list(numbers)}")
    return Game24State(
        numbers=tuple(numbers),
        left=tuple(map(Fraction, numbers)),
        terms=tuple(map(str, numbers)),
    )


def game24_moves(state: Game24State) -> tuple[Game24State, ...]:
    """Return every state after one more step.

    Args:
      state: with two or more numbers left, each pair and each operation is a step, unless it
        divides by zero; with one number left, the step is the answer.

    Returns:
      States whose steps differ, in a fixed order; () after the answer.

    Example:
      >>> [after.lines[-1] for after in game24_moves(game24_start([6, 4, 1, 1]))][:2]
      ['6 + 4 = 10 (left: 1 1 10)', '6 * 4 = 24 (left: 1 1 24)']
    """
    if state.answer:
        return ()
    if len(state.left) == 1:
        line = f"Answer: {state.terms[0]} = {state.left[0]}"
        return (dataclasses.replace(state, lines=(*state.lines, line), answer=state.terms[0]),)
    found: dict[str, Game24State] = {}
    for one, other in itertools.combinations(range(len(state.left)), 2):
        for first, second, sign in (
            *((one, other, sign) for sign in "+*-/"),
            *((other, one, sign) for sign in "-/"),
        ):
            after = game24_step(state, first, second, sign)
            if after is not None:
                found.setdefault(after.lines[-1], after)
    return tuple(found.values())


def game24_step(state: Game24State, first: int, second: int, sign: str) -> Game24State | None:
    """Return the state after an operation on two of the numbers that are left.

    Args:
      state: before the step.
      first: place of the left operand.
      second: place of the right operand.
      sign: "+", "-", "*" or "/".

    Returns:
      The state, whose result is the last number that is left; None for a division by zero.

    Example:
      >>> game24_step(game24_start([8, 3, 1, 2]), 0, 1, "/").left[-1]
      Fraction(8, 3)
    """
    a, b = state.left[first], state.left[second]
    result = _operate(a, b, sign)
    if result is None:
        return None
    others = [place for place in range(len(state.left)) if place not in (first, second)]
    left = (*(state.left[place] for place in others), result)
    line = f"{a} {sign} {b} = {result} (left: {' '.join(map(str, left))})"
    term = f"({state.terms[first]} {sign} {state.terms[second]})"
    return dataclasses.replace(
        state,
        left=left,
        terms=(*(state.terms[place] for place in others), term),
        lines=(*state.lines, line),
    )


def can_reach_24(left: Sequence[Fraction | int]) -> bool:
    """Return whether some operations make 24 of all the numbers, by trying all of them.

    Example:
      >>> can_reach_24([3, 3, 8, 8]), can_reach_24([1, 1, 1, 1])
      (True, False)
    """
    return _reachable(tuple(sorted(map(Fraction, left))))


@functools.lru_cache(maxsize=100_000)
def _reachable(left: tuple[Fraction, ...]) -> bool:
    if len(left) == 1:
        return left[0] == TARGET
    for one, other in itertools.permutations(range(len(left)), 2):
        rest = [left[place] for place in range(len(left)) if place not in (one, other)]
        for sign in "+*-/":
            result = _operate(left[one], left[other], sign)
            if result is not None and _reachable(tuple(sorted([*rest, result]))):
                return True
    return False


def game24_exact_moves(states: Sequence[Game24State]) -> Expansion[Game24State]:
    """Expand states by all legal steps, for `breadth_first` and `depth_first`.

    Example:
      >>> len(game24_exact_moves([game24_start([4, 5, 6, 10])]).children[0])
      36
    """
    return Expansion(tuple(game24_moves(state) for state in states))


def game24_exact_values(states: Sequence[Game24State]) -> Values:
    """Value states by whether 24 can be reached: 20 ("sure") if it can, and 0 if it cannot.

    Example:
      >>> game24_exact_values([game24_start([4, 5, 6, 10]), game24_start([1, 1, 1, 1])]).values
      (20.0, 0.0)
    """
    sure = GAME24_VALUES["sure"]
    return Values(
        tuple(
            sure * (state.solved if state.answer else can_reach_24(state.left)) for state in states
        )
    )


def check_game24(numbers: Sequence[int], answer: str) -> str:
    """Say what is wrong with an answer.

    Args:
      numbers: the puzzle.
      answer: an expression such as "(10 - 4) * (9 - 5)", with or without "Answer:" before it and
        "= 24" after it. Of several lines the last one that is not empty counts.

    Returns:
      "" if the expression uses each number once and no other, and is 24; otherwise the reason.

    Example:
      >>> check_game24([3, 3, 8, 8], "Answer: 8 / (3 - 8 / 3) = 24")
      ''
      >>> check_game24([3, 3, 8, 8], "8 * 3")
      'it uses 3 8 instead of 3 3 8 8'
    """
    lines = [line.strip() for line in answer.splitlines() if line.strip()]
    if not lines:
        return "it is empty"
    text = re.sub(r"^answer\s*:", "", lines[-1], flags=re.IGNORECASE)
    text = text.replace("×", "*").replace("÷", "/").strip(" .")
    expression, _, right = text.partition("=")
    if "=" in text and right.strip() != str(TARGET):
        return f"it ends with = {right.strip()[:20]} instead of = {TARGET}"
    if len(expression) > _LONGEST:
        return f"it is longer than {_LONGEST} characters"
    # Words, hexadecimal numbers and powers are Python, but not arithmetic of this game.
    if re.fullmatch(r"[\d+\-*/() ]+", expression) is None or "**" in expression:
        return f"it is no expression of whole numbers with + - * /: {expression.strip()[:40]!r}"
    try:
        tree = ast.parse(expression.strip(), mode="eval")
        used: list[int] = []
        value = _value(tree.body, used)
    except (SyntaxError, RecursionError, MemoryError):
        return f"it is no expression of whole numbers with + - * /: {expression.strip()[:40]!r}"
    except ZeroDivisionError:
        return "it divides by zero"
    if sorted(used) != sorted(numbers):
        shown = [" ".join(map(str, sorted(group))) for group in (used, numbers)]
        return f"it uses {shown[0]} instead of {shown[1]}"
    return "" if value == TARGET else f"it is {value} instead of {TARGET}"


def read_game24(path: str | os.PathLike[str]) -> list[tuple[int, ...]]:
    """Read puzzles from a table with the columns Rank and Puzzles, in its order.

    The published test set is rows 900 to 999, counted from 0 without the header, whose ranks are
    901 to 1,000: `read_game24(path)[900:1000]`.

    Args:
      path: a CSV file; a puzzle is four numbers with spaces between them.

    Returns:
      The puzzles.

    Raises:
      DataError: the file is missing or has no column Puzzles, or a puzzle is not four whole
        numbers; the message names the line.

    Example:
      >>> import tempfile
      >>> path = Path(tempfile.mkdtemp()) / "24.csv"
      >>> _ = path.write_text("Rank,Puzzles" + chr(10) + "1,1 1 4 6" + chr(10))
      >>> read_game24(path)
      [(1, 1, 4, 6)]
    """
    path = Path(path)
    check_file(path)
    text = files.decode(files.read_bytes(path), path)
    puzzles = []
    try:
        rows = csv.DictReader(io.StringIO(text, newline=""))
        columns = list(rows.fieldnames or [])
        if "Puzzles" not in columns:
            raise DataError(f"{path}: no column 'Puzzles'; columns: {files.listed(columns)}")
        for row in rows:
            words = (row["Puzzles"] or "").split()
            if len(words) != 4 or not all(re.fullmatch(r"[1-9]\d{0,8}", word) for word in words):
                raise DataError(
                    f"{path} line {rows.line_num}: the puzzle {files.shown(row['Puzzles'])} is not "
                    "four whole numbers from 1 on"
                )
            puzzles.append(tuple(map(int, words)))
    except csv.Error as error:
        raise DataError(f"{path} is no table with commas ({error}); restore it") from error
    return puzzles


def _operate(a: Fraction, b: Fraction, sign: str) -> Fraction | None:
    if sign == "/":
        return a / b if b else None
    return {"+": a + b, "-": a - b, "*": a * b}[sign]


def _value(node: ast.expr, used: list[int]) -> Fraction:
    """The value of a syntax tree of whole numbers and four operations; its numbers go to `used`."""
    if isinstance(node, ast.Constant) and type(node.value) is int:
        used.append(node.value)
        return Fraction(node.value)
    if isinstance(node, ast.BinOp) and type(node.op) in _SIGNS:
        left, right = _value(node.left, used), _value(node.right, used)
        result = _operate(left, right, _SIGNS[type(node.op)])
        if result is None:
            raise ZeroDivisionError
        return result
    raise SyntaxError("neither a whole number nor one of + - * /")
