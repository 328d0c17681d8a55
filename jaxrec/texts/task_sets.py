"""Task data sets as instructions: several templates a task, options, few-shot examples.

(FLAN, Wei et al. 2022, arXiv:2109.01652; the Flan Collection, arXiv:2301.13688.)

A template is a pair of patterns with named holes. A task has about ten, among them reversed ones
that swap what is given and what is asked. The hole {options} is filled by the list of possible
answers, or removed together with the white space before it. So there are four styles: with and
without options, with and without examples of other data in front.

Train and held-out parts are split by datum, never by instance: all instances of a datum, whatever
their templates, are on one side, and so are equal data.
"""

import dataclasses
import functools
import hashlib
import json
import os
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict, get_args

import numpy as np

from jaxrec.core import ConfigError, DataError, nearest, read_json
from jaxrec.data import Instruction, Template, holes, read_json_rows
from jaxrec.texts.chats import Chat

# Zero or few shots, with or without answer options (FLAN's names).
Style = Literal["zsopt", "zsnoopt", "fsopt", "fsnoopt"]
STYLES: tuple[Style, ...] = get_args(Style)
Part = Literal["train", "valid", "test"]

OPTIONS = "options"
# FLAN takes at most this many training examples of a data set.
MOST_EXAMPLES = 30_000
# Between an example's question and answer, and between examples (FLAN's defaults).
_ANSWERED, _NEXT = "\n\n", "\n\n\n"
Row = Mapping[str, str | Sequence[str]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Instance:
    """One instruction or chat, and where it comes from.

    Attributes:
      record: the instruction with its answer, or the chat.
      task: name of its task, or path of its file.
      template: name of its template; "" for none.
      datum: number of the datum in its task; -1 for none.
    """

    record: Instruction | Chat
    task: str
    template: str = ""
    datum: int = -1


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class TaskSet:
    r"""A data set and its templates.

    Attributes:
      name: unique among the tasks of a run.
      rows: the data: texts by field, and perhaps "options", a list of texts.
      templates: some of them seen in training; the others measure unseen wordings.
      cluster: name of a group of similar tasks, which are held out together.
      words: texts that a tokenizer from scratch keeps as one token each, such as quoted titles.
      learned: pattern of the parts of an answer that a model learns; "" for whole answers.

    Raises:
      DataError: no data, or a datum without a field that a template asks for, or with an empty
        answer.
      ConfigError: a template that no datum fills or that shows its answer, two with one name, or
        none that training may use.

    Example:
      >>> from jaxrec.data import Template
      >>> from jaxrec.texts import TaskSet, training_instances
      >>> template = Template(name="a", source="Is {word} a noun?\n{options}", target="{answer}")
      >>> row = {"word": "sun", "answer": "yes", "options": ["yes", "no"]}
      >>> task = TaskSet(name="noun", rows=[row], templates=(template,))
      >>> print(training_instances(task, [0], ["zsopt"])[0].record.instruction)
      Is sun a noun?
      OPTIONS:
      - yes
      - no
    """

    name: str
    rows: Sequence[Row]
    templates: tuple[Template, ...]
    cluster: str = ""
    words: tuple[str, ...] = ()
    learned: str = ""

    def __post_init__(self) -> None:
        """Reject data and templates that do not fit each other, before any work."""
        if not self.rows:
            raise DataError(f"task {self.name!r} has no data")
        names = [template.name for template in self.templates]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ConfigError(f"task {self.name!r} has two templates {twice!r}; rename one")
        if not self.seen:
            raise ConfigError(f"task {self.name!r} has no template that training may use")
        known = list(dict.fromkeys([*self.rows[0], OPTIONS]))
        for template in self.templates:
            for hole in sorted(template.holes):
                if hole not in known:
                    raise ConfigError(
                        f"template {template.name!r} of task {self.name!r} asks for {{{hole}}}, "
                        f"which the data do not give{nearest(hole, known)}; fields: "
                        f"{', '.join(known)}"
                    )
            shown = (holes(template.source) | holes(template.instruction)) & holes(template.target)
            if shown or not holes(template.target):
                raise ConfigError(
                    f"template {template.name!r} of task {self.name!r} "
                    + (f"shows {{{min(shown)}}}, which is" if shown else "has no hole in")
                    + " the answer; change its patterns"
                )
        self._check_rows()

    def _check_rows(self) -> None:
        asked = sorted(frozenset().union(*(t.holes for t in self.templates)) - {OPTIONS})
        answers = sorted(frozenset().union(*(holes(t.target) for t in self.templates)))
        for number, row in enumerate(self.rows):
            for name in asked:
                if not isinstance(row.get(name), str):
                    raise DataError(
                        f"datum {number} of task {self.name!r}: field {name!r} must be a text, got "
                        f"{row.get(name)!r:.60}; fields: {', '.join(row)}"
                    )
            empty = next((name for name in answers if not str(row[name]).strip()), None)
            if empty:
                raise DataError(
                    f"datum {number} of task {self.name!r} has an empty {empty!r}, which is an "
                    "answer; leave the datum out"
                )
            options = row.get(OPTIONS, ())
            if isinstance(options, str) or not all(isinstance(text, str) for text in options):
                raise DataError(
                    f"datum {number} of task {self.name!r}: options must be a list of texts, got "
                    f"{options!r:.60}"
                )

    @functools.cached_property
    def seen(self) -> tuple[Template, ...]:
        """Templates that training uses."""
        return tuple(template for template in self.templates if template.seen)

    @functools.cached_property
    def unseen(self) -> tuple[Template, ...]:
        """Templates that training does not use."""
        return tuple(template for template in self.templates if not template.seen)

    def write(self, template: Template, datum: int, *, options: bool) -> Instruction:
        """Fill a template with a datum.

        Args:
          template: one of the task's.
          datum: number of the datum.
          options: show the answer options where the template has a hole for them.
        """
        row = self.rows[datum]
        listed = [str(text) for text in row.get(OPTIONS, ())]
        fields = {name: value for name, value in row.items() if isinstance(value, str)}
        if options and listed and OPTIONS not in holes(template.target):
            fields[OPTIONS] = "\n- ".join(["OPTIONS:", *listed])
        else:
            template = _without_options(template)
        record = template.instruct(fields)
        spans = re.finditer(self.learned, record.output) if self.learned else ()
        return dataclasses.replace(record, learned=tuple(part.span() for part in spans))


def _without_options(template: Template) -> Template:
    def drop(text: str) -> str:
        before, hole, after = text.partition("{" + OPTIONS + "}")
        return (before.rstrip() + after).rstrip() if hole else text

    return dataclasses.replace(
        template,
        source=drop(template.source),
        target=drop(template.target),
        instruction=drop(template.instruction),
    )


def reverse(template: Template, source: str) -> Template:
    """A template that gives the answer and asks for what led to it.

    Args:
      template: of a task, such as "What is the capital of {country}?" -> "{city}".
      source: what asks for it, such as "Ask about a country's capital. Answer: {city}"; the new
        target is what the template asks.

    Example:
      >>> from jaxrec.data import Template
      >>> from jaxrec.texts import reverse
      >>> ask = Template(name="ask", source="Capital of {country}?", target="{city}")
      >>> back = reverse(ask, "Write a question whose answer is {city}.")
      >>> back.fill({"country": "Peru", "city": "Lima"})
      ('Write a question whose answer is Lima.', 'Capital of Peru?')
    """
    return dataclasses.replace(
        template, name=f"{template.name}-reversed", source=source, target=template.source
    )


def split_rows(
    rows: Sequence[Row], shares: tuple[float, float], seed: int = 0
) -> dict[Part, np.ndarray]:
    """Split the numbers of data into "train", "valid" and "test", each ascending.

    The side of a datum depends on its content and the seed alone, so equal data are on one side,
    and further data move none of the old ones.

    Args:
      rows: the data.
      shares: shares of validation and test.
      seed: of the split.

    Raises:
      ConfigError: shares that leave nothing to train on.

    Example:
      >>> from jaxrec.texts import split_rows
      >>> rows = [{"word": word} for word in "abcdefgh" * 2]
      >>> parts = split_rows(rows, (0.2, 0.3))
      >>> sides = [{rows[row]["word"] for row in part.tolist()} for part in parts.values()]
      >>> sum(map(len, sides))
      8
    """
    valid, test = shares
    if min(shares) < 0 or valid + test >= 1:
        raise ConfigError(f"shares of validation and test must add up to less than 1, got {shares}")
    places = np.array([_place(row, seed) for row in rows])
    return {
        "train": np.flatnonzero(places >= valid + test),
        "valid": np.flatnonzero(places < valid),
        "test": np.flatnonzero((places >= valid) & (places < valid + test)),
    }


def _place(row: Row, seed: int) -> float:
    """A number in [0, 1) that the content of a datum and the seed decide."""
    text = json.dumps([seed, sorted(row.items())], default=list)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) / 2**64


