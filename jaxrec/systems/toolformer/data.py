"""Made-up sentences whose last number is a sum or difference of two others, and calls in them.

A small model can learn the sentences and not the arithmetic: it would have to add numbers of four
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

# {a} and {b} are numbers of four digits, and {c} is what the sign makes of them.
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
AFTER = ("", " That makes {c}.", " Yes, {c}.")
# Numbers are cut into pairs of digits, as tokenizers of large models cut them into groups.
PAIRS = tuple(f"{number:02d}" for number in range(100))
_SIGNS = ("+", "-")
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
    """

    text: str
    question: str
    answer: str
    numbers: tuple[str, ...]


def make_sums(count: int, seed: Sequence[int]) -> list[Sum]:
    """Make texts.

    Example:
      >>> make_sums(1, [0])[0].question
      'From 6734 visitors in May and 5599 in June we get'
    """
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        sign, template = TEMPLATES[rng.integers(len(TEMPLATES))]
        # All three numbers have four digits.
        one, other = rng.integers(1000, 5000, size=2).tolist()
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
            )
        )
    return made


def tool_prompt(tool: str) -> str:
    """What texts with calls of a tool begin with, as few-shot prompts would.

    Example:
      >>> tool_prompt("Calendar")
      'Calendar:\\n'
    """
    return f"{tool}:\n"


def demonstrate(texts: Sequence[Sum], seed: Sequence[int]) -> list[str]:
    """Put one random call into each text: half of them in place, half in front of the text.

    The place is before a number, the tool and its input are random, and so most of the calls are
    useless. A model learns the form of calls from them, and that a number may be that of a result.

    Example:
      >>> print(demonstrate(make_sums(2, [0]), [1])[0])
      Calculator:
      From 6734 visitors in May and 5599 in June we get [Calculator(6734 - 5599) -> 1135] 12333.
    """
    rng = np.random.default_rng(seed)
    made = []
    for item in texts:
        numbers = [*item.numbers, item.answer]
        place = int(rng.integers(len(numbers)))
        tool = TOOLS[int(rng.integers(len(TOOLS)))]
        given = ""
        in_place = bool(rng.integers(2))
        if tool is CALCULATOR:
            # A call in place knows the numbers before it.
            known = numbers[:place] if in_place and place else list(item.numbers)
            one, other = rng.choice(known, size=2, replace=len(known) < 2)
            given = f"{one} {_SIGNS[int(rng.integers(len(_SIGNS)))]} {other}"
        call = ToolCall(tool.name, given)
        call = dataclasses.replace(call, result=use_tool(TOOLS, call).text)
        if in_place:
            offset = item.text.index(f" {numbers[place]}")
            text = f"{item.text[:offset]} {call}{item.text[offset:]}"
            made.append(tool_prompt(tool.name) + text)
        else:
            made.append(f"{call}\n{item.text}")
    return made


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Corpus:
    """The texts of a run.

    Attributes:
      name: what they are called.
      plain: texts without calls.
      demonstrated: texts with random calls.
      annotated: texts that the model annotates.
      valid: held-out texts for validation.
      test: held-out texts for test.
    """

    name: str
    plain: Sequence[Sum]
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
        for text in (*(item.text for item in sums), *self.demonstrated):
            digest.update(text.encode() + b"\0")
        return digest.hexdigest()


def make_corpus(config: ToolformerDataConfig) -> Corpus:
    """Make the texts of a config; no question of a held-out text is among the others.

    Example:
      >>> config = ToolformerDataConfig(plain=10, demonstrated=5, annotated=5, held=2)
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
        demonstrated=demonstrate(
            [item for item in shown if item.question not in held], [config.seed, 5]
        ),
        annotated=[item for item in annotated if item.question not in held],
        valid=valid,
        test=test,
    )
