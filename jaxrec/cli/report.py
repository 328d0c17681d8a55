"""`jaxrec report RUN`: the run as one HTML page, `report.html`, and a model card, `README.md`."""

import dataclasses
from pathlib import Path
from typing import Annotated, cast

import tyro

from jaxrec.cli.arguments import parse
from jaxrec.cli.run_argument import read_run
from jaxrec.core import DataError, JaxrecError, printable, quoted, write_text
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
    shown, described = pages(parts, directory)
    write_text(page, shown)
    write_text(card, described)
    print(f"wrote {printable(str(page))} and {printable(str(card))}")
    if not parts.metrics or parts.train is None:
        print(f"next: jaxrec train CONFIG --run-dir {quoted(directory)}")
    elif parts.report is None:
        print(f"next: jaxrec eval {quoted(directory)}")
    else:
        print(f"next: open {quoted(page)}")


def pages(parts: RunParts, directory: Path) -> tuple[str, str]:
    """Return the page and the model card.

    Raises:
      DataError: a file of the run holds a value that cannot be shown.
    """
    try:
        return render(parts), model_card(parts)
    except JaxrecError:
        raise
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        raise _damaged(directory, error) from error
    except Exception as error:
        # Jinja's own class for a key that is not there; it takes a second to import.
        if type(error).__module__.partition(".")[0] != "jinja2":
            raise
        raise _damaged(directory, error) from error


def _damaged(directory: Path, error: Exception) -> DataError:
    return DataError(
        f"eval.json, env.json or train.json of {directory} holds a value that cannot be shown "
        f"({type(error).__name__}: {error}); write them again: jaxrec eval {quoted(directory)}"
    )


def read_parts(directory: Path) -> RunParts:
    """Read what the report of a run shows.

    Raises:
      ConfigError: a run of a system without a report.
      DataError: no run there, or a damaged file.
    """
    config = read_run(directory)
    return cast(RunParts, offered(config, "report")(config, directory))
