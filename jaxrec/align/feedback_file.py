"""The file of feedback: read it, append to it, and repair its end after its writer was killed."""

import contextlib
import fcntl
import json
import os
from collections.abc import Collection, Iterator
from pathlib import Path

from jaxrec.align.feedback import Feedback
from jaxrec.core import ConfigError, DataError, ResourceError, nearest, unique_keys
from jaxrec.data import files

# How every line of `Feedback.line` begins.
_BEGINNING = b'{"prompt_id": "'


def read_feedback(
    path: str | os.PathLike[str], labelers: Collection[str] | None = None
) -> list[Feedback]:
    r"""Read a file of feedback.

    Args:
      path: JSON lines, gzipped if the name ends in `.gz`.
      labelers: the only ones to expect; None for any.

    Raises:
      DataError: the file is missing, empty or damaged, a record is not feedback, or its labeler is
        unknown. The message names the lines; nothing is loaded.

    Example:
      >>> import tempfile
      >>> path = Path(tempfile.mkdtemp()) / "feedback.jsonl"
      >>> said = {"labeler": "ann", "kind": "best", "payload": {"best": 1}, "time": 0}
      >>> append_feedback(path, Feedback(prompt_id="7", prompt="Hi", answers=("a", "b"), **said))
      >>> read_feedback(path)[0].ranks
      (2, 1)
    """
    path = Path(path)
    records = []
    for line, record, bad in files.read_json_lines(path):
        try:
            feedback = Feedback.of(record)
            if labelers is not None and feedback.labeler not in labelers:
                name = feedback.labeler
                raise DataError(
                    f"unknown labeler {files.shown(name)}{nearest(name, labelers)}; labelers: "
                    f"{files.listed(sorted(labelers))}"
                )
            records.append(feedback)
        except DataError as error:
            bad.add(line, str(error))  # the reader raises one error at the end
    return records


def append_feedback(path: Path, *records: Feedback) -> None:
    """Append records to a file, and return when they are on the disk.

    Args:
      path: JSON lines; the file is created if it does not exist.
      *records: what one labeler said about one prompt; they are written together.

    Raises:
      ResourceError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # One write of whole lines: writers that append at the same time do not mix their lines.
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            lines = "".join(f"{record.line()}\n" for record in records).encode()
            before = os.fstat(handle).st_size
            if os.write(handle, lines) != len(lines):
                os.ftruncate(handle, before)
                raise OSError("only a part was written")
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise ResourceError(
            f"cannot write {path}: {error.strerror or error}; free space or choose another file"
        ) from error


def mend_feedback(path: Path) -> str:
    """Remove the beginning of a line with which a killed writer ended a file.

    A labeler was never told that such a record is saved. Any other ending stays as it is, because
    the file may hold something else than feedback.

    Args:
      path: of feedback; it need not exist.

    Returns:
      The text that was removed; "" if nothing was.

    Raises:
      ConfigError: a packed file, which cannot be appended to.

    Example:
      >>> import tempfile
      >>> path = Path(tempfile.mkdtemp()) / "feedback.jsonl"
      >>> _ = path.write_text('{"prompt_id": "7", "pro')
      >>> mend_feedback(path), path.read_text()
      ('{"prompt_id": "7", "pro', '')
    """
    if path.suffix == ".gz":
        raise ConfigError(f"{path} is packed, so nothing can be appended; give another file")
    if not path.is_file():
        return ""
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    lines, rest = content[:whole].splitlines(), content[whole:]
    if not rest:
        return ""
    with path.open("r+b") as file:
        if _is_feedback(rest):
            # Only the end of the line is missing, as in a file that an editor wrote.
            file.seek(0, os.SEEK_END)
            file.write(b"\n")
            return ""
        cut_short = rest.startswith(_BEGINNING) or _BEGINNING.startswith(rest)
        ours = not lines or _is_feedback(lines[-1])
        if not (cut_short and ours) or _is_json(rest):
            return ""
        file.truncate(whole)
    return rest.decode(errors="replace")


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _is_feedback(line: bytes) -> bool:
    try:
        Feedback.of(json.loads(line, object_pairs_hook=unique_keys))
    except (ValueError, RecursionError, DataError):
        return False
    return True


@contextlib.contextmanager
def only_writer(path: Path) -> Iterator[None]:
    """Keep other processes from entering with the same file.

    The kernel holds the lock, which therefore ends with the process, however it ends. The file is
    created if it does not exist, and removed again if nothing was written to it.

    Args:
      path: of feedback.

    Raises:
      ResourceError: another process holds the file, or it cannot be written.

    Example:
      >>> import tempfile
      >>> with only_writer(Path(tempfile.mkdtemp()) / "feedback.jsonl"):
      ...     pass  # no other process can serve this file now
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not path.exists()
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise ResourceError(
            f"cannot write {path}: {error.strerror}; choose another file"
        ) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            is_new = False
            raise ResourceError(
                f"another labeling page writes to {path}; stop it, or give another --out"
            ) from error
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        if is_new and not os.fstat(handle).st_size:
            path.unlink(missing_ok=True)
        os.close(handle)
