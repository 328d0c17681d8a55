"""Sums by digits, and what a calculator adds to a model that cannot compute."""

import operator
import re

import pytest

from jaxrec.capacity import TASKS, StudyOptions, make_sums, read_number, run_task, write_number
from jaxrec.core import ConfigError
from jaxrec.prompting import ScriptedModel

STUDY = StudyOptions(limit=48, resamples=10)
OPERATIONS = {"plus": operator.add, "minus": operator.sub, "times": operator.mul}


def solve(prompt, spaced=False):
    question = prompt.rpartition("Q: ")[2].split("\n")[0]
    text = question.replace(" ", "") if spaced else question
    left, operation, right = re.search(r"(\d+) ?(plus|minus|times) ?(\d+)", text).groups()
    return OPERATIONS[operation](int(left), int(right))


def run(name, answer, tmp_path):
    model = ScriptedModel(answer)
    return run_task(model, TASKS[name], tmp_path, STUDY), model


def figures(result):
    return {name: found.value for name, found in result.estimates.items()}


def test_numbers_have_the_digits_that_they_should_have():
    rows = make_sums(200, (1, 3, 10))
    for row in rows:
        assert OPERATIONS[row["operation"]](row["left"], row["right"]) == row["answer"]
        assert row["digits"] == 1 or {len(str(row[s])) for s in ("left", "right")} == {
            row["digits"]
        }
    assert len({(row["operation"], row["digits"]) for row in rows}) == 9
    assert rows == make_sums(200, (1, 3, 10)) != make_sums(200, (1, 3, 10), seed=1)


@pytest.mark.parametrize("number", [0, 7, -12, 1234567890])
@pytest.mark.parametrize("spaced", [False, True])
def test_a_written_number_is_read_back(number, spaced):
    assert read_number(f" {write_number(number, spaced)}.", spaced) == str(number)


@pytest.mark.parametrize("name", ["sums", "sums_spaced"])
def test_one_who_computes_is_at_the_ceiling_at_all_digits(name, tmp_path):
    spaced = name == "sums_spaced"
    result, model = run(
        name, lambda prompt, _: f" {write_number(solve(prompt, spaced), spaced)}\n\nQ:", tmp_path
    )
    assert {e["accuracy"].value for e in result.groups["digits"].values()} == {1.0}
    assert ("What is 1 " in model.calls[-1].prompt.replace("0", "1")) or not spaced


def test_one_who_knows_short_sums_fails_at_long_ones(tmp_path):
    def answer(prompt, sample):
        right = solve(prompt)
        return f" {right}" if abs(right) < 10**4 else " 7"

    result, _ = run("sums", answer, tmp_path)
    by_digits = {int(n): e["accuracy"].value for n, e in result.groups["digits"].items()}
    assert by_digits[1] == by_digits[2] == 1.0
    assert by_digits[8] < 0.5


def test_one_who_writes_one_number_is_right_where_it_is_the_answer(tmp_path):
    result, _ = run("sums", lambda prompt, _: " 7", tmp_path)
    share = sum(row["answer"] == 7 for row in make_sums()[5:53]) / 48
    assert result.estimates["accuracy"].value == share


def expression(prompt):
    question = prompt.rpartition("Q: What is ")[2].split("?")[0]
    for word, sign in {"plus": "+", "minus": "-", "times": "*"}.items():
        question = question.replace(f" {word} ", f" {sign} ")
    return question


def caller(make):
    """A model that cannot compute, but calls the calculator where it was shown calls."""

    def answer(prompt, sample):
        called = prompt.endswith("]")
        if called:
            return f" {prompt.rpartition('-> ')[2][:-1]}\n\nQ:"
        return f" [{make(expression(prompt))}]" if "[Calculator" in prompt else " 7"

    return answer


def test_a_calculator_makes_a_model_right_that_cannot_compute(tmp_path):
    result, _ = run("sums_calculator", caller("Calculator({})".format), tmp_path)
    found = figures(result)
    assert found["accuracy_with"] == 1.0
    assert found["accuracy_without"] < 0.1
    assert found["gain"] == found["accuracy_with"] - found["accuracy_without"]
    assert (found["call_precision"], found["call_recall"], found["argument_match"]) == (1, 1, 1)
    assert found["failed_calls"] == 0.0


def test_spaces_in_the_arguments_do_not_matter(tmp_path):
    make = lambda text: f"Calculator({text.replace(' ', '')})"  # noqa: E731
    result, _ = run("sums_calculator", caller(make), tmp_path)
    assert figures(result)["argument_match"] == 1.0


@pytest.mark.parametrize(
    ("call", "precision", "match", "failed"),
    [("Calculator(1 + 1)", 1.0, 0.0, 0.0), ("Clock()", 0.0, 0.0, 1.0), ("Calculator(x)", 1, 0, 1)],
)
def test_wrong_calls_are_told_apart(call, precision, match, failed, tmp_path):
    result, _ = run("sums_calculator", caller(lambda text: call), tmp_path)
    found = figures(result)
    assert (found["call_precision"], found["argument_match"]) == (precision, match)
    assert found["failed_calls"] == failed
    assert found["accuracy_with"] < 0.2


def test_one_who_never_calls_has_no_precision(tmp_path):
    result, _ = run("sums_calculator", lambda prompt, _: f" {solve(prompt)}", tmp_path)
    found = figures(result)
    assert (found["accuracy_with"], found["accuracy_without"], found["gain"]) == (1, 1, 0)
    assert found["call_recall"] == 0.0
    assert found["call_precision"] != found["call_precision"]


def test_no_question_is_shown_with_its_answer(tmp_path):
    _, model = run("sums_calculator", lambda prompt, _: " 7", tmp_path)
    for call in model.calls:
        *shown, asked = call.prompt.split("Q: ")
        assert all(text.split("\n")[0] != asked.split("\n")[0] for text in shown)


def test_impossible_sizes_are_rejected():
    for count, digits in ((0, (1,)), (5, ()), (5, (0,)), (5, (19,))):
        with pytest.raises(ConfigError, match="digits"):
            make_sums(count, digits)
