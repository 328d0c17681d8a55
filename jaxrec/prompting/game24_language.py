"""The game of 24 as prompts: a language model proposes steps, judges numbers and writes the answer.

Each proposed step is checked: its operands must be left, its result and the numbers after it must
be right. Steps that are not are dropped and counted.
"""

import re
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

from jaxrec.prompting.game24 import GAME24_VALUES, Game24State, game24_step
from jaxrec.prompting.language_model import GenerateOptions, LanguageModel, Usage
from jaxrec.prompting.thoughts import propose_thoughts, value_thoughts
from jaxrec.prompting.tree_breadth import Evaluate, Expand, Expansion, Values

_NUMBER = r"(-?\d{1,9}(?:/[1-9]\d{0,8})?)"
_STEP = re.compile(rf"^{_NUMBER} ?([-+*/]) ?{_NUMBER} ?= ?{_NUMBER} ?\(left: ?([-\d/ ]+)\)$")
_PROPOSE = """Numbers: 3 3 8 8
Possible next steps:
8 / 3 = 8/3 (left: 3 8 8/3)
8 + 8 = 16 (left: 3 3 16)
3 * 8 = 24 (left: 3 8 24)
8 - 3 = 5 (left: 3 8 5)

Numbers: {numbers}
Possible next steps:
"""
_VALUE = """Can these numbers be combined into 24 with + - * /? Answer sure, likely or impossible.

10 14
10 + 14 = 24
sure

11 12
11 + 12 = 23
12 - 11 = 1
11 * 12 = 132
impossible

5 6 6
These numbers are of the right size.
likely

{numbers}
"""
_ANSWER = """Use each number once to write 24.

Numbers: 4 5 9 10
Steps:
10 - 4 = 6 (left: 5 9 6)
9 - 5 = 4 (left: 6 4)
6 * 4 = 24 (left: 24)
Answer: (10 - 4) * (9 - 5) = 24

Numbers: {numbers}
Steps:
{steps}
Answer:"""


def game24_language_moves(model: LanguageModel, options: GenerateOptions) -> Expand[Game24State]:
    """Return a function that lets a model propose the next steps of states, or their answers.

    Args:
      model: continues the prompts.
      options: how it writes; the paper's temperature is 0.7.

    Returns:
      A function for `breadth_first` and `depth_first`.

    Example:
      >>> from jaxrec.prompting import GenerateOptions, ScriptedModel, game24_start
      >>> said = "10 - 4 = 6 (left: 5 6 6)" + chr(10) + "6 + 4 = 11 (left: 5 10 11)"
      >>> expand = game24_language_moves(ScriptedModel(lambda p, n: said), GenerateOptions())
      >>> found = expand([game24_start([4, 5, 6, 10])])
      >>> [state.lines for state in found.children[0]], found.dropped
      ([('10 - 4 = 6 (left: 5 6 6)',)], 1)
    """

    def expand(states: Sequence[Game24State]) -> Expansion[Game24State]:
        asked = [state for state in states if not state.answer]
        prompts = [_prompt(state) for state in asked]
        rows, usage = propose_thoughts(model, prompts, options) if prompts else ([], Usage())
        lines_of = dict(zip(asked, rows, strict=True))
        children, dropped = [], 0
        for state in states:
            made = [_after(state, line) for line in lines_of.get(state, [])]
            children.append(tuple(one for one in made if one is not None))
            dropped += made.count(None)
        return Expansion(tuple(children), usage, dropped)

    return expand


def game24_language_values(model: LanguageModel, options: GenerateOptions) -> Evaluate[Game24State]:
    """Return a function that lets a model judge states by words.

    An answer is not judged but checked: 20 ("sure") if it is right and 0 if it is wrong.

    Args:
      model: continues the prompts.
      options: `n` is the number of judgments that are added up, 3 in the paper.

    Returns:
      A function for `breadth_first` and `depth_first`.

    Example:
      >>> from jaxrec.prompting import GenerateOptions, ScriptedModel, game24_start
      >>> values = game24_language_values(ScriptedModel(lambda p, n: "likely"), GenerateOptions())
      >>> values([game24_start([4, 5, 6, 10])]).values
      (1.0,)
    """

    def evaluate(states: Sequence[Game24State]) -> Values:
        judged = [state for state in states if not state.answer]
        prompts = [_VALUE.format(numbers=_numbers(state.left)) for state in judged]
        found = value_thoughts(model, prompts, GAME24_VALUES, options) if prompts else Values(())
        of_state = dict(zip(judged, found.values, strict=True))
        sure = GAME24_VALUES["sure"]
        return Values(
            tuple(sure * state.solved if state.answer else of_state[state] for state in states),
            found.usage,
        )

    return evaluate


def _prompt(state: Game24State) -> str:
    if len(state.left) > 1:
        return _PROPOSE.format(numbers=_numbers(state.left))
    return _ANSWER.format(numbers=_numbers(state.numbers), steps="\n".join(state.lines))


def _numbers(numbers: Sequence[Fraction | int]) -> str:
    return " ".join(map(str, numbers))


def _after(state: Game24State, line: str) -> Game24State | None:
    """The state after a line of a model; None if the line is no legal step."""
    if len(state.left) == 1:
        return Game24State(
            numbers=state.numbers,
            left=state.left,
            terms=state.terms,
            lines=(*state.lines, f"Answer: {line}"),
            answer=line,
        )
    found = _STEP.match(line)
    if found is None:
        return None
    first, sign, second, result, left = found.groups()
    places = _places(state.left, Fraction(first), Fraction(second))
    if places is None:
        return None
    after = game24_step(state, *places, sign)
    try:
        told = Counter(map(Fraction, left.split()))
    except (ValueError, ZeroDivisionError):
        return None
    if after is None or after.left[-1] != Fraction(result) or Counter(after.left) != told:
        return None
    return after


def _places(left: Sequence[Fraction], first: Fraction, second: Fraction) -> tuple[int, int] | None:
    """Different places of two operands among the numbers that are left."""
    for one, value in enumerate(left):
        if value == first:
            for other, candidate in enumerate(left):
                if candidate == second and other != one:
                    return one, other
    return None
