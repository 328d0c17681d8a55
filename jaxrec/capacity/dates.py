"""Knowledge reasoning by multiple choice: BIG-bench's date understanding.

Srivastava et al., Beyond the Imitation Game (arXiv:2206.04615): a question with several answers, of
which one has the score 1; the likeliest answer is chosen. Other files of choices, such as those of
CommonsenseQA or ScienceQA, need no code: a task file of the kind `choose` reads them.
"""

from collections.abc import Mapping
from typing import Any

from jaxrec.capacity.choices import accuracy
from jaxrec.capacity.documents import ID, Document, Source
from jaxrec.capacity.estimates import Metric
from jaxrec.capacity.questions import Choose
from jaxrec.capacity.task import Task
from jaxrec.core import DataError
from jaxrec.prompting import Score


def _choices(document: Document) -> tuple[list[str], int]:
    """The options and the place of the right one."""
    scores: Any = document["target_scores"]
    right = [n for n, score in enumerate(scores.values()) if score == 1]
    if len(right) != 1 or len(scores) < 2:
        raise DataError(
            f"{document.get(ID, 'a document')}: target_scores must give 1 to one of several "
            f"answers and 0 to the others, got {scores!r:.80}"
        )
    return list(scores), right[0]


def _ask(document: Document, shown: str) -> Choose:
    options = tuple(f" {option}" for option in _choices(document)[0])
    return Choose(f"{shown}Q: {document['input']}\nA:", options)


def _show(document: Document) -> str:
    options, right = _choices(document)
    return f"Q: {document['input']}\nA: {options[right]}\n\n"


def _measure(document: Document, scores: tuple[Score, ...]) -> Mapping[str, float | tuple]:
    options, right = _choices(document)
    return {
        "accuracy": accuracy(scores, right),
        "accuracy_by_length": accuracy(scores, right, [len(option) for option in options]),
        "chance": 1 / len(options),
    }


DATES = Task(
    name="dates",
    about="a date that follows from a text (BIG-bench), by multiple choice",
    source=Source(files=("last-letters/bigbench_date.json",), fields=("input", "target_scores")),
    ask=_ask,
    measure=_measure,
    metrics={
        "accuracy": Metric(),
        "accuracy_by_length": Metric(),
        "chance": Metric(better="neither"),
    },
    show=_show,
    shots=3,
)
