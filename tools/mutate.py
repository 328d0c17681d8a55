#!/usr/bin/env python3
"""Break one line at a time and see which test notices it.

    python tools/mutate.py [--only TEXT] [--list]

First runs the tests that the mutations of `mutations.py` name, which must pass. Then applies each
mutation to a temporary copy of the repository and runs its tests there, until the first one fails.
Prints a table: mutation, file, and the test that failed, or SURVIVED. The last line is JSON:
{"mutations": n, "caught": n, "survived": [names]}. The exit code is 1 if a mutation survived. A
pass over all of them takes about fifteen minutes of one core.
"""

import argparse
import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mutations import MUTATIONS, Mutation

ROOT = Path(__file__).resolve().parents[1]
# What the tests of a copy need.
COPIED = ("jaxrec", "tests", "configs", "tools", "pyproject.toml")
SURVIVED = "SURVIVED"
# pytest's exit codes: some tests failed; the files could not be collected.
FAILED, NOT_COLLECTED = 1, 2


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A mutation, and the first test that failed; None if all passed."""

    mutation: Mutation
    caught_by: str | None


def mutated(mutation: Mutation, root: Path) -> str:
    """Return the text of the mutation's file with the wrong line in it.

    Raises:
      ValueError: the file or a test file is missing, or `old` does not occur exactly once.
    """
    path = root / mutation.file
    if not path.is_file():
        raise ValueError(f"mutation {mutation.name!r}: there is no file {mutation.file}")
    for test in mutation.tests:
        if not (root / test.split("::")[0]).is_file():
            raise ValueError(f"mutation {mutation.name!r}: there is no test file {test}")
    text = path.read_text()
    count = text.count(mutation.old)
    if count != 1:
        raise ValueError(
            f"mutation {mutation.name!r}: {mutation.file} must contain {mutation.old!r} exactly "
            f"once, and contains it {count} times; adapt tools/mutations.py to the code"
        )
    return text.replace(mutation.old, mutation.new)


def copy_tree(root: Path, target: Path) -> None:
    """Copy what the tests need, without compiled files."""
    ignore = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in COPIED:
        source = root / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=ignore)
        elif source.exists():
            shutil.copy2(source, target / name)


def first_failure(output: str) -> str:
    """The first failing test in pytest's short summary, or the file that could not be imported."""
    found = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", output, re.MULTILINE)
    return found.group(1) if found else "a test that pytest does not name"


def run_tests(tests: Sequence[str], tree: Path) -> str | None:
    """Run tests in a tree until one fails.

    Returns:
      The test that failed; None if all passed.

    Raises:
      RuntimeError: pytest could not run them, for instance because a test does not exist.
    """
    data = os.environ.get("JAXREC_DATA") or str(ROOT.parent / "shared" / "data")
    variables = {"PYTHONPATH": str(tree), "JAXREC_DATA": data, "PYTHONDONTWRITEBYTECODE": "1"}
    words = ["-x", "-q", "--no-header", "--tb=no", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, *tests],
        cwd=tree,
        env=os.environ | variables,
        capture_output=True,
        text=True,
    )
    if done.returncode == 0:
        return None
    if done.returncode in (FAILED, NOT_COLLECTED):
        return first_failure(done.stdout)
    raise RuntimeError(
        f"pytest {' '.join(tests)} ended with exit code {done.returncode}:\n"
        f"{done.stdout[-2000:]}{done.stderr[-2000:]}"
    )


def check_tests(mutations: Sequence[Mutation], tree: Path) -> None:
    """Run all tests once without a mutation: a test that fails anyway would catch everything.

    Raises:
      RuntimeError: a test fails.
    """
    failed = run_tests(list(dict.fromkeys(test for each in mutations for test in each.tests)), tree)
    if failed is not None:
        raise RuntimeError(f"{failed} fails without a mutation; it must pass before it can judge")


def try_mutation(mutation: Mutation, tree: Path) -> Outcome:
    """Apply one mutation to a copy, run its tests, and put the file right again."""
    path = tree / mutation.file
    wrong, right = mutated(mutation, tree), path.read_text()
    path.write_text(wrong)
    try:
        return Outcome(mutation, run_tests(mutation.tests, tree))
    finally:
        path.write_text(right)


def summary(outcomes: Sequence[Outcome]) -> dict[str, object]:
    """The last line: how many were tried and caught, and the names of those that survived."""
    survived = [each.mutation.name for each in outcomes if each.caught_by is None]
    return {
        "mutations": len(outcomes),
        "caught": len(outcomes) - len(survived),
        "survived": survived,
    }


def main(mutations: Sequence[Mutation] = MUTATIONS, root: Path = ROOT) -> None:
    """Try all mutations, or those whose name contains `--only`."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--only", default="", help="try mutations whose name contains this text")
    parser.add_argument("--list", action="store_true", help="list the mutations, run nothing")
    options = parser.parse_args()
    chosen = [each for each in mutations if options.only.lower() in each.name.lower()]
    if not chosen:
        parser.error(f"no mutation's name contains {options.only!r}; see --list")
    for each in chosen:
        mutated(each, root)
    if options.list:
        print("\n".join(f"{each.name:52} {each.file}" for each in chosen))
        return
    outcomes = []
    with tempfile.TemporaryDirectory() as directory:
        tree = Path(directory)
        copy_tree(root, tree)
        check_tests(chosen, tree)
        for each in chosen:
            outcomes.append(try_mutation(each, tree))
            caught_by = outcomes[-1].caught_by or SURVIVED
            print(f"{each.name:52} {each.file:42} {caught_by}", flush=True)
    found = summary(outcomes)
    print(json.dumps(found))
    sys.exit(bool(found["survived"]))


if __name__ == "__main__":
    main()
