"""Download an archive once, check its sha256, and cache it, but never half of it."""

import contextlib
import hashlib
import os
import shutil
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import IO

from jaxrec.core import DataError, ResourceError

_TIMEOUT = 30.0  # seconds to wait for a mirror before the next one is tried
_BLOCK = 1 << 20


def cache_dir() -> Path:
    """Return the directory of downloads: JAXREC_CACHE, or ~/.cache/jaxrec if it is not set."""
    given = os.environ.get("JAXREC_CACHE")
    return Path(given).expanduser() if given else Path.home() / ".cache" / "jaxrec"


def fetch_archive(urls: Sequence[str], sha256: str, folder: str, directory: Path) -> Path:
    """Download a zip archive and unpack its `folder` as `directory`, completely or not at all.

    Args:
        urls: mirrors, which are tried in order.
        sha256: expected hash of the archive.
        folder: top folder inside the archive.
        directory: destination of that folder. If it exists, nothing is downloaded.

    Raises:
        DataError: no mirror answered with the right contents.
        ResourceError: the disk is full or not writable.
    """
    if directory.is_dir():
        return directory
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory.parent, prefix=".download-") as scratch:
            archive = Path(scratch) / "archive.zip"
            _first_good(urls, sha256, archive)
            _unpack(archive, Path(scratch) / "unpacked")
            with contextlib.suppress(FileExistsError):
                _move(Path(scratch) / "unpacked" / folder, directory)
    except OSError as error:
        raise ResourceError(
            f"{directory.parent}: cannot store the download ({error.strerror or error}); "
            "free space there, or set JAXREC_CACHE to another directory"
        ) from error
    return directory


@contextlib.contextmanager
def unpacked(archive: Path) -> Iterator[Path]:
    """Unpack a zip file of the user's, and yield the temporary folder with its files."""
    with tempfile.TemporaryDirectory(prefix="jaxrec-") as scratch:
        root = Path(scratch)
        _unpack(archive, root)
        inside = [path for path in root.iterdir() if path.name != "__MACOSX"]
        yield inside[0] if len(inside) == 1 and inside[0].is_dir() else root


def _first_good(urls: Sequence[str], sha256: str, target: Path) -> None:
    failures = []
    for url in urls:
        try:
            actual = _download(url, target)
        except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError) as error:
            failures.append(f"{url} ({_reason(error)})")
            continue
        if actual == sha256:
            return
        failures.append(f"{url} (sha256 {actual[:12]}... is not {sha256[:12]}...)")
    raise DataError(f"download failed: {'; '.join(failures)}")


def _download(url: str, target: Path) -> str:
    digest = hashlib.sha256()
    request = urllib.request.Request(url, headers={"User-Agent": "jaxrec"})
    with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer, target.open("wb") as out:
        while block := _read(answer):
            digest.update(block)
            out.write(block)
    return digest.hexdigest()


def _read(answer: IO[bytes]) -> bytes:
    """Read a block; a broken connection raises URLError, which differs from errors of the disk."""
    try:
        return answer.read(_BLOCK)
    except OSError as error:
        raise urllib.error.URLError(error) from error


def _reason(error: Exception) -> str:
    return " ".join(str(getattr(error, "reason", None) or error).split()) or type(error).__name__


def _unpack(archive: Path, directory: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as content:
            content.extractall(directory)
    except FileNotFoundError as error:
        raise DataError(f"{archive}: no such file; check the path") from error
    except (zipfile.BadZipFile, EOFError) as error:
        raise DataError(
            f"{archive}: not a readable zip archive ({error}); download it again"
        ) from error


def _move(source: Path, target: Path) -> None:
    """Rename a folder; if another process was faster, keep its result."""
    if not source.is_dir():
        raise DataError(
            f"the archive has no folder {source.name!r}, so its layout has changed; unpack it "
            "yourself and give its directory"
        )
    try:
        os.rename(source, target)
    except OSError:
        if not target.is_dir():
            raise
        shutil.rmtree(source, ignore_errors=True)
