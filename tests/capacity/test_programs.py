"""HumanEval's own solutions pass, and every other way for a program to end is told apart."""

import dataclasses
import itertools

import pytest

from jaxrec.capacity import (
    TASKS,
    Source,
    StudyOptions,
    program_task,
    read_documents,
    run_task,
    whole_program,
)
from jaxrec.capacity.programs import ending_of
from jaxrec.core import ConfigError, Limits, Outcome, run_many
from jaxrec.prompting import Reply, ScriptedModel

PROBLEM = {
    "prompt": 'def double(x):\n    """Return 2 x."""\n',
    "entry_point": "double",
    "test": "def check(candidate):\n    assert candidate(2) == 4\n",
}
TASK = program_task("double", Source(make=lambda: [PROBLEM]))


def values(text):
    found = TASK.measure(PROBLEM, Reply(texts=(text,)))
    return {name: value for name, value in found.items() if value}


def check_solutions(root, limit):
    problems = read_documents(TASKS["humaneval"].source, root, limit=limit).asked
    programs = [whole_program(p, p["canonical_solution"]) for p in problems]
    ends = run_many(programs, Limits(seconds=60, cpu_seconds=3))
    assert [ending_of(end) for end in ends] == ["passed"] * len(problems)
    return len(problems)


def test_the_first_canonical_solutions_pass(real_data):
    assert check_solutions(real_data("humaneval").parent, 10) == 10


@pytest.mark.slow
def test_all_canonical_solutions_pass(real_data):
    assert check_solutions(real_data("humaneval").parent, None) == 164


def test_a_model_that_knows_the_solutions_is_at_the_ceiling_and_one_that_does_not_at_the_floor(
    real_data,
):
    root = real_data("humaneval").parent
    solved = {
        p["prompt"]: p["canonical_solution"]
        for p in read_documents(TASKS["humaneval"].source, root, limit=3).asked
    }
    # The text after a stop string is a second function, which is no part of the solution.
    knows = ScriptedModel(lambda prompt, _: f"{solved[prompt].rstrip()}\ndef f(:")
    options = StudyOptions(limit=3, resamples=10)
    for model, share in ((knows, 1.0), (ScriptedModel(lambda p, _: "    return None"), 0.0)):
        result = run_task(model, TASKS["humaneval"], root, options)
        assert result.estimates["pass@1"].value == share
        assert result.estimates["wrong"].value == 1 - share


@pytest.mark.parametrize(
    ("text", "ending"),
    [
        ("    return 2 * x", "pass@1"),
        ("    return 3 * x", "wrong"),
        ("    return y", "error"),
        ("    return (", "error"),
        ("    import sys\n    sys.exit(0)", "error"),
        ("    open('/etc/passwd').read()\n    return 2 * x", "refused"),
        ("    import socket\n    socket.create_connection(('1.1.1.1', 80))", "refused"),
    ],
)
def test_the_way_a_program_ends_is_reported(text, ending):
    assert values(text) == {ending: 1.0}


@pytest.mark.parametrize(
    ("ended", "ending"),
    [("timeout", "timeout"), ("memory", "refused"), ("processes", "refused"), ("ok", "passed")],
)
def test_endings_of_the_sandbox_have_a_name(ended, ending):
    assert ending_of(Outcome(ended=ended)) == ending


@pytest.mark.slow
def test_a_program_without_end_is_stopped():
    assert values("    while True: pass") == {"timeout": 1.0}


def test_several_samples_give_the_unbiased_estimate():
    task = program_task("double", Source(make=lambda: [PROBLEM]), samples=4, ks=(1, 2, 4))
    good, bad = "    return 2 * x", "    return x"
    found = task.measure(PROBLEM, Reply(texts=(good, bad, bad, bad), truncated=(False,) * 4))
    pairs = list(itertools.combinations(range(4), 2))
    assert found["pass@1"] == 0.25
    assert found["pass@2"] == sum(0 in pair for pair in pairs) / len(pairs)
    assert (found["pass@4"], found["wrong"]) == (1.0, 0.75)


def test_more_tries_than_samples_are_rejected():
    with pytest.raises(ConfigError, match="samples=1"):
        program_task("x", Source(make=lambda: [PROBLEM]), ks=(2,))


def test_a_message_that_only_speaks_of_an_assertion_is_an_error():
    outcome = Outcome(ended="exception", message="ValueError: AssertionError")
    assert ending_of(outcome) == "error"
    assert ending_of(dataclasses.replace(outcome, message="AssertionErrors: x")) == "error"
