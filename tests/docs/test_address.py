"""Every file that names the address of the repository names the one of pyproject.toml."""

import importlib.util
import re
import shutil
from importlib.machinery import SourceFileLoader

import pytest
import snippets as reader
import yaml
from jaxrec_docs import notebooks

NEW = "https://github.com/some-one/new.name"


@pytest.fixture(scope="module")
def tool(root):
    loader = SourceFileLoader("address", str(root / "tools" / "address"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("address", loader))
    loader.exec_module(module)
    return module


@pytest.fixture
def copy(root, tmp_path):
    """The files that may name the address, in a directory of their own."""
    for path in ["pyproject.toml", "CITATION.cff", *(str(p) for p in reader.pages())]:
        target = tmp_path / (root / path).relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / path, target)
    shutil.copytree(root / "notebooks", tmp_path / "notebooks")
    return tmp_path


def test_all_places_agree(root, tool):
    address = tool.address(root)
    assert notebooks.address() == address
    assert yaml.safe_load((root / "CITATION.cff").read_text())["repository-code"] == address
    assert f"({address}/security/advisories/new)" in (root / "SECURITY.md").read_text()
    found = {str(path.relative_to(root)) for path in tool.places(root)}
    assert {"pyproject.toml", "CITATION.cff", "SECURITY.md"} < found
    for path in (root / "notebooks").glob("*.ipynb"):
        text = path.read_text()
        assert f'ADDRESS = \\"{address}\\"' in text
        # Both the badge and the first cell name the repository, and nothing names another jaxrec.
        owners = re.findall(r"github(?:\.com)?/([\w-]+/jaxrec)\b", text)
        assert len(owners) == 2 and {f"https://github.com/{owner}" for owner in owners} == {address}


def test_a_new_address_is_written_everywhere_and_nothing_else_changes(copy, tool):
    old, before = tool.address(copy), tool.places(copy)
    texts = {path: path.read_text() for path in copy.rglob("*") if path.is_file()}
    assert tool.write(copy, NEW) == before
    assert tool.address(copy) == NEW and tool.places(copy) == before
    short, long = (url.removeprefix("https://github.com/") for url in (old, NEW))
    for path, text in texts.items():
        assert path.read_text() == text.replace(f"/{short}", f"/{long}")
    tool.write(copy, old)
    assert texts == {path: path.read_text() for path in texts}


def test_longer_names_are_left_alone(copy, tool):
    other = f"{tool.address(copy)}-data"
    with open(copy / "README.md", "a") as file:
        file.write(f"\n[data]({other}), [code]({tool.address(copy)}).\n")
    tool.write(copy, NEW)
    assert (copy / "README.md").read_text().endswith(f"[data]({other}), [code]({NEW}).\n")


@pytest.mark.parametrize(
    "url",
    [
        "OWNER/jaxrec",
        "https://example.org/a/b",
        f"{NEW}.git",
        f"{NEW}/",
        "https://github.com/a",
        "http://github.com/a/b",
    ],
)
def test_what_is_no_address_of_github_is_refused_before_anything_is_written(copy, tool, url):
    texts = {path: path.read_text() for path in copy.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match=re.escape(repr(url))):
        tool.write(copy, url)
    assert texts == {path: path.read_text() for path in texts}
