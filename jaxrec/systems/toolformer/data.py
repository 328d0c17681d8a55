"""Made-up sentences whose last number is a sum or difference of two others, and calls in them.

A small model can learn the sentences and not the arithmetic: it would have to add numbers of three
digits in its head. So the number after a call of the calculator is hard to guess without the call,
and every other call, such as one of the calendar, says nothing about the text.
"""

import dataclasses
import datetime
import functools
import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from jaxrec.prompting import CALCULATOR, Tool, ToolCall, calendar_tool, use_tool
from jaxrec.systems.toolformer.config import ToolformerDataConfig

# {a} and {b} are numbers of three digits, and {c} is what the sign makes of them.
TEMPLATES = (
    ("+", "The sum of {a} and {b} is {c}."),
    ("+", "A school with {a} girls and {b} boys has {c} pupils."),
    ("+", "She paid {a} for the car and {b} for repairs, in all {c}."),
    ("+", "From {a} visitors in May and {b} in June we get {c} guests."),
    ("-", "The difference between {a} and {b} is {c}."),
    ("-", "Of the {a} seats {b} were taken, so {c} are free."),
    ("-", "He had {a} coins, lost {b} and kept {c}."),
    ("-", "A tank of {a} litres that lost {b} still holds {c} litres."),
)
AFTER = (" That makes {c}.", " Yes, {c}.", "")
# Numbers of three digits are tokens of their own, with the space before them, as in the tokenizers
# of large models.
NUMBERS = tuple(f" {number}" for number in range(100, 1000))
_SIGNS = ("+", "-")
# Chances that a demonstrated call stands before each number, and that it is the calculator's.
_PLACES = (0.2, 0.2, 0.6)
_CALCULATED = 0.7
TODAY = datetime.date(2023, 1, 30)
TOOLS: tuple[Tool, ...] = (CALCULATOR, calendar_tool(TODAY))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sum:
    """A text.

    Attributes:
      text: the whole text.
      question: the text up to the number that is computed, without the space before it.
      answer: that number.
      numbers: the numbers in front of it, in their order.
      call: the call whose result is the answer.
    """

    text: str
    question: str
    answer: str
    numbers: tuple[str, ...]
    call: ToolCall


def make_sums(count: int, seed: Sequence[int]) -> list[Sum]:
    """Make texts.

    Example:
      >>> make_sums(1, [0])[0].question
      'He had 658 coins, lost 304 and kept'
    """
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        sign, template = TEMPLATES[rng.integers(len(TEMPLATES))]
        # All three numbers have three digits.
        one, other = rng.integers(100, 500, size=2).tolist()
        result = one + other
        if sign == "-":
            one, result = result, one
        answer = str(result)
        before, after = template.split(" {c}")
        question = before.format(a=one, b=other)
        rest = after + AFTER[rng.integers(len(AFTER))].format(c=answer)
        made.append(
            Sum(
                text=f"{question} {answer}{rest}",
                question=question,
                answer=answer,
                numbers=(str(one), str(other)),
                call=ToolCall(CALCULATOR.name, f" {one} {sign} {other}"),
            )
        )
    return made


def make_lists(count: int, seed: Sequence[int]) -> list[str]:
    """Make texts that say two to four numbers twice.

    Example:
      >>> make_lists(1, [1])
      ['The codes 560, 779, 955 are 560, 779, 955.']
    """
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        numbers = ", ".join(map(str, rng.integers(100, 1000, size=rng.integers(2, 5))))
        made.append(f"The codes {numbers} are {numbers}.")
    return made


def tool_prompt(tool: str) -> str:
    r"""What texts with calls of a tool begin with, as few-shot prompts would.

    Example:
      >>> tool_prompt("Calendar")
      'Calendar:\n'
    """
    return f"{tool}:\n"


def demonstrate(texts: Sequence[Sum], seed: Sequence[int]) -> list[str]:
    r"""Put one call into each text: half of them in place, half in front of the text.

    The place is before a number, often before the last one. A calculator adds or subtracts by
    chance, and a calendar says nothing about the text, so most of the calls are useless. A model
    learns the form of calls from them, and that a number may be that of a result.

    Example:
      >>> print(demonstrate(make_sums(1, [0]), [6])[0])
      Calculator:
      He had 658 coins, lost 304 and kept [Calculator( 658 + 304) -> 962] 354. That makes 354.
    """
    rng = np.random.default_rng(seed)
    made = []
    for item in texts:
        numbers = [*item.numbers, item.answer]
        place = int(rng.choice(len(numbers), p=_PLACES))
        in_place = bool(rng.integers(2))
        if rng.random() < _CALCULATED:
            # A call in place knows the numbers before it.
            known = (numbers[:place] or numbers[:1]) if in_place else list(item.numbers)
            sign = _SIGNS[int(rng.integers(len(_SIGNS)))]
            call = ToolCall(CALCULATOR.name, f" {known[0]} {sign} {known[-1]}")
        else:
            call = ToolCall(TOOLS[1].name, "")
        call = dataclasses.replace(call, result=use_tool(TOOLS, call).text)
        if in_place:
            offset = item.text.index(f" {numbers[place]}")
            text = f"{item.text[:offset]} {call}{item.text[offset:]}"
            made.append(tool_prompt(call.name) + text)
        else:
            made.append(f"{call}\n{item.text}")
    return made


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Corpus:
    """The texts of a run.

    Attributes:
      name: what they are called.
      plain: texts without calls.
      lists: texts that say numbers twice.
      demonstrated: texts with random calls.
      annotated: texts that the model annotates.
      valid: held-out texts for validation.
      test: held-out texts for test.
    """

    name: str
    plain: Sequence[Sum]
    lists: Sequence[str]
    demonstrated: Sequence[str]
    annotated: Sequence[Sum]
    valid: Sequence[Sum]
    test: Sequence[Sum]

    def describe(self) -> Mapping[str, object]:
        """Say what the run is measured on: JSON-able."""
        return {
            "dataset": self.name,
            "train": len(self.annotated),
            "test": f"{len(self.test)} texts",
            "fingerprint": self._fingerprint,
        }

    @functools.cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256()
        sums = (*self.plain, *self.annotated, *self.valid, *self.test)
        for text in (*(item.text for item in sums), *self.lists, *self.demonstrated):
            digest.update(text.encode() + b"\0")
        return digest.hexdigest()


def make_corpus(config: ToolformerDataConfig) -> Corpus:
    """Make the texts of a config; no question of a held-out text is among the others.

    Example:
      >>> config = ToolformerDataConfig(plain=9, lists=2, demonstrated=5, annotated=5, held=2)
      >>> len(make_corpus(config).test)
      2
    """
    test, valid, annotated, plain, shown = (
        make_sums(count, [config.seed, number])
        for number, count in enumerate(
            (config.held, config.held, config.annotated, config.plain, config.demonstrated)
        )
    )
    held = {item.question for item in (*test, *valid)}
    return Corpus(
        name=config.name,
        plain=[item for item in plain if item.question not in held],
        lists=make_lists(config.lists, [config.seed, 6]),
        demonstrated=demonstrate(
            [item for item in shown if item.question not in held], [config.seed, 5]
        ),
        annotated=[item for item in annotated if item.question not in held],
        valid=valid,
        test=test,
    )
