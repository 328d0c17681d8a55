r"""GSM8K: word problems whose answers are numbers, with worked solutions as demonstrations.

Cobbe et al., Training Verifiers to Solve Math Word Problems (arXiv:2110.14168). Prompts, stop
strings and both extractions are those of lm-evaluation-harness: the strict one reads the number
after "#### ", as the demonstrations write it, and the flexible one the last number of the reply.

A right answer may follow from wrong steps. `consistency` is the share of the right answers, by the
flexible extraction, whose arithmetic is all correct; answers without arithmetic are left out.
"""

import re
from collections.abc import Mapping
from typing import Any

from jaxrec.capacity.documents import Document, Source
from jaxrec.capacity.estimates import Metric, ratio_of
from jaxrec.capacity.questions import Write
from jaxrec.capacity.task import Task
from jaxrec.prompting import GenerateOptions, Reply, verifies

_STRICT = re.compile(r"#### (-?[0-9.,]+)")
_NUMBER = re.compile(r"-?[$0-9.,]{2,}|-?[0-9]+")
# What does not distinguish two spellings of a number, in the order in which it is removed.
_IGNORED = (r",", r"\$", r"(?s).*#### ", r"\.$")
_OPTIONS = GenerateOptions(max_tokens=256, stop=("Question:", "</s>", "<|im_end|>"))


def strict_number(text: str) -> str | None:
    r"""Return the number after the first "#### " of a worked solution; None if there is none.

    Example:
      >>> strict_number("6 x 7 = 42\n#### 1,042."), strict_number("It is 42.")
      ('1042', None)
    """
    found = _STRICT.search(text)
    return _plain(found[1]) if found else None


def last_number(text: str) -> str | None:
    """Return the last number of a text; None if there is none.

    Example:
      >>> last_number("He pays $12, then $1,200.50."), last_number("None.")
      ('1200.50', None)
    """
    found = _NUMBER.findall(text)
    return _plain(found[-1]) if found else None


def _plain(number: str) -> str:
    for pattern in _IGNORED:
        number = re.sub(pattern, "", number)
    return number.lower()


def _question(document: Document) -> str:
    return f"Question: {document['question']}\nAnswer:"


def _ask(document: Document, shown: str) -> Write:
    return Write(shown + _question(document), _OPTIONS)


def _show(document: Document) -> str:
    return f"{_question(document)} {document['answer']}\n\n"


def _measure(document: Document, reply: Reply) -> Mapping[str, Any]:
    right = _plain(document["answer"])
    found = last_number(reply.text) == right
    steps = verifies(reply.text) if found else None
    return {
        "strict": float(strict_number(reply.text) == right),
        "flexible": float(found),
        "consistency": (float(steps is True), float(steps is not None)),
        "truncated": float(reply.truncated[0]),
    }


GSM8K = Task(
    name="gsm8k",
    about="word problems (GSM8K): the last 1,000 of the training part, shown its first ones",
    source=Source(files=("gsm8k/train.jsonl",), fields=("question", "answer"), held_out=1000),
    ask=_ask,
    measure=_measure,
    metrics={
        "strict": Metric(),
        "flexible": Metric(),
        "consistency": Metric(ratio_of),
        "truncated": Metric(better="lower"),
    },
    show=_show,
    shots=5,
)
