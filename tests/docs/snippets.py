"""Reads code blocks and commands out of Markdown pages."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?:^|\n\n)((?:    .*(?:\n|$))+)")
_PROGRAM = re.compile(r"^(?:srun )?(jaxrec|tools/\w+|python tools/\S+)(?= |$)")
_SPAN = re.compile(r"`([^`\n]+)`")


def pages() -> list[Path]:
    """The README and every page of the documentation that is written by hand."""
    docs = ROOT / "docs"
    written = [p for p in docs.rglob("*.md") if not {"generated", "_build"} & set(p.parts)]
    return [ROOT / "README.md", *sorted(written)]


def python_blocks(text: str) -> list[str]:
    """The blocks that are marked as Python, in order."""
    return [body for language, body in _FENCE.findall(text) if language == "python"]


def commands(text: str) -> list[list[str]]:
    """Every command of jaxrec and of `tools`, as words: in blocks, and in `code` of the text."""
    blocks = [body for name, body in _FENCE.findall(text) if name in ("bash", "shell", "text", "")]
    prose = _FENCE.sub("", text)
    blocks += [re.sub(r"^    ", "", body, flags=re.M) for body in _INDENTED.findall(prose)]
    lines = [line for body in blocks for line in re.sub(r"\\\n\s*", "", body).splitlines()]
    found = []
    for line in [*lines, *_SPAN.findall(_INDENTED.sub("\n\n", prose))]:
        program = _PROGRAM.match(line.strip())
        if program:
            words = shlex.split(line.strip().removeprefix("srun "), comments=True)
            if words not in found:
                found.append(words)
    return found
