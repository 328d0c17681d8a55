"""The files beside the README: size, links, citation, and the extras that pages install."""

import re
import tomllib

import snippets as reader
import yaml

import jaxrec

PAGES = {str(path.relative_to(reader.ROOT)): path for path in reader.pages()}
_LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")


def project():
    return tomllib.loads((reader.ROOT / "pyproject.toml").read_text())["project"]


def test_the_readme_is_short():
    text = (reader.ROOT / "README.md").read_text()
    assert len(text.encode()) <= 6000
    (python,) = reader.python_blocks(text)
    assert len(python.splitlines()) <= 10
    assert len(re.findall(r"^\|---", text, re.MULTILINE)) == 1, "one table"


def test_links_between_the_files_beside_the_readme_lead_somewhere():
    for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"):
        for target in _LINK.findall((reader.ROOT / name).read_text()):
            assert target.startswith("https://") or (reader.ROOT / target).exists(), (name, target)


def test_the_citation_names_this_version_and_what_the_format_requires():
    citation = yaml.safe_load((reader.ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["version"] == jaxrec.__version__
    assert citation["license"] == project()["license"]
    changes = (reader.ROOT / "CHANGELOG.md").read_text()
    assert re.search(r"^## (\S+)", changes, re.MULTILINE)[1] == jaxrec.__version__


def test_every_extra_that_a_page_installs_exists():
    known = set(project()["optional-dependencies"])
    found = set()
    for path in PAGES.values():
        found |= set(re.findall(r"(?:\.|jaxrec)\[([\w-]+)\]'", path.read_text()))
    assert "wandb" in found and found <= known, found - known
    # Messages of the library name extras too.
    for path in (reader.ROOT / "jaxrec").rglob("*.py"):
        named = set(re.findall(r"jaxrec\[([\w-]+)\]'", path.read_text()))
        assert named <= known, (path, named - known)


def test_every_extra_stands_in_the_table_of_the_installation():
    page = (reader.ROOT / "docs" / "start" / "install.md").read_text()
    rows = re.findall(r"^\| `pip install -e '\.\[([\w-]+)\]'` \|", page, re.MULTILINE)
    assert set(rows) == set(project()["optional-dependencies"])
