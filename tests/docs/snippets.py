"""Reads code blocks and commands out of Markdown pages."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
# A block may follow a comment that names the test which runs it: <!-- tested by tests/a.py -->
_FENCE = re.compile(
    r"(?:^<!-- tested by (\S+) -->\n)?^```([^`\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL
)
_INDENTED = re.compile(r"(?:^|\n\n)((?:    .*(?:\n|$))+)")
_PROGRAM = re.compile(r"^(?:srun )?(jaxrec|tools/\w+|python tools/\S+)(?= |$)")
_SPAN = re.compile(r"`([^`\n]+)`")


class Block(NamedTuple):
    """A block of code: the test that a comment names, its language, and its text."""

    tested_by: str
    language: str
    text: str


def pages() -> list[Path]:
    """The pages beside the README, and those of the documentation that are written by hand."""
    docs = ROOT / "docs"
    written = [p for p in docs.rglob("*.md") if not {"generated", "_build"} & set(p.parts)]
    return [*sorted(ROOT.glob("*.md")), *sorted(written)]


def all_blocks(text: str) -> list[Block]:
    """All blocks between fences, in order."""
    return [Block(*found) for found in _FENCE.findall(text)]


def indented(text: str) -> list[str]:
    """The blocks that are only indented, in order."""
    bodies = _INDENTED.findall(_FENCE.sub("", text))
    return [re.sub(r"^    ", "", body, flags=re.M) for body in bodies]


def blocks(text: str, *languages: str) -> list[str]:
    """The texts of the blocks that are marked as one of the languages, in order."""
    return [block.text for block in all_blocks(text) if block.language in languages]


def python_blocks(text: str) -> list[str]:
    """The Python blocks that run with the page; those that name another test do not."""
    found = all_blocks(text)
    return [block.text for block in found if block.language == "python" and not block.tested_by]


def prose(text: str) -> str:
    """The text without its blocks."""
    return _INDENTED.sub("\n\n", _FENCE.sub("", text))


def spans(text: str) -> list[str]:
    """All `code` of the text outside of blocks."""
    return _SPAN.findall(prose(text))


def commands(text: str) -> list[list[str]]:
    """Every command of jaxrec and of `tools`, as words: in blocks, and in `code` of the text."""
    bodies = [*blocks(text, "bash", "shell", "text", ""), *indented(text)]
    lines = [line for body in bodies for line in re.sub(r"\\\n\s*", "", body).splitlines()]
    found = []
    for line in [*lines, *spans(text)]:
        program = _PROGRAM.match(line.strip())
        if program:
            words = shlex.split(line.strip().removeprefix("srun "), comments=True)
            if words not in found:
                found.append(words)
    return found
