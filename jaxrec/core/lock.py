"""A lock that lets one process at a time work in a directory.

The kernel holds the lock (flock). It ends with the process that took it, however that process ends,
and a left-over lock file locks nothing. On a network file system the lock works across machines if
the file system passes locks on, as NFS 4 and Lustre do.
"""

import contextlib
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from jaxrec.core.errors import ResourceError
from jaxrec.core.processes import is_writer, on_writer

NAME = "run.lock"


class DirectoryLock:
    """Keep other processes out of a directory in a `with` block.

    The same process may enter more than once. The lock does not keep out other threads of it.
    """

    _held: ClassVar[dict[Path, int]] = {}  # how often this process holds each directory

    def __init__(self, directory: Path, option: str = "--run-dir") -> None:
        self.directory = directory.resolve()
        self._option = option  # what to change, for messages
        self._path = self.directory / NAME
        self._file: int | None = None

    def __enter__(self) -> "DirectoryLock":
        """Take the lock.

        Raises:
          ResourceError: another process holds it, or the directory cannot be written.
        """
        if not self._held.get(self.directory):
            self._file = self._take()
        self._held[self.directory] = self._held.get(self.directory, 0) + 1
        return self

    def __exit__(self, *_: object) -> None:
        self._held[self.directory] -= 1
        if self._file is None:
            return
        del self._held[self.directory]
        # If nothing else has been written, the directory was made for the lock alone.
        if os.listdir(self.directory) == [NAME]:
            self._path.unlink()
            with contextlib.suppress(OSError):
                self.directory.rmdir()
        os.close(self._file)

    def _take(self) -> int:
        while True:
            try:
                self.directory.mkdir(parents=True, exist_ok=True)
                file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
            except OSError as error:
                raise ResourceError(
                    f"cannot write in the directory {self.directory}: {error.strerror}; give "
                    f"another {self._option}"
                ) from error
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                holder = os.read(file, 1000)
                os.close(file)
                raise ResourceError(
                    f"{self.directory} is in use by {_describe(holder)}; wait for it, stop it, or "
                    f"give another {self._option}"
                ) from error
            # The last holder may have removed the file between the two calls.
            if self._is_at_its_path(file):
                break
            os.close(file)
        os.ftruncate(file, 0)
        os.write(file, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode())
        return file

    def _is_at_its_path(self, file: int) -> bool:
        try:
            return os.path.samestat(os.fstat(file), os.stat(self._path))
        except FileNotFoundError:
            return False


def _describe(holder: bytes) -> str:
    try:
        facts = json.loads(holder)
        return f"process {facts['pid']} on {facts['host']}"
    except (ValueError, KeyError, TypeError):
        return "another process"


@contextlib.contextmanager
def locked(directory: Path, option: str = "--run-dir") -> Iterator[None]:
    """Lock a directory for this run: process 0 holds the lock for all processes of the run.

    Args:
      directory: it is created if it does not exist.
      option: what names the directory, for messages.

    Raises:
      ResourceError: another run holds the lock. It is raised on every process.

    Example:
      >>> import tempfile
      >>> with locked(Path(tempfile.mkdtemp()) / "run") as _:
      ...     pass  # no other process can write the run now
    """
    lock = DirectoryLock(directory, option)
    on_writer(lock.__enter__)
    try:
        yield
    finally:
        if is_writer():
            lock.__exit__()
