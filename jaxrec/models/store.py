"""Models on disk in our own layout: one JSON file and safetensors of stacked leaves.

Reading it back needs no transposition and no family: what training starts from, and what
`import-hf` writes.
"""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxrec.core import DataError
from jaxrec.models.config import TransformerConfig
from jaxrec.models.convert import Place, Pretrained, writing
from jaxrec.models.spec import ModelSpec
from jaxrec.nn import RopeScaling

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
    description = {
        "format": 1,
        "kind": spec.kind,
        "classes": spec.classes,
        "family": model.family,
        "tokens": model.tokens,
        "config": dataclasses.asdict(spec.config),
    }
    with writing(Path(directory)) as draft:
        text = json.dumps(description, indent=2)
        (draft / DESCRIPTION).write_text(text + "\n", encoding="utf-8")
        (draft / WEIGHTS).mkdir()
        for path, leaf in flatten_dict(model.params["params"], sep="/").items():
            file = draft / WEIGHTS / f"{path.replace('/', '.')}.safetensors"
            save_file({path: np.asarray(leaf)}, file)
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
      place: puts a leaf, given its path, on devices, as with a sharding; None for the default.

    Raises:
      DataError: files missing or damaged, or shapes that the config does not give; names them.
    """
    from safetensors import SafetensorError
    from safetensors.flax import load_file

    directory = Path(directory)
    model = describe_model(directory)
    found = {}
    for path, shape in model.spec.flat_shapes().items():
        file = directory / WEIGHTS / f"{path.replace('/', '.')}.safetensors"
        try:
            leaf = load_file(file)[path]
        except (OSError, KeyError, SafetensorError) as error:
            raise DataError(f"{file} cannot be read: {error}") from error
        if leaf.shape != shape:
            raise DataError(f"{file} holds shape {leaf.shape}, expected {shape}")
        found[path] = jnp.asarray(leaf) if place is None else place(path, np.asarray(leaf))
    return dataclasses.replace(model, params={"params": unflatten_dict(found, sep="/")})


def describe_model(directory: str | os.PathLike[str]) -> Pretrained:
    """Read all but the parameters of what `save_model` wrote; `params` is None.

    Raises:
      DataError: the description is missing or damaged.
    """
    path = Path(directory) / DESCRIPTION
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        config = dict(description["config"])
        config["rope_scaling"] = RopeScaling(**config["rope_scaling"])
        spec = ModelSpec(description["kind"], TransformerConfig(**config), description["classes"])
        return Pretrained(spec, None, description["family"], description["tokens"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
