"""The grammar backwards: which instruction a text is, and what it says.

Reading needs names that stand for one item each. Training and measuring read nothing: their data
are numbers, and are written last.
"""

import dataclasses
import re
import string
from collections.abc import Callable, Iterator, Mapping, Sequence

from jaxrec.core import DataError
from jaxrec.data import Template
from jaxrec.systems.instructrec.tasks import TASKS, YES_NO, InstructTask, Writer
from jaxrec.systems.instructrec.wishes import is_likes, is_specific, is_vague
from jaxrec.texts import Names, check_writable

Accepts = Callable[[str], bool]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reading:
    """What an instruction with its answer says.

    Attributes:
      task: name of the task, such as "P1-I0-T2".
      template: name of the template.
      fields: what stands in its holes.
      items: numbers of the items in the holes that name items, in their order.
    """

    task: str
    template: str
    fields: Mapping[str, str]
    items: Mapping[str, tuple[int, ...]]


class Reader:
    """Reads instructions and their answers.

    Args:
      names: names of the items.
      genres: genres in lower case.
      tasks: tasks to read, worded for the names; None for all.

    Raises:
      DataError: two items have one name.

    Example:
      >>> from jaxrec.texts import Names
      >>> names = Names(users=[], items=["Alien", "Heat"], separator=" ; ")
      >>> reading = Reader(names, ["horror"]).read("after Alien ; Heat recommend a film", "Alien")
      >>> reading.task, dict(reading.items)
      ('P1-I0-T2', {'items': (0, 1), 'item': (0,)})
    """

    def __init__(
        self, names: Names, genres: Sequence[str], tasks: Sequence[InstructTask] | None = None
    ) -> None:
        check_writable(names)
        self._names = names
        self._genres = tuple(genres)
        self._number = {name: item for item, name in enumerate(names.items)}
        # Names without a separator are tokens, such as "<a_3><b_1>".
        longest = sorted(map(re.escape, names.items), key=len, reverse=True)
        self._token = None if names.separator else re.compile("|".join(longest))
        self._tasks = [task.fit(names) for task in (TASKS.values() if tasks is None else tasks)]

    def read(self, source: str, target: str) -> Reading:
        """Read an instruction with its answer.

        Raises:
          DataError: it is no instruction of the grammar, or several with different content.
        """
        readings = [
            reading
            for task in self._tasks
            for template in task.templates
            for reading in self._readings(task, template, source, target)
        ]
        if len(readings) != 1:
            what = " or ".join(reading.template for reading in readings) or "none of the grammar"
            raise DataError(
                f"the instruction {source!r:.200} with the answer {target!r:.80} is {what}; "
                "exactly one must be meant"
            )
        return readings[0]

    def _readings(
        self, task: InstructTask, template: Template, source: str, target: str
    ) -> Iterator[Reading]:
        assert isinstance(task.render, Writer)
        accepts = self._accepts(task.render.intention)
        for asked in _matches(template.source, source, accepts):
            for answered in _matches(template.target, target, accepts):
                fields = asked | answered
                items: dict[str, tuple[int, ...]] = {
                    hole: tuple(self._listed(fields[hole]) or ())
                    for hole in ("items", "item", "asked", "candidates")
                    if hole in fields
                }
                yield Reading(task=task.name, template=template.name, fields=fields, items=items)

    def _accepts(self, intention: str) -> dict[str, Accepts]:
        """What each hole may hold."""
        is_wish = is_vague if intention == "I1" else is_specific

        def is_list(text: str) -> bool:
            return self._listed(text) is not None

        def is_item(text: str) -> bool:
            return text in self._number

        return {
            "items": is_list,
            "candidates": is_list,
            "item": is_item,
            "asked": is_item,
            "answer": lambda text: text in YES_NO.texts,
            "likes": lambda text: is_likes(text, self._genres),
            "wish": lambda text: is_wish(text, self._genres),
        }

    def _listed(self, text: str) -> list[int] | None:
        """Numbers of the items of a list; None if it is no list of items."""
        if self._token is None:
            parts = text.split(self._names.separator)
        else:
            parts = self._token.findall(text)
            if "".join(parts) != text:
                return None
        numbers = [self._number.get(part, -1) for part in parts]
        return numbers if numbers and min(numbers) >= 0 else None


def _matches(pattern: str, text: str, accepts: Mapping[str, Accepts]) -> Iterator[dict[str, str]]:
    """All ways to fill the holes of a pattern such that it becomes a text."""
    pieces = [(literal, hole) for literal, hole, _, _ in string.Formatter().parse(pattern)]

    def fill(number: int, begin: int) -> Iterator[dict[str, str]]:
        if number == len(pieces):
            if begin == len(text):
                yield {}
            return
        literal, hole = pieces[number]
        if not text.startswith(literal, begin):
            return
        begin += len(literal)
        if hole is None:
            yield from fill(number + 1, begin)
            return
        following = pieces[number + 1][0] if number + 1 < len(pieces) else ""
        for end in _ends(text, begin, following, number + 1 == len(pieces)):
            if accepts[hole](text[begin:end]):
                for rest in fill(number + 1, end):
                    yield {hole: text[begin:end]} | rest

    yield from fill(0, 0)


def _ends(text: str, begin: int, following: str, last: bool) -> Iterator[int]:
    """Where a hole may end: at the end of the text, or before the words that follow it."""
    if last:
        yield len(text)
        return
    end = text.find(following, begin + 1)
    while end >= 0:
        yield end
        end = text.find(following, end + 1)
