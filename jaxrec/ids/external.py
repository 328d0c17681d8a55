"""External IDs, read from a file: JSON {item: codes}, or CSV with one row per item.

    {"B00X": ["<a_12>", "<b_3>", "<c_9>"]}        item,0,1,2          item,id
    {"B00X": [12, 3, 9]}                          B00X,12,3,9         B00X,<a_12><b_3><c_9>
    [{"item": "B00X", "id": "<a_12><b_3><c_9>"}]

A code is a whole number, either bare or in LC-Rec's form `<a_12>`, whose letters name the level. A
CSV file has a header and the item in its first column; empty cells at the end of a row make a
shorter ID. Every file may be gzipped. IDs may differ in length (see `lengths.closed`) and may
collide (see `collisions.repair`).

Shapes: `I` items, `L` levels.
"""

import csv
import dataclasses
import io
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from jaxrec.core import ConfigError, DataError
from jaxrec.data import files
from jaxrec.ids.codes import MAX_SIZE, ItemCodes, level_sizes
from jaxrec.ids.lengths import pad_rows
from jaxrec.ids.statistics import code_statistics, warn_collapsed

Unknown = Literal["refuse", "ignore"]

_CODE = re.compile(r"<([A-Za-z]{1,9})_(\d+)>|(\d+)")
_DIGITS = 40  # Python refuses to convert thousands of digits
_SHOWN = 3  # items listed in a message; the rest are counted


def read(
    path: str | Path,
    item_ids: Sequence[str],
    *,
    sizes: Sequence[int] | None = None,
    unknown: Unknown = "refuse",
) -> ItemCodes:
    """Return the IDs that a file gives the items.

    Args:
      path: file that ends in .json, .csv or .tsv, optionally followed by .gz.
      item_ids: original ID of each dense item, [I] (`Interactions.items.ids`).
      sizes: codebook size of each level; None takes the largest code of each level plus one.
      unknown: what to do with items of the file that the data do not have.

    Raises:
      ConfigError: the file has another ending, or `unknown` has an unknown value.
      DataError: the file cannot be read, a code is malformed or outside `sizes`, an item is in the
        file twice, or the items of file and data differ. The message names file, line and item.

    Example:
      >>> import tempfile
      >>> path = Path(tempfile.mkdtemp()) / "ids.json"
      >>> _ = path.write_text('{"B00X": ["<a_1>", "<b_3>"], "B00Y": ["<a_0>", "<b_2>"]}')
      >>> read(path, ["B00Y", "B00X"]).codes.tolist()
      [[0, 2], [1, 3]]
    """
    path = Path(path)
    if sizes is not None:
        sizes = level_sizes(len(sizes), sizes)
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
            raise DataError(
                f"{where}: item {files.shown(key)} is in the file twice; keep one of its IDs"
            )
        seen.add(key)
        codes = _codes(cells, letters, f"{where}: item {files.shown(key)}")
        if key in number:
            rows[number[key]] = codes
        else:
            strangers.append(key)
    missing = [str(key) for item, key in enumerate(item_ids) if item not in rows]
    if missing:
        raise DataError(
            f"{path}: no ID for {_some(missing)} of {len(item_ids)} items of the data; add them to "
            "the file, or remove these items from the data"
        )
    if strangers and unknown == "refuse":
        raise DataError(
            f"{path}: {_some(strangers)} of the file's {len(seen)} items are not in the data; "
            "check that both write item IDs in the same way, or read with unknown='ignore'"
        )
    padded = pad_rows([rows[item] for item in range(len(item_ids))])
    if sizes is None:
        sizes = (padded.max(axis=0) + 1).tolist()
    elif padded.shape[1] > len(sizes):
        raise DataError(
            f"{path}: IDs have up to {padded.shape[1]} codes, but there are {len(sizes)} codebook "
            "sizes; give one size per level"
        )
    given = ItemCodes(codes=padded, sizes=tuple(sizes), scheme="external")
    statistics = code_statistics(padded, sizes)
    warn_collapsed(statistics)
    metadata = {"file": path.name, "unknown_items": len(strangers)}
    return dataclasses.replace(given, metadata={**metadata, **statistics})


