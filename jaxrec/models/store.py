"""Models on disk in our own layout: one JSON file and safetensors of stacked leaves.

Training starts from such directories, and the command `import-hf` writes them. Reading one needs
neither transpositions nor a Hugging Face family. For a `StoredKernel`, the weight file holds each
of its arrays, and the JSON file its class and settings.
"""

import dataclasses
import hashlib
import importlib
import json
import math
import os
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxrec.core import ConfigError, DataError, check_file, from_dict, read_json
from jaxrec.models.convert import Place, Pretrained, writing
from jaxrec.models.spec import ModelSpec, check_finite
from jaxrec.nn import StoredKernel

DESCRIPTION, WEIGHTS = "jaxrec_model.json", "params"


class _Kernel(TypedDict):
    """The description of a stored kernel."""

    settings: dict[str, Any]
    arrays: list[str]


class _Description(TypedDict):
    """The content of the JSON file."""

    kind: str
    classes: int
    family: str | None
    tokens: dict[str, Any]
    config: dict[str, Any]
    kernels: NotRequired[dict[str, _Kernel]]


def save_model(model: Pretrained, directory: str | os.PathLike[str], tokenizer: Any = None) -> None:
    """Write a model, one file per leaf, and its tokenizer if there is one.

    Args:
      model: what to write.
      directory: must be empty or not exist; it appears only when it is complete.
      tokenizer: tokenizer of transformers, or None.

    Raises:
      ConfigError: the directory is in use.

    Example:
      >>> import tempfile
      >>> from flax import linen as nn
      >>> from jaxrec.models import TransformerConfig
      >>> spec = ModelSpec("causal", TransformerConfig(vocab_size=8, width=4, depth=1))
      >>> params = jax.tree.map(jnp.zeros_like, nn.meta.unbox(spec.shapes()))
      >>> directory = Path(tempfile.mkdtemp()) / "model"
      >>> save_model(Pretrained(spec=spec, params=params), directory)
      >>> sorted(path.name for path in directory.iterdir())
      ['jaxrec_model.json', 'params']
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
    """Return whether `save_model` wrote the directory."""
    return (Path(directory) / DESCRIPTION).is_file()


def load_model(directory: str | os.PathLike[str], place: Place | None = None) -> Pretrained:
    """Read a model that `save_model` wrote.

    Args:
      directory: the model's directory.
      place: function of a leaf's path and values that puts the leaf on devices, for instance with a
        sharding; None for the default device. Each array of a stored kernel is a leaf below the
        kernel's path.

    Raises:
      DataError: files are missing or damaged, or shapes contradict the config; the message names
        them.

    Example:
      >>> import tempfile
      >>> from flax import linen as nn
      >>> from jaxrec.models import TransformerConfig
      >>> spec = ModelSpec("causal", TransformerConfig(vocab_size=8, width=4, depth=1))
      >>> params = jax.tree.map(jnp.zeros_like, nn.meta.unbox(spec.shapes()))
      >>> directory = Path(tempfile.mkdtemp()) / "model"
      >>> save_model(Pretrained(spec=spec, params=params), directory)
      >>> load_model(directory).spec == spec
      True
    """
    directory = Path(directory)
    model, stored = _read_description(directory)
    place = place or (lambda _, leaf: jnp.asarray(leaf))
    leaves: dict[str, Any] = {}
    for path, shape in model.spec.flat_shapes().items():
        file = directory / WEIGHTS / f"{path.replace('/', '.')}.safetensors"
        leaf: Any
        if path in stored:
            leaf = _read_kernel(file, path, stored[path])
        else:
            leaf = _read(file, [path])[path]
        if leaf.shape != shape:
            raise DataError(
                f"{file} holds an array of shape {leaf.shape}, expected {shape} from the config in "
                f"{DESCRIPTION}"
            )
        if path in stored:
            arrays = {name: place(f"{path}/{name}", a) for name, a in _arrays(leaf).items()}
            leaves[path] = dataclasses.replace(leaf, **arrays)
        else:
            leaves[path] = place(path, leaf)
    return dataclasses.replace(model, params={"params": unflatten_dict(leaves, sep="/")})


def is_quantized(directory: str | os.PathLike[str]) -> bool:
    """Return whether a model that `save_model` wrote has quantized kernels.

    Raises:
      DataError: the description is missing or damaged.
    """
    return bool(_read_description(Path(directory))[1])


def describe_model(directory: str | os.PathLike[str]) -> Pretrained:
    """Read a model that `save_model` wrote without its parameters; `params` is None.

    Raises:
      DataError: the description is missing or damaged.
    """
    return _read_description(Path(directory))[0]


def _read_description(directory: Path) -> tuple[Pretrained, dict[str, Any]]:
    """Return a model without its parameters, and descriptions of its stored kernels by path."""
    path = directory / DESCRIPTION
    description = read_json(path, _Description, fix="write the model again")
    try:
        spec = from_dict(
            ModelSpec, {name: description[name] for name in ("kind", "config", "classes")}, ""
        )
    except ConfigError as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    model = Pretrained(
        spec=spec, params=None, family=description["family"], tokens=description["tokens"]
    )
    stored = description.get("kernels", {})
    if unknown := sorted(set(stored) - set(spec.flat_shapes())):
        raise DataError(
            f"{path} describes kernels that the model does not have: {unknown}; write the model "
            "again"
        )
    return model, stored


def _read(file: Path, paths: list[str]) -> dict[str, np.ndarray]:
    """Read the arrays with these paths from a file."""
    from safetensors import SafetensorError
    from safetensors.flax import load_file

    check_file(file, missing=True)
    try:
        arrays = load_file(file)
        found = {path: np.asarray(arrays[path]) for path in paths}
    except (OSError, KeyError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{file} cannot be read: {reason}; write the model again") from error
    for path, array in found.items():
        check_finite(array, f"{file}: {path}")
    return found


def _arrays(kernel: Any) -> dict[str, Any]:
    """Return the arrays of a stored kernel by the names of their fields."""
    fields = [f.name for f in dataclasses.fields(kernel) if not f.metadata.get("static")]
    return {name: getattr(kernel, name) for name in fields if getattr(kernel, name) is not None}


def _describe(kernel: Any) -> dict[str, Any]:
    """Return the class of a stored kernel, its settings, and the names of its arrays."""
    settings = [f.name for f in dataclasses.fields(kernel) if f.metadata.get("static")]
    return {
        "class": f"{type(kernel).__module__.split('.')[1]}.{type(kernel).__name__}",
        "settings": {name: getattr(kernel, name) for name in settings},
        "arrays": list(_arrays(kernel)),
    }


def _read_kernel(file: Path, path: str, described: dict[str, Any]) -> StoredKernel:
    """Read a stored kernel.

    Its class is looked up by name, because the packages that define such classes import this one.
    Loading a plain model does not import them.

    Args:
      file: the weight file.
      path: the kernel's path.
      described: its description, from `_describe`.
    """
    try:
        room, _, name = described["class"].partition(".")
        kernel_class = getattr(importlib.import_module(f"jaxrec.{room}"), name)
        if not issubclass(kernel_class, StoredKernel):
            raise TypeError(f"{described['class']} is not a StoredKernel")
        settings = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in described["settings"].items()
        }
        names = list(described["arrays"])
    except (ImportError, AttributeError, KeyError, TypeError) as error:
        raise DataError(
            f"{file.parents[1] / DESCRIPTION}: the stored kernel {path} cannot be read: {error}"
        ) from error
    leaves = _read(file, [f"{path}/{name}" for name in names])
    arrays = {name: leaves[f"{path}/{name}"] for name in names}
    try:
        kernel = kernel_class(**arrays, **settings)
        # Arrays whose shapes do not match each other do not form a matrix.
        matrix = jax.eval_shape(lambda: kernel.dense())
        if matrix.size != math.prod(kernel.shape):
            raise ValueError(
                f"the matrix has shape {matrix.shape}, expected the size of {kernel.shape}"
            )
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
        raise DataError(f"{file} does not hold a {described['class']}: {error}") from error
    return kernel


def checksum(params: Any) -> str:
    """Return the SHA-256 of the parameters' names, shapes, dtypes and values."""
    digest = hashlib.sha256()
    for path, leaf in sorted(flatten_dict(params, sep="/").items()):
        array = np.asarray(leaf)
        digest.update(f"{path} {array.shape} {array.dtype}".encode())
        digest.update(np.ascontiguousarray(array.reshape(-1)).view(np.uint8).data)
    return digest.hexdigest()
