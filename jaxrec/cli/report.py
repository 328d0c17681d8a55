"""`jaxrec report RUN`: the run as one HTML page, `report.html`, and a model card, `README.md`."""

import dataclasses
from pathlib import Path
from typing import Annotated, cast

import tyro

from jaxrec.cli.arguments import parse
from jaxrec.cli.run_argument import read_run
from jaxrec.core import printable, quoted, write_text
from jaxrec.eval import RunParts, model_card, render
from jaxrec.runs import offered


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Write the report and the model card of a run.

    Attributes:
      run: the run directory.
    """

    run: Annotated[Path, tyro.conf.Positional]


def run(arguments: list[str]) -> None:
    """Read what the run holds, write the two files, and print their paths."""
    directory = parse(Arguments, arguments, prog="jaxrec report").run
    parts = read_parts(directory)
    page, card = directory / "report.html", directory / "README.md"
    write_text(page, render(parts))
    write_text(card, model_card(parts))
    print(f"wrote {printable(str(page))} and {printable(str(card))}")
    if not parts.metrics or parts.train is None:
        print(f"next: jaxrec train CONFIG --run-dir {quoted(directory)}")
    elif parts.report is None:
        print(f"next: jaxrec eval {quoted(directory)}")
    else:
        print(f"next: open {quoted(page)}")


def read_parts(directory: Path) -> RunParts:
    """Read what the report of a run shows.

    Raises:
      ConfigError: a run of a system without a report.
      DataError: no run there, or a damaged file.
    """
    config = read_run(directory)
    return cast(RunParts, offered(config, "report")(config, directory))
