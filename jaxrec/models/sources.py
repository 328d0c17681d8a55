"""Sources of weights: a directory of safetensors, a GGUF file or a llama2.c file.

A source reads one tensor at a time, so that only the tensor being converted is in memory.
"""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any, Protocol, TypedDict

import jax.numpy as jnp
import numpy as np

from jaxrec.core import DataError, check_file, read_json

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"


class WeightSource(Protocol):
    """A checkpoint with Hugging Face's names and layout.

    Attributes:
      path: the file that holds the config.
      config: the contents of its `config.json`.
    """

    path: Path
    config: dict[str, Any]

    def names(self) -> list[str]:
        """Names of the tensors."""
        ...

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of one tensor."""
        ...

    def read(self, name: str) -> np.ndarray:
        """Read one tensor without reading any other."""
        ...


class _Index(TypedDict):
    weight_map: dict[str, str]


class SafetensorsSource:
    """A directory with `config.json` and one or more safetensors files."""

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        """Read the config and the headers of all weight files.

        Raises:
          DataError: a file is missing, damaged or not a safetensors file.
        """
        self.directory = Path(directory)
        self.path = self.directory / "config.json"
        self.config = _read_json(self.path, dict[str, Any])
        self._tensors: dict[str, _Stored] = {}
        for file in _weight_files(self.directory):
            for name, stored in _read_header(file).items():
                if name in self._tensors:
                    raise DataError(
                        f"{self.directory}: tensor {name} is in two files; remove the one that "
                        f"does not belong to the model"
                    )
                self._tensors[name] = stored

    def names(self) -> list[str]:
        """Names of the tensors of all files."""
        return list(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of one tensor, from its file's header."""
        return self._tensors[name].shape

    def read(self, name: str) -> np.ndarray:
        """Read one tensor in its stored dtype."""
        stored = self._tensors[name]
        count = int(np.prod(stored.shape, dtype=np.int64))
        # Not memory-mapped: pages of a mapped file would count towards the process's memory.
        values = np.fromfile(stored.file, stored.dtype, count, offset=stored.offset)
        return values.reshape(stored.shape)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Stored:
    """Where a tensor is stored."""

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
    """Read the header of a safetensors file: 8 bytes of length, a JSON header, then the data."""
    from safetensors import safe_open

    check_file(file, missing=True)
    try:
        with safe_open(file, framework="np"):  # checks that header and data match
            pass
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            header = json.loads(opened.read(length))
    except Exception as error:
        raise DataError(
            f"{file} is not a readable safetensors file ({_one_line(error)}); copy it again"
        ) from error
    header.pop("__metadata__", None)
    stored = {}
    for name, entry in header.items():
        if entry["dtype"] not in _DTYPES:
            raise DataError(
                f"{file}: tensor {name} has type {entry['dtype']}, which is not supported; "
                f"supported: {', '.join(_DTYPES)}"
            )
        dtype = jnp.dtype(_DTYPES[entry["dtype"]])
        offset = 8 + length + entry["data_offsets"][0]
        stored[name] = _Stored(file=file, dtype=dtype, shape=tuple(entry["shape"]), offset=offset)
    return stored


def open_source(path: str | os.PathLike[str]) -> WeightSource:
    """Open a checkpoint: a directory of safetensors, a `.gguf` file or a llama2.c `.bin` file.

    Raises:
      DataError: the path is none of these, or its files are missing or damaged.
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
    if not path.exists():
        raise DataError(f"{path} is not a checkpoint: nothing exists there; check the path")
    raise DataError(
        f"{path} is not a checkpoint; give a directory with config.json and {SINGLE}, a .gguf "
        "file, or a llama2.c .bin file"
    )


def _weight_files(directory: Path) -> list[Path]:
    index = directory / INDEX
    if index.exists():
        names = sorted(set(_read_json(index, _Index)["weight_map"].values()))
        for name in names:
            # A link inside the directory may lead out of it, as in the cache of huggingface_hub.
            if name in ("", ".", "..") or Path(name).name != name or "\\" in name or "\0" in name:
                raise DataError(
                    f"{index} names {name!r}, which is no file of its own directory; copy the "
                    "index again, or remove it if you do not trust its origin"
                )
        files = [directory / name for name in names]
        for file in files:
            # Not `exists`, which fails for a name that is too long.
            if not os.path.exists(file):
                raise DataError(
                    f"{index} names {file.name[:60]}, which is missing; copy it from the original "
                    "model"
                )
        return files
    if (directory / SINGLE).exists():
        return [directory / SINGLE]
    pickles = sorted(file.name for file in directory.glob("*.bin"))
    if pickles:
        raise DataError(
            f"{directory} holds only pickled weights ({pickles[0]}), which may run code when read; "
            "load and save the model with transformers, which writes safetensors"
        )
    raise DataError(
        f"{directory} holds neither {SINGLE} nor {INDEX}; give the directory of a model's weights"
    )


def _read_json(path: Path, expected: Any) -> Any:
    original = "copy it from the original model"
    return read_json(path, expected, missing=original, fix="copy it again")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
