"""The sequential format: one line a user, "user item1 item2 ... itemN", oldest first.

P5, S3-Rec, SASRec's successors and many Amazon subsets are published like this. It tells the order
and nothing else: no times (the order number stands in) and no ratings.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from jaxrec.data import files
from jaxrec.data.amazon import read_item_lines
from jaxrec.data.interactions import Interactions


def read_sequence_columns(path: Path) -> dict[str, np.ndarray]:
    """Read a sequential file as columns "user", "item" and "order" (0 is a user's first), [n] each.

    A user may stand on one line only. Raises DataError naming file and line.
    """
    bad = files.BadRows(path)
    users: list[str] = []
    items: list[str] = []
    counts: list[int] = []
    seen: dict[str, int] = {}
    text = files.decode(files.read_bytes(path), path)
    for number, line in enumerate(text.split("\n"), start=1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) < 2:
            bad.add(number, f"user {files.shown(fields[0])} has no items")
        if fields[0] in seen:
            bad.add(number, f"user {files.shown(fields[0])} was on line {seen[fields[0]]} already")
        seen.setdefault(fields[0], number)
        users.append(fields[0])
        items.extend(fields[1:])
        counts.append(len(fields) - 1)
    if not users:
        bad.add(1, "the file is empty, expected 'user item1 ... itemN'")
    bad.check()
    return {
        "user": np.repeat(files.compact_ids(users), counts),
        "item": files.compact_ids(items),
        "order": np.concatenate([np.arange(count) for count in counts]),
    }


def read_sequences(
    path: Path,
    items: Path | Mapping[str, Mapping[str, str]] | None = None,
    name: str = "sequences",
) -> Interactions:
    """Read a sequential file; `items` is a JSON-lines file of item texts (see `read_item_lines`).

    `time_unit` of the result is "order". Raises DataError naming file and line.
    """
    columns = read_sequence_columns(path)
    return Interactions.from_columns(
        columns["user"],
        columns["item"],
        time=columns["order"],
        items=read_item_lines(items) if isinstance(items, Path) else items,
        name=name,
        source=str(path),
        time_unit="order",
    )
