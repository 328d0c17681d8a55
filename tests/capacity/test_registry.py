"""Tasks are found by name, and each stands in the guide."""

from pathlib import Path

import pytest

from jaxrec.capacity import TASKS, find_tasks
from jaxrec.core import ConfigError

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "capacity.md"


def test_every_task_stands_in_the_guide():
    text = GUIDE.read_text()
    rows = {line.split("`")[1]: line for line in text.splitlines() if line.startswith("| `")}
    assert [name for name in TASKS if name not in rows] == []


def test_tasks_are_found_by_name():
    assert [task.name for task in find_tasks(["gsm8k", "blimp"])] == ["gsm8k", "blimp"]
    assert all(task.name == name for name, task in TASKS.items())


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "no tasks are given; tasks: blimp"),
        (["gsm"], "no task 'gsm', did you mean 'gsm8k'"),
        (["blimp", "blimp"], "'blimp' is given twice"),
    ],
)
def test_wrong_names_are_rejected(names, message):
    with pytest.raises(ConfigError, match=message):
        find_tasks(names)
