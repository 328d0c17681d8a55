"""`tools/results.py` writes what a command prints between the marks of a document."""

import importlib
import importlib.util
import re
import shlex

import pytest

DOCUMENT = (
    "# Title\n\n<!-- result: measure a --x 1 -->\nold\n<!-- end of result -->\n\nBetween.\n\n"
    "<!-- result: measure b -->\n\nkept\n\n<!-- end of result -->\nAfter.\n"
)


@pytest.fixture(scope="module")
def results(root):
    spec = importlib.util.spec_from_file_location("results", root / "tools" / "results.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_only_the_table_of_the_chosen_command_is_replaced(results):
    asked = []

    def run(command):
        asked.append(command)
        return 'working\n| a | b |\n|---|---|\n| 1 | 2 |\n{"rows": []}\n'

    text = results.fill(DOCUMENT, run, "2026-01-31 at commit 1a2b3c4", only="measure a")
    assert asked == ["measure a --x 1"]
    assert text == DOCUMENT.replace(
        "-->\nold\n<!--",
        "-->\n\n*Measured on 2026-01-31 at commit 1a2b3c4 by `measure a --x 1`.*\n\n"
        "| a | b |\n|---|---|\n| 1 | 2 |\n\n<!--",
    )


def test_filling_twice_changes_nothing(results):
    once = results.fill(DOCUMENT, lambda command: f"| {command} |\n", "today")
    assert results.fill(once, lambda command: f"| {command} |\n", "today") == once
    assert "| measure a --x 1 |" in once and "| measure b |" in once


def test_output_without_a_table_is_kept_without_its_last_line(results):
    assert results.tables('x   1\ny  12\n{"x": 1}\n') == "```text\nx   1\ny  12\n```"


def test_two_tables_stay_apart(results):
    assert (
        results.tables("| a |\n|---|\n\ntext\n\n| b |\n|---|\n") == "| a |\n|---|\n\n| b |\n|---|"
    )


def test_every_result_says_when_it_was_measured_and_by_what(root):
    for path in (root / "docs" / "results").glob("*.md"):
        text = path.read_text()
        for command, body in re.findall(
            r"<!-- result: (.+?) -->\n(.*?)<!-- end of result -->", text, re.DOTALL
        ):
            assert re.search(r"\*Measured on \d{4}-\d\d-\d\d at commit [0-9a-f]{7} by", body)
            assert f"`{command}`" in body
            assert shlex.split(command)[0] == "python"
        assert text.count("<!-- result:") == text.count("<!-- end of result -->")


def sections(text):
    """The text of each section, without the blocks of comparisons that a command writes."""
    return re.split(r"^#+ .*$", text, flags=re.MULTILINE)


def test_every_table_has_a_date_and_a_command_above_it(root):
    for path in (root / "docs" / "results").glob("*.md"):
        for section in sections(path.read_text()):
            first = re.search(r"^\|[ :-]*-{3}", section, re.MULTILINE)
            if first:
                above = " ".join(section[: first.start()].split())
                said = re.search(r"\*Measured .*?\d{4}-\d\d-\d\d.*?\*(?= |$)", above)
                assert said, f"{path.name}: {section[:200]}"
                assert re.search(r"`(jaxrec|python tools/|tools/|pytest )[^`]*`", said[0]), said[0]


def test_the_readme_shows_the_table_of_the_results(root):
    """The rows of both are the same, so that neither can be left behind."""
    table = r"^\| system \|.*?\n\n"
    shown = re.search(table, (root / "README.md").read_text(), re.MULTILINE | re.DOTALL)[0]
    page = (root / "docs" / "results" / "accuracy.md").read_text()
    assert shown == re.search(table, page, re.MULTILINE | re.DOTALL)[0]


def test_the_table_of_mutations_has_each_of_them_and_names_tests_that_exist(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "tools"))
    mutations = importlib.import_module("mutations").MUTATIONS
    page = (root / "docs" / "results" / "mutations.md").read_text()
    rows = re.findall(r"^\| (.+?) \| `(\S+)` \| `(\S+)`: (.+?) \|$", page, re.MULTILINE)
    shown = sorted((name, f"jaxrec/{file}") for name, file, _, _ in rows)
    assert shown == sorted((mutation.name, mutation.file) for mutation in mutations)
    for _, _, test, words in rows:
        name = f"test_{words.replace(' ', '_')}"
        assert re.search(rf"def {name}\(", (root / "tests" / test).read_text()), (test, name)
