"""IDs made elsewhere, read from a file: JSON {item: codes} or CSV with a row an item.

    {"B00X": ["<a_12>", "<b_3>", "<c_9>"]}        item,0,1,2          item,id
    {"B00X": [12, 3, 9]}                          B00X,12,3,9         B00X,<a_12><b_3><c_9>
    [{"item": "B00X", "id": "<a_12><b_3><c_9>"}]

A code is a whole number, bare or written `<a_12>` (LC-Rec's form, whose letters tell the level). A
CSV file has a header and the item in its first column; empty cells at the end of a row make a
shorter ID. Any file may be gzipped. IDs may be of different lengths (`lengths.closed`) and collide
(`collisions.repair`).

Shapes: `I` items, `L` levels.
"""

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from jaxrec.core import ConfigError, DataError
from jaxrec.data import files
from jaxrec.ids.codes import ItemCodes
from jaxrec.ids.lengths import pad_rows
from jaxrec.ids.statistics import code_statistics, warn_collapsed

Unknown = Literal["refuse", "ignore"]

_CODE = re.compile(r"<([A-Za-z]+)_(\d+)>|(\d+)")
_SHOWN = 3  # items spelled out in a message; the rest are counted


def read(
    path: str | Path,
    item_ids: Sequence[str],
    *,
    sizes: Sequence[int] | None = None,
    unknown: Unknown = "refuse",
) -> ItemCodes:
    """Return the IDs that a file gives the items.

    Args:
      path: .json, .csv or .tsv, perhaps with .gz behind it.
      item_ids: original ID of each dense item, [I] (`Interactions.items.ids`).
      sizes: codebook size of each level; None: as many as the file's largest code asks for.
      unknown: what to do about items of the file that the data do not have.

    Raises:
      ConfigError: another kind of file, or an unknown choice for `unknown`.
      DataError: a file that cannot be read, a code that is none, a code outside `sizes`, an item
        that stands in the file twice, not at all, or not in the data; names file, line and item.
    """
    path = Path(path)
    if unknown not in get_args(Unknown):
        raise ConfigError(f"unknown={unknown!r}; choices: {', '.join(get_args(Unknown))}")
    kind = [suffix for suffix in path.suffixes if suffix != ".gz"][-1:]
    if kind not in ([".json"], [".csv"], [".tsv"]):
        raise ConfigError(f"{path}: IDs are read from .json, .csv or .tsv files")
    text = files.decode(files.read_bytes(path), path)
    entries = _json(text, path) if kind == [".json"] else _csv(text, path, kind == [".tsv"])
    number = {str(key): item for item, key in enumerate(item_ids)}
    rows: dict[int, list[int]] = {}
    seen: set[str] = set()
    strangers = []
    letters: list[str] = []
    for where, key, cells in entries:
        if key in seen:
            raise DataError(f"{where}: item {key!r} stands in the file twice; keep one of its IDs")
        seen.add(key)
        codes = _codes(cells, letters, f"{where}: item {key!r}")
        if key in number:
            rows[number[key]] = codes
        else:
            strangers.append(key)
    missing = [str(key) for item, key in enumerate(item_ids) if item not in rows]
    if missing:
        raise DataError(
            f"{path}: no ID for {_some(missing)} of {len(item_ids)} items of the data; add them to "
            "the file, or leave the items out of the data"
        )
    if strangers and unknown == "refuse":
        raise DataError(
            f"{path}: {_some(strangers)} of the file's {len(seen)} items are not in the data; "
            "check that the item IDs are written alike, or read with unknown='ignore'"
        )
    padded = pad_rows([rows[item] for item in range(len(item_ids))])
    if sizes is None:
        sizes = (padded.max(axis=0) + 1).tolist()
    elif padded.shape[1] > len(sizes):
        raise DataError(f"{path}: IDs of {padded.shape[1]} codes for {len(sizes)} codebook sizes")
    statistics = code_statistics(padded, sizes)
    warn_collapsed(statistics)
    metadata = {"file": path.name, "unknown_items": len(strangers)}
    return ItemCodes(
        codes=padded, sizes=tuple(sizes), scheme="external", metadata={**metadata, **statistics}
    )


def _json(text: str, path: Path) -> Iterator[tuple[str, str, list[Any]]]:
    """(where, item, codes) of each entry of a JSON object."""

    def pairs(found: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
        return found  # a dict would keep the last of two equal keys and say nothing

    try:
        entries = json.loads(text, object_pairs_hook=pairs)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: line {error.lineno}: no valid JSON ({error.msg})") from error
    if text.lstrip().startswith("["):
        entries = [_row(row, path) for row in entries]
    elif not text.lstrip().startswith("{"):
        raise DataError(f"{path}: expected a JSON object {{item: codes}}, or the list of an export")
    for key, codes in entries:
        if not isinstance(codes, list):
            raise DataError(f"{path}: item {key!r} has {codes!r}; expected a list of codes")
        yield str(path), key, codes


def _row(row: Any, path: Path) -> tuple[str, list[str]]:
    """Item and codes of a row of an export's `item_ids.json`."""
    is_object = isinstance(row, list) and all(isinstance(pair, tuple) for pair in row)
    found = dict(row) if is_object else {}
    if not isinstance(found.get("item"), str) or not isinstance(found.get("id"), str):
        raise DataError(f'{path}: expected rows {{"item": ..., "id": "<a_3><b_7>"}}, got {row!r}')
    return found["item"], _apart(found["id"])


def _apart(whole: str) -> list[str]:
    """Codes of an ID in one piece."""
    return re.sub(r">\s*<", "> <", whole).split()


def _csv(text: str, path: Path, tabs: bool) -> Iterator[tuple[str, str, list[Any]]]:
    """(where, item, codes) of each row below the header."""
    reader = csv.reader(io.StringIO(text), delimiter="\t" if tabs else ",")
    header = next(reader, [])
    if len(header) < 2:
        raise DataError(f"{path}: line 1: expected a header with an item and a code column")
    for row in reader:
        where = f"{path}: line {reader.line_num}"
        if not any(row):
            continue
        if len(row) > len(header):
            raise DataError(f"{where}: {len(row)} cells under a header of {len(header)}")
        key, *cells = row
        while cells and not cells[-1].strip():
            cells.pop()
        if len(cells) == 1:
            cells = _apart(cells[0])  # the whole ID may stand in one cell
        yield where, key, cells


def _codes(cells: list[Any], letters: list[str], where: str) -> list[int]:
    """Codes of one ID; `letters` collects the letters of each level, which all IDs share."""
    codes = []
    for level, cell in enumerate(cells):
        match = None if isinstance(cell, bool) else _CODE.fullmatch(str(cell).strip())
        if match is None:
            raise DataError(f"{where}: {cell!r} is no code; write 12 or '<a_12>'")
        letter = match[1] or ""
        if level == len(letters):
            letters.append(letter)
        if letter != letters[level]:
            raise DataError(
                f"{where}: code {cell!r} at level {level}, where the IDs before it have "
                f"{f'<{letters[level]}_...>' if letters[level] else 'bare numbers'}"
            )
        codes.append(int(match[2] or match[3]))
    if not codes:
        raise DataError(f"{where}: no codes; an ID needs at least one")
    return codes


def _some(keys: list[str]) -> str:
    """The first few keys, and how many there are."""
    shown = ", ".join(map(repr, keys[:_SHOWN]))
    return f"{len(keys)} ({shown}{', ...' if len(keys) > _SHOWN else ''})"
