"""Package faces: what they list, when they import it, and what type checkers see."""

import ast
import importlib
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import jaxrec
from jaxrec.core import attach

PACKAGE = Path(jaxrec.__file__).parent
FACES = sorted(
    ".".join(("jaxrec", *path.parent.relative_to(PACKAGE).parts))
    for path in PACKAGE.rglob("__init__.py")
    if path.parent != PACKAGE and "attach(__name__)" in path.read_text()
)


@pytest.fixture
def make_package(tmp_path, monkeypatch):
    """Return a function that writes a package with a face and two files, and imports it."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(name, listed):
        folder = tmp_path / name
        folder.mkdir()
        lines = textwrap.indent(textwrap.dedent(listed).strip(), "    ")
        (folder / "__init__.py").write_text(
            f"from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n{lines}\nelse:\n"
            "    from jaxrec.core import attach\n\n"
            "    __getattr__, __dir__, __all__ = attach(__name__)\n"
        )
        (folder / "first.py").write_text("ONE = 1\nHIDDEN = 2\n")
        (folder / "second.py").write_text("two = 2\n")
        return importlib.import_module(name)

    return make


def test_a_name_is_imported_when_it_is_first_used(make_package):
    package = make_package(
        "face_lazy",
        """
        from face_lazy import second as second
        from face_lazy.first import ONE as ONE
        """,
    )
    assert package.__all__ == dir(package) == ["ONE", "second"]
    assert "face_lazy.first" not in sys.modules and "face_lazy.second" not in sys.modules
    assert package.ONE == 1
    assert "face_lazy.first" in sys.modules and "face_lazy.second" not in sys.modules
    assert package.second.two == 2
    assert package.second is sys.modules["face_lazy.second"]


def test_a_name_that_is_not_listed_is_an_attribute_error(make_package):
    package = make_package("face_strict", "from face_strict.first import ONE as ONE")
    with pytest.raises(AttributeError, match="module 'face_strict' has no attribute 'HIDDEN'"):
        package.HIDDEN  # noqa: B018
    with pytest.raises(ImportError, match="HIDDEN"):
        exec("from face_strict import HIDDEN")


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("face_plain", "import os"),
        ("face_code", "ONE = 1"),
        ("face_relative", "from .first import ONE as ONE"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(make_package, name, line):
    with pytest.raises(ImportError, match=f"{name}/__init__.py, line 4: expected .* got `{line}`"):
        make_package(name, line)


def test_a_package_without_source_is_an_error():
    with pytest.raises(ImportError, match="the source of sys cannot be read"):
        attach("sys")


def listed(face):
    """Yield (module, name, public name) of every import below `if TYPE_CHECKING:`."""
    path = Path(importlib.import_module(face).__file__)
    for block in ast.parse(path.read_text()).body:
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING":
            for node in block.body:
                for alias in node.names:
                    yield node.module, alias.name, alias.asname


def test_every_package_with_code_of_its_own_has_a_face():
    folders = {path.parent for path in PACKAGE.rglob("__init__.py")} - {PACKAGE}
    sources = {
        ".".join(("jaxrec", *folder.relative_to(PACKAGE).parts)): (folder / "__init__.py")
        for folder in folders
    }
    bare = {name for name, path in sources.items() if len(ast.parse(path.read_text()).body) == 1}
    assert sources.keys() - bare == set(FACES)
    assert bare == {"jaxrec.systems"}  # only a docstring: the systems are packages themselves


@pytest.mark.parametrize("face", FACES)
def test_every_listed_name_can_be_imported(face):
    module = importlib.import_module(face)
    assert module.__all__ == sorted(set(module.__all__)) and module.__all__
    for name in module.__all__:
        assert getattr(module, name) is not None, name


@pytest.mark.parametrize("face", FACES)
def test_a_face_lists_names_of_its_own_files_under_their_own_names(face):
    for module, name, public in listed(face):
        assert public == name, f"{face}: write `{name} as {name}`, so type checkers export it"
        assert module == face or module.rpartition(".")[0] == face, f"{name} is of {module}"


@pytest.mark.parametrize("face", FACES)
def test_no_public_name_hides_a_file_of_its_package(face):
    folder = Path(importlib.import_module(face).__file__).parent
    files = {path.stem for path in folder.glob("*.py")} | {
        path.parent.name for path in folder.glob("*/__init__.py")
    }
    assert {name for module, name, _ in listed(face) if module != face} & files == set()


def test_importing_every_face_imports_neither_jax_nor_other_large_packages():
    code = (
        f"import importlib, sys\nfor name in {FACES}: importlib.import_module(name)\n"
        "print(sorted({'jax', 'flax', 'numpy', 'transformers', 'scipy'} & set(sys.modules)))"
    )
    child = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=PACKAGE.parent,
    )
    assert child.stdout == "[]\n"


@pytest.mark.slow
def test_a_type_checker_sees_the_names_of_a_face(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from jaxrec.core import nearest\n"
        "from jaxrec.core import nearset\n"
        "reveal_type(nearest)\n"
        "nearest(1, [])\n"
    )
    child = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--follow-imports=silent"),
            *("--cache-dir", str(tmp_path / "cache"), str(script)),
        ],
        capture_output=True,
        text=True,
        cwd=PACKAGE.parent,
    )
    output = child.stdout
    assert child.returncode == 1, output + child.stderr
    assert 'script.py:2: error: Module "jaxrec.core" has no attribute "nearset"' in output
    assert 'script.py:3: note: Revealed type is "def (name: ' in output
    assert 'script.py:4: error: Argument 1 to "nearest" has incompatible type "int"' in output
    assert "script.py:1:" not in output


@pytest.mark.parametrize("name", FACES)
def test_no_name_of_a_face_is_that_of_a_file_beside_it(name):
    # Importing the file would put it in the place of the name.
    folder = PACKAGE.joinpath(*name.split(".")[1:])
    files = {path.stem for path in folder.glob("*.py")} | {path.name for path in folder.glob("*/")}
    tree = ast.parse((folder / "__init__.py").read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    listed = {alias.asname for node in imports if node.module != name for alias in node.names}
    assert not listed & files
