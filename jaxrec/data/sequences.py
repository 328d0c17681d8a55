"""The sequential format: one line per user, "user item1 item2 ... itemN", oldest first.

P5, S3-Rec, successors of SASRec and many Amazon subsets use it. It only tells the order, which
replaces the times; there are no ratings.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from jaxrec.data import files
from jaxrec.data.amazon import read_item_lines
from jaxrec.data.bad_rows import BadRows
from jaxrec.data.interactions import Interactions
from jaxrec.data.layout import likely_role


def read_sequence_columns(path: Path) -> dict[str, np.ndarray]:
    """Read a sequential file as columns "user", "item" and "order" (from 0 per user), [n] each.

    Raises:
        DataError: the file is malformed, or a user has two lines; the message names file and line.
    """
    bad = BadRows(path)
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
        if likely_role(fields[0]) == "user" and likely_role(fields[-1]) in ("item", "history"):
            bad.add(number, f"{files.shown(line.strip())} is a header, which this format lacks")
        if fields[0] in seen:
            bad.add(number, f"user {files.shown(fields[0])} is already on line {seen[fields[0]]}")
        for field in fields:
            if field in files.MISSING:
                bad.add(number, f"{files.shown(field)} stands for a missing value")
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
    r"""Read a sequential file; the `time_unit` of the result is "order".

    Args:
        path: the file.
        items: JSON-lines file with item texts (see `data.amazon.read_item_lines`), or a map from
            item ID to fields; None for no texts.
        name: name of the data set.

    Raises:
        DataError: a file is malformed; the message names file and line.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "sequential_data.txt"
        >>> _ = path.write_text("1 10 30 20\n2 30\n")
        >>> [items.tolist() for items in read_sequences(path).sequences()]
        [[0, 2, 1], [2]]
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
