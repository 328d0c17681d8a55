r"""GSM8K: word problems whose answers are numbers, with worked solutions as demonstrations.

Cobbe et al., Training Verifiers to Solve Math Word Problems (arXiv:2110.14168). Prompts, stop
strings and both extractions are those of lm-evaluation-harness: the strict one reads the number
after "#### ", as the demonstrations write it, and the flexible one the last number of the reply.

A right answer may follow from wrong steps. `consistency` is the share of the right answers, by the
flexible extraction, whose arithmetic is all correct; answers without arithmetic are left out.
"""

from collections.abc import Mapping
from typing import Any

from jaxrec.capacity.documents import Document, Source
from jaxrec.capacity.estimates import Metric, ratio_of
from jaxrec.capacity.questions import Write
from jaxrec.capacity.task import Task
from jaxrec.prompting import GenerateOptions, Reply, gsm8k_flexible, gsm8k_strict, verifies

_OPTIONS = GenerateOptions(max_tokens=256, stop=("Question:", "</s>", "<|im_end|>"))


def _right(document: Document) -> str:
    """The number after the last "#### " of a solution, without commas, dollar signs and a dot."""
    number = document["answer"].rpartition("#### ")[2]
    return number.replace(",", "").replace("$", "").removesuffix(".")


def _question(document: Document) -> str:
    return f"Question: {document['question']}\nAnswer:"


def _ask(document: Document, shown: str) -> Write:
    return Write(shown + _question(document), _OPTIONS)


def _show(document: Document) -> str:
    return f"{_question(document)} {document['answer']}\n\n"


def _measure(document: Document, reply: Reply) -> Mapping[str, Any]:
    right = _right(document)
    found = gsm8k_flexible(reply.text) == right
    steps = verifies(reply.text) if found else None
    return {
        "strict": float(gsm8k_strict(reply.text) == right),
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
