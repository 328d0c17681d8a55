"""Where weights come from: a directory of safetensors, a GGUF file, a llama2.c file.

A source hands out one tensor at a time, so that no more of a checkpoint is in memory than the
tensor being converted.
"""

import json
import os
from pathlib import Path
from typing import Any, Protocol

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
        from safetensors import safe_open

        self.directory = Path(directory)
        self.config = _read_json(self.directory / "config.json")
        self._files: dict[str, Any] = {}
        for file in _weight_files(self.directory):
            try:
                opened = safe_open(file, framework="np")
                names = list(opened.keys())
            except Exception as error:
                raise DataError(f"{file} is no readable safetensors file: {error}") from error
            for name in names:
                if name in self._files:
                    raise DataError(f"tensor {name} is in two files of {self.directory}")
                self._files[name] = (file, opened)

    def names(self) -> list[str]:
        """Names of the tensors of all files."""
        return list(self._files)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape, from the header."""
        return tuple(self._files[name][1].get_slice(name).get_shape())

    def read(self, name: str) -> np.ndarray:
        """Read one tensor; bfloat16 stays so."""
        file, opened = self._files[name]
        if opened.get_slice(name).get_dtype() != "BF16":
            return opened.get_tensor(name)
        # numpy has no bfloat16 of its own; the reader for JAX brings one.
        import jax
        from safetensors import safe_open

        with jax.default_device(jax.local_devices(backend="cpu")[0]):
            return np.asarray(safe_open(file, framework="flax").get_tensor(name))


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