def _json(text: str, path: Path) -> Iterator[tuple[str, str, list[Any]]]:
    """Yield (where, item, codes) for each entry of a JSON object."""

    def pairs(entries: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
        return entries  # a dict would silently keep the last of two equal keys

    try:
        entries = json.loads(text, object_pairs_hook=pairs)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: line {error.lineno}: not valid JSON ({error.msg})") from error
    except (ValueError, RecursionError) as error:  # a number of many digits, or many brackets
        raise DataError(f"{path}: not valid JSON ({error}); write the file again") from error
    if text.lstrip().startswith("["):
        entries = [_row(row, path) for row in entries]
    elif not text.lstrip().startswith("{"):
        raise DataError(
            f"{path}: expected a JSON object {{item: codes}}, or the list that an export writes"
        )
    for key, codes in entries:
        if not isinstance(codes, list):
            raise DataError(
                f"{path}: item {files.shown(key)} has {files.shown(codes)}; expected a list of "
                "codes"
            )
        yield str(path), key, codes


def _row(row: Any, path: Path) -> tuple[str, list[str]]:
    """Return item and codes of one row of an export's `item_ids.json`."""
    is_object = isinstance(row, list) and all(isinstance(pair, tuple) for pair in row)
    cells = dict(row) if is_object else {}
    if not isinstance(cells.get("item"), str) or not isinstance(cells.get("id"), str):
        raise DataError(
            f'{path}: expected rows {{"item": ..., "id": "<a_3><b_7>"}}, got {files.shown(row)}'
        )
    return cells["item"], _apart(cells["id"])


def _apart(whole: str) -> list[str]:
    """Split an ID that is written as one string into its codes."""
    return re.sub(r">\s*<", "> <", whole).split()


def _csv(text: str, path: Path, tabs: bool) -> Iterator[tuple[str, str, list[Any]]]:
    """Yield (where, item, codes) for each row below the header."""
    reader = csv.reader(io.StringIO(text), delimiter="\t" if tabs else ",")
    rows = _csv_rows(reader, path)
    header = next(rows, [])
    if len(header) < 2:
        raise DataError(f"{path}: line 1: expected a header with an item and a code column")
    for row in rows:
        where = f"{path}: line {reader.line_num}"
        if not any(row):
            continue
        if len(row) > len(header):
            raise DataError(
                f"{where}: the row has {len(row)} cells, but the header has {len(header)}"
            )
        key, *cells = row
        while cells and not cells[-1].strip():
            cells.pop()
        if len(cells) == 1:
            cells = _apart(cells[0])  # one cell may hold the whole ID
        yield where, key, cells


def _csv_rows(reader: Any, path: Path) -> Iterator[list[str]]:
    try:
        yield from reader
    except csv.Error as error:  # a cell of more than 131,072 characters, such as an open quote
        raise DataError(f"{path}: line {reader.line_num}: {error}; correct the file") from error


def _codes(cells: list[Any], letters: list[str], where: str) -> list[int]:
    """Return the codes of one ID.

    Args:
      cells: its codes as the file writes them.
      letters: collects the letters of each level, which all IDs share.
      where: file, line and item, to begin error messages.
    """
    codes = []
    for level, cell in enumerate(cells):
        match = None if isinstance(cell, bool) else _CODE.fullmatch(str(cell).strip())
        if match is None:
            raise DataError(f"{where}: {files.shown(cell)} is not a code; write 12 or '<a_12>'")
        letter = match[1] or ""
        if level == len(letters):
            letters.append(letter)
        if letter != letters[level]:
            raise DataError(
                f"{where}: code {cell!r} at level {level}, but earlier IDs have "
                f"{f'<{letters[level]}_...>' if letters[level] else 'bare numbers'} there"
            )
        digits = match[2] or match[3]
        if len(digits) > _DIGITS or int(digits) >= MAX_SIZE:
            raise DataError(
                f"{where}: code {files.shown(str(cell))} at level {level} is not below "
                f"{MAX_SIZE:,}; each code needs a row of the model's table, so number the codes of "
                "each level from 0 without gaps (a hash or a product number is no code)"
            )
        codes.append(int(digits))
    if not codes:
        raise DataError(f"{where}: there are no codes; an ID needs at least one")
    return codes


def _some(keys: list[str]) -> str:
    """Return the number of keys with the first few of them."""
    shown = ", ".join(map(files.shown, keys[:_SHOWN]))
    return f"{len(keys)} ({shown}{', ...' if len(keys) > _SHOWN else ''})"
