"""Files written whole or not at all: a reader, or a kill, never meets half of one."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from jaxrec.core.errors import DataError, ResourceError


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` through a temporary file beside it and a rename.

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
        # mkstemp makes the file private; the artefact gets the mode that a plain open would give.
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
    """Write `text` as UTF-8, as `write_bytes` does."""
    write_bytes(path, text.encode())


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
      DataError: missing or damaged.
    """
    try:
        return json.loads(path.read_text())
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing; was the run interrupted before it?") from error
    except json.JSONDecodeError as error:
        raise DataError(f"{path} is not valid JSON ({error}); restore it or start over") from error


def to_json(value: Any) -> str:
    """Text of a JSON file."""
    return json.dumps(value, indent=2) + "\n"


def to_json_rows(rows: list[dict[str, str]]) -> str:
    """Text of a JSON file that is a list, a line a row."""
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    return f"[\n{lines}\n]\n"
