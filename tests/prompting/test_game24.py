"""The game of 24: exact search against brute force, the check of answers, and a scripted model."""

import itertools
import random
import re
from fractions import Fraction

import pytest

from jaxrec.core import ConfigError, DataError
from jaxrec.prompting import (
    GAME24_VALUES,
    BreadthOptions,
    DepthOptions,
    Game24State,
    GenerateOptions,
    ScriptedModel,
    Values,
    breadth_first,
    can_reach_24,
    check_game24,
    depth_first,
    game24_exact_moves,
    game24_exact_values,
    game24_language_moves,
    game24_language_values,
    game24_moves,
    game24_start,
    read_game24,
)

# The five ways to set brackets around four operands.
SHAPES = (
    "(({0}{4}{1}){5}{2}){6}{3}",
    "({0}{4}({1}{5}{2})){6}{3}",
    "({0}{4}{1}){5}({2}{6}{3})",
    "{0}{4}(({1}{5}{2}){6}{3})",
    "{0}{4}({1}{5}({2}{6}{3}))",
)


def brute_force(numbers):
    """An expression of 24 by trying every order, operation and bracket; None without one."""
    for order in sorted(set(itertools.permutations(numbers))):
        for signs in itertools.product("+-*/", repeat=3):
            for shape in SHAPES:
                made = shape.format(*(f"F({n})" for n in order), *signs)
                try:
                    if eval(made, {"F": Fraction}) == 24:
                        return shape.format(*order, *signs)
                except ZeroDivisionError:
                    continue
    return None


def test_breadth_first_with_exact_values_solves_the_published_test_set(real_data):
    puzzles = read_game24(real_data("game24") / "24.csv")
    assert len(puzzles) == 1362
    # Rows are counted from 0 without the header, so the first one has rank 901.
    chosen = puzzles[900:1000]
    assert (chosen[0], chosen[-1]) == ((4, 5, 6, 10), (4, 9, 10, 13))
    options = BreadthOptions(steps=4, width=5)
    solved = 0
    for numbers in chosen:
        start = game24_start(numbers)
        found = breadth_first(start, game24_exact_moves, game24_exact_values, options)
        best = found.best[0]
        assert len(best.lines) == 4 and best.lines[-1].startswith("Answer: ")
        # The referee reads the text of the answer with Python's own arithmetic.
        spelled = best.lines[-1].removeprefix("Answer: ").removesuffix(" = 24")
        words = spelled.replace("(", " ").replace(")", " ").split()
        assert sorted(int(w) for w in words if w.isdigit()) == sorted(numbers)
        solved += abs(eval(spelled) - 24) < 1e-9 and best.solved
    assert solved == 100


def test_depth_first_finds_a_solution_exactly_where_brute_force_does():
    rng = random.Random(0)
    puzzles = [[rng.randrange(1, 10) for _ in range(4)] for _ in range(20)]
    puzzles += [[1, 1, 1, 1], [3, 3, 8, 8], [1, 1, 1, 2], [13, 13, 13, 7]]
    outcomes = []
    no_limits = DepthOptions(children=None, steps=None)
    for numbers in puzzles:
        expected = brute_force(numbers)
        found = depth_first(
            game24_start(numbers),
            game24_exact_moves,
            game24_exact_values,
            lambda state: state.solved,
            no_limits,
        )
        assert (found.status == "solved") == (expected is not None) == can_reach_24(numbers)
        outcomes.append(found.status)
        if expected is not None:
            assert check_game24(numbers, expected) == ""
            assert check_game24(numbers, found.path[-1].lines[-1]) == ""
            # With exact values no step is taken back.
            assert [depth for depth, _ in found.entered] == [1, 2, 3, 4]
    assert 4 <= outcomes.count("exhausted") <= 15


def short(numbers):
    """A state with fewer than four numbers, such as is left after some steps."""
    left, terms = tuple(map(Fraction, numbers)), tuple(map(str, numbers))
    return Game24State(numbers=tuple(numbers), left=left, terms=terms)


def test_depth_first_finds_the_same_without_any_values():
    alike = lambda states: Values((1.0,) * len(states))  # noqa: E731
    for numbers, solvable in (([3, 8, 1], True), ([1, 1, 1], False), ([2, 3, 4], True)):
        found = depth_first(
            short(numbers),
            game24_exact_moves,
            alike,
            lambda state: state.solved,
            DepthOptions(children=None, steps=None),
        )
        assert (found.status == "solved") == solvable


