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
    """The pages beside the README, and those of the documentation that are written by hand."""
    docs = ROOT / "docs"
    written = [p for p in docs.rglob("*.md") if not {"generated", "_build"} & set(p.parts)]
    return [*sorted(ROOT.glob("*.md")), *sorted(written)]


def blocks(text: str, *languages: str) -> list[str]:
    """The blocks that are marked as one of the languages, in order."""
    return [body for language, body in _FENCE.findall(text) if language in languages]


def python_blocks(text: str) -> list[str]:
    """The blocks that are marked as Python, in order."""
    return blocks(text, "python")


def commands(text: str) -> list[list[str]]:
    """Every command of jaxrec and of `tools`, as words: in blocks, and in `code` of the text."""
    bodies = blocks(text, "bash", "shell", "text", "")
    prose = _FENCE.sub("", text)
    bodies += [re.sub(r"^    ", "", body, flags=re.M) for body in _INDENTED.findall(prose)]
    lines = [line for body in bodies for line in re.sub(r"\\\n\s*", "", body).splitlines()]
    found = []
    for line in [*lines, *_SPAN.findall(_INDENTED.sub("\n\n", prose))]:
        program = _PROGRAM.match(line.strip())
        if program:
            words = shlex.split(line.strip().removeprefix("srun "), comments=True)
            if words not in found:
                found.append(words)
    return found