def training_instances(
    task: TaskSet,
    data: Sequence[int] | np.ndarray,
    styles: Sequence[Style] = STYLES,
    *,
    per_datum: int = 1,
    shots: int = 3,
    most_words: int = 400,
    seed: int = 0,
) -> list[Instance]:
    """Write training data with templates and styles that are drawn anew for each datum.

    Args:
      task: the data and templates.
      data: numbers of the training data, of which at most 30,000 are drawn.
      styles: to draw from.
      per_datum: number of different seen templates of each datum; 0 for all.
      shots: number of examples in front of few-shot instances, from the other training data.
      most_words: most words of a prompt with examples; further examples are left out.
      seed: of all draws.

    Raises:
      ConfigError: an unknown style or none, or negative numbers.
    """
    check_styles(styles)
    if per_datum < 0 or shots < 1 or most_words < 1:
        raise ConfigError(
            f"per_datum {per_datum} must be at least 0, shots {shots} and most_words {most_words} "
            "at least 1"
        )
    rng = np.random.default_rng([seed, zlib.crc32(task.name.encode())])
    data = np.asarray(data, np.int64)
    if len(data) > MOST_EXAMPLES:
        data = np.sort(rng.choice(data, MOST_EXAMPLES, replace=False))
    count = min(per_datum or len(task.seen), len(task.seen))
    instances = []
    for datum in data.tolist():
        for which in rng.permutation(len(task.seen))[:count].tolist():
            style, template = styles[int(rng.integers(len(styles)))], task.seen[which]
            others: list[int] = []
            if style.startswith("fs"):
                drawn = rng.choice(data, min(shots + 1, len(data)), replace=False)
                # An equal datum would tell the answer.
                others = [o for o in drawn.tolist() if task.rows[o] != task.rows[datum]][:shots]
            record = _few_shot(task, template, datum, others, style.endswith("snoopt"), most_words)
            instances.append(_instance(task, template, datum, record))
    return instances


