"""Files that are written whole or not at all, even if the process is killed, and JSON helpers."""

import contextlib
import json
import os
import secrets
import stat
from pathlib import Path
from typing import Any

from jaxrec.core.errors import ConfigError, DataError, ResourceError
from jaxrec.core.hints import mismatch
from jaxrec.core.text import printable


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path`, so that no reader and no crash ever leaves half of it.

    A complete temporary file is renamed. Missing parent directories are created.

    Raises:
      ResourceError: the disk is full or the directory cannot be written.
    """
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The kernel applies the umask, which cannot be read without changing it for all threads.
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        reason = error.strerror or str(error)
        raise ResourceError(
            f"cannot write {path}: {reason}; free space or choose another directory"
        ) from error


def write_text(path: Path, text: str) -> None:
    r"""Write `text` as UTF-8, whole or not at all.

    Half a surrogate pair, which UTF-8 cannot express, is written as in JSON: `\ud800`.

    Raises:
      ResourceError: the disk is full or the directory cannot be written.

    Example:
      >>> import tempfile
      >>> path = Path(tempfile.mkdtemp()) / "runs" / "note.txt"
      >>> write_text(path, "done")
      >>> path.read_text()
      'done'
    """
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def check_file(path: Path, *, missing: bool = False) -> None:
    """Reject what is no regular file before it is opened: a pipe or a device may never end.

    Args:
      path: the file.
      missing: let a path pass that does not exist, for a reader that says so itself.

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
        if missing:
            return
        raise DataError(f"{path}: no such file; check the path") from error
    except (OSError, ValueError) as error:  # a loop of links, a path too long, a NUL in it
        raise DataError(f"{path!s}: cannot be opened ({error}); check the path") from error
    if not stat.S_ISREG(mode):
        kinds = {stat.S_IFDIR: "directory", stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket"}
        kind = kinds.get(stat.S_IFMT(mode), "device")
        raise DataError(f"{path}: this is a {kind}; give a regular file")


def check_name(directory: Path) -> None:
    r"""Reject a directory whose name no library below can be told: bytes that are not UTF-8.

    Raises:
      ConfigError: a part of the path has such a name.

    Example:
      >>> check_name(Path("runs/caf\udce9"))  # doctest: +ELLIPSIS
      Traceback (most recent call last):
      jaxrec.core.errors.ConfigError: the name of ... is not UTF-8, ...; rename the directory
    """
    try:
        str(directory.absolute()).encode()
    except UnicodeEncodeError:
        raise ConfigError(
            f"the name of {printable(str(directory))} is not UTF-8, so checkpoints can neither be "
            "written nor read there; rename the directory"
        ) from None


def read_json(
    path: Path,
    expected: Any = Any,
    *,
    missing: str = "was the run interrupted before it was written?",
    fix: str = "restore it or start over",
) -> Any:
    """Read a JSON file and check what it holds.

    Args:
      path: the file.
      expected: the type of its content, as `mismatch` takes it; a `TypedDict` names the keys that a
        reader needs.
      missing: ends the message about a file that does not exist.
      fix: ends the message about a damaged file.

    Raises:
      DataError: the file is missing, is no plain file, is damaged, or holds something else.

    Example:
      >>> import tempfile
      >>> path = Path(tempfile.mkdtemp()) / "settings.json"
      >>> write_text(path, to_json({"steps": 10}))
      >>> read_json(path, dict[str, int])
      {'steps': 10}
      >>> read_json(path, dict[str, str])  # doctest: +ELLIPSIS
      Traceback (most recent call last):
      jaxrec.core.errors.DataError: ...settings.json: 'steps' must be str, got 10; ...
    """
    check_file(path, missing=True)
    try:
        value = json.loads(path.read_bytes().decode("utf-8-sig"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"{path} is missing; {missing}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}); {fix}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not valid JSON ({error}); {fix}") from error
    if problem := mismatch(value, expected, ""):
        raise DataError(f"{path}: {problem}; {fix}")
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
