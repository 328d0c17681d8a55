r"""Arithmetic by the number of digits: from memory, with spaced digits, and with a calculator.

Brown et al., Language Models are Few-Shot Learners (arXiv:2005.14165), section 3.9.1, ask for sums
of two to five digits and find that longer ones fail. A tokenizer that splits "1234" into "12" and
"34" makes them harder; with spaces between its digits, a number is read digit by digit.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxrec.capacity.documents import Document, Source
from jaxrec.capacity.estimates import Metric, ratio_of
from jaxrec.capacity.questions import Several, Write
from jaxrec.capacity.task import Task
from jaxrec.capacity.tool_questions import ToolReply, WriteWithTools
from jaxrec.core import ConfigError
from jaxrec.eval import call_counts
from jaxrec.prompting import CALCULATOR, GenerateOptions, Reply, extract, without_calls

_SIGNS = {"plus": "+", "minus": "-", "times": "*"}
_SHOTS = 5
_OPTIONS = GenerateOptions(max_tokens=48, stop=("\n",))


def make_sums(
    count: int = 500, digits: Sequence[int] = (1, 2, 3, 4, 5, 6, 8, 10), seed: int = 0
) -> list[dict[str, Any]]:
    """Make sums, differences and products of numbers with equally many digits.

    Args:
      count: number of them; operations and numbers of digits take turns, the operations faster, so
        that the first problems, which are demonstrations, have all of them.
      digits: numbers of digits of both numbers.
      seed: of the numbers.

    Raises:
      ConfigError: a number of digits that is not between 1 and 18, or `count` below 1.

    Example:
      >>> found = make_sums(8)[4]
      >>> found["digits"], found["operation"], 10 <= found["left"] < 100
      (2, 'minus', True)
    """
    if count < 1 or not digits or not all(1 <= size <= 18 for size in digits):
        raise ConfigError(
            f"count must be at least 1 and digits between 1 and 18, got {count} and {list(digits)}"
        )
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        operation = list(_SIGNS)[number % len(_SIGNS)]
        size = digits[number // len(_SIGNS) % len(digits)]
        left, right = (int(n) for n in rng.integers(10 ** (size - 1) * (size > 1), 10**size, 2))
        result = {"plus": left + right, "minus": left - right, "times": left * right}[operation]
        rows.append(
            {
                "left": left,
                "right": right,
                "operation": operation,
                "digits": size,
                "answer": result,
            }
        )
    return rows


def write_number(number: int, spaced: bool) -> str:
    """Write a number, with a space between its digits or without.

    Example:
      >>> write_number(-1234, True), write_number(1234, False)
      ('-1 2 3 4', '1234')
    """
    text = str(number)
    return " ".join(text).replace("- ", "-") if spaced else text


def read_number(text: str, spaced: bool) -> str | None:
    """Return the first number of an answer; None if there is none.

    Example:
      >>> read_number(" -1 2 3 4.", True), read_number(" 1,234", False), read_number("?", False)
      ('-1234', '1234', None)
    """
    return extract(text.replace(" ", "") if spaced else text, "number")


def sum_task(name: str, about: str, *, spaced: bool = False, count: int = 500) -> Task:
    r"""Return the task of computing sums, differences and products from memory.

    Args:
      name: of the task.
      about: one line about it.
      spaced: whether numbers have a space between their digits.
      count: number of problems.

    Example:
      >>> task = sum_task("mine", "Sums.", spaced=True)
      >>> task.ask({"left": 12, "right": 34, "operation": "plus"}, "").prompt
      'Q: What is 1 2 plus 3 4?\nA:'
    """

    def question(d: Document) -> str:
        left, right = (write_number(d[side], spaced) for side in ("left", "right"))
        return f"Q: What is {left} {d['operation']} {right}?\nA:"

    def ask(document: Document, shown: str) -> Write:
        return Write(shown + question(document), _OPTIONS)

    def measure(document: Document, reply: Reply) -> Mapping[str, float]:
        return {"accuracy": float(read_number(reply.text, spaced) == str(document["answer"]))}

    return Task(
        name=name,
        about=about,
        source=Source(make=functools.partial(make_sums, count)),
        ask=ask,
        measure=measure,
        metrics={"accuracy": Metric()},
        show=lambda d: f"{question(d)} {write_number(d['answer'], spaced)}\n\n",
        shots=_SHOTS,
        groups=("operation", "digits"),
    )


def _expression(document: Document) -> str:
    return f"{document['left']} {_SIGNS[document['operation']]} {document['right']}"


def _plain_question(document: Document) -> str:
    return f"Q: What is {document['left']} {document['operation']} {document['right']}?\nA:"


def _ask_both(document: Document, shown: str) -> Several:
    # Other seeds than those of the documents, so that no question is shown with its answer.
    examples = make_sums(_SHOTS, (2, 3), seed=1)
    plain = "".join(f"{_plain_question(d)} {d['answer']}\n\n" for d in examples)
    tool = "".join(
        f"{_plain_question(d)} [Calculator({_expression(d)}) -> {d['answer']}] {d['answer']}\n\n"
        for d in examples
    )
    question = _plain_question(document)
    return Several(
        (
            Write(plain + question, _OPTIONS),
            WriteWithTools(tool + question, (CALCULATOR,), _OPTIONS, most_calls=2),
        )
    )


def _measure_both(document: Document, answers: tuple[Reply, ToolReply]) -> Mapping[str, Any]:
    alone, helped = answers
    right = str(document["answer"])
    without = float(read_number(alone.text, False) == right)
    with_tool = float(read_number(without_calls(helped.text), False) == right)
    made = [(call.name, call.input.replace(" ", "")) for call in helped.calls]
    counts = call_counts(made, [(CALCULATOR.name, _expression(document).replace(" ", ""))])
    return {
        "accuracy_without": without,
        "accuracy_with": with_tool,
        "gain": with_tool - without,
        "call_precision": (counts.right, counts.made),
        "call_recall": (counts.right, counts.wanted),
        "argument_match": (counts.exact, counts.wanted),
        "failed_calls": (sum(map(bool, helped.failures)), counts.made),
    }


SUMS = sum_task("sums", "sums, differences and products of 1 to 10 digits, from memory")
SUMS_SPACED = sum_task("sums_spaced", "the same sums with spaces between the digits", spaced=True)
SUMS_TOOL = Task(
    name="sums_calculator",
    about="the same sums without and with a calculator, and whether it is called rightly",
    source=Source(make=make_sums),
    ask=_ask_both,
    measure=_measure_both,
    metrics={
        "accuracy_without": Metric(),
        "accuracy_with": Metric(),
        "gain": Metric(),
        "call_precision": Metric(ratio_of),
        "call_recall": Metric(ratio_of),
        "argument_match": Metric(ratio_of),
        "failed_calls": Metric(ratio_of, "lower"),
    },
    groups=("digits",),
)
