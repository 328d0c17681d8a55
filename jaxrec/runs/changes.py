"""What was changed in the catalogue of a run after its training: items added and items removed."""

import dataclasses
import json
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from jaxrec.core import ConfigError, DataError, locked, read_json, to_json, write_text
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

    @property
    def content(self) -> str:
        """The changes as one text; equal changes have equal texts."""
        return json.dumps([self.added, self.removed], sort_keys=True)


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


def write_changes(directory: Path, changes: Changes, before: Changes | None = None) -> None:
    """Write the changes of a run's catalogue, all or none.

    Args:
      directory: of the run.
      changes: all changes since the training, those that the run has included.
      before: the changes that the run had when these were made; None for no check.

    Raises:
      ConfigError: the run has other changes than `before`, which would be lost.
      DataError: there is no such directory any more, or its file of changes cannot be read.
      ResourceError: they cannot be written, or another process writes them now.

    Example:
      >>> import tempfile
      >>> run = Path(tempfile.mkdtemp())
      >>> write_changes(run, Changes(removed=("50",)), before=Changes())
      >>> write_changes(run, Changes(removed=("7",)), before=Changes())  # doctest: +ELLIPSIS
      Traceback (most recent call last):
      jaxrec.core.errors.ConfigError: the catalogue of ... was changed since it was read ...
    """
    content = {"added": list(changes.added), "removed": list(changes.removed)}
    if not directory.is_dir():
        raise DataError(
            f"{directory} does not exist any more, so its catalogue cannot be saved; restore the "
            "run"
        )
    with locked(directory / FOLDER, "directory"):
        there = read_changes(directory)
        if before is not None and there.content != before.content:
            raise ConfigError(
                f"the catalogue of {directory} was changed since it was read (it has "
                f"{len(there.added)} added and {len(there.removed)} removed items, and had "
                f"{len(before.added)} and {len(before.removed)}); open it again and repeat the "
                "changes"
            )
        write_text(directory / FOLDER / _FILE, to_json(content))
