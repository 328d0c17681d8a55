"""MiniOneRec's published files: rows of (history, next item), item texts, and semantic IDs.

A row of the CSV files is a user's last ten items and the item that followed. The rows of a user
overlap, so they are joined again to one history. The item file holds the whole catalogue, and
`index.json` gives every item its codes (read it with the "external" IDs).

Source: MiniOneRec, github.com/AkaliKong/MiniOneRec.
"""

import ast
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.core import DataError, unique_keys
from jaxrec.data import files
from jaxrec.data.bad_rows import BadRows
from jaxrec.data.columns import natural_order
from jaxrec.data.interactions import Interactions, ItemTable

_PARTS = ("train", "valid", "test")  # in the order of time


def find_minionerec(directory: Path) -> list[Path]:
    """Return the CSV files of a directory in the order of time; an empty list if it has none.

    The parts are `train.csv`, `valid.csv` and `test.csv`, or folders of these names that hold one
    CSV file each.

    Raises:
      DataError: a part has several files, so they belong to several data sets.
    """
    found = []
    for part in _PARTS:
        here = [path for path in directory.glob("*.csv*") if path.name.lower().startswith(part)]
        inside = list((directory / part).glob("*.csv*")) if (directory / part).is_dir() else []
        present = sorted(path for path in (*here, *inside) if path.is_file())
        if len(present) > 1:
            names = files.listed(str(path.relative_to(directory)) for path in present)
            raise DataError(
                f"{directory}: several {part} files: {names}; put the files of one data set into "
                "a directory of their own"
            )
        found += present
    return found


def read_minionerec(paths: Sequence[Path], directory: Path, name: str) -> Interactions:
    """Read CSV files of one data set, with the texts of `item.json` or `info.txt` beside them.

    Args:
      paths: the CSV files in the order of time.
      directory: where the item file is.
      name: name of the data set.

    Returns:
      The interactions in order, without times. The catalogue holds every item of the item file,
      so that it matches the file of semantic IDs.

    Raises:
      DataError: a file is malformed; the message names file and line.
    """
    histories: dict[str, list[str]] = {}
    gaps = 0
    for path in paths:
        gaps += _add_rows(path, histories)
    texts = _item_texts(directory)
    counts = [len(items) for items in histories.values()]
    data = Interactions.from_columns(
        np.repeat(np.array(list(histories), dtype=str), counts),
        np.array([item for items in histories.values() for item in items], dtype=str),
        time=np.concatenate([np.arange(count) for count in counts]),
        items=texts,
        name=name,
        source=str(directory if len(paths) > 1 else paths[0]),
        time_unit="order",
    )
    if gaps:
        note = f"{gaps:,} rows do not overlap the rows before them: items between them are missing"
        data = dataclasses.replace(data, notes=(*data.notes, note))
    return _with_catalogue(data, texts)


def _add_rows(path: Path, histories: dict[str, list[str]]) -> int:
    """Extend the histories by the rows of a file; return how many rows leave a gap."""
    columns: dict[str, files.Kind] = {"user_id": "id", "history_item_id": "text", "item_id": "id"}
    table = files.read_delimited(path, delimiter=",", columns=columns, quoted=True)
    bad = BadRows(path, unit="row")
    gaps = 0
    rows = zip(*(table[column].tolist() for column in columns), strict=True)
    for number, (user, past, item) in enumerate(rows, start=1):
        try:
            window = [str(key) for key in ast.literal_eval(past)]
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            bad.add(number, f"history_item_id {files.shown(past)} is no list of item IDs")
            continue
        window.append(str(item))
        history = histories.setdefault(str(user), [])
        overlap = next((n for n in range(len(window) - 1, 0, -1) if history[-n:] == window[:n]), 0)
        gaps += bool(history) and not overlap
        history += window[overlap:]
    bad.check()
    return gaps


def _item_texts(directory: Path) -> dict[str, dict[str, str]]:
    """Return the fields of every item, from `item.json` or else titles from `info.txt`."""
    folders = [directory, directory / "index", directory / "info", directory.parent / "index"]
    for folder in folders:
        for path in (*folder.glob("*item.json"), *folder.glob("*item.json.gz")):
            return _read_items(path)
    for folder in folders:
        for path in (*folder.glob("*info.txt"), *folder.glob("*info.txt.gz")):
            table = files.read_delimited(
                path,
                delimiter="\t",
                names=("code", "title", "id"),
                columns={"id": "id", "title": "text"},
            )
            titles = zip(table["id"].tolist(), table["title"].tolist(), strict=True)
            return {str(key): {"title": title} for key, title in titles}
    return {}


def _read_items(path: Path) -> dict[str, dict[str, str]]:
    try:
        items: Any = json.loads(
            files.decode(files.read_bytes(path), path), object_pairs_hook=unique_keys
        )
    except (json.JSONDecodeError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split())[:100]
        raise DataError(f"{path}: not valid JSON ({reason}); download it again") from error
    if not isinstance(items, dict) or not all(isinstance(row, dict) for row in items.values()):
        raise DataError(f"{path}: expected an object {{item: {{field: text}}}}; download it again")
    return {
        str(key): {field: _plain(text) for field, text in row.items()} for key, row in items.items()
    }


def _plain(value: Any) -> str:
    """Return a text; a list that was written as text ("['a', 'b']") is joined."""
    text = str(value)
    if text.startswith("[") and text.endswith("]"):
        try:
            parts = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return text
        return " ".join(map(str, parts))
    return text


def _with_catalogue(data: Interactions, texts: dict[str, dict[str, str]]) -> Interactions:
    """Return the data with every item of the item file in the catalogue, in natural order."""
    ids = natural_order({*data.items.ids.tolist(), *texts})
    place = {key: i for i, key in enumerate(ids)}
    number = np.array([place[key] for key in data.items.ids.tolist()], np.int32)
    fields = dict.fromkeys(field for row in texts.values() for field in row)
    empty: dict[str, str] = {}
    columns = {
        field: np.array([texts.get(key, empty).get(field, "") for key in ids], dtype=object)
        for field in fields
    }
    items = ItemTable(np.array(ids, dtype=str), columns)
    return dataclasses.replace(data, item=number[data.item], items=items)
