"""BLiMP: whether a model prefers the grammatical one of two sentences that differ minimally.

Warstadt et al., BLiMP: The Benchmark of Linguistic Minimal Pairs for English (TACL 2020). 67 sets
of 1,000 pairs; any number of them is read. As in lm-evaluation-harness, a sentence is scored with a
space before it, after the token that begins a text.
"""

from collections.abc import Mapping

from jaxrec.capacity.choices import accuracy
from jaxrec.capacity.documents import Document, Source
from jaxrec.capacity.estimates import Metric
from jaxrec.capacity.questions import Choose
from jaxrec.capacity.task import Task
from jaxrec.prompting import Score


def _ask(document: Document, shown: str) -> Choose:
    return Choose("", (f" {document['sentence_good']}", f" {document['sentence_bad']}"))


def _measure(document: Document, scores: tuple[Score, ...]) -> Mapping[str, float]:
    return {"accuracy": accuracy(scores, 0)}


BLIMP = Task(
    name="blimp",
    about="grammatical sentences against ungrammatical ones (BLiMP); chance is 0.5",
    source=Source(files=("blimp/*.jsonl",), fields=("sentence_good", "sentence_bad", "UID")),
    ask=_ask,
    measure=_measure,
    metrics={"accuracy": Metric()},
    groups=("UID",),
)
