"""Text prompts: templates with holes, tasks that fill them, and the mixture that is trained.

A task has data and several templates; a datum gives the fields that a template names. Every datum
comes once in each epoch of its task, in a new order, with a template drawn anew from those that
training may use. Over many epochs it therefore meets them all, as in P5, which draws a few
templates for each datum and epoch.

An example depends only on the seed, the task and the example's place in the task's stream. So a
stream can be resumed at any place, and hosts can share it.
"""

import dataclasses
import functools
import string
from collections.abc import Callable, Mapping

import numpy as np

from jaxrec.core import ConfigError, DataError, nearest
from jaxrec.data.instructions import Instruction

Fields = Mapping[str, str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Template:
    """A prompt with holes, such as "What did {user} buy after {items}?".

    Attributes:
      name: unique within its task.
      source: what the model reads.
      target: what the model should write.
      seen: whether training uses it. Templates that training does not use show how much a result
        depends on the wording.
      instruction: what comes before the source in instruction tuning, see `instruct`; "" where the
        source itself is the instruction.

    Example:
      >>> from jaxrec.data import Template
      >>> template = Template(name="next", source="after {items} comes", target="{item}")
      >>> template.fill({"items": "a , b", "item": "c"})
      ('after a , b comes', 'c')
    """

    name: str
    source: str
    target: str
    seen: bool = True
    instruction: str = ""

    def __post_init__(self) -> None:
        """Reject braces that are no holes, and holes that are more than the name of a field."""
        for part in ("source", "target", "instruction"):
            text = getattr(self, part)
            where = f"the {part} {text!r} of template {self.name!r}"
            try:
                pieces = list(string.Formatter().parse(text))
            except ValueError as error:
                raise ConfigError(
                    f"{where} has a brace that is no hole ({error}); write {{{{ or }}}} for a "
                    "brace of the text"
                ) from error
            for _, name, form, conversion in pieces:
                plain = name and not name.isdigit() and not any(mark in name for mark in ".[")
                if name is not None and (form or conversion or not plain):
                    raise ConfigError(
                        f"{where} has the hole {name!r}, which must be the name of a field "
                        "alone; write {field}, or {{ and }} for braces of the text"
                    )

    def fill(self, fields: Fields) -> tuple[str, str]:
        """Fill source and target with the fields.

        Raises:
          ConfigError: a hole that no field fills.
        """
        return self._filled(self.source, fields), self._filled(self.target, fields)

    def ask(self, fields: Fields) -> str:
        """Fill the source alone, as an evaluation does.

        Raises:
          ConfigError: a hole that no field fills.
        """
        return self._filled(self.source, fields)

    def instruct(self, fields: Fields) -> Instruction:
        """Fill all three parts: the source becomes the input of a record, the target its output.

        Without an instruction of its own the source is the instruction, and there is no input.

        Raises:
          ConfigError: a hole that no field fills.
        """
        source, target = self.fill(fields)
        if not self.instruction:
            return Instruction(source, "", target)
        return Instruction(self._filled(self.instruction, fields), source, target)

    @property
    def holes(self) -> frozenset[str]:
        """Names of the fields that it asks for."""
        return frozenset(holes(self.instruction) | holes(self.source) | holes(self.target))

    def _filled(self, text: str, fields: Fields) -> str:
        try:
            return text.format_map(fields)
        except KeyError as error:
            key = str(error.args[0])
            raise ConfigError(
                f"template {self.name!r} asks for {{{key}}}, which the data do not give"
                f"{nearest(key, fields)}; fields: {', '.join(fields)}"
            ) from error


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Task:
    """The training stream of a task: its data and the templates that they fill.

    Attributes:
      name: of the task.
      templates: at least one of them seen.
      size: number of data.
      fields: maps a datum's number and a generator of its own to the fields.

    Example:
      >>> from jaxrec.data import Task, Template
      >>> ask = Template(name="double", source="twice {n} is", target="{twice}")
      >>> fields = lambda datum, rng: {"n": str(datum), "twice": str(2 * datum)}
      >>> task = Task(name="double", templates=(ask,), size=3, fields=fields)
      >>> sorted(task.example(seed=0, place=place) for place in range(3))
      [('twice 0 is', '0'), ('twice 1 is', '2'), ('twice 2 is', '4')]
    """

    name: str
    templates: tuple[Template, ...]
    size: int
    fields: Callable[[int, np.random.Generator], Fields]

    def __post_init__(self) -> None:
        if self.size < 1:
            raise DataError(f"task {self.name!r} has no data to train on")
        if not self.seen:
            raise ConfigError(f"task {self.name!r} has no template that training may use")

    @functools.cached_property
    def seen(self) -> tuple[Template, ...]:
        """The templates that training uses."""
        return tuple(template for template in self.templates if template.seen)

    def example(self, seed: int, place: int) -> tuple[str, str]:
        """Source and target at a place of the task's stream."""
        key = sum(map(ord, self.name))
        epoch, index = divmod(place, self.size)
        datum = int(self._order(seed, key, epoch)[index])
        rng = np.random.default_rng([seed, key, 1, place])
        template = self.seen[int(rng.integers(len(self.seen)))]
        return template.fill(self.fields(datum, rng))

    @functools.cached_property
    def _order(self) -> Callable[[int, int, int], np.ndarray]:
        # Two epochs are kept: a batch may end one and begin the next.
        return functools.lru_cache(maxsize=2)(
            lambda seed, key, epoch: np.random.default_rng([seed, key, 0, epoch]).permutation(
                self.size
            )
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Mixture:
    """Tasks that are trained together.

    Attributes:
      tasks: their streams.
      rows: number of rows of each task in every batch.
      seed: seed of everything that is drawn.

    Raises:
      ConfigError: no tasks, two tasks with one name, or a task without a row.

    Example:
      >>> from jaxrec.data import Mixture, Task, Template
      >>> say = Template(name="say", source="say {n}", target="{n}")
      >>> task = Task(name="say", templates=(say,), size=1, fields=lambda datum, rng: {"n": "one"})
      >>> Mixture((task,), rows=(2,), seed=0).examples(0, step=0, rows=slice(None))
      [('say one', 'one'), ('say one', 'one')]
    """

    tasks: tuple[Task, ...]
    rows: tuple[int, ...]
    seed: int

    def __post_init__(self) -> None:
        names = [task.name for task in self.tasks]
        if not names or len(set(names)) < len(names):
            raise ConfigError(f"a mixture needs tasks with different names, got {names}")
        if len(self.rows) != len(names) or min(self.rows) < 1:
            raise ConfigError(
                f"each of the tasks {names} needs at least one row of every batch, got {self.rows}"
            )

    def examples(self, task: int, step: int, rows: slice) -> list[tuple[str, str]]:
        """Some rows of a task in the batch of a step."""
        first = step * self.rows[task]
        return [
            self.tasks[task].example(self.seed, first + row)
            for row in range(*rows.indices(self.rows[task]))
        ]

    def corpus(self, count: int) -> list[str]:
        """The texts at the first `count` places of every task, to train a tokenizer on."""
        pairs = [task.example(self.seed, place) for task in self.tasks for place in range(count)]
        return [text for pair in pairs for text in pair]


def holes(text: str) -> set[str]:
    """Names of the fields that a text asks for.

    Example:
      >>> from jaxrec.data import holes
      >>> sorted(holes("what did {user} buy after {items} ?"))
      ['items', 'user']
    """
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}
