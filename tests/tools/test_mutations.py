"""The mutations that `tools/mutate.py` applies, and how it runs and counts them."""

import dataclasses
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = "def half(x):\n    return x / 2\n"
TEST = "from jaxrec.code import half\n\n\ndef test_half():\n    assert half(8) == 4\n"


@pytest.fixture(scope="module")
def mutate():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "tools")
        yield importlib.import_module("mutate")


@pytest.fixture
def tree(tmp_path):
    """A repository of one function and one test."""
    files = {"jaxrec/__init__.py": "", "jaxrec/code.py": CODE, "tests/test_code.py": TEST}
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


@pytest.fixture
def wrong(mutate):
    """A mutation that the test of the tree catches."""
    return mutate.Mutation(
        name="third",
        file="jaxrec/code.py",
        old="x / 2",
        new="x / 3",
        tests=("tests/test_code.py",),
    )


def test_every_mutation_applies_and_names_tests_that_exist(mutate):
    assert len(mutate.MUTATIONS) >= 20
    names = [mutation.name for mutation in mutate.MUTATIONS]
    assert len(set(names)) == len(names)
    for mutation in mutate.MUTATIONS:
        text = mutate.mutated(mutation, ROOT)
        assert text != (ROOT / mutation.file).read_text()
        compile(text, mutation.file, "exec")


def test_a_mutation_whose_line_is_gone_or_ambiguous_is_an_error(mutate, tree, wrong):
    for old, count in (("x / 4", 0), ("x", 2)):
        with pytest.raises(ValueError, match=f"exactly once, and contains it {count} times"):
            mutate.mutated(dataclasses.replace(wrong, old=old), tree)
    with pytest.raises(ValueError, match=r"no file jaxrec/gone\.py"):
        mutate.mutated(dataclasses.replace(wrong, file="jaxrec/gone.py"), tree)
    with pytest.raises(ValueError, match=r"no test file tests/gone\.py"):
        mutate.mutated(dataclasses.replace(wrong, tests=("tests/gone.py::test",)), tree)


def test_what_a_test_notices_is_caught_and_what_none_notices_survives(mutate, tree, wrong):
    caught = mutate.try_mutation(wrong, tree)
    survived = mutate.try_mutation(dataclasses.replace(wrong, name="same", new="x * 0.5"), tree)
    assert caught.caught_by == "tests/test_code.py::test_half"
    assert survived.caught_by is None
    assert (tree / wrong.file).read_text() == CODE
    assert mutate.summary([caught, survived]) == {
        "mutations": 2,
        "caught": 1,
        "survived": ["same"],
    }


def test_a_test_that_cannot_run_is_an_error_and_not_a_catch(mutate, tree, wrong):
    with pytest.raises(RuntimeError, match="exit code"):
        mutate.run_tests(("tests/test_code.py::test_gone",), tree)
    (tree / "tests" / "test_code.py").write_text("import module_that_does_not_exist\n")
    with pytest.raises(RuntimeError, match="must pass before"):
        mutate.check_tests([wrong], tree)


def test_parameters_of_the_first_failing_test_are_kept(mutate):
    output = "FAILED tests/a.py::test_b[grouped rotary] - assert 1 == 2\nFAILED tests/a.py::test_c"
    assert mutate.first_failure(output) == "tests/a.py::test_b[grouped rotary]"
