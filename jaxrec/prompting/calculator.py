"""A calculator for the expressions that models write, exact and without `eval`.

It knows numbers, + - * /, powers with small whole exponents, and parentheses, and rounds results to
two decimals as the calculator of Toolformer does (Schick et al. 2023, arXiv:2302.04761, section 3).
Numbers are fractions, so that 0.1 + 0.2 is 0.3. What it cannot compute, or what would take long, is
refused by name.
"""

import ast
import re
import warnings
from fractions import Fraction

from jaxrec.prompting.tools import Tool, ToolError

_LONGEST = 200
_LARGEST_EXPONENT = 64
_LARGEST = Fraction(10) ** 60
_NUMBER = re.compile(r"\d+(\.\d*)?|\.\d+")
_WRITTEN = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-"})


def calculate(expression: str) -> str:
    """Return the value of an expression, rounded to two decimals.

    Args:
      expression: such as "400 / 1400"; numbers may have thousands separators, as in "1,400". The
        signs ×, ÷ and ^ are understood.

    Returns:
      The number without trailing zeros: "35", "0.29", "-1.5". A half is rounded to the even digit.

    Raises:
      ToolError: "not_an_expression", "unsupported" (anything but numbers and the operations above),
        "division_by_zero", or "too_large" (a text, a number or an exponent).

    Example:
      >>> calculate("400 / 1400"), calculate("(27 + 4 * 2) ^ 2"), calculate("0.1 + 0.2")
      ('0.29', '1225', '0.3')
      >>> calculate("1 / (2 - 2)")
      Traceback (most recent call last):
      jaxrec.prompting.tools.ToolError: division by zero
    """
    if len(expression) > _LONGEST:
        raise ToolError("too_large", f"the expression has more than {_LONGEST} characters")
    text = expression.translate(_WRITTEN).strip().replace("^", "**")
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)
    try:
        with warnings.catch_warnings():
            # Python warns of texts such as "1in 2"; they are refused below.
            warnings.simplefilter("ignore")
            tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ToolError(
            "not_an_expression", f"{expression!r} is not an arithmetic expression"
        ) from error
    return _shown(_value(tree.body, text))


CALCULATOR = Tool(
    "Calculator",
    "Computes an expression with + - * / and parentheses, such as 400 / 1400.",
    calculate,
)


def _value(node: ast.expr, text: str) -> Fraction:
    if isinstance(node, ast.Constant):
        written = ast.get_source_segment(text, node) or ""
        if not _NUMBER.fullmatch(written):
            raise ToolError("unsupported", f"{written or node.value!r} is not a plain number")
        return _bounded(Fraction(written))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.UAdd | ast.USub):
        value = _value(node.operand, text)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp):
        return _bounded(_combine(node.op, _value(node.left, text), _value(node.right, text)))
    raise ToolError("unsupported", "only numbers, + - * / ^ and parentheses are supported")


def _combine(sign: ast.operator, left: Fraction, right: Fraction) -> Fraction:
    match sign:
        case ast.Add():
            return left + right
        case ast.Sub():
            return left - right
        case ast.Mult():
            return left * right
        case ast.Div():
            if not right:
                raise ToolError("division_by_zero", "division by zero")
            return left / right
        case ast.Pow():
            return _power(left, right)
    raise ToolError("unsupported", "only the operations + - * / ^ are supported")


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1:
        raise ToolError("unsupported", "exponents must be whole numbers")
    if abs(exponent) > _LARGEST_EXPONENT:
        raise ToolError("too_large", f"an exponent is above {_LARGEST_EXPONENT}")
    if not base and exponent < 0:
        raise ToolError("division_by_zero", "division by zero")
    return base**exponent.numerator


def _bounded(value: Fraction) -> Fraction:
    if abs(value) > _LARGEST or value.denominator > _LARGEST:
        raise ToolError("too_large", "a number has more than 60 digits")
    return value


def _shown(value: Fraction) -> str:
    hundredths = round(value * 100)
    sign, whole = "-" if hundredths < 0 else "", abs(hundredths)
    text = f"{sign}{whole // 100}.{whole % 100:02d}"
    return text.rstrip("0").rstrip(".")
