"""Writes records as JSON lines, which the readers read."""

import dataclasses
import json
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jaxrec.core import write_text
from jaxrec.data.recruitment.records import Recruitment

# What the world knows and no reader returns.
_PLANTED = ("probability", "level_probability")


def write_recruitment(recruitment: Recruitment, folder: str | os.PathLike[str]) -> None:
    """Write `jobs.jsonl`, `people.jsonl`, `interviews.jsonl` and `matches.jsonl`.

    Files without records are not written, and planted probabilities are left out.

    Args:
      recruitment: the records.
      folder: is made if it does not exist.

    Example:
      >>> import tempfile
      >>> from jaxrec.data.recruitment import Job, read_jobs
      >>> folder = tempfile.mkdtemp()
      >>> write_recruitment(Recruitment(jobs=(Job(id="7", title="Baker"),)), folder)
      >>> read_jobs(Path(folder) / "jobs.jsonl").records[0].title
      'Baker'
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name, records in (
        ("jobs", recruitment.jobs),
        ("people", recruitment.resumes),
        ("interviews", recruitment.interviews),
        ("matches", recruitment.matches),
    ):
        if records:
            write_text(Path(folder) / f"{name}.jsonl", _lines(records))


def _lines(records: Iterable[Any]) -> str:
    rows = (
        {
            field.name: value
            for field in dataclasses.fields(record)
            if field.name not in _PLANTED and not _is_missing(value := getattr(record, field.name))
        }
        for record in records
    )
    return "".join(json.dumps(row, ensure_ascii=False, default=dict) + "\n" for row in rows)


def _is_missing(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)
