"""Docstrings as reStructuredText: text is escaped, so that no docstring can break the build.

The docstrings of jaxrec have paragraphs, `code`, drawings that are indented, and sections such as
`Args:` whose entries are `name: text`.
"""

import inspect
import re

SECTIONS = ("Args", "Attributes", "Returns", "Yields", "Raises", "Example")
_SECTION = re.compile(rf"^({'|'.join(SECTIONS)}):$")
_ENTRY = re.compile(r"^([\w`*., ]+?): (.*)$", re.DOTALL)
_ITEM = re.compile(r"^(?:[-*]|\d+\.) ")


def sections(docstring: str) -> dict[str, str]:
    r"""The parts of a docstring, dedented: the text before all sections has the name "".

    Example:
      >>> sections("Add.\n\nArgs:\n  a: a number.")
      {'': 'Add.', 'Args': 'a: a number.'}
    """
    parts: dict[str, list[str]] = {"": []}
    name = ""
    for line in inspect.cleandoc(docstring).splitlines():
        section = _SECTION.match(line)
        if section:
            name = section[1]
            parts[name] = []
        elif name and line and not line.startswith(" "):
            name = ""
            parts[name].append(line)
        else:
            parts[name].append(line)
    return {key: inspect.cleandoc("\n" + "\n".join(lines)) for key, lines in parts.items()}


def entries(text: str) -> dict[str, str]:
    r"""The entries of a section such as `Args:`, by name: each on one line.

    Example:
      >>> entries("a, b: two\n  numbers.\nc: one.")
      {'a, b': 'two numbers.', 'c': 'one.'}
    """
    found: dict[str, str] = {}
    for block in re.split(r"\n(?=\S)", text):
        entry = _ENTRY.match(block)
        if entry:
            found[entry[1]] = " ".join(entry[2].split())
        elif block.strip():
            last = next(reversed(found), "")
            found[last] = " ".join([found.get(last, ""), *block.split()]).strip()
    return found


def summary(docstring: str | None) -> str:
    """The first paragraph of a docstring, on one line."""
    return " ".join(inspect.cleandoc(docstring or "").split("\n\n")[0].split())


def to_rst(docstring: str) -> str:
    """A whole docstring as reStructuredText."""
    blocks = []
    for name, text in sections(docstring).items():
        if name == "Example":
            blocks += ["**Example**", _indented(".. code-block:: pycon\n\n", text)]
        elif name in ("Args", "Attributes", "Raises") and entries(text):
            rows = [
                f"* {bold(key)} – {escape(value)}" if key else f"* {escape(value)}"
                for key, value in entries(text).items()
            ]
            blocks += [f"**{name}**", "\n".join(rows)]
        elif name:
            blocks += [f"**{name}**", _paragraphs(text)]
        else:
            blocks.append(_paragraphs(text))
    return "\n\n".join(block for block in blocks if block.strip()) + "\n"


def escape(text: str) -> str:
    r"""Text in one line with `code`, escaped.

    Example:
      >>> print(escape("all of `a_b` and *c"))
      all of \ ``a_b``\  and \*c
    """
    pieces = re.split(r"`([^`]+)`", text)
    # A piece of code stands between escaped blanks, which end it whatever comes next.
    found = [
        f"\\ ``{piece.strip()}``\\ " if at % 2 else re.sub(r"([\\*_|`:<>])", r"\\\1", piece)
        for at, piece in enumerate(pieces)
    ]
    return "".join(found)


def bold(name: str) -> str:
    """The name of an argument."""
    return "**" + re.sub(r"([\\*_|`])", r"\\\1", name.replace("`", "")) + "**"


def _paragraphs(text: str) -> str:
    blocks = []
    for block in re.split(r"\n\s*\n", text):
        lines = block.splitlines()
        if not lines:
            continue
        if lines[0].startswith(" "):
            blocks.append(_indented("::\n\n", inspect.cleandoc("\n" + block)))
        elif _ITEM.match(lines[0]):
            items = re.split(r"\n(?=(?:[-*]|\d+\.) )", block)
            blocks.append("\n".join(f"* {escape(_flat(_ITEM.sub('', item)))}" for item in items))
        else:
            # The escaped blank keeps the first word from being read as an enumerator or a mark.
            blocks.append(f"\\ {escape(_flat(block))}")
    return "\n\n".join(blocks)


def _flat(text: str) -> str:
    return " ".join(text.split())


def _indented(head: str, text: str) -> str:
    return head + "\n".join(f"   {line}".rstrip() for line in text.splitlines())
