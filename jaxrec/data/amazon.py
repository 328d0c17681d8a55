"""Amazon reviews of 2014, 2018 and 2023: JSON lines of reviews and of item metadata.

The three releases name their fields differently, and the metadata of 2014 are Python literals
rather than JSON. HTML escapes in the texts are decoded.
"""

import ast
import dataclasses
import html
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.core import DataError
from jaxrec.data import files
from jaxrec.data.interactions import SEPARATOR, Interactions
from jaxrec.data.parquet import id_text, id_type_fault
from jaxrec.data.times import to_times

_USER = ("reviewerID", "user_id")
_ITEM = ("parent_asin", "asin")  # 2023 has both, and its metadata use the parent
_RATING = ("overall", "rating")
_TIME = ("unixReviewTime", "timestamp")
_TITLE = ("summary", "title")
_TEXT = ("reviewText", "text")
_META_ITEM = ("parent_asin", "asin", "id")
_BRAND = ("brand", "store")


def read_amazon(
    reviews: Path, metadata: Path | None = None, name: str | None = None
) -> Interactions:
    """Read a review file (.json, .jsonl, plain or .gz) and the metadata of its items.

    The field names of the 2014, 2018 and 2023 releases are known. Times of 2023 are in milliseconds
    and become seconds.

    Args:
      reviews: the review file.
      metadata: file with item metadata, which `read_item_lines` reads; None for no item texts.
      name: name of the data set; None takes it from the file name.

    Raises:
      DataError: a file is missing or malformed; the message names file and line.

    Example:
      >>> import json, tempfile
      >>> path = Path(tempfile.mkdtemp()) / "Beauty.jsonl"
      >>> review = {"user_id": "u", "asin": "B1", "rating": 5.0, "timestamp": 1600000000000}
      >>> _ = path.write_text(json.dumps(review))
      >>> read_amazon(path).time.tolist()
      [1600000000]
    """
    columns: dict[str, list[Any]] = {"user": [], "item": [], "rating": [], "time": []}
    for line, record, bad in files.read_json_lines(reviews):
        user, item = _first(record, _USER), _first(record, _ITEM)
        time, rating = _first(record, _TIME), _first(record, _RATING)
        absent = [
            " or ".join(names)
            for value, names in ((user, _USER), (item, _ITEM), (time, _TIME))
            if value is None or value == ""
        ]
        if absent:
            bad.add(line, f"no {absent[0]}; fields: {files.listed(record)}")
            continue
        if fault := files.id_fault(id_text(user)) or files.id_fault(id_text(item)):
            bad.add(line, f"user {files.shown(user)} or item {files.shown(item)} {fault}")
            continue
        if fault := id_type_fault(user) or id_type_fault(item):
            bad.add(line, f"user {files.shown(user)} or item {files.shown(item)}: {fault}")
            continue
        if not _is_number(time):
            bad.add(line, f"time {files.shown(time)} is not a number")
            continue
        if rating is not None and not _is_number(rating):
            bad.add(line, f"rating {files.shown(rating)} is not a number")
            continue
        columns["user"].append(str(user))
        columns["item"].append(str(item))
        columns["rating"].append(math.nan if rating is None else rating)
        columns["time"].append(time)
    times = to_times(np.array(columns["time"]), "time", reviews)
    # Whole seconds: rows of the file are matched with reviews by their number.
    times = dataclasses.replace(times, key=times.seconds)
    return Interactions.from_columns(
        np.array(columns["user"], dtype=str),
        np.array(columns["item"], dtype=str),
        time=times,
        rating=np.array(columns["rating"], np.float64),
        items=read_item_lines(metadata) if metadata else None,
        name=name or reviews.name.split(".")[0],
        source=str(reviews),
    )


def record_ids(record: Mapping[str, Any]) -> tuple[str, str]:
    """Return user and item of a review."""
    return str(_first(record, _USER)), str(_first(record, _ITEM))


def record_texts(record: Mapping[str, Any]) -> tuple[str, str]:
    """Return title and text of a review; "" for a missing one."""
    title, text = (_first(record, names) for names in (_TITLE, _TEXT))
    return " ".join(_leaves(title)), " ".join(_leaves(text))


def read_item_lines(path: Path) -> dict[str, dict[str, str]]:
    """Read item metadata in JSON lines, as a map from original ID to fields.

    The fields are title, brand, categories (each name once, joined by " | ") and description; ""
    where an item lacks one. The ID is `parent_asin`, `asin` or `id`. If several lines have the same
    ID, as in the release of 2018, the first one counts.

    Raises:
      DataError: the file is missing or malformed; the message names file and line.
    """
    rows: dict[str, dict[str, str]] = {}
    for line, record, bad in files.read_json_lines(path, fallback=ast.literal_eval):
        key = _first(record, _META_ITEM)
        if key is None or key == "":
            wanted = " or ".join(_META_ITEM)
            bad.add(line, f"no {wanted}; fields: {files.listed(map(str, record))}")
            continue
        names = _leaves(_first(record, ("categories", "category")))
        rows.setdefault(
            str(key),
            {
                "title": " ".join(_leaves(record.get("title"))),
                "brand": " ".join(_leaves(_first(record, _BRAND))),
                "categories": SEPARATOR.join(dict.fromkeys(names)),
                "description": " ".join(_leaves(record.get("description"))),
            },
        )
    # A field that no item has is left out, so that the table does not list texts it lacks.
    present = {name for row in rows.values() for name, text in row.items() if text}
    return {key: {n: t for n, t in row.items() if n in present} for key, row in rows.items()}


def find_amazon(directory: Path) -> tuple[Path, Path | None]:
    """Return the review file of a directory, and its metadata file ("meta*") or None.

    Raises:
      DataError: there is not exactly one review file, or more than one metadata file.
    """
    endings = (".json", ".jsonl", ".json.gz", ".jsonl.gz")
    present = sorted(p for p in directory.iterdir() if p.is_file() and p.name.endswith(endings))
    metadata = [p for p in present if p.name.lower().startswith("meta")]
    reviews = [p for p in present if p not in metadata]
    if len(reviews) != 1 or len(metadata) > 1:
        names = ", ".join(p.name for p in present) or "none"
        raise DataError(
            f"{directory}: expected one review file and at most one meta*.json(l)(.gz), "
            f"found: {names}; give the path of the review file instead"
        )
    return reviews[0], metadata[0] if metadata else None


def _first(record: Mapping[str, Any], names: Iterable[str]) -> Any:
    return next((record[name] for name in names if record.get(name) is not None), None)


def _is_number(value: Any) -> bool:
    """Return whether a value is a number within 64 bits."""
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and -(2.0**63) <= value < 2.0**63
    )


def _leaves(value: Any) -> list[str]:
    """Return the texts inside a value that is a text, a list of texts or a list of paths."""
    if value is None:
        return []
    if isinstance(value, list):
        return [text for part in value for text in _leaves(part)]
    text = html.unescape(str(value)).strip()
    return [text] if text else []
