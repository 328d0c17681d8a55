"""How answers are measured, with models whose right answers are known."""

import math

import numpy as np
import pytest

from jaxrec.prompting import ScriptedModel
from jaxrec.systems.in_context import InContextDataConfig, make_tasks
from jaxrec.systems.in_context.measure import answered, found_planted


@pytest.fixture(scope="module")
def tasks():
    return make_tasks(InContextDataConfig(texts=1, tasks=400), candidates=16)


def reads(prompt, answer):
    """The perfect reader: the label of a demonstration that shares a word with the query."""
    *shown, query = prompt.split("\n")
    words = set(query.split())
    labels = {line.split()[-1] for line in shown if words & set(line.split()[:-1])}
    if not labels:
        return math.log(0.25)
    return math.log(0.97 if answer.strip() in labels else 0.01)


def copies_the_last(prompt, answer):
    """Answers as the last demonstration does, whatever the query is."""
    shown = prompt.split("\n")[:-1]
    return 0.0 if shown and shown[-1].split()[-1] == answer.strip() else -9.0


READER = ScriptedModel(logprob=reads)


def ask(model, tasks, count, selection, order="ascending", seed=0):
    return answered(model, tasks.words, tasks.test, count, selection, order, seed=seed).mean()


def test_a_reader_is_right_with_neighbours_and_guesses_without_demonstrations(tasks):
    assert ask(READER, tasks, 1, "nearest") > 0.95
    # The first of the labels is right by chance; five standard deviations of 400 tasks.
    assert abs(ask(READER, tasks, 0, "random") - 0.25) < 5 * math.sqrt(0.25 * 0.75 / 400)


def test_random_demonstrations_help_a_reader_as_often_as_they_hit_the_group(tasks):
    found = ask(READER, tasks, 4, "random")
    near = np.mean(
        [
            np.mean([bool(set(q.query.input.split()) & set(d.input.split())) for d in q.pool])
            for q in tasks.test
        ]
    )
    hit = 1 - (1 - near) ** 4
    assert abs(found - (hit + (1 - hit) / 4)) < 5 * math.sqrt(0.25 / 400)


def test_the_nearest_demonstration_is_last_by_default(tasks):
    model = ScriptedModel(logprob=copies_the_last)
    assert ask(model, tasks, 8, "nearest") > 0.95
    assert ask(model, tasks, 8, "nearest", "descending") < 0.6


def test_a_seed_draws_other_random_demonstrations(tasks):
    values = [
        answered(READER, tasks.words, tasks.test, 2, "random", seed=seed) for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(values[0], values[1])
    assert (values[0] != values[2]).any()


def test_a_reader_finds_the_planted_demonstration_and_a_copier_does_not(tasks):
    assert found_planted(READER, tasks.test).mean() == 1.0
    # Half of the candidates have the right answer, and the copier cannot tell them apart.
    copier = found_planted(ScriptedModel(logprob=copies_the_last), tasks.test).mean()
    assert copier < 0.25
