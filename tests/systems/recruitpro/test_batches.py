"""Balanced batches: every class in turn, every row in turn, and the same ones after a restart."""

import collections

import numpy as np
import pytest

from jaxrec.systems.recruitpro.batches import Balanced, joint_batches, task_at
from jaxrec.systems.recruitpro.tables import Rows


def test_every_class_of_a_batch_has_its_rows():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 30, 500)
    stream = Balanced(labels=labels, rows=32, per_class=4, seed=3)
    for number in range(20):
        counts = collections.Counter(labels[stream.batch(number)].tolist())
        assert list(counts.values()) == [4] * 8
    # 30 classes fill three batches; the six others wait for the next permutation.
    thrice = [set(labels[stream.batch(number)].tolist()) for number in range(3)]
    assert len(set.union(*thrice)) == 24
    drawn = np.concatenate([labels[stream.batch(number)] for number in range(3000)])
    counts = np.bincount(drawn)
    np.testing.assert_allclose(counts / counts.mean(), 1, atol=0.1)


def test_classes_and_rows_take_turns():
    labels = np.repeat(np.arange(6), [10, 20, 30, 5, 10, 25])
    stream = Balanced(labels=labels, rows=12, per_class=2, seed=0)
    batches = [stream.batch(number) for number in range(50)]
    drawn = np.concatenate(batches)
    assert np.bincount(labels[drawn]).tolist() == [100] * 6
    # A class of n rows has each of them equally often.
    counts = np.bincount(drawn, minlength=len(labels))
    for label, size in ((0, 10), (1, 20), (3, 5)):
        assert set(counts[labels == label]) == {100 // size}


def test_a_class_of_one_row_and_a_batch_larger_than_the_classes():
    labels = np.array([0, 1, 1, 1])
    rows = Balanced(labels=labels, rows=7, per_class=2, seed=0).batch(0)
    assert sorted(np.bincount(labels[rows])) == [3, 4]
    assert len(set(rows.tolist()) & {1, 2, 3}) == 3


def test_tasks_take_turns_in_rounds():
    steps = [task_at(step, 5, seed=1) for step in range(50)]
    assert all(sorted(steps[k : k + 5]) == list(range(5)) for k in range(0, 50, 5))
    assert len({tuple(steps[k : k + 5]) for k in range(0, 50, 5)}) > 5


def _rows(count, kind):
    numbers = np.arange(count, dtype=np.int32)
    return Rows(kind=kind, labels=numbers % 3, columns={"tokens": numbers})


def _joint(shard=(0, 1)):
    tables = [_rows(12, "text"), _rows(9, "pair")]
    return iter(joint_batches(tables, batch_size=6, pairs=4, per_class=2, seed=0, shard=shard))


def test_batches_of_one_task_resume_and_are_shared_among_processes():
    whole = _joint()
    first = [next(whole) for _ in range(4)]
    assert sorted(len(batch["task"]) for batch in first) == [4, 4, 6, 6]
    assert all(len(set(batch["task"].tolist())) == 1 for batch in first)
    state, expected = whole.get_state(), next(whole)
    again = _joint()
    again.set_state(state)
    np.testing.assert_array_equal(next(again)["tokens"], expected["tokens"])
    halves = [_joint((part, 2)) for part in range(2)]
    for batch in first:
        parts = [next(half)["tokens"] for half in halves]
        np.testing.assert_array_equal(np.concatenate(parts), batch["tokens"])


def test_processes_that_cannot_share_a_batch():
    with pytest.raises(Exception, match="multiple of that number"):
        _joint((0, 5))
