"""A text task is one record: its data, how they are written, what an answer is, how it is measured.

A new task is a new record in the file of its system; the code that trains and measures tasks reads
the records and knows no task by its name. P5's tasks are in `systems/p5/tasks.py`, the one of
TALLRec and GLRec in `texts/click_tasks.py`.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from jaxrec.core import ConfigError, DataError, nearest
from jaxrec.data import Dataset, Fields, Instruction, Task, Template, holes
from jaxrec.texts.answer_kinds import Answerer, AnswerKind, AnswerOptions
from jaxrec.texts.datum import Datum
from jaxrec.texts.genres import Genres
from jaxrec.texts.metrics import Metric
from jaxrec.texts.names import Names, fit_templates
from jaxrec.texts.questions import Questions
from jaxrec.texts.sources import Source

D = TypeVar("D")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextTask(Generic[D]):
    """A task.

    Attributes:
      name: unique among the tasks of a system.
      source: what a datum is, and how data of type `D` give training and evaluation data.
      render: writes a datum as the fields of the templates.
      templates: wordings, some seen in training; see `make_templates`.
      answer: what an answer is.
      metric: reads the answers.
      validated_by: the template of validations during training; "" for the first seen one.
      selects: whether the task's validation score counts when checkpoints are ranked.

    Example:
      >>> from jaxrec.texts import Choice, ChoiceMetrics, Datum, Pairs, TextTask
      >>> from jaxrec.texts import ask, make_templates
      >>> kind = Choice(("yes", "no"))
      >>> task = TextTask(
      ...     name="like",
      ...     source=Pairs(),
      ...     render=lambda datum, titles: {"film": titles[datum.asked]},
      ...     templates=make_templates("like", kind, seen=["is {film} any good ?"]),
      ...     answer=kind,
      ...     metric=ChoiceMetrics(),
      ... )
      >>> ask(task, task.wordings["seen"], ["Alien", "Cats"], [Datum(asked=1, answer=1)]).prompts
      ['is Cats any good ?']
    """

    name: str
    source: Source[D]
    render: Callable[[Datum, D], Fields]
    templates: tuple[Template, ...]
    answer: AnswerKind
    metric: Metric
    validated_by: str = ""
    selects: bool = True

    def __post_init__(self) -> None:
        """Reject a template that tells its own answer, and a validation by an unknown one."""
        for template in self.templates:
            shown = holes(template.source) & holes(template.target)
            if shown:
                raise ConfigError(
                    f"template {template.name!r} of task {self.name!r} shows {{{min(shown)}}}, "
                    "which is the answer; take it out of the source"
                )
        if self.validated_by:
            self.template(self.validated_by)

    def template(self, name: str) -> Template:
        """The template with a name.

        Raises:
          ConfigError: no such template.
        """
        known = {template.name: template for template in self.templates}
        if name not in known:
            raise ConfigError(
                f"task {self.name!r} has no template {name!r}{nearest(name, known)}; "
                f"templates: {', '.join(known)}"
            )
        return known[name]

    @property
    def wordings(self) -> dict[str, Template]:
        """The first template that training sees, "seen", and the first that it does not see."""
        wordings: dict[str, Template] = {}
        for template in self.templates:
            wordings.setdefault("seen" if template.seen else "unseen", template)
        return wordings

    @property
    def validation_template(self) -> Template:
        """The template of validations during training."""
        return self.template(self.validated_by) if self.validated_by else self.wordings["seen"]

    def fit(self, names: Names) -> "TextTask[D]":
        """The task with its templates adapted to names, see `fit_templates`."""
        return dataclasses.replace(self, templates=fit_templates(self.templates, names))

    def fields(self, datum: Datum, data: D) -> dict[str, str]:
        """A datum as text, its answer included."""
        return {**self.render(datum, data), **self.answer.fields(datum)}


def make_templates(
    task: str, answer: AnswerKind, seen: Sequence[str], unseen: Sequence[str] = ()
) -> tuple[Template, ...]:
    """Number the wordings of a task from 1, those of the training first.

    Example:
      >>> from jaxrec.texts import Choice, make_templates
      >>> kind = Choice(("yes", "no"))
      >>> for template in make_templates("like", kind, ["likes {item} ?"], ["{item} , like ?"]):
      ...     print(template.name, template.source, template.target, template.seen)
      like-1 likes {item} ? {answer} True
      like-2 {item} , like ? {answer} False
    """
    return tuple(
        Template(name=f"{task}-{n}", source=source, target=answer.target, seen=n <= len(seen))
        for n, source in enumerate((*seen, *unseen), start=1)
    )


def find_tasks(names: Iterable[str], known: Mapping[str, TextTask[D]]) -> list[TextTask[D]]:
    """Look tasks up by their names.

    Raises:
      ConfigError: an unknown name, of which the message names the nearest one, or one twice.

    Example:
      >>> from jaxrec.systems.p5 import TASKS
      >>> from jaxrec.texts import find_tasks
      >>> [task.templates[0].source for task in find_tasks(["straightforward"], TASKS)]
      ['what should {user} watch ?']
    """
    tasks: list[TextTask[D]] = []
    for name in names:
        if name not in known:
            raise ConfigError(
                f"no task {name!r} in tasks{nearest(name, known)}; known: {', '.join(known)}"
            )
        if known[name].name in [task.name for task in tasks]:
            raise ConfigError(f"tasks has {name!r} twice; leave one out")
        tasks.append(known[name])
    return tasks


def training_stream(task: TextTask[D], data: D) -> Task:
    """The training stream of a task: data are drawn as numbers and then written.

    Raises:
      DataError: the data lack what the task needs.

    Example:
      >>> from jaxrec.data import click_windows
      >>> from jaxrec.testing import tiny_interactions
      >>> from jaxrec.texts import CLICK, ClickData, quoted, training_stream
      >>> data = tiny_interactions()
      >>> windows = {"train": click_windows(data, history=3)}
      >>> names = quoted(data.items.labels())
      >>> stream = training_stream(CLICK, ClickData(windows=windows, names=names))
      >>> stream.example(seed=0, place=0)[1]
      'No.'
    """
    stream = task.source.training(data)

    def fields(datum: int, rng: np.random.Generator) -> Fields:
        return task.fields(stream.draw(datum, rng), data)

    return Task(name=task.name, templates=task.templates, size=stream.size, fields=fields)


def ask(
    task: TextTask[D],
    template: Template,
    data: D,
    examples: Sequence[Datum],
    default: float = float("nan"),
) -> Questions:
    """Write the questions of an evaluation.

    Args:
      task: what is asked.
      template: one of its wordings.
      data: what the examples' numbers refer to.
      examples: from the task's source.
      default: see `Questions`.

    Raises:
      ConfigError: the template asks for a field that the data do not give.
    """
    fields = [task.fields(datum, data) for datum in examples]
    prompts = [template.ask(row) for row in fields]
    return Questions(data=examples, prompts=prompts, fields=fields, default=default)


def instructions(
    task: TextTask[D], template: Template, data: D, examples: Sequence[Datum]
) -> list[Instruction]:
    """Write examples as records of instruction, input and output, for a model that continues text.

    Args:
      task: what the examples belong to.
      template: one of its wordings.
      data: what the examples' numbers refer to.
      examples: from the task's source.

    Raises:
      ConfigError: the template asks for a field that the data do not give.
    """
    return [template.instruct(task.fields(datum, data)) for datum in examples]


def measure_task(
    task: TextTask[D], model: Answerer, questions: Questions, options: AnswerOptions
) -> dict[str, float]:
    """Let a model answer questions, and measure the answers by the task's metric.

    Args:
      task: what the questions belong to.
      model: answers them, such as `Prompted`.
      questions: from `ask`.
      options: settings of the answers and of their metric.
    """
    return task.metric.measure(task.answer.answer(model, questions, options), questions, options)


def validation_units(task: TextTask[Any], data: Any, *, users: int, seed: int) -> np.ndarray:
    """Draw what a validation during training asks about.

    Args:
      task: what is asked.
      data: of the task.
      users: most users; 0 for all. Of rows there are as many as the kind of answer allows.
      seed: seed of the draw.

    Returns:
      Units of the task's source, ascending.
    """
    units = task.source.units(data, "valid")
    most = users if task.source.unit == "user" else task.answer.valid_rows
    if not most:
        return units
    return np.sort(np.random.default_rng(seed).permutation(units)[:most])


def check_data(
    dataset: Dataset,
    tasks: Sequence[TextTask[Any]],
    candidates: int,
    setting: str = "candidates",
) -> None:
    """Check that a data set has what tasks need, before any work.

    Raises:
      DataError: a task needs ratings of whole stars, and there are others; or it needs genres, and
        the items have none.
      ConfigError: some user leaves fewer items than there are candidates to draw.
    """
    interactions = dataset.interactions
    rated = [task.name for task in tasks if task.source.needs & {"ratings", "reviews"}]
    if rated and not np.isin(interactions.rating, [1, 2, 3, 4, 5]).all():
        raise DataError(
            f"task {rated[0]!r} needs ratings of 1 to 5 whole stars, and {interactions.name} has "
            "others or none; leave the task out, or give data.rating_column"
        )
    if any("genres" in task.source.needs for task in tasks):
        Genres.read(interactions.items)
    # All but the target are new to the user, who has met the training items and both targets.
    met = max(len(np.unique(history)) for history in dataset.split.history("test")) + 1
    offers = any("candidates" in task.source.needs for task in tasks)
    if offers and candidates - 1 > dataset.num_items - met:
        most = dataset.num_items - met + 1
        raise ConfigError(
            f"{setting} is {candidates}, and a user has met {met} of {dataset.num_items} items; "
            + (f"lower it to {most}" if most > 1 else "give more items, or leave this user out")
        )
