"""Fill the tables of a document by running the commands that its marks name.

    python tools/results.py docs/results/quantization.md [--only TEXT]

A mark is a pair of HTML comments: `result: COMMAND` and `end of result`. What stands between them
is replaced by the date, the commit, the command, and the tables that the command prints. Output
without a table is kept as it is, without its last line of JSON.
"""

import argparse
import datetime
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_BLOCK = re.compile(r"<!-- result: (.+?) -->\n.*?<!-- end of result -->", re.DOTALL)


def fill(text: str, run: Callable[[str], str], when: str, only: str = "") -> str:
    """Replace what stands between the marks of a document.

    Args:
      text: the document.
      run: from a command to its output.
      when: what was measured when, such as "2026-01-31 at commit 1a2b3c4".
      only: commands that do not contain this text are left alone.
    """

    def replace(block: re.Match[str]) -> str:
        command = block[1]
        if only not in command:
            return block[0]
        body = tables(run(command))
        return (
            f"<!-- result: {command} -->\n\n*Measured on {when} by `{command}`.*\n\n{body}\n\n"
            "<!-- end of result -->"
        )

    return _BLOCK.sub(replace, text)


def tables(output: str) -> str:
    """The Markdown tables of an output, or all of it as a block of text."""
    lines = output.strip().splitlines()
    if lines and _is_json(lines[-1]):
        lines = lines[:-1]
    rows = [line if line.startswith("|") else "" for line in lines]
    found = re.sub(r"\n{2,}", "\n\n", "\n".join(rows)).strip()
    return found or "```text\n" + "\n".join(lines).strip() + "\n```"


def _is_json(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict | list)
    except ValueError:
        return False


def _run(command: str) -> str:
    print("$", command, flush=True)
    words = [sys.executable if word == "python" else word for word in shlex.split(command)]
    done = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{command} ended with code {done.returncode}; its table stays as it was")
    return done.stdout


def _commit() -> str:
    words = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True).stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("document", type=Path, help="a Markdown file with marks")
    parser.add_argument("--only", default="", help="run only commands that contain this text")
    options = parser.parse_args()
    text = options.document.read_text()
    commands = [command for command in _BLOCK.findall(text) if options.only in command]
    if not commands:
        sys.exit(
            f"{options.document} has no mark for a command with {options.only!r}; expected a pair "
            "of comments <!-- result: COMMAND --> and <!-- end of result -->"
        )
    when = f"{datetime.date.today()} at commit {_commit()}"
    options.document.write_text(fill(text, _run, when, options.only))
    print(f"wrote {len(commands)} result(s) into {options.document}")


if __name__ == "__main__":
    main()
