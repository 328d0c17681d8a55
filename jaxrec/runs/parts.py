"""Read what the report of a run shows, for any system."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from jaxrec.core import DataError, mismatch, quoted, read_json
from jaxrec.data import DATASETS
from jaxrec.eval import REPORT_KEYS, RunParts, SystemFacts
from jaxrec.ids import opened
from jaxrec.runs.directory import Environment, TrainFacts, load_codes
from jaxrec.runs.table import MODEL
from jaxrec.train import read_metrics


class _Measurement(TypedDict):
    metrics: dict[str, float]


class _Comparison(TypedDict):
    baseline: str


class _Report(TypedDict):
    """What every report reads of an `eval.json`."""

    rows: dict[str, _Measurement]
    comparisons: list[_Comparison]
    protocol: dict[str, Any]
    samples: NotRequired[list[dict[str, Any]]]


def read_parts(
    config: Any, directory: Path, facts: SystemFacts, required: Sequence[str] = ()
) -> RunParts:
    """Read a run directory; a file that does not exist yet is left out.

    Args:
      config: of the run.
      directory: of the run.
      facts: what the report says about the system.
      required: keys of `eval.json` that the system writes beside `REPORT_KEYS`.

    Raises:
      DataError: a damaged file, or an `eval.json` of a version that measured less.
    """
    report = _read(directory / "eval.json")
    if report is not None:
        lacking = [name for name in (*REPORT_KEYS, *required) if name not in report]
        problem = f"lacks {', '.join(lacking)}" if lacking else _fault(report)
        if problem:
            raise DataError(
                f"{directory / 'eval.json'} {problem}; write it again: "
                f"jaxrec eval {quoted(directory)}"
            )
    has_codes = facts.has_ids and (directory / "ids" / "codes.npz").exists()
    codes = opened(load_codes(directory)) if has_codes else None
    settings = dataclasses.asdict(config)
    known = DATASETS.get(settings["data"]["name"])
    return RunParts(
        run=str(directory),
        config=settings,
        system=facts,
        env=_read(directory / "env.json", Environment) or {},
        report=report,
        metrics=read_metrics(directory / "metrics.jsonl"),
        train=_read(directory / "train.json", TrainFacts),
        codes=codes.codes if codes else None,
        ids=codes.metadata | {"scheme": codes.scheme, "sizes": codes.sizes} if codes else {},
        about=known.about if known else "",
        homepage=known.homepage if known else "",
    )


def _fault(report: Mapping[str, Any]) -> str:
    """What is wrong with the tables of an `eval.json`; "" if nothing is."""
    if problem := mismatch(report, _Report, ""):
        return f"is damaged ({problem})"
    return "" if MODEL in report["rows"] else f"has no row {MODEL!r} in its rows"


def _read(path: Path, expected: Any = dict[str, Any]) -> dict[str, Any] | None:
    return read_json(path, expected) if path.exists() else None
