"""Options and settings that the prose of a page names exist."""

import contextlib
import importlib
import io
import re

import pytest
import snippets as reader
from jaxrec_docs import commands, settings

import jaxrec
from jaxrec.cli.main import COMMANDS, main

PAGES = {str(path.relative_to(reader.ROOT)): path for path in reader.pages()}
# Commands whose verbs have options of their own.
VERBS = {"feedback": ("serve", "agree"), "scaling": ("plan", "fit"), "data": ("check", "add")}
ELSEWHERE = {"use-pep517": "pip"}
_OPTION = re.compile(r"--([\w.-]*\w)(?![\w.…*])")
_SETTING = re.compile(r"([a-z]\w*)\.[\w.]*\w")
_FILE = re.compile(r".*\.(py|json|jsonl|csv|npz|html|md|txt|png|toml|ipynb|damaged|cff)")


@pytest.fixture(scope="module")
def names():
    """The path of every setting of every system, such as train.lr."""
    texts = settings.pages().values()
    return {name for text in texts for name in re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)}


@pytest.fixture(scope="module")
def options(names):
    """Every option of the commands and measurements, with underscores."""
    helps = [commands.help_of(name) for name in COMMANDS]
    for name, verbs in VERBS.items():
        for verb in verbs:
            output = io.StringIO()
            with contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
                main([name, verb, "--help"])
            helps.append(re.sub(r"\x1b\[[0-9;]*m", "", output.getvalue()))
    found = {name for text in helps for name in re.findall(r"--([\w.-]+)", text)}
    for path in (reader.ROOT / "tools" / "bench").rglob("*.py"):
        found |= set(re.findall(r"^    (\w+): ", path.read_text(), re.MULTILINE))
    return names | {name.replace("-", "_") for name in found}


def unknown_option(span, options):
    """The first option of a piece of code that does not exist, or "" if all of them do."""
    for option in _OPTION.findall(span):
        name = option.replace("-", "_")
        group = any(known.startswith(f"{name}.") for known in options)
        known = name in options or name.replace("no_", "", 1) in options
        if not (known or group or option in ELSEWHERE):
            return option
    return ""


@pytest.mark.parametrize("page", PAGES)
def test_options_of_the_prose_exist(page, options):
    for span in reader.spans(PAGES[page].read_text()):
        if span.startswith("--"):
            missing = unknown_option(span, options)
            assert not missing, f"{page}: there is no option --{missing}"


@pytest.mark.parametrize("page", PAGES)
def test_settings_of_the_prose_exist(page, names):
    text = PAGES[page].read_text()
    variables = set(re.findall(r"^(\w+) = ", "".join(reader.blocks(text, "python")), re.MULTILINE))
    groups = {name.partition(".")[0] for name in names if "." in name} - variables
    for span in reader.spans(text):
        found = _SETTING.fullmatch(span)
        if found and found[1] in groups and not _FILE.fullmatch(span):
            known = span in names or any(name.startswith(f"{span}.") for name in names)
            assert known or public(span), f"{page}: there is no setting {span}"


def public(span):
    """Whether a name is one of a room, such as data.load."""
    room, _, name = span.partition(".")
    return room in dir(jaxrec) and hasattr(importlib.import_module(f"jaxrec.{room}"), name)


def test_what_does_not_exist_is_found(options, names):
    assert unknown_option("--train.lr 1 --decode.beans 5", options) == "decode.beans"
    assert not unknown_option("--train.lr 1 --no-baselines --ids.… --quick", options)
    assert "train.lr" in names and "train.lrr" not in names
    assert public("data.load") and not public("data.loads")
