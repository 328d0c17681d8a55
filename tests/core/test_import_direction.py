"""Imports go downward in the list of rooms, and importing jaxrec is cheap."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import jaxrec

PACKAGE = Path(jaxrec.__file__).parent

# From the top: a room imports itself and the lines above its own. Rooms of one line are siblings
# and do not import one another.
ROOMS = (
    ("core",),
    ("data",),
    ("ids",),
    ("nn",),
    ("models",),
    ("items",),
    ("quant", "peft"),
    ("objectives",),
    ("kernels",),
    ("decode",),
    ("train",),
    ("align",),
    ("eval",),
    ("prompting",),
    ("baselines",),
    ("runs",),
    ("texts",),
    ("systems",),
    ("serve",),
    ("cli",),
    ("testing",),
)
LINE = {room: number for number, rooms in enumerate(ROOMS) for room in rooms}


def _modules(source, package):
    """Absolute names of everything that a source file imports, wherever in the file."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")
            base = ".".join(base[: len(base) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, (base, node.module)))
            yield module
            # `from jaxrec import train` names a room among the imported names.
            yield from (f"{module}.{alias.name}" for alias in node.names)


def _upward(room, source, package):
    """Rooms that a file of `room` imports and must not."""
    rooms = {name.split(".")[1] for name in _modules(source, package) if name.startswith("jaxrec.")}
    return sorted(
        other for other in rooms & set(LINE) if other != room and LINE[other] >= LINE[room]
    )


def test_no_module_imports_a_room_below_its_own():
    files = sorted(PACKAGE.rglob("*.py"))
    assert len(files) > 50
    wrong = {}
    for file in files:
        parts = file.relative_to(PACKAGE).parts
        if len(parts) == 1:
            continue
        package = ".".join(("jaxrec", *parts[:-1]))
        found = _upward(parts[0], file.read_text(), package)
        if found:
            wrong["/".join(parts)] = found
    assert not wrong


def test_every_room_stands_in_the_list():
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert rooms <= set(LINE)
    assert set(jaxrec._ROOMS) <= set(LINE)
    assert rooms <= set(dir(jaxrec))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from jaxrec.train import fit", ["train"]),
        ("import jaxrec.train.loop as loop", ["train"]),
        ("from jaxrec import train, core", ["train"]),
        ("from ..train import fit", ["train"]),
        ("def f():\n    from jaxrec.cli import main", ["cli"]),
        ("from .. import eval", ["eval"]),
        ("from jaxrec.core import nearest\nfrom . import cache\nfrom jaxrec.decode import x", []),
    ],
)
def test_the_check_sees_every_form_of_import(source, expected):
    assert _upward("decode", source, "jaxrec.decode") == expected


def test_siblings_do_not_import_one_another():
    assert _upward("peft", "import jaxrec.quant", "jaxrec.peft") == ["quant"]


def test_torch_is_no_runtime_dependency():
    for file in PACKAGE.rglob("*.py"):
        roots = {name.split(".")[0] for name in _modules(file.read_text(), "jaxrec")}
        if file.parent.name == "testing":  # the referees of the tests live there
            roots -= {"torch"}
        assert not roots & {"torch", "pickle", "tensorflow"}, file


CHEAP = {
    "import jaxrec": ["-c", "import jaxrec, sys; print('jax' in sys.modules)"],
    "jaxrec --help": [
        "-c",
        "import sys; from jaxrec.cli.main import main; code = main(['--help']); "
        "print('jax' in sys.modules); sys.exit(code)",
    ],
}


@pytest.mark.parametrize("name", CHEAP)
def test_starting_takes_under_half_a_second_of_cpu_and_imports_no_jax(name):
    seconds = []
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, *CHEAP[name]], stdout=subprocess.PIPE, text=True, cwd=PACKAGE.parent
        ) as child:
            output = child.stdout.read()
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
        assert child.returncode == 0
        assert output.splitlines()[-1] == "False"
        seconds.append(usage.ru_utime + usage.ru_stime)
    assert min(seconds) < 0.5


def test_help_lists_the_commands():
    child = subprocess.run(
        [sys.executable, "-m", "jaxrec.cli.main", "--help"],
        capture_output=True,
        text=True,
        check=True,
        cwd=PACKAGE.parent,
    )
    assert "train" in child.stdout
    assert "recommend" in child.stdout


def test_an_unknown_room_names_those_that_exist():
    with pytest.raises(AttributeError, match="decode"):
        jaxrec.nonsense  # noqa: B018
