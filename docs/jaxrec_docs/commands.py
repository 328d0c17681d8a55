"""The help of every command, as the command prints it, and the list of measurements."""

import ast
import contextlib
import io
import os
import re
from pathlib import Path
from unittest import mock

from jaxrec.cli.main import COMMANDS, main
from jaxrec_docs.docstrings import summary
from jaxrec_docs.systems import plain

# The help of a command that takes a config lists a hundred settings; these have their own pages.
LONGEST = 60


def pages(bench: Path) -> dict[str, str]:
    """Paths and texts of the pages.

    Args:
      bench: the directory of the measurements.
    """
    parts = ["# Commands", "`jaxrec COMMAND --help` prints what stands here."]
    for name, about in COMMANDS.items():
        parts += [f"## `jaxrec {name}`", plain(about[0].upper() + about[1:] + "."), _block(name)]
    return {
        "commands.md": "\n\n".join(parts) + "\n",
        "measurements.md": measurements(bench),
    }


def measurements(bench: Path) -> str:
    """The page that lists the measurements of `tools/bench`."""
    rows = ["| name | what it measures |", "|---|---|"]
    for path in sorted(bench.rglob("*.py")):
        tree = ast.parse(path.read_text())
        functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        classes = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
        if {"run", "Options"} <= functions | classes:
            about = plain(summary(ast.get_docstring(tree))).replace("|", "\\|")
            rows.append(f"| `{path.stem}` | {about} |")
    return (
        "\n\n".join(
            [
                "# Measurements",
                "`python tools/bench NAME` runs one of these and prints a table; its last line is "
                "JSON. `python tools/bench NAME --help` lists its options.",
                "\n".join(rows),
            ]
        )
        + "\n"
    )


def help_of(name: str) -> str:
    """What `jaxrec NAME --help` prints at a width of 96, without colours."""
    output = io.StringIO()
    with (
        mock.patch.dict(os.environ, {"COLUMNS": "96", "NO_COLOR": "1", "TERM": "dumb"}),
        contextlib.redirect_stdout(output),
        contextlib.suppress(SystemExit),
    ):
        main([name, "--help"])
    return re.sub(r"\x1b\[[0-9;]*m", "", output.getvalue()).strip()


def _block(name: str) -> str:
    lines = help_of(name).splitlines()
    if len(lines) <= LONGEST:
        return "```text\n" + "\n".join(lines) + "\n```"
    usage = "\n".join(lines).split("\n\n")[0].rstrip()
    return (
        f"```text\n{usage}\n```\n\nThe settings are those of the config's system: see "
        "[Settings](../reference/index.md#settings)."
    )
