"""Limits on the shape of the code: parameters, lengths of files, keyword-only dataclasses."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MOST_PARAMETERS = 10
MOST_LINES = 450
MOST_POSITIONAL_FIELDS = 3


def python_files(*folders):
    """Yield the Python files below the folders, including scripts without an ending."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix == ".py" or (path.is_file() and not path.suffix and is_script(path)):
                yield path


def is_script(path):
    with path.open("rb") as file:
        first = file.readline()
    return first.startswith(b"#!") and b"python" in first


def long_signatures(source):
    """Yield (line, name, parameters) of functions with too many parameters of all kinds."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            named = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            count = len(named) + sum(x is not None for x in (node.args.vararg, node.args.kwarg))
            if count > MOST_PARAMETERS:
                yield node.lineno, getattr(node, "name", "lambda"), count


def positional_dataclasses(source):
    """Yield (line, name, fields) of dataclasses with many fields that are not keyword-only."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.ClassDef):
            continue
        decorators = [d for d in node.decorator_list if "dataclass" in called(d).split(".")]
        if not decorators or any(is_keyword_only(d) for d in decorators):
            continue
        fields = [x for x in node.body if isinstance(x, ast.AnnAssign)]
        own = [x for x in fields if "ClassVar" not in ast.unparse(x.annotation)]
        marks = [n for n, x in enumerate(own) if ast.unparse(x.annotation).endswith("KW_ONLY")]
        own = own[: marks[0]] if marks else own
        if len(own) > MOST_POSITIONAL_FIELDS:
            yield node.lineno, node.name, len(own)


def called(decorator):
    """Return the name of a decorator, with or without arguments."""
    return ast.unparse(decorator.func if isinstance(decorator, ast.Call) else decorator)


def is_keyword_only(decorator):
    return isinstance(decorator, ast.Call) and any(
        keyword.arg == "kw_only" and ast.unparse(keyword.value) == "True"
        for keyword in decorator.keywords
    )


def offenders(check, *folders):
    return {
        f"{path.relative_to(ROOT)}:{line} {name}": count
        for path in python_files(*folders)
        for line, name, count in check(path.read_text())
    }


def test_no_function_has_more_than_ten_parameters():
    assert offenders(long_signatures, "jaxrec", "tools", "configs") == {}


def test_dataclasses_with_more_than_three_fields_are_keyword_only():
    assert offenders(positional_dataclasses, "jaxrec", "tools", "configs") == {}


def test_no_file_is_longer_than_450_lines():
    files = list(python_files("jaxrec", "tests", "tools", "configs"))
    assert len(files) > 100
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in files}
    assert {name: count for name, count in lengths.items() if count > MOST_LINES} == {}


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("def f(a, b, c, d, e, f, g, h, i, j): ...", 0),
        ("def f(a, b, c, d, e, f, g, h, i, j, k): ...", 11),
        ("class A:\n    def f(self, a, b, c, d, e, f, g, h, i, j): ...", 11),
        ("async def f(a, b, /, c, d, *, e, f, g, h, i, j, k): ...", 11),
        ("def f(a, b, c, d, e, f, g, h, i, *args, **kwargs): ...", 11),
        ("f = lambda a, b, c, d, e, f, g, h, i, j, k: a", 11),
    ],
)
def test_the_check_of_parameters_counts_every_kind(source, count):
    assert [found for *_, found in long_signatures(source)] == [count] * bool(count)


@pytest.mark.parametrize(
    ("head", "wrong"),
    [
        ("@dataclasses.dataclass(frozen=True)", True),
        ("@dataclass", True),
        ("@functools.partial(register)\n@dataclasses.dataclass(kw_only=False)", True),
        ("@dataclasses.dataclass(frozen=True, kw_only=True)", False),
        ("@flax.struct.other", False),
    ],
)
def test_the_check_of_dataclasses_reads_the_decorator(head, wrong):
    fields = "\n".join(f"    field_{n}: int" for n in range(4))
    assert bool(list(positional_dataclasses(f"{head}\nclass A:\n{fields}"))) == wrong
    assert not list(positional_dataclasses(f"{head}\nclass A:\n    a: int\n    b: ClassVar[int]"))
