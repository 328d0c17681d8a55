"""Download an archive once, check its sha256, and cache it, but never half of it."""

import contextlib
import errno
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

from jaxrec.core import DataError, JaxrecError, ResourceError, check_file, show_bytes
from jaxrec.data.contents import unpack_limit

_TIMEOUT = 30.0  # seconds to wait for a mirror before the next one is tried
_BLOCK = 1 << 20
_MOST_MEMBERS = 100_000


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
    """Unpack a zip file, within the limits of its size.

    Raises:
        DataError: the archive is damaged, encrypted, or unpacks to too much.
        ResourceError: the disk is full.
    """
    check_file(archive)
    limit = unpack_limit(archive.stat().st_size)
    try:
        with zipfile.ZipFile(archive) as content:
            _check_members(archive, content.infolist(), limit)
            total = 0
            for member in content.infolist():
                total += _extract(content, member, directory, limit - total)
    except JaxrecError:
        raise
    except OSError as error:
        # Of the disk, or of bz2 for bad data, which has no number of the system.
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            raise ResourceError(
                f"{directory}: cannot unpack {archive} there ({error.strerror}); free space, or "
                "set TMPDIR to another directory"
            ) from error
        raise _unreadable(archive, error) from error
    except Exception as error:  # zipfile and its decompressors raise many types for damaged files
        raise _unreadable(archive, error) from error


def _unreadable(archive: Path, error: Exception) -> DataError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return DataError(f"{archive}: not a readable zip archive ({reason}); download it again")


def _check_members(archive: Path, members: Sequence[zipfile.ZipInfo], limit: int) -> None:
    for member in members:
        if member.flag_bits & 0x1:
            raise DataError(
                f"{archive}: {member.filename[:100]!r} is encrypted; unpack the archive yourself"
            )
    stated = sum(member.file_size for member in members)
    if stated > limit or len(members) > _MOST_MEMBERS:
        raise DataError(
            f"{archive}: {len(members):,} files of {show_bytes(stated)} are too much for an "
            f"archive of its size; unpack it yourself if that is right"
        )


def _extract(content: zipfile.ZipFile, member: zipfile.ZipInfo, directory: Path, limit: int) -> int:
    """Write one member below the directory; return its size, which may not pass the limit."""
    parts = [part for part in member.filename.split("/") if part not in ("", ".", "..")]
    if not parts:
        return 0
    target = directory.joinpath(*parts)
    if member.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return 0
    target.parent.mkdir(parents=True, exist_ok=True)
    total = 0
    with content.open(member) as source, target.open("wb") as out:
        while block := source.read(_BLOCK):
            total += len(block)
            if total > limit:
                raise DataError(
                    f"{content.filename}: unpacks to more than an archive of its size may; unpack "
                    "it yourself if that is right"
                )
            out.write(block)
    return total


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
