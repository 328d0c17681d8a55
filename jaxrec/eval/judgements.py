"""Wins, ties and losses of pairwise comparisons, each judged in both orders.

A judge that likes the first answer because it stands first contradicts itself when the answers
change places. Such a comparison is a tie (Zheng et al., Judging LLM-as-a-Judge with MT-Bench and
Chatbot Arena, arXiv:2306.05685, section 3.4).
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from jaxrec.core import DataError

Verdict = Literal["first", "second", "tie", "unusable"]
_VERDICTS = ("first", "second", "tie", "unusable")


class Wins(NamedTuple):
    """Shares of the comparisons with at least one usable verdict, which add up to 1.

    Attributes:
      win: share that the answer wins against its opponent's.
      tie: share of ties, those with inconsistent verdicts included.
      lose: share that it loses.
      advantage: `win` minus `lose`.
      inconsistent: share whose two verdicts name different winners, or one a tie.
      unusable: number of verdicts that could not be read, of two for each comparison.
      comparisons: number of comparisons with at least one usable verdict.
    """

    win: float
    tie: float
    lose: float
    advantage: float
    inconsistent: float
    unusable: int
    comparisons: int


def both_orders(forward: Verdict, backward: Verdict) -> float:
    """What two verdicts say together: 1 for a win of the answer, 0 for a tie, -1 for a loss.

    Args:
      forward: verdict with the answer in the first place and its opponent's in the second.
      backward: verdict with the two exchanged, so that "second" is a win.

    Returns:
      A win or a loss only if both orders say so; nan if neither verdict is usable. With one usable
      verdict, a tie: a judge may not decide by one order.

    Raises:
      DataError: an unknown verdict.

    Example:
      >>> both_orders("first", "second"), both_orders("first", "first")
      (1.0, 0.0)
    """
    for verdict in (forward, backward):
        if verdict not in _VERDICTS:
            raise DataError(f"a verdict must be one of {', '.join(_VERDICTS)}, got {verdict!r}")
    if forward == backward == "unusable":
        return float("nan")
    if (forward, backward) == ("first", "second"):
        return 1.0
    return -1.0 if (forward, backward) == ("second", "first") else 0.0


def tally(verdicts: Sequence[tuple[Verdict, Verdict]]) -> Wins:
    """Count the comparisons that an answer wins, ties and loses.

    Args:
      verdicts: for each comparison the verdicts of `both_orders`.

    Raises:
      DataError: no comparison with a usable verdict, or an unknown verdict.

    Example:
      >>> found = tally([("first", "second"), ("first", "first"), ("tie", "tie")])
      >>> found.win == found.inconsistent == 1 / 3, found.tie == 2 / 3, found.lose
      (True, True, 0.0)
    """
    outcomes = [both_orders(*pair) for pair in verdicts]
    usable = [pair for pair in verdicts if pair != ("unusable", "unusable")]
    count = len(usable)
    if not count:
        raise DataError(
            f"none of {len(verdicts)} comparisons has a usable verdict; check the judge's replies"
        )
    win, lose = outcomes.count(1.0) / count, outcomes.count(-1.0) / count
    consistent = {("first", "second"), ("second", "first"), ("tie", "tie")}
    read = [pair for pair in usable if "unusable" not in pair]
    return Wins(
        win=win,
        tie=outcomes.count(0.0) / count,
        lose=lose,
        advantage=win - lose,
        inconsistent=sum(pair not in consistent for pair in read) / count,
        unusable=sum(verdict == "unusable" for pair in verdicts for verdict in pair),
        comparisons=count,
    )
