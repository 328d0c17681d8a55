"""The generated pages: systems, settings, commands, API; and the conversion of docstrings."""

import dataclasses
import doctest
import importlib
import inspect
import pkgutil
import re

import pytest
from jaxrec_docs import api, commands, docstrings, notebooks, settings, systems
from jaxrec_docs.public import EXEMPT, SHOWN

import jaxrec.systems
from jaxrec.cli.main import COMMANDS

SHOWN_NAMES = [(room, name) for room, names in SHOWN.items() for name in names]


@dataclasses.dataclass(frozen=True)
class Inner:
    """Inner settings.

    Attributes:
      rate, decay: two
        numbers.
    """

    rate: float = 0.5
    decay: float = 0.25


@dataclasses.dataclass(frozen=True)
class Outer:
    """Outer settings.

    Attributes:
      kind: one | of several.
      inner: what the table is about.
    """

    kind: str = "a"
    inner: Inner = Inner(rate=0.125)


def test_settings_are_listed_with_the_defaults_of_the_outer_class():
    page = settings.page("toy", Outer)
    assert "| `kind` | `str` | `'a'` | one \\| of several. |" in page
    assert "| `inner.rate` | `float` | `0.125` | two numbers. |" in page
    assert "| `inner.decay` | `float` | `0.25` | two numbers. |" in page


def test_every_config_stands_on_the_page_of_one_system(root):
    pages = systems.pages(root / "configs")
    for path in (root / "configs").rglob("*.py"):
        heading = f"## `{path.relative_to(root)}`"
        assert sum(heading in page for page in pages.values()) == 1, heading


def test_commands_of_a_header_stay_a_block_when_nothing_else_follows(root, tmp_path):
    path = tmp_path / "a.py"
    path.write_text('"""One line.\n\n    jaxrec train a\n    jaxrec eval runs/a\n"""\n')
    assert systems.plain(systems._header(path)) == (
        "One line.\n\n    jaxrec train a\n    jaxrec eval runs/a"
    )


def test_each_config_of_a_mixed_folder_names_its_own_system(root):
    page = systems.pages(root / "configs")["systems/align.md"]
    sections = dict(re.findall(r"^## `(\S+)`\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    for name, package in {"dpo_items": "generative", "dpo_text": "dpo", "reward": "reward"}.items():
        assert f"Runs by `jaxrec.systems.{package}`," in sections[f"configs/align/{name}.py"]
        assert f"- [{package}]({package}.md): " in page


def test_every_system_and_every_room_stand_in_the_tables(root):
    listed = (root / "docs" / "systems" / "index.md").read_text()
    for info in pkgutil.iter_modules(jaxrec.systems.__path__):
        assert f"(../generated/systems/{info.name}.md) |" in listed, info.name
    text = (root / "docs" / "concepts.md").read_text()
    rooms = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", text, re.MULTILINE)
    assert re.findall(r"\w+", " ".join(rooms)) == list(jaxrec._ROOMS)


def test_every_command_has_its_help_on_the_page(root):
    page = commands.pages(root / "tools" / "bench")["commands.md"]
    for name in COMMANDS:
        assert f"## `jaxrec {name}`" in page
    assert "--include-seen" in page
    assert max(len(section.splitlines()) for section in page.split("\n## ")) < 80


def test_every_public_name_stands_on_the_page_of_its_room():
    for room, page in ((r, p) for r, p in _api_pages().items()):
        for name in importlib.import_module(f"jaxrec.{room}").__all__:
            assert re.search(rf"\b{re.escape(name)}\b", page), f"{room}.{name}"


def test_a_name_that_is_not_public_is_an_error(monkeypatch):
    monkeypatch.setitem(SHOWN, "items", ("no_such_name",))
    with pytest.raises(ValueError, match="no_such_name, which is not public"):
        api.page("items", importlib.import_module("jaxrec.items"))


@pytest.mark.parametrize(("room", "name"), SHOWN_NAMES, ids=[f"{r}.{n}" for r, n in SHOWN_NAMES])
def test_what_users_call_has_an_example(room, name):
    value = api.resolve(importlib.import_module(f"jaxrec.{room}"), name)
    full = f"{room}.{name}"
    has = ">>>" in (inspect.getdoc(value) or "")
    if full in EXEMPT:
        assert not has, f"jaxrec.{full} has an example; take it out of EXEMPT"
    else:
        assert has, f"jaxrec.{full} needs an Example: section in its docstring"


def test_exemptions_are_needed_and_few():
    shown = {f"{room}.{name}" for room, name in SHOWN_NAMES}
    assert set(EXEMPT) <= shown
    assert len(EXEMPT) <= 5
    assert all(EXEMPT.values())


def test_a_docstring_becomes_escaped_text_and_sections():
    text = """Add `a_b` to *all* of [x](y)_.

    A drawing:

        1 0
        1 1

    Args:
      a, b: two
        numbers.

    Example:
      >>> 1 + 1
      2
    """
    rst = docstrings.to_rst(text)
    assert "Add \\ ``a_b``\\  to \\*all\\* of [x](y)\\_." in rst
    assert "::\n\n   1 0\n   1 1" in rst
    assert "* **a, b** – two numbers." in rst
    assert ".. code-block:: pycon\n\n   >>> 1 + 1\n   2" in rst


@pytest.mark.parametrize("module", [api, commands, docstrings, notebooks, settings, systems])
def test_examples_of_the_generator_run(module):
    assert doctest.testmod(module).failed == 0


def test_text_of_a_docstring_is_no_markup_on_a_markdown_page():
    assert systems.plain("see [I, L](x) and <b>, `<c>`") == "see [I, L]\\(x) and &lt;b>, `<c>`"
    assert systems.plain("    [a](b) <c>") == "    [a](b) <c>"


def _api_pages():
    return {path.split("/")[1].removesuffix(".rst"): text for path, text in api.pages().items()}


def test_tests_that_pages_name_exist(root):
    for path in (root / "docs").rglob("*.md"):
        if "generated" in path.parts:
            continue
        for file, name in re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", path.read_text()):
            assert (root / file).is_file(), f"{path.name} names {file}, which does not exist"
            if name:
                assert defines(root / file, name), f"{path.name}: {file} has no {name}"


def test_every_problem_has_tests_that_prove_its_solution(root):
    text = (root / "docs" / "problems.md").read_text()
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    assert rows[0] == ["problem", "what happens instead", "test"] and len(rows) > 25
    for problem, _, tests in rows[1:]:
        named = re.findall(r"`tests/[\w/]+\.py::test_\w+`", tests)
        assert named and ", ".join(named) == tests, problem


def defines(path, name):
    return re.search(rf"^def {name}\(", path.read_text(), re.MULTILINE) is not None


def test_a_test_that_does_not_exist_is_noticed(root):
    here = root / "tests" / "docs" / "test_pages.py"
    assert defines(here, "test_a_test_that_does_not_exist_is_noticed")
    assert not defines(here, "test_a_test_that_does_not_exist")
