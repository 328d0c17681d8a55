"""Models on disk in our own layout: one JSON file and safetensors of stacked leaves.

Reading it back needs no transposition and no family: what training starts from, and what
`import-hf` writes. A kernel may be a `StoredKernel`: its file holds each of its arrays, and the
JSON file says which class and settings they belong to.
"""

import dataclasses
import hashlib
import importlib
import json
import math
import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxrec.core import DataError
from jaxrec.models.config import TransformerConfig
from jaxrec.models.convert import Place, Pretrained, writing
from jaxrec.models.spec import ModelSpec
from jaxrec.nn import RopeScaling, StoredKernel

DESCRIPTION, WEIGHTS = "jaxrec_model.json", "params"


def save_model(model: Pretrained, directory: str | os.PathLike[str], tokenizer: Any = None) -> None:
    """Write a model, and its tokenizer if it has one; one file a leaf.

    Args:
      model: what to write.
      directory: must not exist, or be empty; appears only when complete.
      tokenizer: a tokenizer of transformers, or None.

    Raises:
      ConfigError: a directory that is in use.
    """
    from safetensors.numpy import save_file

    spec = model.spec
    leaves = flatten_dict(model.params["params"], sep="/")
    description = {
        "format": 1,
        "kind": spec.kind,
        "classes": spec.classes,
        "family": model.family,
        "tokens": model.tokens,
        "config": dataclasses.asdict(spec.config),
        "kernels": {
            path: _describe(leaf) for path, leaf in leaves.items() if isinstance(leaf, StoredKernel)
        },
    }
    with writing(Path(directory)) as draft:
        text = json.dumps(description, indent=2)
        (draft / DESCRIPTION).write_text(text + "\n", encoding="utf-8")
        (draft / WEIGHTS).mkdir()
        for path, leaf in leaves.items():
            file = draft / WEIGHTS / f"{path.replace('/', '.')}.safetensors"
            arrays = {path: leaf}
            if isinstance(leaf, StoredKernel):
                arrays = {f"{path}/{name}": array for name, array in _arrays(leaf).items()}
            save_file({name: np.asarray(array) for name, array in arrays.items()}, file)
            file.chmod(0o644)
        if tokenizer is not None:
            tokenizer.save_pretrained(draft)


def is_model(directory: str | os.PathLike[str]) -> bool:
    """Whether `save_model` wrote the directory."""
    return (Path(directory) / DESCRIPTION).is_file()


def load_model(directory: str | os.PathLike[str], place: Place | None = None) -> Pretrained:
    """Read what `save_model` wrote.

    Args:
      directory: where.
      place: puts a leaf, given its path, on devices, as with a sharding; None for the default. An
        array of a stored kernel is a leaf below the kernel's path.

    Raises:
      DataError: files missing or damaged, or shapes that the config does not give; names them.
    """
    directory = Path(directory)
    model, stored = _read_description(directory)
    place = place or (lambda _, leaf: jnp.asarray(leaf))
    found: dict[str, Any] = {}
    for path, shape in model.spec.flat_shapes().items():
        file = directory / WEIGHTS / f"{path.replace('/', '.')}.safetensors"
        leaf: Any
        if path in stored:
            leaf = _read_kernel(file, path, stored[path])
        else:
            leaf = _read(file, [path])[path]
        if leaf.shape != shape:
            raise DataError(f"{file} holds shape {leaf.shape}, expected {shape}")
        if path in stored:
            arrays = {name: place(f"{path}/{name}", it) for name, it in _arrays(leaf).items()}
            found[path] = dataclasses.replace(leaf, **arrays)
        else:
            found[path] = place(path, leaf)
    return dataclasses.replace(model, params={"params": unflatten_dict(found, sep="/")})


def is_quantized(directory: str | os.PathLike[str]) -> bool:
    """Whether some kernels of what `save_model` wrote are stored in another way than as arrays.

    Raises:
      DataError: the description is missing or damaged.
    """
    return bool(_read_description(Path(directory))[1])


