"""Files that are written whole or not at all, even if the process is killed, and JSON helpers."""

import json
import os
import stat
import tempfile
from pathlib import Path
from typing import Any

from jaxrec.core.errors import DataError, ResourceError


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path`, so that no reader and no crash ever leaves half of it.

    A complete temporary file is renamed. Missing parent directories are created.

    Raises:
      ResourceError: the disk is full or the directory cannot be written.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes the file private; give it the mode that a plain open would give.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        reason = error.strerror or str(error)
        raise ResourceError(
            f"cannot write {path}: {reason}; free space or choose another directory"
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all.

    Raises:
      ResourceError: the disk is full or the directory cannot be written.

    Example:
      >>> import tempfile
      >>> path = Path(tempfile.mkdtemp()) / "runs" / "note.txt"
      >>> write_text(path, "done")
      >>> path.read_text()
      'done'
    """
    write_bytes(path, text.encode())


def check_file(path: Path) -> None:
    """Reject what is no regular file before it is opened: a pipe or a device may never end.

    Raises:
      DataError: there is no such file, or it is a directory, a pipe, a device or a socket.

    Example:
      >>> check_file(Path("/dev/null"))
      Traceback (most recent call last):
      jaxrec.core.errors.DataError: /dev/null: this is a device; give a regular file
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; check the path") from error
    except (OSError, ValueError) as error:  # a loop of links, a path too long, a NUL in it
        raise DataError(f"{path!s}: cannot be opened ({error}); check the path") from error
    if not stat.S_ISREG(mode):
        kinds = {stat.S_IFDIR: "directory", stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket"}
        kind = kinds.get(stat.S_IFMT(mode), "device")
        raise DataError(f"{path}: this is a {kind}; give a regular file")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
      DataError: the file is missing, damaged or cannot be read.

    Example:
      >>> import tempfile
      >>> path = Path(tempfile.mkdtemp()) / "settings.json"
      >>> write_text(path, to_json({"steps": 10}))
      >>> read_json(path)
      {'steps': 10}
    """
    if not path.exists():
        raise DataError(f"{path} is missing; was the run interrupted before it was written?")
    check_file(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(
            f"{path} is missing; was the run interrupted before it was written?"
        ) from error
    except (ValueError, RecursionError) as error:  # also bytes that are not UTF-8, huge numbers
        reason = " ".join(str(error).split())
        raise DataError(f"{path} is not valid JSON ({reason}); restore it or start over") from error
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror or error}); check its permissions"
        ) from error


def read_json_object(path: Path, *keys: str) -> dict[str, Any]:
    """Read a JSON file that must hold an object.

    Args:
      path: the file.
      *keys: keys that the object must have.

    Raises:
      DataError: `read_json` fails, or the file holds something else.

    Example:
      >>> import tempfile
      >>> path = Path(tempfile.mkdtemp()) / "train.json"
      >>> write_text(path, to_json({"seconds": 2.5}))
      >>> read_json_object(path, "seconds")["seconds"]
      2.5
    """
    value = read_json(path)
    if not isinstance(value, dict):
        raise DataError(f"{path} holds no JSON object; restore it or start over")
    lacking = [key for key in keys if key not in value]
    if lacking:
        raise DataError(f"{path} lacks {', '.join(lacking)}; restore it or start over")
    return value


def to_json(value: Any) -> str:
    """Return the text of a JSON file with this value."""
    return json.dumps(value, indent=2) + "\n"


def to_json_rows(rows: list[dict[str, str]]) -> str:
    """Return the text of a JSON file that holds a list, with one row per line.

    Example:
      >>> print(to_json_rows([{"item": "a"}, {"item": "b"}]), end="")
      [
      {"item": "a"},
      {"item": "b"}
      ]
    """
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    return f"[\n{lines}\n]\n"
