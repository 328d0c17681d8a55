"""Runs tasks on a language model: documents, questions, answers, values, figures.

The model is asked about a fixed number of documents at a time. With a model that stores its
answers, a study that was killed takes the answers that it has and asks only the rest; the figures
are the same, because nothing but the answers enters them.
"""

import dataclasses
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxrec.capacity.documents import ID, Document, Documents, field_names, read_documents
from jaxrec.capacity.estimates import Estimate, estimate
from jaxrec.capacity.questions import ask_all
from jaxrec.capacity.task import Task, check_shots
from jaxrec.capacity.task_calls import ask_about, demonstrations, values_of
from jaxrec.core import ConfigError, DataError, ProgressBar
from jaxrec.prompting import LanguageModel, Reply, Score, TextScore, Usage


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """How tasks are run.

    Attributes:
      limit: most documents of each file; None for all.
      shots: number of demonstrations of every task; None for each task's own.
      batch: number of documents that the model is asked about with one call.
      resamples: number of bootstrap resamples of the intervals.
      seed: seed of the resamples.

    Raises:
      ConfigError: a number out of range.

    Example:
      >>> StudyOptions(limit=100).shots is None
      True
    """

    limit: int | None = None
    shots: int | None = None
    batch: int = 128
    resamples: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("limit", "batch", "resamples"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} must be at least 1, got {value}")
        if self.shots is not None and self.shots < 0:
            raise ConfigError(f"shots must not be negative, got {self.shots}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """The figures of one task.

    Attributes:
      task: its name.
      about: one line about it.
      documents: number of documents that the model was asked about.
      shots: number of demonstrations.
      estimates: figures by metric; none if no answer could be read.
      better: for each metric "higher", "lower" or "neither".
      groups: for each field the figures by its values.
      missing: for each field the number of documents without it, which are left out.
      first_missing: the first of them; "" for none.
      rows: for each document its "id", its "values" and its "answer", and the "failure" of an
        answer that could not be read.
      failures: number of documents with an answer that could not be read; such an answer counts
        as an empty text beside others that could be read.
      usage: what the answers cost.
    """

    task: str
    about: str
    documents: int
    shots: int
    estimates: Mapping[str, Estimate]
    better: Mapping[str, str]
    groups: Mapping[str, Mapping[str, Mapping[str, Estimate]]]
    missing: Mapping[str, int]
    first_missing: str
    rows: Sequence[Mapping[str, Any]]
    failures: int
    usage: Usage

    @property
    def unread(self) -> bool:
        """Whether no answer could be read, so that there are no figures."""
        return not self.estimates

    @property
    def undefined(self) -> tuple[str, ...]:
        """Metrics whose figure is no finite number, such as a ratio whose denominator is 0."""
        return tuple(n for n, found in self.estimates.items() if not math.isfinite(found.value))

    def to_json(self) -> dict[str, Any]:
        """Return everything but the rows as JSON values; a figure that is no number is null."""
        figures = {name: _json(value) for name, value in self.estimates.items()}
        groups = {
            field: {
                value: {name: _json(found) for name, found in estimates.items()}
                for value, estimates in values.items()
            }
            for field, values in self.groups.items()
        }
        return {
            "task": self.task,
            "documents": self.documents,
            "shots": self.shots,
            "metrics": figures,
            "groups": groups,
            "missing": dict(self.missing),
            "failures": self.failures,
        }


def run_task(
    model: LanguageModel, task: Task, directory: Path, options: StudyOptions | None = None
) -> Result:
    r"""Ask a model about the documents of a task, and measure its answers.

    Args:
      model: any language model.
      task: what to ask.
      directory: of the data.
      options: how many documents and demonstrations.

    Raises:
      ConfigError: demonstrations for a task without them, or what the model rejects.
      DataError: the data are missing, damaged, or too few.

    Example:
      >>> import tempfile
      >>> from jaxrec.capacity import Choose, Metric, Source, accuracy
      >>> from jaxrec.prompting import ScriptedModel
      >>> directory = Path(tempfile.mkdtemp())
      >>> _ = (directory / "pairs.jsonl").write_text('{"good": "He is.", "bad": "He are."}\n')
      >>> pairs = Task(
      ...     name="pairs",
      ...     about="Grammar.",
      ...     source=Source(files=("pairs.jsonl",), fields=("good", "bad")),
      ...     ask=lambda d, shown: Choose("", (d["good"], d["bad"])),
      ...     measure=lambda d, scores: {"accuracy": accuracy(scores, 0)},
      ...     metrics={"accuracy": Metric()},
      ... )
      >>> model = ScriptedModel(logprob=lambda prompt, text: -float(len(text)))
      >>> run_task(model, pairs, directory).estimates["accuracy"].value
      1.0
    """
    options = options or StudyOptions()
    shots = task.shots if options.shots is None else options.shots
    check_shots(task, shots)
    documents = read_documents(task.source, directory, limit=options.limit, shots=shots)
    return ask_documents(model, task, documents, options)


def ask_documents(
    model: LanguageModel, task: Task, documents: Documents, options: StudyOptions
) -> Result:
    """Ask a model about documents that are already read; see `run_task`.

    Args:
      model: any language model.
      task: what to ask.
      documents: of the task.
      options: number of documents a call, and resamples.

    Raises:
      ConfigError: what the model rejects, a metric that the task does not declare, or a function
        of the task that returns no question or no numbers.
      DataError: a field of groups or a metric that no document has, or a function of the task
        that fails on a document.
    """
    _check_groups(task, documents.asked)
    shown = demonstrations(task, documents.shown)
    rows: list[dict[str, Any]] = []
    usage, failures, readable = Usage(), 0, False
    with ProgressBar(task.name, len(documents.asked), unit="document") as bar:
        for first in range(0, len(documents.asked), options.batch):
            asked = documents.asked[first : first + options.batch]
            questions = [ask_about(task, document, shown) for document in asked]
            try:
                answers = ask_all(model, questions)
            except ConfigError as error:
                # The model counts prompts from the first of this call.
                raise ConfigError(
                    f"task {task.name}, documents from {asked[0].get(ID)} on: {error}"
                ) from error
            for document, answer in zip(asked, answers, strict=True):
                values = values_of(task, document, answer)
                rows.append({"id": document[ID], "values": values, "answer": answer_json(answer)})
                usage = usage + usage_of(answer)
                readable = readable or not _unread(answer)
                if failure := failure_of(answer):
                    rows[-1]["failure"] = failure
                    failures += 1
            bar.update(len(rows))
    # Figures of empty texts alone would look like those of a model that is always wrong.
    estimates = _estimates(task, rows, options) if readable else {}
    absent = [name for name in task.metrics if name not in estimates]
    if readable and absent:
        raise DataError(
            f"task {task.name}: no document has a value of {', '.join(absent)}; give the task more "
            "documents"
        )
    return Result(
        task=task.name,
        about=task.about,
        documents=len(rows),
        shots=len(documents.shown),
        estimates=estimates,
        better={name: metric.better for name, metric in task.metrics.items()},
        groups={
            field: _grouped(task, field, documents.asked, rows, options)
            for field in (task.groups if readable else ())
        },
        missing=documents.missing,
        first_missing=documents.first_missing,
        rows=rows,
        failures=failures,
        usage=usage,
    )


def _check_groups(task: Task, documents: Sequence[Document]) -> None:
    """Reject a field of groups that no document has, whose figures would stand under no name."""
    for field in task.groups:
        if documents and not any(field in document for document in documents):
            raise DataError(
                f"task {task.name}: no document has the field {field!r} of groups; fields of the "
                f"first: {field_names(documents[0])}"
            )


def usage_of(answer: Any) -> Usage:
    """Add up what an answer cost: its own usage, or that of its parts; no usage costs nothing.

    Example:
      >>> from jaxrec.prompting import Score
      >>> usage_of((Score(logprob=-1.0, usage=Usage(calls=1)), Score(logprob=-2.0))).calls
      1
    """
    if isinstance(answer, list | tuple):
        return sum((usage_of(part) for part in answer), Usage())
    found = getattr(answer, "usage", None)
    return found if isinstance(found, Usage) else Usage()


def answer_json(answer: Any) -> Any:
    """Return what a model answered as JSON values, without what it cost; None for other objects.

    JSON has no infinite numbers and no NaN; these are texts such as "-inf".

    Example:
      >>> from jaxrec.prompting import Reply, Score
      >>> answer_json(Reply(texts=(" 4",))), answer_json((Score(logprob=-1.0), Score(logprob=-2.0)))
      ([' 4'], [-1.0, -2.0])
      >>> answer_json(Score(logprob=-math.inf))
      '-inf'
    """
    if isinstance(answer, Reply):
        return list(answer.texts)
    if isinstance(answer, Score):
        return answer_json(answer.logprob)
    if isinstance(answer, TextScore):
        return {"logprob": answer_json(answer.logprob), "tokens": len(answer.logprobs)}
    if isinstance(answer, list | tuple):
        return [answer_json(part) for part in answer]
    if isinstance(answer, float) and not math.isfinite(answer):
        return str(answer)
    return answer if isinstance(answer, int | float | str) else None


def failure_of(answer: Any) -> str | None:
    """Return why a reply, or the first such part of an answer, could not be read; None if it could.

    Example:
      >>> from jaxrec.prompting import Reply
      >>> failure_of([Reply(texts=(" 4",)), Reply(texts=("",), failure="no_json")])
      'no_json'
    """
    if isinstance(answer, list | tuple):
        return next(filter(None, map(failure_of, answer)), None)
    failure = getattr(answer, "failure", None)
    return None if failure is None else str(failure)


def _unread(answer: Any) -> bool:
    """Whether nothing of an answer could be read."""
    if isinstance(answer, list | tuple) and answer:
        return all(map(_unread, answer))
    return failure_of(answer) is not None


def _estimates(
    task: Task, rows: Sequence[Mapping[str, Any]], options: StudyOptions
) -> dict[str, Estimate]:
    estimates = {}
    for name, metric in task.metrics.items():
        values = [row["values"][name] for row in rows if name in row["values"]]
        if values:
            estimates[name] = estimate(
                metric, values, resamples=options.resamples, seed=options.seed
            )
    return estimates


def _grouped(
    task: Task,
    field: str,
    documents: Sequence[Document],
    rows: Sequence[Mapping[str, Any]],
    options: StudyOptions,
) -> dict[str, dict[str, Estimate]]:
    """The figures of the documents with each value of a field, by the values in order."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for document, row in zip(documents, rows, strict=True):
        groups.setdefault(str(document.get(field, "")), []).append(row)
    ordered = sorted(groups, key=_place)
    return {value: _estimates(task, groups[value], options) for value in ordered}


def _place(value: str) -> tuple[int, str]:
    """Where a value stands: whole numbers by their size, before all other values."""
    return (int(value), "") if value.isdecimal() else (sys.maxsize, value)


def _json(found: Estimate) -> dict[str, Any]:
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in dataclasses.asdict(found).items()
    }
