"""What was changed in the catalogue of a run after its training: items added and items removed."""

import dataclasses
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from jaxrec.core import read_json, to_json, write_text
from jaxrec.runs.kept import FOLDER

_FILE = "changes.json"
# Where earlier versions wrote the items that were added.
_EARLIER = Path("ids") / "new_items.json"


class _Changes(TypedDict):
    added: NotRequired[list[dict[str, Any]]]
    removed: NotRequired[list[str]]


@dataclasses.dataclass(frozen=True, eq=False)
class Changes:
    """Changes of a catalogue.

    Attributes:
      added: a JSON-able row for each new item, with "item", its original ID, "label", what to show
        a reader, and what its system knows it by.
      removed: original IDs of items that are no longer recommended.
      source: the file that they were read from, for messages; None for no file.

    Example:
      >>> Changes().added
      ()
    """

    added: tuple[dict[str, Any], ...] = ()
    removed: tuple[str, ...] = ()
    source: Path | None = None


def read_changes(directory: Path) -> Changes:
    """Read the changes of a run's catalogue.

    Raises:
      DataError: their file cannot be read.

    Example:
      >>> import tempfile
      >>> run = Path(tempfile.mkdtemp())
      >>> write_changes(run, Changes(removed=("50",)))
      >>> read_changes(run).removed
      ('50',)
    """
    path, earlier = directory / FOLDER / _FILE, directory / _EARLIER
    read: _Changes = read_json(path, _Changes) if path.exists() else {}
    if "added" in read or not earlier.exists():
        source = path if path.exists() else None
        return Changes(tuple(read.get("added", ())), tuple(read.get("removed", ())), source)
    added = read_json(earlier, list[dict[str, Any]])
    return Changes(tuple(added), tuple(read.get("removed", ())), earlier)


def write_changes(directory: Path, changes: Changes) -> None:
    """Write the changes of a run's catalogue, all or none.

    Raises:
      ResourceError: they cannot be written.
    """
    content = {"added": list(changes.added), "removed": list(changes.removed)}
    write_text(directory / FOLDER / _FILE, to_json(content))
