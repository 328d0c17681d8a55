"""A task of a capacity evaluation: a file of data and a few functions.

The interface of a language model has three calls, as in EleutherAI's lm-evaluation-harness (Gao et
al., doi:10.5281/zenodo.10256836): likelihood of a continuation, likelihood of a text, and
continuation up to a stop string. A task says what to ask of them, and what the answers are worth.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from jaxrec.capacity.documents import Document, Source
from jaxrec.capacity.estimates import Metric
from jaxrec.capacity.questions import Question
from jaxrec.core import ConfigError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    r"""What a language model is asked about each document, and how its answers are measured.

    Attributes:
      name: of the task, for the command line, tables and files.
      about: one line on what is measured, and by whose rules.
      source: the documents.
      ask: question about a document; its second argument is the text of the demonstrations, with
        which the prompt begins, "" for none.
      measure: values of a document by the name of the metric, from the document and its answer. A
        value is a number, or a tuple of numbers whose sums over the documents the metric reads. A
        metric that does not apply to a document is left out.
      metrics: all metrics by name.
      show: text of a document as a demonstration, with the separator at its end; None for a task
        without demonstrations.
      shots: number of demonstrations.
      groups: names of fields; the metrics are also reported for the documents with each value.

    Raises:
      ConfigError: no metrics, one that is no `Metric`, a name that is no file name, or
        demonstrations without `show`.

    Example:
      >>> from jaxrec.capacity import Choose, accuracy
      >>> birds = Task(
      ...     name="birds",
      ...     about="Which animals can fly.",
      ...     source=Source(files=("birds.jsonl",), fields=("animal", "flies")),
      ...     ask=lambda d, shown: Choose(f"{shown}Can a {d['animal']} fly?", (" Yes", " No")),
      ...     measure=lambda d, scores: {"accuracy": accuracy(scores, 0 if d["flies"] else 1)},
      ...     metrics={"accuracy": Metric()},
      ... )
      >>> birds.ask({"animal": "robin"}, "").prompt
      'Can a robin fly?'
    """

    name: str
    about: str
    source: Source
    ask: Callable[[Document, str], Question]
    measure: Callable[[Document, Any], Mapping[str, Any]]
    metrics: Mapping[str, Metric]
    show: Callable[[Document], str] | None = None
    shots: int = 0
    groups: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.name or not all(c.isalnum() or c in "-_." for c in self.name):
            raise ConfigError(
                f"a task's name has letters, digits and the signs - _ . only, got {self.name!r}"
            )
        if not self.metrics:
            raise ConfigError(f"task {self.name} has no metrics; name at least one")
        for name, metric in self.metrics.items():
            if not isinstance(metric, Metric):
                raise ConfigError(
                    f"task {self.name}: the metric {name} must be a Metric, got {metric!r:.60}; "
                    "write Metric() for a mean, or Metric(function)"
                )
        check_shots(self, self.shots)


def check_shots(task: Task, shots: int) -> None:
    """Reject a number of demonstrations that a task cannot show.

    Raises:
      ConfigError: a negative number, or demonstrations for a task without them.
    """
    if shots < 0:
        raise ConfigError(f"the number of demonstrations must not be negative, got {shots}")
    if shots and task.show is None:
        raise ConfigError(
            f"task {task.name} takes no demonstrations, got {shots}; leave out --shots or the task"
        )