def _instance(task: TaskSet, template: Template, datum: int, record: Instruction) -> Instance:
    return Instance(record=record, task=task.name, template=template.name, datum=datum)


def _few_shot(
    task: TaskSet,
    template: Template,
    datum: int,
    others: Sequence[int],
    bare: bool,
    most_words: int,
) -> Instruction:
    """An instruction after answered examples, which are written by the same template."""
    record = task.write(template, datum, options=not bare)
    shown: list[str] = []
    words = len(_question(record).split())
    for other in others:
        example = task.write(template, other, options=not bare)
        text = _question(example) + _ANSWERED + example.output
        words += len(text.split())
        if words > most_words:
            break
        shown.append(text)
    if not shown:
        return record
    return Instruction(_NEXT.join([*shown, _question(record)]), "", record.output)


def _question(record: Instruction) -> str:
    return record.instruction + (f"\n{record.input}" if record.input else "")


def held_out_instances(
    task: TaskSet,
    data: Sequence[int] | np.ndarray,
    templates: Sequence[Template],
    *,
    most: int = 0,
    seed: int = 0,
) -> list[Instance]:
    """Write data for a measurement: zero shots, with options, the templates in turn.

    Args:
      task: the data and templates.
      data: numbers of the data.
      templates: those to measure, such as `task.unseen`.
      most: most instances, drawn by the seed; 0 for all data.
      seed: of the draw.
    """
    data = np.asarray(data, np.int64)
    if most and most < len(data):
        data = np.sort(np.random.default_rng(seed).permutation(data)[:most])
    return [
        _instance(task, template, datum, task.write(template, datum, options=True))
        for place, datum in enumerate(data.tolist())
        for template in templates[place % len(templates) : place % len(templates) + 1]
    ]


