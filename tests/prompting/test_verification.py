import ast
import gzip
import json
import operator
import os
import random
from fractions import Fraction
from pathlib import Path

import pytest

from jaxrec.prompting import arithmetic_steps, verifies

GSM8K = Path(os.environ.get("JAXREC_DATA", "missing")) / "gsm8k" / "train.jsonl.gz"
OPERATIONS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def found(text):
    return [(step.text, step.correct) for step in arithmetic_steps(text)]


def python_value(node):
    """What Python's own parser makes of an expression, in exact fractions."""
    if isinstance(node, ast.Expression):
        return python_value(node.body)
    if isinstance(node, ast.BinOp):
        return OPERATIONS[type(node.op)](python_value(node.left), python_value(node.right))
    if isinstance(node, ast.UnaryOp):
        return -python_value(node.operand)
    return Fraction(str(node.value))


def random_expression(draw, depth=3):
    if depth == 0 or draw.random() < 0.2:
        number = draw.choice([str(draw.randrange(1, 100)), f"{draw.randrange(1, 999) / 100}"])
        return f"-{number}" if depth == 0 and draw.random() < 0.2 else number
    left, right = (random_expression(draw, depth - 1) for _ in range(2))
    sign = draw.choice("+-*/")
    inner = f"{left} {sign} {right}"
    return f"({inner})" if draw.random() < 0.4 else inner


def test_expressions_are_worth_what_python_says():
    draw, checked = random.Random(0), 0
    while checked < 300:
        text = f"{random_expression(draw)} + {draw.randrange(9)}"
        try:
            value = python_value(ast.parse(text, mode="eval"))
        except ZeroDivisionError:
            continue
        (step,) = arithmetic_steps(f"We get {text} = 7.")
        assert (step.left, step.right) == (value, 7), text
        assert step.correct == (value == 7)
        checked += 1


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("48 / 2 = 24 clips, 48 + 24 = 73.", [("48/2=24", True), ("48+24=73", False)]),
        ("3 x $5 = $15", [("3*5=15", True)]),
        ("2 × 3 = 6 and 8 ÷ 4 = 2", [("2*3=6", True), ("8/4=2", True)]),
        ("5 − 3 = 2", [("5-3=2", True)]),
        ("1,200 / 4 = 300", [("1200/4=300", True)]),
        ("(2 + 3) * 4 = 20", [("(2+3)*4=20", True)]),
        ("2(3 + 4) = 14", [("2*(3+4)=14", True)]),
        ("It is (2 + 3 = 5).", [("2+3=5", True)]),
        ("((2 + 2 = 4", [("2+2=4", True)]),
        ("-5 + 3 = -2", [("-5+3=-2", True)]),
        ("1.5*2=3.", [("1.5*2=3", True)]),
        ("50% * 80 = 40", [("50%*80=40", True)]),
        ("80 - 20 = 60%", [("80-20=60%", True)]),
        ("1 / 4 = 25%", [("1/4=25%", True)]),
        ("1 / 4 = 26%", [("1/4=26%", False)]),
        ("14 = 2 * 7", [("14=2*7", True)]),
        ("6 / 0 = 6", [("6/0=6", False)]),
        ("2 + 2 = 4\n3 + 3 = 6", [("2+2=4", True), ("3+3=6", True)]),
        ("- 2 + 2 = 4\n* 3 + 3 = 6", [("2+2=4", True), ("3+3=6", True)]),
        ("1. 4 + 4 = 8", [("4+4=8", True)]),
        ("5 + 3 = 8 - that is all", [("5+3=8", True)]),
    ],
)  # fmt: skip
def test_equations_are_found(text, steps):
    assert found(text) == steps


@pytest.mark.parametrize(
    "text",
    [
        "The answer is 7.",
        "x = 5",
        "5 = 5",
        "3x = 12 and 2x - 3 = 9",
        "2 apples + 3 pears = 5",
        "84 = 3x + 9",
        "C + 6 = 2n",
        "1 1/2 * 60 = 90",
        "2 + = 4",
        "2 + 2 =",
        "a - 5 - 2 = 10",
        "",
    ],
)
def test_what_cannot_be_computed_is_no_step(text):
    assert found(text) == []


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("2 + 3 * 4 = 2 + 12 = 14", [("2+3*4=2+12", True), ("2+12=14", True)]),
        ("2 + 3 * 4 = 2 + 11 = 13", [("2+3*4=2+11", False), ("2+11=13", True)]),
        ("5 + 3 = 8 * 2 = 16", [("5+3=8*2", True), ("8*2=16", True)]),
        ("5 + 3 = 9 * 2 = 18", [("5+3=9*2", False), ("9*2=18", True)]),
        ("5 + 3 = 8 + 1", [("5+3=8+1", False)]),
        ("2 * 3 = 6 = 12 / 2", [("2*3=6", True), ("6=12/2", True)]),
    ],
)
def test_each_link_of_a_chain_is_a_step(text, steps):
    # A run-on shows only the number that the step is about.
    shown = [(step.replace("5+3=8*2", "5+3=8"), correct) for step, correct in steps]
    assert found(text) == shown


@pytest.mark.parametrize(
    ("result", "correct"),
    [("3.33", True), ("3.3", True), ("3.333", True), ("3.34", False), ("3", False), ("3.4", False)],
)
def test_a_result_with_decimals_may_be_rounded(result, correct):
    assert found(f"10 / 3 = {result}") == [(f"10/3={result}", correct)]


def test_marks_of_gsm8k_count_once():
    assert found("48/2 = <<48/2=24>>24 clips") == [("48/2=24", True)]
    assert found("half is <<48/2=25>>25 clips") == [("48/2=25", False)]
    assert found("48 - 1 = <<48-2=46>>46") == [("48-2=46", True), ("48-1=46", False)]


def test_a_text_verifies_if_all_its_steps_are_right():
    assert verifies("2 + 2 = 4. 4 * 2 = 8.") is True
    assert verifies("2 + 2 = 4. 4 * 2 = 9.") is False
    assert verifies("It is 8.") is None


@pytest.mark.parametrize("text", ["(" * 5000 + "1+1=2", "-" * 5000 + "1+1=2", "1+" * 5000 + "1=7"])
def test_texts_that_nobody_writes_do_not_crash(text):
    assert len(arithmetic_steps(text)) <= 1


def test_the_solutions_of_gsm8k_verify():
    if not GSM8K.is_file():
        pytest.skip("needs GSM8K: set JAXREC_DATA to a directory with gsm8k/train.jsonl.gz")
    with gzip.open(GSM8K, "rt") as file:
        texts = [json.loads(line)["answer"] for line in file][:1500]
    steps = [step.correct for text in texts for step in arithmetic_steps(text)]
    marks = sum(text.count("<<") for text in texts)
    assert len(steps) > 0.95 * marks
    # The rest are mistakes of the data set, such as "13 / 6 = 2 full cycles".
    assert 0.99 < sum(steps) / len(steps) < 1
    wrong = [text.replace("+", "-") for text in texts if "+" in text]
    assert sum(verifies(text) is True for text in wrong) < 0.05 * len(wrong)


def test_a_number_of_thousands_of_digits_is_no_step():
    # Python's own limit for reading a number is 4,300 digits, and a model may repeat one for long.
    long = "9" * 5000
    assert found(f"{long} * 2 = 4. 2 + 2 = {long}. 1 + 1 = 2.") == [("1+1=2", True)]
    assert found(f"<<{long}+1=2>>") == []
