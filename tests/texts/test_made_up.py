import re

import pytest

from jaxrec.texts import split_rows, toy_tasks, training_instances

TASKS = {task.name: task for task in toy_tasks(rows=150)}


def _list(row):
    return row["list"].split(", ")


# Each rule is written here once more, so that a wrong answer of the generator is seen.
RULES = {
    "first": lambda row: _list(row)[0],
    "second": lambda row: _list(row)[1],
    "last": lambda row: _list(row)[-1],
    "count": lambda row: str(len(_list(row))),
    "contains": lambda row: "yes" if row["x"] in _list(row) else "no",
    "largest": lambda row: str(max(int(row["a"]), int(row["b"]))),
    "smallest": lambda row: str(min(int(row["a"]), int(row["b"]))),
    "sum": lambda row: str(int(row["a"]) + int(row["b"])),
    "after": lambda row: _list(row)[_list(row).index(row["x"]) + 1],
    "before": lambda row: _list(row)[_list(row).index(row["x"]) - 1],
    "swap": lambda row: f"{row['b']} {row['a']}",
    "copy": lambda row: f"{row['a']} {row['b']}",
    "repeat": lambda row: f"{row['a']} {row['b']} {row['a']} {row['b']}",
    "best": lambda row: max(re.findall(r"(\w+) (\d)", row["rated"]), key=lambda p: p[1])[0],
    "worst": lambda row: min(re.findall(r"(\w+) (\d)", row["rated"]), key=lambda p: p[1])[0],
    "stars": lambda row: dict(re.findall(r"(\w+) (\d)", row["rated"]))[row["x"]],
    "unseen": lambda row: row["a"] if row["b"] in _list(row) else row["b"],
    "genre": lambda row: "yes" if row["liked"] == row["genre"] else "no",
}


def test_there_are_28_tasks_with_unseen_wordings():
    assert len(TASKS) == 28
    assert all(task.unseen and len(task.seen) >= 5 for task in TASKS.values())


@pytest.mark.parametrize("name", TASKS)
def test_every_answer_is_right_in_every_wording(name):
    task = TASKS[name]
    rule = RULES[name.split("-")[0]]
    for number, row in enumerate(task.rows):
        for template in task.templates:
            record = task.write(template, number, options=True)
            assert record.output == rule(row)


def test_data_are_distinct_so_that_no_question_is_on_two_sides():
    for task in TASKS.values():
        numbers = range(len(task.rows))
        asked = [task.write(task.seen[0], n, options=True).instruction for n in numbers]
        parts = split_rows(task.rows, (0.2, 0.3))
        assert not {asked[n] for n in parts["train"]} & {asked[n] for n in parts["test"]}


def test_tasks_depend_on_the_seed_alone():
    again, other = toy_tasks(rows=20, seed=5), toy_tasks(rows=20, seed=6)
    assert [t.rows for t in again] == [t.rows for t in toy_tasks(rows=20, seed=5)]
    assert again[0].rows != other[0].rows
    made = training_instances(again[0], range(5), ["zsopt"], seed=1)
    assert made == training_instances(again[0], range(5), ["zsopt"], seed=1)
