"""Checks the header of a GGUF file against the file's size before it is read.

A count in the header is eight bytes, so a damaged file of a hundred bytes can announce 2^60 values;
a reader that believes it fills the memory. See ggml-org/ggml's docs/gguf.md for the layout.
"""

import struct
from pathlib import Path
from typing import BinaryIO

from jaxrec.core import DataError

_STRING, _ARRAY = 8, 9
# Bytes of a value of each type: u8 i8 u16 i16 u32 i32 f32 bool, string and array, u64 i64 f64.
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_MOST_AXES = 8
_LEAST_TENSOR = 24  # a name's length, the number of axes, a type and an offset


def check_header(path: Path) -> None:
    """Walk over the settings and descriptions of tensors.

    Files of the other byte order pass; the caller refuses them.

    Raises:
      DataError: a count or length exceeds what is left of the file, or a type is unknown.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        try:
            if file.read(4) == b"GGUF":
                _Walk(file, size).header()
        except (struct.error, ValueError, OverflowError) as error:
            reason = str(error) if type(error) is ValueError else "it ends within its header"
            raise DataError(
                f"{path}: not a whole GGUF file of version 2 or 3, {size} bytes ({reason}); "
                "download it again"
            ) from error


class _Walk:
    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file, self.size = file, size

    def header(self) -> None:
        version = self._number("<I")
        if version not in (2, 3):
            return
        tensors, settings = self._number("<Q"), self._number("<Q")
        self._room(tensors, _LEAST_TENSOR, "tensors")
        self._room(settings, 12, "settings")
        for _ in range(settings):
            self._string()
            self._value(self._number("<I"))
        for _ in range(tensors):
            self._string()
            axes = self._number("<I")
            if axes > _MOST_AXES:
                raise ValueError(f"a tensor of {axes} axes")
            self._skip(8 * axes + 12, "axes")

    def _value(self, kind: int) -> None:
        if kind == _STRING:
            self._string()
        elif kind == _ARRAY:
            inner, count = self._number("<I"), self._number("<Q")
            if inner in _SIZES:
                self._skip(_SIZES[inner] * count, "values")
            elif inner == _STRING:
                self._room(count, 8, "strings")
                for _ in range(count):
                    self._string()
            else:
                raise ValueError(f"a list of type {inner}")
        elif kind in _SIZES:
            self._skip(_SIZES[kind], "bytes")
        else:
            raise ValueError(f"a value of type {kind}")

    def _string(self) -> None:
        self._skip(self._number("<Q"), "characters")

    def _number(self, form: str) -> int:
        return struct.unpack(form, self.file.read(struct.calcsize(form)))[0]

    def _room(self, count: int, least: int, what: str) -> None:
        left = self.size - self.file.tell()
        if count * least > left:
            raise ValueError(f"{count} {what}, and {left} bytes are left")

    def _skip(self, count: int, what: str) -> None:
        self._room(count, 1, what)
        self.file.seek(count, 1)
