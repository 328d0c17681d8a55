"""The calculator agrees with exact arithmetic and refuses the rest by name."""

import decimal
from fractions import Fraction

import pytest
from hypothesis import given, strategies as st

from jaxrec.prompting import CALCULATOR, ToolError, calculate

NUMBERS = st.integers(0, 9999).map(str) | st.decimals(0, 99, places=2).map(str)


def combined(parts):
    return st.builds(lambda a, sign, b: f"({a} {sign} {b})", parts, st.sampled_from("+-*/"), parts)


EXPRESSIONS = st.recursive(NUMBERS, combined, max_leaves=6)


def exact(expression):
    """Evaluate by Python, each number as a fraction."""
    words = expression.replace("(", " ( ").replace(")", " ) ").split()
    code = " ".join(f"Fraction('{word}')" if word[0].isdigit() else word for word in words)
    return eval(code, {"Fraction": Fraction})


@given(EXPRESSIONS)
def test_values_are_exact_and_rounded_to_two_decimals(expression):
    try:
        value = exact(expression)
    except ZeroDivisionError:
        with pytest.raises(ToolError) as caught:
            calculate(expression)
        assert caught.value.failure == "division_by_zero"
        return
    context = decimal.Context(prec=200)
    number = context.divide(decimal.Decimal(value.numerator), decimal.Decimal(value.denominator))
    rounded = number.quantize(decimal.Decimal("0.01"), decimal.ROUND_HALF_EVEN, context)
    text = f"{rounded:f}".rstrip("0").rstrip(".")
    # The decimal module has a negative zero.
    assert calculate(expression) == ("0" if text == "-0" else text)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        # The examples of the paper: its prompt for the calculator and its figure 1.
        ("400 / 1400", "0.29"),
        ("18 + 12 * 3", "54"),
        ("658,893 / 11.4", "57797.63"),
        ("(735 + 252) / 2", "493.5"),
        ("2 * -3", "-6"),
        ("-2 ** 2", "-4"),
        ("2 ^ 10", "1024"),
        ("2 ** -1", "0.5"),
        ("6 × 7 ÷ 2 − 1", "20"),
        ("  1 +\t1 ", "2"),
        (".5 + 1.", "1.5"),
        ("0.005", "0"),
        ("0.015", "0.02"),
        ("-0.001", "0"),
        ("1,234,567 + 0", "1234567"),
    ],
)
def test_expressions_as_people_write_them(expression, value):
    assert calculate(expression) == value


@pytest.mark.parametrize(
    ("expression", "failure"),
    [
        ("1 / 0", "division_by_zero"),
        ("0 ^ -1", "division_by_zero"),
        ("9 ** 9 ** 9", "too_large"),
        ("10 ^ 61", "too_large"),
        ("10 ^ -61", "too_large"),
        ("(10 ^ 60) * 10", "too_large"),
        ("1" * 70, "too_large"),
        ("1 + " * 100 + "1", "too_large"),
        ("2 ** 0.5", "unsupported"),
        ("1e9", "unsupported"),
        ("0x10", "unsupported"),
        ("1_000", "unsupported"),
        ("5 % 3", "unsupported"),
        ("7 // 2", "unsupported"),
        ("1 < 2", "unsupported"),
        ("x + 1", "unsupported"),
        ("'a' * 9", "unsupported"),
        ("True + 1", "unsupported"),
        ("1j", "unsupported"),
        ("__import__('os').system('true')", "unsupported"),
        ("[1, 2]", "unsupported"),
        ("1,23 + 4", "unsupported"),
        ("", "not_an_expression"),
        ("1 +", "not_an_expression"),
        ("2 apples", "not_an_expression"),
        ("1in 2", "unsupported"),
        ("(" * 150, "not_an_expression"),
        ("1\0", "not_an_expression"),
        ("import os", "not_an_expression"),
    ],
)
def test_everything_else_is_refused_by_name(expression, failure):
    with pytest.raises(ToolError) as caught:
        calculate(expression)
    assert caught.value.failure == failure


@given(st.text(max_size=30) | st.text("0123456789+-*/^(). ", max_size=30))
def test_any_text_gives_a_number_or_a_named_failure(text):
    try:
        float(CALCULATOR.run(text))
    except ToolError as error:
        assert error.failure
