"""Files that are written whole or not at all, even if the process is killed, and JSON helpers."""

import contextlib
import fcntl
import json
import os
import re
import secrets
import stat
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxrec.core.errors import ConfigError, DataError, ResourceError
from jaxrec.core.hints import mismatch
from jaxrec.core.text import printable

# What a temporary file of `write_bytes` is called.
_TEMPORARY = re.compile(r"\..*\.[0-9a-f]{8}\.part", re.DOTALL)


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path`, so that no reader and no crash ever leaves half of it.

    A complete temporary file is renamed. Missing parent directories are created. Temporary files
    that killed processes left in the directory are removed first; a living process holds a lock on
    its own.

    Raises:
      ResourceError: the disk is full or the directory cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path.parent)
        with _temporary(path) as (temporary, handle):
            with os.fdopen(handle, "wb", closefd=False) as file:
                file.write(content)
                file.flush()
                os.fsync(handle)
            # Renamed while it is locked, so that nobody takes it for a leftover.
            os.replace(temporary, path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ResourceError(
            f"cannot write {path}: {reason}; free space or choose another directory"
        ) from error


@contextlib.contextmanager
def _temporary(path: Path) -> Iterator[tuple[Path, int]]:
    """Yield a new locked file beside `path`; it is removed if it is still there at the end."""
    while True:
        temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}.part")
        # The kernel applies the umask, which cannot be read without changing it for all threads.
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        # Another writer may have taken the file for a leftover before it was locked.
        if _lock(handle) is not False and temporary.exists():
            break
        os.close(handle)
    try:
        yield temporary, handle
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        os.close(handle)


def _lock(handle: int) -> bool | None:
    """Lock an open file; False if another process holds it, None if the system has no locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _remove_leftovers(directory: Path) -> None:
    """Remove temporary files of `write_bytes` that no living process holds."""
    for name in os.listdir(directory):
        if not _TEMPORARY.fullmatch(name):
            continue
        # Somebody else may be faster, and what cannot be opened stays.
        with contextlib.suppress(OSError):
            handle = os.open(directory / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                if stat.S_ISREG(os.fstat(handle).st_mode) and _lock(handle):
                    os.unlink(directory / name)
            finally:
                os.close(handle)


def check_writable(directory: Path, option: str = "--run-dir") -> None:
    """Reject a directory that cannot be written, before the work whose result goes there.

    Args:
      directory: where a command will write; it need not exist.
      option: what to change, for the message.

    Raises:
      ResourceError: see `not_writable`.

    Example:
      >>> check_writable(Path("/dev/null/run"))  # doctest: +ELLIPSIS
      Traceback (most recent call last):
      jaxrec.core.errors.ResourceError: ... directory /dev/null/run: File exists; give another ...
    """
    if reason := not_writable(directory):
        raise ResourceError(
            f"cannot write in the directory {directory}: {reason}; give another {option}"
        )


def not_writable(directory: Path) -> str:
    """Return why a directory cannot be made or written, or "" if it can.

    It finds out by trying, because permissions alone do not tell, and leaves nothing behind.

    Args:
      directory: it need not exist.

    Example:
      >>> not_writable(Path("/dev/null/run"))
      'File exists'
    """
    made: list[Path] = []
    try:
        for path in reversed((directory, *directory.parents)):
            if not path.is_dir():
                path.mkdir()
                made.append(path)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
    finally:
        for path in reversed(made):
            # Another process may have begun to use it.
            with contextlib.suppress(OSError):
                path.rmdir()
    return ""


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
      DataError: the file is missing, is no plain file, is damaged, has an object with a key twice,
        or holds something else.

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
        text = path.read_bytes().decode("utf-8-sig")
        value = json.loads(text, object_pairs_hook=unique_keys)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"{path} is missing; {missing}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}); {fix}") from error
    except RepeatedKey as error:
        raise DataError(f"{path}: {error}; {fix}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not valid JSON ({error}); {fix}") from error
    if problem := mismatch(value, expected, ""):
        raise DataError(f"{path}: {problem}; {fix}")
    return value


class RepeatedKey(ValueError):
    """A JSON object has a key twice."""


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build a JSON object, as `object_pairs_hook` of `json`, which keeps the last of equal keys.

    Raises:
      RepeatedKey: a key is in the object twice.

    Example:
      >>> json.loads('{"item": 1, "item": 2}', object_pairs_hook=unique_keys)
      Traceback (most recent call last):
      jaxrec.core.files.RepeatedKey: key 'item' is in the object twice
    """
    record = dict(pairs)
    if len(record) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise RepeatedKey(f"key {twice!r:.60} is in the object twice")
    return record


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
