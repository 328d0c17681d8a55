"""Arrays and their settings in one file, written whole or not at all.

The settings are stored in the same file as the arrays (as JSON bytes under `__settings__` of an
`.npz`), so one rename publishes both, and a crash cannot pair new arrays with old settings. A ZIP
archive has a checksum for every member, which reveals a damaged file.
"""

import io
import json
import math
import os
import zipfile
import zlib
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np

from jaxrec.core.errors import DataError
from jaxrec.core.files import check_file, write_bytes

_SETTINGS = "__settings__"
_DEFLATED = 1040  # zlib shrinks nothing further


def write_arrays(path: Path, arrays: dict[str, np.ndarray], settings: dict[str, Any]) -> None:
    """Write named arrays and JSON-able `settings` as one `.npz`, atomically.

    Raises:
      ResourceError: the disk is full or the directory cannot be written.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> path = Path(tempfile.mkdtemp()) / "codes.npz"
      >>> write_arrays(path, {"codes": np.array([3, 1])}, {"kind": "item codes", "levels": 1})
      >>> arrays, settings = read_arrays(path, "item codes")
      >>> arrays["codes"].tolist(), settings["levels"]
      ([3, 1], 1)
    """
    text = json.dumps(settings, sort_keys=True)
    buffer = io.BytesIO()
    np.savez(
        buffer,
        allow_pickle=False,
        **{_SETTINGS: np.frombuffer(text.encode(), np.uint8)},
        **arrays,
    )
    write_bytes(path, buffer.getvalue())


def read_arrays(
    path: Path, kind: str, command: str = "jaxrec ids"
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read (arrays, settings) from a file of `write_arrays`; see there for an example.

    Args:
      path: the file.
      kind: the expected value of settings["kind"].
      command: the command that writes such a file, for the error message.

    Raises:
      DataError: the file is missing or damaged, or it holds another kind.
    """
    if not path.is_file():
        check_file(path, missing=True)
        raise DataError(f"no {kind} at {path}; write it first with `{command}`")
    try:
        # Given a path, np.load leaves the file open if the archive is damaged.
        with open(path, "rb") as file:
            if file.read(2) != b"PK":
                raise zipfile.BadZipFile("it is no ZIP archive")
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                for name in archive.files:
                    _check_member(archive, name)
                arrays = {name: archive[name] for name in archive.files}
        settings = json.loads(arrays.pop(_SETTINGS).tobytes())
    except (
        AttributeError,
        TypeError,
        zipfile.BadZipFile,
        ValueError,
        KeyError,
        EOFError,
        OSError,
        RuntimeError,  # encrypted, or packed by a method that is not implemented
    ) as error:
        reason = " ".join(str(error).split())[:200]
        # NumPy takes what is no archive for a pickle, and advises to load it all the same.
        reason = "it is no archive of arrays" if "pickle" in reason else reason
        raise DataError(f"{path} is damaged ({reason}); write it again with `{command}`") from error
    stored = settings.get("kind") if isinstance(settings, dict) else None
    if stored != kind:
        raise DataError(f"{path} holds {stored!r:.60}, expected {kind!r}")
    return arrays, settings


def _check_member(archive: Any, name: str) -> None:
    """Compare an array's size with the bytes that it is stored in, before it is allocated."""
    member = archive.zip.getinfo(f"{name}.npy")
    with archive.zip.open(member) as file:
        shape, _, dtype = _header(file)
    asked = math.prod(shape) * dtype.itemsize
    if not 0 <= asked <= member.file_size <= _DEFLATED * member.compress_size:
        raise ValueError(f"{name} asks for {asked} bytes, found {member.compress_size}")


def read_array(path: Path) -> np.ndarray:
    """Read the array of a `.npy` file, whose header may not ask for more than the file holds.

    Raises:
      OSError: the file cannot be opened.
      ValueError: the file is damaged, or no array of numbers.

    Example:
      >>> import tempfile
      >>> path = Path(tempfile.mkdtemp()) / "vectors.npy"
      >>> np.save(path, np.ones((2, 3)))
      >>> read_array(path).shape
      (2, 3)
    """
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        try:
            shape, _, dtype = _header(file)
        except (SyntaxError, TypeError, RecursionError, MemoryError, TokenError) as error:
            raise ValueError(f"its header is damaged ({type(error).__name__})") from error
        asked = math.prod(shape) * dtype.itemsize
        if dtype.hasobject or min(shape, default=0) < 0 or asked != size - file.tell():
            raise ValueError(f"its header asks for {asked} bytes, found {size - file.tell()}")
        file.seek(0)
        return np.load(file, allow_pickle=False)


def _header(file: Any) -> Any:
    """Read shape, order and type from the header of a `.npy` file."""
    first = np.lib.format.read_magic(file) == (1, 0)
    read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
    return read(file)


def write_mapped(path: Path, arrays: dict[str, np.ndarray], settings: dict[str, Any]) -> None:
    """Write named arrays and JSON-able `settings` as one safetensors file, atomically.

    `read_mapped` reads it through a memory map, which suits large arrays.

    Raises:
      ResourceError: the disk is full or the directory cannot be written.
    """
    from safetensors.numpy import save

    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    sums = {name: zlib.crc32(array.data) for name, array in arrays.items()}
    text = json.dumps({**settings, "crc32": sums}, sort_keys=True)
    write_bytes(path, save(arrays, metadata={"jaxrec": text}))


def read_mapped(path: Path, kind: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read (arrays, settings) from a file of `write_mapped`; settings["kind"] must equal `kind`.

    Raises:
      DataError: the file is missing or damaged, or it holds another kind.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        check_file(path, missing=True)
        raise DataError(f"no {kind} at {path}; write it first with `jaxrec ids`")
    try:
        with safe_open(path, framework="np") as file:
            settings = json.loads((file.metadata() or {}).get("jaxrec", "{}"))
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        stored = settings.get("kind") if isinstance(settings, dict) else None
        if stored != kind:
            raise DataError(f"{path} holds {stored!r:.60}, expected {kind!r}")
        for name, array in arrays.items():
            if zlib.crc32(np.ascontiguousarray(array).data) != settings["crc32"][name]:
                raise ValueError(f"checksum of {name}")
    except DataError:
        raise
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(
            f"{path} is damaged ({reason}); write it again with `jaxrec ids`"
        ) from error
    return arrays, settings
