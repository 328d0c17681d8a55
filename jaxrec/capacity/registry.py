"""The tasks that come with jaxrec, by name."""

from collections.abc import Sequence

from jaxrec.capacity.arithmetic import GSM8K
from jaxrec.capacity.closed_book import NQ_OPEN, TRIVIAQA, WEB_QUESTIONS
from jaxrec.capacity.crows_pairs import CROWS_PAIRS, CROWS_PAIRS_MASKED
from jaxrec.capacity.dates import DATES
from jaxrec.capacity.errands import ERRANDS
from jaxrec.capacity.grammar import BLIMP
from jaxrec.capacity.programs import HUMANEVAL
from jaxrec.capacity.reading import LAMBADA, LAST_WORD, WIKITEXT
from jaxrec.capacity.sums import SUMS, SUMS_SPACED, SUMS_TOOL
from jaxrec.capacity.symbols import COIN_FLIP, LAST_LETTERS
from jaxrec.capacity.task import Task
from jaxrec.capacity.truthfulqa import TRUTHFULQA
from jaxrec.capacity.winogender import WINOGENDER
from jaxrec.core import ConfigError, nearest

# A name stands here once; users add tasks of their own by a file.
TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        BLIMP,
        COIN_FLIP,
        CROWS_PAIRS,
        CROWS_PAIRS_MASKED,
        DATES,
        ERRANDS,
        GSM8K,
        HUMANEVAL,
        LAMBADA,
        LAST_LETTERS,
        LAST_WORD,
        NQ_OPEN,
        SUMS,
        SUMS_SPACED,
        SUMS_TOOL,
        TRIVIAQA,
        TRUTHFULQA,
        WEB_QUESTIONS,
        WIKITEXT,
        WINOGENDER,
    )
}


def find_tasks(names: Sequence[str]) -> list[Task]:
    """Return tasks by their names.

    Args:
      names: of tasks that come with jaxrec.

    Raises:
      ConfigError: an unknown name, a name twice, or no names.

    Example:
      >>> [task.name for task in find_tasks(["blimp", "gsm8k"])]
      ['blimp', 'gsm8k']
    """
    if not names:
        raise ConfigError(f"no tasks are given; tasks: {', '.join(TASKS)}")
    for name in names:
        if name not in TASKS:
            raise ConfigError(
                f"no task {name!r}{nearest(name, TASKS)}; tasks: {', '.join(TASKS)}; a task of "
                "your own is the path of a .json or .py file"
            )
        if list(names).count(name) > 1:
            raise ConfigError(f"task {name!r} is given twice; give it once")
    return [TASKS[name] for name in names]
