"""The grammar of instructions: what is known of a user, what they want, and what is asked.

    preference    P0 nothing            P1 titles of the history     P2 a sentence about genres
    intention     I0 nothing            I1 a vague wish              I2 genres
    task          T0 yes or no          T1 one of two                T2 a title
                  T3 one of the candidates, which are shown

(Zhang et al. 2023, InstructRec, arXiv:2305.07001, section 3.) Every cell is legal that tells
something about its user, and so is the bare question for a title, P0-I0-T2, which says how likely a
title is before anything is known. Without preference and intention the other tasks have no answer
that is better than a guess, so they are not legal.
"""

import dataclasses
import functools
import itertools
from typing import Literal, cast, get_args

Preference = Literal["P0", "P1", "P2"]
Intention = Literal["I0", "I1", "I2"]
Question = Literal["T0", "T1", "T2", "T3"]

PREFERENCES: tuple[Preference, ...] = get_args(Preference)
INTENTIONS: tuple[Intention, ...] = get_args(Intention)
QUESTIONS: tuple[Question, ...] = get_args(Question)


@dataclasses.dataclass(frozen=True, order=True)
class Cell:
    """A kind of instruction.

    Attributes:
      preference: what is known of the user.
      intention: what the user wants now.
      question: what is asked.

    Example:
      >>> Cell("P1", "I0", "T2").name, Cell("P0", "I0", "T3").legal
      ('P1-I0-T2', False)
    """

    preference: Preference
    intention: Intention
    question: Question

    @property
    def name(self) -> str:
        """Such as "P1-I2-T2"."""
        return f"{self.preference}-{self.intention}-{self.question}"

    @property
    def legal(self) -> bool:
        """Whether the cell has a question that can be answered."""
        return (self.preference, self.intention) != ("P0", "I0") or self.question == "T2"

    @property
    def holes(self) -> frozenset[str]:
        """The fields that a wording of the cell shows."""
        shown = {
            "P1": "items",
            "P2": "likes",
            "I1": "wish",
            "I2": "wish",
            "T0": "asked",
            "T1": "candidates",
            "T3": "candidates",
        }
        parts: tuple[str, ...] = (self.preference, self.intention, self.question)
        return frozenset(shown[part] for part in parts if part in shown)


CELLS = tuple(
    cell
    for cell in itertools.starmap(Cell, itertools.product(PREFERENCES, INTENTIONS, QUESTIONS))
    if cell.legal
)
PRIOR = Cell("P0", "I0", "T2")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wording:
    """A coarse template: one sentence for a preference and a question, with a wish or without.

    Attributes:
      preference: what it says of the user.
      question: what it asks.
      text: the sentence; {wish} stands for a vague intention and for a specific one.
      seen: whether training uses it.

    Example:
      >>> wording = Wording("P0", "T2", "find a film for someone who wants {wish}")
      >>> [cell.name for cell in wording.cells]
      ['P0-I1-T2', 'P0-I2-T2']
    """

    preference: Preference = dataclasses.field(kw_only=False)
    question: Question = dataclasses.field(kw_only=False)
    text: str = dataclasses.field(kw_only=False)
    seen: bool = True

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The cells that it can be used for."""
        intentions = ("I1", "I2") if "{wish}" in self.text else ("I0",)
        return tuple(
            Cell(self.preference, cast(Intention, intention), self.question)
            for intention in intentions
        )


# Each group ends with what training does not see. That only uses words that the others use, because
# a model that is not pretrained knows no others.
PREFERENCE_WORDINGS = (
    Wording("P1", "T2", "someone watched {items} what comes next ?"),
    Wording("P1", "T2", "after {items} recommend a film"),
    Wording("P1", "T2", "history : {items} next film :"),
    Wording("P1", "T2", "someone watched {items} recommend the next film", seen=False),
    Wording("P1", "T3", "someone watched {items} choose the next film from {candidates}"),
    Wording("P1", "T3", "history : {items} candidates : {candidates} best :"),
    Wording("P1", "T3", "rank {candidates} for someone who watched {items}"),
    Wording("P1", "T0", "someone watched {items} is {asked} next ?"),
    Wording("P1", "T0", "history : {items} would {asked} be a good choice ?"),
    Wording("P1", "T1", "someone watched {items} which of these two comes next : {candidates} ?"),
    Wording("P1", "T1", "history : {items} better of the two {candidates} :"),
    Wording("P2", "T2", "someone {likes} recommend a film"),
    Wording("P2", "T2", "which film suits someone who {likes} ?"),
    Wording("P2", "T3", "someone {likes} choose a film from {candidates}"),
    Wording("P2", "T3", "rank {candidates} for someone who {likes}"),
    Wording("P2", "T0", "someone {likes} would {asked} be a good choice ?"),
    Wording("P2", "T1", "someone {likes} which of these two suits better : {candidates} ?"),
)
INTENTION_WORDINGS = (
    Wording("P0", "T2", "someone wants {wish} recommend a film"),
    Wording("P0", "T2", "which film suits someone who wants {wish} ?"),
    Wording("P0", "T2", "looking for {wish} next film :"),
    Wording("P0", "T3", "someone wants {wish} choose a film from {candidates}"),
    Wording("P0", "T3", "rank {candidates} for someone who wants {wish}"),
    Wording("P0", "T0", "someone wants {wish} would {asked} be a good choice ?"),
    Wording("P0", "T0", "looking for {wish} is {asked} next ?"),
    Wording("P0", "T1", "someone wants {wish} which of these two suits better : {candidates} ?"),
    Wording("P0", "T1", "looking for {wish} better of the two {candidates} :"),
)
COMBINED_WORDINGS = (
    Wording("P1", "T2", "someone watched {items} and wants {wish} what comes next ?"),
    Wording("P1", "T2", "after {items} recommend a film for someone who wants {wish}"),
    Wording("P1", "T2", "history : {items} looking for {wish} next film :", seen=False),
    Wording("P1", "T3", "someone watched {items} and wants {wish} choose a film from {candidates}"),
    Wording("P1", "T3", "history : {items} looking for {wish} candidates : {candidates} best :"),
    Wording("P1", "T0", "someone watched {items} and wants {wish} is {asked} next ?"),
    Wording("P1", "T0", "history : {items} looking for {wish} would {asked} be a good choice ?"),
    Wording("P1", "T1", "history : {items} looking for {wish} better of the two {candidates} :"),
    Wording("P2", "T2", "someone {likes} and wants {wish} recommend a film"),
    Wording("P2", "T2", "which film suits someone who {likes} and wants {wish} ?"),
    Wording("P2", "T3", "someone {likes} and wants {wish} choose a film from {candidates}"),
    Wording("P2", "T0", "someone {likes} and wants {wish} would {asked} be a good choice ?"),
    Wording("P2", "T1", "someone {likes} and wants {wish} better of the two {candidates} :"),
)
# What PMI divides by; it tells of nobody, so it is not one of the coarse templates.
PRIOR_WORDING = Wording("P0", "T2", "recommend a film")
COARSE = (*PREFERENCE_WORDINGS, *INTENTION_WORDINGS, *COMBINED_WORDINGS)


@functools.cache
def wordings_of(cell: Cell) -> tuple[Wording, ...]:
    """The wordings of a cell, those that training sees first.

    Example:
      >>> [wording.text for wording in wordings_of(Cell("P0", "I0", "T2"))]
      ['recommend a film']
    """
    found = [wording for wording in (*COARSE, PRIOR_WORDING) if cell in wording.cells]
    return tuple(sorted(found, key=lambda wording: not wording.seen))