def describe_model(directory: str | os.PathLike[str]) -> Pretrained:
    """Read all but the parameters of what `save_model` wrote; `params` is None.

    Raises:
      DataError: the description is missing or damaged.
    """
    return _read_description(Path(directory))[0]


def _read_description(directory: Path) -> tuple[Pretrained, dict[str, Any]]:
    """A model without its parameters, and what its stored kernels are, by path."""
    path = directory / DESCRIPTION
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        config = dict(description["config"])
        config["rope_scaling"] = RopeScaling(**config["rope_scaling"])
        spec = ModelSpec(description["kind"], TransformerConfig(**config), description["classes"])
        model = Pretrained(
            spec=spec, params=None, family=description["family"], tokens=description["tokens"]
        )
        stored = dict(description.get("kernels", {}))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if unknown := sorted(set(stored) - set(spec.flat_shapes())):
        raise DataError(f"{path} describes kernels of no layer: {unknown}")
    return model, stored


def _read(file: Path, paths: list[str]) -> dict[str, np.ndarray]:
    """Arrays of a file, by their paths."""
    from safetensors import SafetensorError
    from safetensors.flax import load_file

    try:
        arrays = load_file(file)
        return {path: np.asarray(arrays[path]) for path in paths}
    except (OSError, KeyError, SafetensorError) as error:
        raise DataError(f"{file} cannot be read: {error}") from error


def _arrays(kernel: Any) -> dict[str, Any]:
    """Arrays of a stored kernel, by the names of their fields."""
    fields = [f.name for f in dataclasses.fields(kernel) if not f.metadata.get("static")]
    return {name: getattr(kernel, name) for name in fields if getattr(kernel, name) is not None}


def _describe(kernel: Any) -> dict[str, Any]:
    """Class of a stored kernel by its room and name, its settings, and which arrays it has."""
    settings = [f.name for f in dataclasses.fields(kernel) if f.metadata.get("static")]
    return {
        "class": f"{type(kernel).__module__.split('.')[1]}.{type(kernel).__name__}",
        "settings": {name: getattr(kernel, name) for name in settings},
        "arrays": list(_arrays(kernel)),
    }


def _read_kernel(file: Path, path: str, said: dict[str, Any]) -> StoredKernel:
    """Make a stored kernel of its arrays.

    The class is looked up by name when a file asks for it: the rooms that define such classes stand
    below this one, and whoever loads a plain model need not import them.
    """
    try:
        room, _, name = said["class"].partition(".")
        kernel_class = getattr(importlib.import_module(f"jaxrec.{room}"), name)
        if not issubclass(kernel_class, StoredKernel):
            raise TypeError(f"{said['class']} is no stored kernel")
        settings = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in said["settings"].items()
        }
        names = list(said["arrays"])
    except (ImportError, AttributeError, KeyError, TypeError) as error:
        raise DataError(
            f"{file.parents[1] / DESCRIPTION}: the stored kernel {path} cannot be read: {error}"
        ) from error
    leaves = _read(file, [f"{path}/{name}" for name in names])
    arrays = {name: leaves[f"{path}/{name}"] for name in names}
    try:
        kernel = kernel_class(**arrays, **settings)
        # Arrays that do not fit one another make no matrix.
        matrix = jax.eval_shape(lambda: kernel.dense())
        if matrix.size != math.prod(kernel.shape):
            raise ValueError(f"a matrix of shape {matrix.shape} for a kernel of {kernel.shape}")
    except (TypeError, ValueError) as error:
        raise DataError(f"{file} holds no {said['class']}: {error}") from error
    return kernel


def checksum(params: Any) -> str:
    """SHA-256 of names, shapes, dtypes and values."""
    found = hashlib.sha256()
    for path, leaf in sorted(flatten_dict(params, sep="/").items()):
        array = np.asarray(leaf)
        found.update(f"{path} {array.shape} {array.dtype}".encode())
        found.update(np.ascontiguousarray(array.reshape(-1)).view(np.uint8).data)
    return found.hexdigest()
