"""One-file artefacts: arrays and settings in an `.npz`, written whole or not at all.

The settings travel inside the same file as the arrays (as JSON bytes under `__settings__`), so that
one rename publishes both and no crash can pair new arrays with old settings. A ZIP archive carries
a checksum of every member, which is what finds a damaged file.
"""

import io
import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.core.errors import DataError
from jaxrec.core.files import write_bytes

_SETTINGS = "__settings__"


def write_arrays(path: Path, arrays: dict[str, np.ndarray], settings: dict[str, Any]) -> None:
    """Write named arrays and JSON-able `settings` as one `.npz`, atomically.

    Raises:
      ResourceError: the disk is full or the directory cannot be written.
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
    """Read what `write_arrays` wrote: (arrays, settings); settings["kind"] must equal `kind`.

    Args:
      path: the file.
      kind: what it should hold.
      command: that writes it, for the message where it is missing or damaged.

    Raises:
      DataError: the file is missing, damaged or of another kind.
    """
    if not path.is_file():
        raise DataError(f"no {kind} at {path}; write it first with `{command}`")
    try:
        # np.load on a path leaves the file open when the archive is damaged.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        settings = json.loads(arrays.pop(_SETTINGS).tobytes())
    except (
        zipfile.BadZipFile,
        ValueError,
        KeyError,
        EOFError,
        OSError,
        NotImplementedError,
    ) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path} is damaged ({reason}); write it again with `{command}`") from error
    found = settings.get("kind") if isinstance(settings, dict) else None
    if found != kind:
        raise DataError(f"{path} holds {found!r}, expected {kind!r}")
    return arrays, settings


def write_mapped(path: Path, arrays: dict[str, np.ndarray], settings: dict[str, Any]) -> None:
    """Write named arrays and JSON-able `settings` as one safetensors file, atomically.

    Raises:
      ResourceError: the disk is full or the directory cannot be written.
    """
    from safetensors.numpy import save

    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    sums = {name: zlib.crc32(array.data) for name, array in arrays.items()}
    text = json.dumps({**settings, "crc32": sums}, sort_keys=True)
    write_bytes(path, save(arrays, metadata={"jaxrec": text}))


def read_mapped(path: Path, kind: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read what `write_mapped` wrote: (arrays, settings); settings["kind"] must equal `kind`.

    Raises:
      DataError: the file is missing, damaged or of another kind.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise DataError(f"no {kind} at {path}; write it first with `jaxrec ids`")
    try:
        with safe_open(path, framework="np") as file:
            settings = json.loads((file.metadata() or {}).get("jaxrec", "{}"))
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if settings.get("kind") != kind:
            raise DataError(f"{path} holds {settings.get('kind')!r}, expected {kind!r}")
        for name, array in arrays.items():
            if zlib.crc32(np.ascontiguousarray(array).data) != settings["crc32"][name]:
                raise ValueError(f"checksum of {name}")
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{path} is damaged ({reason}); write it again with `jaxrec ids`"
        ) from error
    return arrays, settings
