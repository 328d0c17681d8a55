"""The bytes of a file of the user's: plain or gzipped, never more than a limit, decoded as UTF-8.

A packed file may be much larger than it looks: 10 MB of gzip can hold 10 GB. What a file may unpack
to is limited by its own size, and a file that is no regular file is rejected before it is read.
"""

import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from jaxrec.core import DataError, check_file, show_bytes
from jaxrec.data.hints import kind_of, utf16_without_mark

FREE_BYTES = 1 << 26  # what every packed file may unpack to, however small it is
MOST_RATIO = 200  # larger ones may unpack to this multiple of their size; tables reach about 20
MOST_BYTES = 1 << 35  # and to no more than this
_BLOCK = 1 << 20
_HEAD = 64  # bytes that tell what a file is
_GZIP = b"\x1f\x8b"


def unpack_limit(size: int) -> int:
    """Return the number of bytes that a packed file of `size` bytes may unpack to.

    Example:
        >>> unpack_limit(1_000) == FREE_BYTES, unpack_limit(10**6)
        (True, 200000000)
    """
    return min(max(FREE_BYTES, MOST_RATIO * size), MOST_BYTES)


def read_bytes(path: Path) -> bytes:
    """Return the contents of a file, decompressed if it is gzipped.

    Raises:
        DataError: the file is missing, no regular file, unreadable, truncated or corrupted, it is
            called `.gz` and is not gzipped, or it unpacks to more than `unpack_limit` allows.
    """
    raw = _raw(path)
    _check_name(raw, path)
    return b"".join(_unpacked(io.BytesIO(raw), len(raw), path)) if raw[:2] == _GZIP else raw


def open_stream(path: Path) -> io.BufferedReader:
    r"""Open a file for reading in order, decompressed if it is gzipped, without holding all of it.

    Reading raises DataError where the file is damaged, or unpacks to more than `unpack_limit`.

    Raises:
        DataError: the file is missing, no regular file or unreadable, or it is called `.gz` and is
            not gzipped.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.txt.gz"
        >>> _ = path.write_bytes(gzip.compress(b"one\ntwo"))
        >>> with open_stream(path) as file:
        ...     list(file)
        [b'one\n', b'two']
    """
    head = _raw(path, _HEAD)
    _check_name(head, path)
    packed = head[:2] == _GZIP
    file = path.open("rb")
    return io.BufferedReader(_Unpacked(file, path), _BLOCK) if packed else file


class _Unpacked(io.RawIOBase):
    """The contents of a gzipped file as a file."""

    def __init__(self, file: io.BufferedReader, path: Path) -> None:
        self._file, self._rest = file, memoryview(b"")
        self._blocks = _unpacked(file, path.stat().st_size, path)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            self._rest = memoryview(next(self._blocks, b""))
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


def _unpacked(file: BinaryIO, size: int, path: Path) -> Iterator[bytes]:
    """Yield the blocks of a gzipped file of `size` bytes."""
    limit, total = unpack_limit(size), 0
    try:
        with gzip.GzipFile(fileobj=file) as packed:
            while block := packed.read(_BLOCK):
                total += len(block)
                if total > limit:
                    raise DataError(
                        f"{path}: {show_bytes(size)} of gzip unpack to more than "
                        f"{show_bytes(limit)}; unpack the file yourself if that is right"
                    )
                yield block
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(f"{path}: corrupted gzip file ({error}); download it again") from error


def read_head(path: Path, count: int = 1 << 16) -> bytes:
    """Return the first `count` bytes of a file, decompressed if it is gzipped.

    Of a damaged gzip file it returns what comes before the damage; reading it whole reports that.

    Raises:
        DataError: the file is missing, no regular file or unreadable.
    """
    raw = _raw(path, count)
    if raw[:2] != _GZIP:
        return raw
    try:
        return zlib.decompressobj(wbits=31).decompress(raw, count)
    except zlib.error:
        return b""


def decode(raw: bytes, path: Path, *, latin: bool = False) -> str:
    """Decode `raw` as UTF-8, or as Latin-1 if it is not UTF-8 and `latin` is True.

    Lines may end in a carriage return alone, as old Macintosh programs write them.

    Raises:
        DataError: the bytes are not UTF-8 and `latin` is False, or they hold a NUL; the message
            names the line.
    """
    check_text(raw, path)
    try:
        return with_line_feeds(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        if latin:
            return with_line_feeds(raw.decode("latin-1"))
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}: line {line}: byte {raw[error.start]:#04x} is not UTF-8; "
            "convert the file to UTF-8"
        ) from error


def with_line_feeds(text: str) -> str:
    r"""Return a text whose lines end in a carriage return alone with line feeds in their place.

    Example:
        >>> with_line_feeds("a\rb"), with_line_feeds("a\r\nb")
        ('a\nb', 'a\r\nb')
    """
    return text.replace("\r", "\n") if "\r" in text and "\n" not in text else text


def check_text(raw: bytes, path: Path) -> None:
    """Reject bytes that are no text of a table: a known binary format, UTF-16, or a NUL.

    Raises:
        DataError: the message says what the file is, or names the line.
    """
    kind = kind_of(raw)
    if kind is not None:
        raise DataError(f"{path}: the file {kind}")
    coding = "UTF-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else utf16_without_mark(raw)
    if coding is not None:
        raise DataError(
            f"{path}: the file is {coding}; convert it to UTF-8, for example by iconv -f {coding} "
            "-t UTF-8"
        )
    nul = raw.find(b"\0")
    if nul >= 0:
        line = raw.count(b"\n", 0, nul) + 1
        raise DataError(
            f"{path}: line {line}: a NUL character, as in binary files; give a file of text, or "
            "convert it to UTF-8"
        )


def _check_name(raw: bytes, path: Path) -> None:
    """Reject a file that is not what its name says; an error of its parser would mislead."""
    if path.suffix == ".gz" and raw and raw[:2] != _GZIP:
        kind = kind_of(raw) or (
            f"is not gzipped (it begins with {raw[:12]!r}); download it again, or leave .gz out of "
            "its name"
        )
        raise DataError(f"{path}: the file is called .gz, but it {kind}")


def _raw(path: Path, count: int = -1) -> bytes:
    check_file(path)
    try:
        with path.open("rb") as file:
            return file.read(count)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror or error}); check its permissions"
        ) from error
