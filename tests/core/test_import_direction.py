"""Imports go downward in the list of rooms and through faces, and importing jaxrec is cheap."""

import ast
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import jaxrec

PACKAGE = Path(jaxrec.__file__).parent
ROOT = PACKAGE.parent

# A room may import itself and the rooms of earlier lines. Rooms of one line do not import each
# other.
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
    ("capacity",),
    ("baselines",),
    ("runs",),
    ("texts",),
    ("systems",),
    ("serve",),
    ("cli",),
    ("testing",),
)
LINE = {room: number for number, rooms in enumerate(ROOMS) for room in rooms}
# Every folder with an `__init__.py` is a package: "jaxrec", "jaxrec.core", "jaxrec.systems.p5", ...
PACKAGES = {
    ".".join(path.parent.relative_to(ROOT).parts): path for path in PACKAGE.rglob("__init__.py")
}


def _modules(source, package):
    """Yield the absolute names of everything that a source file imports, anywhere in the file."""
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
    """Return the rooms that a file of `room` imports but must not."""
    rooms = {name.split(".")[1] for name in _modules(source, package) if name.startswith("jaxrec.")}
    return sorted(
        other for other in rooms & set(LINE) if other != room and LINE[other] >= LINE[room]
    )


def _package_of(module):
    """Return the longest prefix of a dotted name that is a package, or ""."""
    parts = module.split(".")
    prefixes = (".".join(parts[:end]) for end in range(len(parts), 0, -1))
    return next((prefix for prefix in prefixes if prefix in PACKAGES), "")


def _imports(source, package):
    """Yield (module, name) for every import: name is None for `import module`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")
            base = ".".join(base[: len(base) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, (base, node.module)))
            yield from ((module, alias.name) for alias in node.names)


def _past_a_face(source, package):
    """Return imports of files of another package, and of names that a face does not list."""
    wrong = []
    for module, name in _imports(source, package):
        owner = _package_of(module)
        if owner in ("", package):
            continue
        if module != owner:
            wrong.append(module)
        elif name and name not in dir(importlib.import_module(owner)):
            wrong.append(f"{module}.{name}")
    return wrong


def _other_systems(source, package):
    """Return the systems other than its own that a file of `jaxrec.systems.NAME` imports."""
    names = (f"{module}.{name}" for module, name in _imports(source, package))
    owners = {_package_of(name) for name in names if name.startswith("jaxrec.systems.")}
    return sorted(owners - {package, "jaxrec.systems"})


def _package_files(*folders):
    """Yield (path, package) of every Python file; files outside jaxrec belong to no package."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            inside = path.is_relative_to(PACKAGE)
            yield path, ".".join(path.parent.relative_to(ROOT).parts) if inside else ""


def test_no_file_imports_a_file_of_another_package_or_a_name_that_its_face_lacks():
    files = list(_package_files("jaxrec", "configs", "tools"))
    assert len(files) > 100
    wrong = {
        str(path.relative_to(ROOT)): found
        for path, package in files
        if (found := _past_a_face(path.read_text(), package))
    }
    assert wrong == {}


def test_no_system_imports_another():
    files = [
        (path, package)
        for path, package in _package_files("jaxrec/systems")
        if package != "jaxrec.systems"
    ]
    assert len({package for _, package in files}) > 3
    wrong = {
        str(path.relative_to(ROOT)): found
        for path, package in files
        if (found := _other_systems(path.read_text(), package))
    }
    assert wrong == {}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from jaxrec.core import write_text", []),
        ("from jaxrec.core.files import write_text", ["jaxrec.core.files"]),
        ("import jaxrec.core.files", ["jaxrec.core.files"]),
        ("def f():\n    from jaxrec.systems.p5.run import x", ["jaxrec.systems.p5.run"]),
        ("from jaxrec.core import nonsense", ["jaxrec.core.nonsense"]),
        ("from jaxrec.core import files", ["jaxrec.core.files"]),
        ("from jaxrec.data import files", []),
        ("from jaxrec.decode.search import f\nfrom . import cache", []),
        ("from ..core.files import write_text", ["jaxrec.core.files"]),
        ("from jaxrec import core\nimport numpy.linalg", []),
    ],
)
def test_the_check_of_faces_sees_every_form_of_import(source, expected):
    assert _past_a_face(source, "jaxrec.decode") == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from jaxrec.systems.vqrec import x", ["jaxrec.systems.vqrec"]),
        ("from jaxrec.systems import vqrec", ["jaxrec.systems.vqrec"]),
        ("import jaxrec.systems.vqrec.run", ["jaxrec.systems.vqrec"]),
        ("from ..vqrec import x", ["jaxrec.systems.vqrec"]),
        ("from jaxrec.systems.p5.run import x\nfrom . import config", []),
    ],
)
def test_the_check_of_systems_sees_every_form_of_import(source, expected):
    assert _other_systems(source, "jaxrec.systems.p5") == expected


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


def test_every_room_is_in_the_list():
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
