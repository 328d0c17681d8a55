"""`jaxrec report RUN`: the run as one HTML page, `report.html`, and a model card, `README.md`."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import tyro

from jaxrec.cli.arguments import parse
from jaxrec.core import DataError, read_json, write_text
from jaxrec.data import DATASETS
from jaxrec.eval import REPORT_KEYS, RunParts, model_card, render
from jaxrec.ids import opened
from jaxrec.runs import load_codes
from jaxrec.systems.generative import load_config
from jaxrec.train import read_metrics


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Write the report of a run.

    Attributes:
      run: the run directory.
    """

    run: Annotated[Path, tyro.conf.Positional]


def run(arguments: list[str]) -> None:
    """Read what the run holds, write the two files and print their paths."""
    directory = parse(Arguments, arguments, prog="jaxrec report").run
    parts = read_parts(directory)
    page, card = directory / "report.html", directory / "README.md"
    write_text(page, render(parts))
    write_text(card, model_card(parts))
    print(f"wrote {page} and {card}")
    if not parts.metrics:
        print(f"next: jaxrec train CONFIG --run-dir {directory}")
    elif parts.report is None:
        print(f"next: jaxrec eval {directory}")
    else:
        print(f"next: open {page}")


def read_parts(directory: Path) -> RunParts:
    """Read a run directory; what has not been made yet is left out.

    Raises:
      DataError: no run there, or a damaged file.
    """
    config = dataclasses.asdict(load_config(directory))
    report = _read(directory / "eval.json")
    if report is not None:
        lacking = [name for name in REPORT_KEYS if name not in report]
        if lacking:
            raise DataError(
                f"{directory / 'eval.json'} lacks {', '.join(lacking)}; "
                f"write it again: jaxrec eval {directory}"
            )
    has_ids = (directory / "ids" / "codes.npz").exists()
    found = opened(load_codes(directory)) if has_ids else None
    known = DATASETS.get(config["data"]["name"])
    return RunParts(
        run=str(directory),
        config=config,
        env=_read(directory / "env.json") or {},
        report=report,
        metrics=read_metrics(directory / "metrics.jsonl"),
        train=_read(directory / "train.json"),
        codes=found.codes if found else None,
        ids=found.metadata | {"scheme": found.scheme, "sizes": found.sizes} if found else {},
        about=known.about if known else "",
        homepage=known.homepage if known else "",
    )


def _read(path: Path) -> Any:
    return read_json(path) if path.exists() else None
