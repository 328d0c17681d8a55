"""Search and planning on published puzzles, and Reflexion with and without its memory.

    python tools/bench planning

Tree of Thoughts in breadth, of width 5 and with exact values, plays the game of 24 on the 100
puzzles of the published test set (rows 900 to 999). The planner solves five problems of
Blocksworld; a problem counts if its plan is valid and as short as that of pyperplan, where that is
installed.
Reflexion has two trials at 20 tasks whose first attempt always fails: a scripted model reads in its
lessons which mistake it made. No row needs a language model.
"""

import dataclasses
import importlib.util
import os
import tempfile
import time
from pathlib import Path

from support.header import print_header
from support.table import Table

from jaxrec.core import DataError
from jaxrec.prompting import (
    BreadthOptions,
    GenerateOptions,
    ReflexionOptions,
    ScriptedModel,
    Verdict,
    breadth_first,
    check_game24,
    find_plan,
    game24_exact_moves,
    game24_exact_values,
    game24_start,
    ground,
    language_actor,
    language_reflection,
    read_domain,
    read_game24,
    read_problem,
    run_reflexion,
    validate_plan,
)

TASKS = 20


@dataclasses.dataclass(frozen=True)
class Options:
    """What to measure.

    Attributes:
      width: states that the search in breadth keeps.
      data: directory with game24 and llm-pddl; JAXREC_DATA by default.
    """

    width: int = 5
    data: Path = Path(os.environ.get("JAXREC_DATA", "shared/data"))


def run(options: Options) -> Table:
    """Measure all rows."""
    for name in ("game24/24.csv", "llm-pddl/blocksworld/domain.pddl"):
        if not (options.data / name).is_file():
            raise DataError(
                f"no {name} below {options.data}; name the directory with --data or JAXREC_DATA"
            )
    print_header(*(["pyperplan"] if importlib.util.find_spec("pyperplan") else []))
    record = {
        "game24": game24(options),
        "blocksworld": blocksworld(options.data / "llm-pddl" / "blocksworld"),
        "reflexion_with_memory": reflexion("reflexion"),
        "reflexion_without": reflexion("none"),
    }
    return Table(record)


def game24(options: Options) -> int:
    """Number of puzzles of the published test set that the search solves."""
    begun = time.perf_counter()
    puzzles = read_game24(options.data / "game24" / "24.csv")[900:1000]
    solved = 0
    for numbers in puzzles:
        search = BreadthOptions(steps=4, width=options.width)
        found = breadth_first(
            game24_start(numbers), game24_exact_moves, game24_exact_values, search
        )
        solved += any(not check_game24(numbers, state.answer) for state in found.best)
    seconds = time.perf_counter() - begun
    print(f"game of 24    {solved} of {len(puzzles)} puzzles solved  {seconds:6.2f} s")
    return solved


def blocksworld(folder: Path) -> int:
    """Number of problems whose plan is valid, and as short as pyperplan's where it is installed."""
    domain_text = (folder / "domain.pddl").read_text()
    domain = read_domain(domain_text)
    good = 0
    for path in sorted(folder.glob("p0[1-5].pddl")):
        problem = read_problem(path.read_text(), domain)
        found = find_plan(ground(domain, problem))
        valid = found.status == "solved" and validate_plan(domain, problem, found.plan).valid
        theirs = their_length(domain_text, path.read_text())
        good += valid and theirs in (None, len(found.plan))
        shown = "pyperplan is not installed" if theirs is None else f"pyperplan {theirs} steps"
        print(
            f"blocksworld   {path.stem}: {len(found.plan)} steps, {shown}, "
            f"{'valid' if valid else 'NOT VALID'}  {found.seconds:6.2f} s"
        )
    return good


def their_length(domain: str, problem: str) -> int | None:
    """Steps of a shortest plan by pyperplan; None if it is not installed."""
    if importlib.util.find_spec("pyperplan") is None:
        return None
    from pyperplan.heuristics.lm_cut import LmCutHeuristic
    from pyperplan.planner import search_plan
    from pyperplan.search import astar_search

    with tempfile.TemporaryDirectory() as place:
        paths = [Path(place) / name for name in ("domain.pddl", "problem.pddl")]
        for path, text in zip(paths, (domain, problem), strict=True):
            path.write_text(text)
        return len(search_plan(*map(str, paths), astar_search, LmCutHeuristic))


def reflexion(strategy: str) -> float:
    """Share of tasks that succeed within two trials."""
    succeeded = 0
    for number in range(TASKS):
        task = f"Door {number} has a red key and a blue key. Which key opens it?"

        def answer(prompt: str, sample: int) -> str:
            if prompt.endswith("Lesson:"):
                return "The red key does not fit."
            return "blue" if "red key does not fit" in prompt else "red"

        model, options = ScriptedModel(answer), GenerateOptions()
        result = run_reflexion(
            language_actor(model, task, options),
            lambda attempt: Verdict(attempt.text == "blue", "The lock does not turn."),
            language_reflection(model, task, options),
            ReflexionOptions(trials=2, strategy=strategy),  # type: ignore[arg-type]
        )
        succeeded += result.success
    print(f"reflexion     strategy {strategy}: {succeeded} of {TASKS} tasks")
    return succeeded / TASKS
