"""Data sets that `jaxrec data add NAME` keeps in the cache, so that every command knows the name.

`prepare` writes the files, whose directory has the fingerprint in its name. A small file says which
of them a name means now.
"""

import os
import re
from pathlib import Path

from jaxrec.core import ConfigError, DataError, read_json, to_json, write_text
from jaxrec.data.download import cache_dir
from jaxrec.data.interactions import Interactions
from jaxrec.data.tables import Columns
from jaxrec.data.tfds_store import prepare, read_prepared

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def add(name: str, interactions: Interactions) -> Path:
    """Keep interactions in the cache under a name, in place of earlier ones of that name.

    Returns:
      The directory of the files.

    Raises:
      ConfigError: the name is a path, or has other characters than letters, digits, ".", "_", "-".
      ResourceError: the files cannot be written.

    Example:
      >>> import tempfile
      >>> os.environ["JAXREC_CACHE"] = tempfile.mkdtemp()
      >>> data = Interactions.from_columns(user=["u", "u"], item=["a", "b"], name="toys")
      >>> _ = add("toys", data)
      >>> read("toys", find("toys"), Columns()).fingerprint() == data.fingerprint()
      True
      >>> del os.environ["JAXREC_CACHE"]
    """
    check_name(name)
    path = prepare(interactions, cache_dir() / "prepared")
    write_text(_pointer(name), to_json({"path": path.name, "source": interactions.source}))
    return path


def check_name(name: str) -> None:
    """Reject a name that could not be told from a path.

    Raises:
      ConfigError: the message says how a data set is added.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} is no name for a data set; use letters, digits, '.', '_' and '-', as in "
            "jaxrec data add toys --from-file PATH"
        )


def names() -> list[str]:
    """Return the names that were added."""
    return sorted(path.stem for path in (cache_dir() / "added").glob("*.json"))


def find(name: str) -> Path | None:
    """Return the directory that a name stands for, or None if nothing was added under it."""
    if not _NAME.fullmatch(name) or not _pointer(name).is_file():
        return None
    entry = read_json(_pointer(name))
    folder = entry.get("path") if isinstance(entry, dict) else None
    if not isinstance(folder, str) or os.path.basename(folder) != folder:
        raise DataError(f"{_pointer(name)}: damaged; run jaxrec data add {name} again")
    return cache_dir() / "prepared" / folder


def read(name: str, path: Path, columns: Columns) -> Interactions:
    """Read an added data set.

    Raises:
      ConfigError: columns are named; they were read when the data set was added.
      DataError: its files are missing or damaged.
    """
    if given := columns.given():
        role, value = next(iter(given.items()))
        option = f"--data.{role}" + ("" if role == "delimiter" else "-column")
        raise ConfigError(
            f"data set {name!r} was added with its columns; remove {option} {value}, or add it "
            "again"
        )
    if not path.is_dir():
        raise DataError(
            f"data set {name!r}: its files {path} are gone; run jaxrec data add {name} --from-file "
            "PATH again"
        )
    data = read_prepared(path)
    if columns.item_table:
        from jaxrec.data.tables import read_item_table

        data = data.with_item_texts(read_item_table(columns))
    return data


def _pointer(name: str) -> Path:
    return cache_dir() / "added" / f"{name}.json"