def test_moves_are_all_pairs_and_operations():
    moves = game24_moves(short([2, 5, 7]))
    pairs = {(2, 5): 7, (2, 7): 5, (5, 7): 2}
    expected = set()
    for (a, b), other in pairs.items():
        for first, sign, second in [(a, "+", b), (a, "*", b)] + [
            (x, sign, y) for x, y in ((a, b), (b, a)) for sign in "-/"
        ]:
            f, s = Fraction(first), Fraction(second)
            value = {"+": f + s, "-": f - s, "*": f * s, "/": f / s}[sign]
            expected.add(f"{first} {sign} {second} = {value} (left: {other} {value})")
    assert {state.lines[-1] for state in moves} == expected and len(moves) == 18
    zero = next(state for state in game24_moves(short([4, 4])) if state.left == (0,))
    assert zero.lines == ("4 - 4 = 0 (left: 0)",)
    answered = game24_moves(zero)[0]
    assert answered.answer == "(4 - 4)" and game24_moves(answered) == ()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("Answer: (10 - 4) * (9 - 5) = 24", ""),
        ("thoughts\nanswer:(10-4)×(9-5)=24.\n", ""),
        ("4 * (9 - 5) + 10 - 2", "instead of 4 5 9 10"),
        ("(10 - 4) * (9 - 5) * 1", "instead of 4 5 9 10"),
        ("(10 - 4) * (9 - 5) * 4 / 4", "it uses 4 4 4 5 9 10 instead of 4 5 9 10"),
        ("(10 - 4) * 9 - 5", "it is 49 instead of 24"),
        ("(10 - 4) * (9 - 5) = 25", "it ends with = 25"),
        ("10 / (9 - 5 - 4)", "divides by zero"),
        ("", "is empty"),
        ("24", "it uses 24 instead of"),
        ("10 - 4 * ", "no expression"),
        ("__import__('os').abort()", "no expression"),
        ("9 ** 5 ** 10 ** 4", "no expression"),
        ("0x4 + 5 + 9 + 10", "no expression"),
        ("4_5 + 9 + 10", "no expression"),
        ("4 // 5 + 9 + 10", "no expression"),
        ("-4 + 5 + 9 + 10", "no expression"),
        ("(" * 90 + "4" + ")" * 90, "instead of"),
        ("(" * 150 + "4", "no expression"),
        ("1 + " * 100 + "1", "longer than 200"),
    ],
)
def test_answers_are_checked_without_running_them(answer, reason):
    said = check_game24([4, 5, 9, 10], answer)
    assert reason in said and bool(reason) == bool(said)


def test_a_model_that_names_good_steps_is_followed_and_bad_steps_are_dropped():
    # The steps of a right solution, in which every line is mixed with slips.
    script = {
        "4 5 6 10": [
            "10 - 4 = 6 (left: 5 6 6)",
            "10 - 4 = 5 (left: 5 6 5)",
            "10 - 4 = 5 (left: 5 6 6)",
            "10 - 4 = 6 (left: 5 6)",
            "9 - 4 = 5 (left: 5 6 10 5)",
            "4 + 5 = 9 (left: 6 10 9)",
            "I would subtract.",
        ],
        "5 6 6": ["5 * 6 = 30 (left: 6 30)", "5 / 6 = 5/6 (left: 6 5/6)"],
        "6 30": ["30 - 6 = 24 (left: 24)"],
    }
    judged = {"5 6 6": "likely", "6 10 9": "impossible", "6 30": "sure", "24": "sure"}

    def answer(prompt, sample):
        if prompt.startswith("Can these"):
            return judged.get(prompt.strip().split("\n")[-1], "impossible")
        if prompt.startswith("Use each"):
            return " 5 * 6 - (10 - 4) = 24" if "30 - 6 = 24" in prompt else " 1 + 1 = 24"
        numbers = prompt.split("Numbers: ")[-1].split("\n")[0]
        return "\n".join(script.get(numbers, []))

    model = ScriptedModel(answer)
    found = breadth_first(
        game24_start([4, 5, 6, 10]),
        game24_language_moves(model, GenerateOptions()),
        game24_language_values(model, GenerateOptions(n=3, temperature=0.7)),
        BreadthOptions(steps=4, width=1),
    )
    (best,) = found.best
    assert best.solved and best.answer == "5 * 6 - (10 - 4) = 24"
    assert best.lines[:3] == (
        "10 - 4 = 6 (left: 5 6 6)",
        "5 * 6 = 30 (left: 6 30)",
        "30 - 6 = 24 (left: 24)",
    )
    assert [level.dropped for level in found.levels] == [5, 0, 0, 0]
    assert found.levels[0].values == (3.0, 3 * GAME24_VALUES["impossible"])
    assert found.usage.calls == len(model.calls) == 4 + 2 + 2 + 1


@pytest.mark.parametrize("numbers", [[], [6, 4], [1, 2, 3, 4, 5], [1, 2, 3, 0], [1, 2, 3, 4.0]])
def test_numbers_that_are_no_puzzle_are_refused(numbers):
    shown = re.escape(str(numbers))
    with pytest.raises(ConfigError, match=f"must be four whole numbers from 1 on, got {shown}"):
        game24_start(numbers)


def test_puzzles_that_cannot_be_are_refused(tmp_path):
    path = tmp_path / "24.csv"
    path.write_text("Rank,Puzzle\n1,1 1 4 6\n")
    with pytest.raises(DataError, match="no column 'Puzzles'; columns: Rank, Puzzle"):
        read_game24(path)
    path.write_text("Rank,Puzzles\n1,1 1 4 6\n2,1 1 4\n")
    with pytest.raises(DataError, match=r"24\.csv line 3: the puzzle '1 1 4' is not four"):
        read_game24(path)
    with pytest.raises(DataError, match="no such file"):
        read_game24(tmp_path / "other.csv")
