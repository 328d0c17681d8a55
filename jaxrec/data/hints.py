"""What a value or a file that cannot be read probably is, and how to convert it."""

import re

from jaxrec.data.date_formats import format_hint

_DECIMAL_COMMA = re.compile(r"[+-]?(\d+|\d{1,3}(\.\d{3})+),\d+")
# First bytes of files that are no text: what they are, and how to get a text file.
_KINDS = (
    (b"BZh", "is packed by bzip2; unpack it with bunzip2, or pack it with gzip"),
    (b"\xfd7zXZ\0", "is packed by xz; unpack it with unxz, or pack it with gzip"),
    (b"\x28\xb5\x2f\xfd", "is packed by zstd; unpack it with unzstd, or pack it with gzip"),
    (b"7z\xbc\xaf\x27\x1c", "is a 7z archive; unpack it, and give a file in it"),
    (b"Rar!", "is a rar archive; unpack it, and give a file in it"),
    (b"%PDF-", "is a PDF document; give its text as a text file, or its table as CSV"),
    (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "is a document of Office; save it as text or CSV",
    ),
    (b"SQLite format 3\0", "is an SQLite database; export its table as CSV"),
    (b"ARROW1", "is an Arrow file; write it as Parquet"),
    (b"ORC", "is an ORC file; write it as Parquet"),
    (b"\x89HDF", "is an HDF5 file; write its table as CSV or Parquet"),
    (b"\x93NUMPY", "is an array of NumPy; write it as CSV with a header"),
    (b"\x80\x04\x95", "is a pickle of Python; write its table as CSV or Parquet"),
    (b"\x80\x05\x95", "is a pickle of Python; write its table as CSV or Parquet"),
)


def kind_of(raw: bytes) -> str | None:
    """Return what a file that is no table is, by its first bytes, and how to convert it; or None.

    Example:
        >>> kind_of(b"%PDF-1.7"), kind_of(b"user,item")
        ('is a PDF document; give its text as a text file, or its table as CSV', None)
    """
    if raw[257:262] == b"ustar":
        return "is a tar archive; unpack it with tar -xf, and give a file or directory in it"
    start = raw[:200].lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "is a web page; download the data themselves"
    for magic, what in _KINDS:
        # ORC and BZh may be the start of a text: no text has NULs or high bytes after them.
        if raw.startswith(magic) and (len(magic) > 3 or not raw[:64].isascii() or b"\0" in raw):
            return what
    return None


def utf16_without_mark(raw: bytes) -> str | None:
    """Return "UTF-16LE" or "UTF-16BE" if every other byte of a text is a NUL, else None.

    Example:
        >>> utf16_without_mark("user,item".encode("utf-16-le")), utf16_without_mark(b"user,item")
        ('UTF-16LE', None)
    """
    part = raw[: min(len(raw), 1000) // 2 * 2]
    for name, zeros, letters in (
        ("UTF-16LE", part[1::2], part[::2]),
        ("UTF-16BE", part[::2], part[1::2]),
    ):
        if zeros and 10 * zeros.count(0) >= 9 * len(zeros) and 10 * letters.count(0) < len(letters):
            return name
    return None


def number_hint(value: str) -> str:
    """Return the fix for a number that is written with a decimal comma; "" for others.

    Example:
        >>> number_hint("4,5"), number_hint("four")
        (' (write decimals with a point: 4.5)', '')
    """
    value = value.strip()
    if not _DECIMAL_COMMA.fullmatch(value):
        return ""
    return f" (write decimals with a point: {value.replace('.', '').replace(',', '.')[:40]})"


def time_hint(value: str) -> str:
    """Return the fix for a date that is no ISO date, or for a decimal comma; "" for others.

    Example:
        >>> time_hint("31/01/2024")
        ' (read such dates with --data.time-format %d/%m/%Y)'
        >>> time_hint("01/02/2024")
        ' (read such dates with --data.time-format %d/%m/%Y or %m/%d/%Y)'
    """
    return format_hint(value) or number_hint(value)
