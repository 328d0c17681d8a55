"""Where weights come from: a directory of safetensors, a GGUF file, a llama2.c file.

A source hands out one tensor at a time, so that no more of a checkpoint is in memory than the
tensor being converted.
"""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any, Protocol

import jax.numpy as jnp
import numpy as np

from jaxrec.core import DataError

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"


class WeightSource(Protocol):
    """A checkpoint in Hugging Face's names and layout.

    Attributes:
      config: what its `config.json` holds.
    """

    config: dict[str, Any]

    def names(self) -> list[str]:
        """Names of the tensors."""
        ...

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of one tensor."""
        ...

    def read(self, name: str) -> np.ndarray:
        """Read one tensor, and no other."""
        ...


class SafetensorsSource:
    """A directory with `config.json` and one or more safetensors files."""

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        """Open all files, reading their headers.

        Raises:
          DataError: a file is missing, damaged or not a safetensors file.
        """
        self.directory = Path(directory)
        self.config = _read_json(self.directory / "config.json")
        self._tensors: dict[str, _Stored] = {}
        for file in _weight_files(self.directory):
            for name, stored in _read_header(file).items():
                if name in self._tensors:
                    raise DataError(f"tensor {name} is in two files of {self.directory}")
                self._tensors[name] = stored

    def names(self) -> list[str]:
        """Names of the tensors of all files."""
        return list(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape, from the header."""
        return self._tensors[name].shape

    def read(self, name: str) -> np.ndarray:
        """Read one tensor; bfloat16 stays so."""
        stored = self._tensors[name]
        count = int(np.prod(stored.shape, dtype=np.int64))
        # Not memory-mapped: pages of a mapped file would add the checkpoint to the process's size.
        found = np.fromfile(stored.file, stored.dtype, count, offset=stored.offset)
        return found.reshape(stored.shape)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Stored:
    """Where a tensor lies in a file."""

    file: Path
    dtype: np.dtype
    shape: tuple[int, ...]
    offset: int


_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}


def _read_header(file: Path) -> dict[str, _Stored]:
    """Tensors of a safetensors file: 8 bytes of length, that much JSON, then the data."""
    from safetensors import safe_open

    try:
        with safe_open(file, framework="np"):  # checks that header and data fit
            pass
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            header = json.loads(opened.read(length))
    except Exception as error:
        raise DataError(f"{file} is no readable safetensors file: {error}") from error
    header.pop("__metadata__", None)
    found = {}
    for name, entry in header.items():
        if entry["dtype"] not in _DTYPES:
            raise DataError(f"{file}: {name} has type {entry['dtype']}, which is not supported")
        dtype = jnp.dtype(_DTYPES[entry["dtype"]])
        offset = 8 + length + entry["data_offsets"][0]
        found[name] = _Stored(file=file, dtype=dtype, shape=tuple(entry["shape"]), offset=offset)
    return found


def open_source(path: str | os.PathLike[str]) -> WeightSource:
    """Open a checkpoint: a directory of safetensors, a `.gguf` file, a llama2.c `.bin` file.

    Raises:
      DataError: nothing there that can be read, naming what is accepted.
    """
    path = Path(path)
    if path.is_file() and path.suffix == ".gguf":
        from jaxrec.models.gguf import GgufSource

        return GgufSource(path)
    if path.is_file() and path.suffix == ".bin":
        from jaxrec.models.llama2c import Llama2cSource

        return Llama2cSource(path)
    if path.is_dir():
        return SafetensorsSource(path)
    raise DataError(
        f"{path} is no checkpoint: give a directory with config.json and {SINGLE}, a .gguf file, "
        "or a llama2.c .bin file"
    )


def _weight_files(directory: Path) -> list[Path]:
    index = directory / INDEX
    if index.exists():
        names = sorted(set(_read_json(index)["weight_map"].values()))
        files = [directory / name for name in names]
        for file in files:
            if not file.exists():
                raise DataError(f"{index} names {file.name}, which is missing")
        return files
    if (directory / SINGLE).exists():
        return [directory / SINGLE]
    pickles = sorted(file.name for file in directory.glob("*.bin"))
    if pickles:
        raise DataError(
            f"{directory} holds pickled weights ({pickles[0]}), which may run code when read; "
            "save the model once with transformers, which writes safetensors"
        )
    raise DataError(f"{directory} holds neither {SINGLE} nor {INDEX}")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path} is missing") from None
    except ValueError as error:
        raise DataError(f"{path} is no JSON: {error}") from error