def check_styles(styles: Sequence[str]) -> None:
    """Reject an unknown style, or none.

    Raises:
      ConfigError: naming the nearest style.

    Example:
      >>> from jaxrec.texts import check_styles
      >>> check_styles(["zsopt", "fsopt"])
    """
    for style in styles:
        if style not in STYLES:
            raise ConfigError(
                f"no style {style!r}{nearest(style, STYLES)}; styles: {', '.join(STYLES)}"
            )
    if not styles:
        raise ConfigError(f"styles is empty; give some of {', '.join(STYLES)}")


class _File(TypedDict):
    """What a description of a task holds."""

    name: str
    rows: str
    templates: list[dict[str, str | bool]]
    cluster: NotRequired[str]


def read_task_set(path: str | os.PathLike[str]) -> TaskSet:
    """Read a task from its description, a JSON file.

    It has "name", "rows" (a file of JSON records, relative to the description), perhaps "cluster",
    and "templates": objects with "source", "target", and perhaps "name", "instruction" and "seen".

    Raises:
      DataError: a file is missing or damaged; the message names the part.
      ConfigError: see `TaskSet`.

    Example:
      >>> import json, pathlib, tempfile
      >>> from jaxrec.texts import read_task_set
      >>> place = pathlib.Path(tempfile.mkdtemp())
      >>> _ = (place / "rows.jsonl").write_text('{"q": "2 + 2", "a": "4"}')
      >>> templates = [{"source": "{q} is", "target": "{a}"}]
      >>> task = {"name": "sum", "rows": "rows.jsonl", "templates": templates}
      >>> _ = (place / "sum.json").write_text(json.dumps(task))
      >>> read_task_set(place / "sum.json").templates[0].name
      'sum-1'
    """
    path = Path(path)
    missing = "give the path of a task's description"
    found = read_json(path, _File, missing=missing, fix="see the guide on instruction tuning")
    for key in found:
        if key not in _File.__annotations__:
            keys = list(_File.__annotations__)
            raise DataError(
                f"{path}: unknown key {key!r}{nearest(key, keys)}; keys: {', '.join(keys)}"
            )
    templates = [
        _template(path, found["name"], number, values)
        for number, values in enumerate(found["templates"], start=1)
    ]
    asked = sorted(frozenset().union(*(template.holes for template in templates)))
    rows = read_json_rows(path.parent / found["rows"], "data of a task", asked)
    return TaskSet(
        name=found["name"],
        rows=rows,
        templates=tuple(templates),
        cluster=found.get("cluster", ""),
    )


def _template(path: Path, task: str, number: int, values: Mapping[str, Any]) -> Template:
    kinds = {"name": str, "source": str, "target": str, "instruction": str, "seen": bool}
    for key, value in values.items():
        if key not in kinds:
            raise DataError(
                f"{path}: template {number} has the unknown key {key!r}{nearest(key, kinds)}; "
                f"keys: {', '.join(kinds)}"
            )
        if not isinstance(value, kinds[key]):
            raise DataError(
                f"{path}: {key!r} of template {number} must be {kinds[key].__name__}, got {value!r}"
            )
    for key in ("source", "target"):
        if key not in values:
            raise DataError(f"{path}: template {number} has no {key!r}")
    return Template(**{"name": f"{task}-{number}", **values})
