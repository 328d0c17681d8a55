"""Import from and export to Hugging Face's format, one tensor at a time.

Names, shapes and the equality of tied tensors are checked before anything is read or written.
Import needs little more memory than the model and one stacked leaf; export, than the model and one
shard.
"""

import contextlib
import dataclasses
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxrec.core import ConfigError, DataError, ResourceError, not_writable
from jaxrec.models.checkpoint_config import QUANTIZED, read_tokens
from jaxrec.models.families import read_spec, table_of, write_config
from jaxrec.models.sources import INDEX, SINGLE, WeightSource, open_source
from jaxrec.models.spec import Kind, ModelSpec, check_finite
from jaxrec.models.tables import Table, Weight
from jaxrec.nn import StoredKernel

Dtype = Literal["float32", "bfloat16"]
Place = Callable[[str, np.ndarray], jax.Array]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pretrained:
    """A model with its parameters.

    Attributes:
      spec: kind and config.
      params: {"params": tree}, as `spec.build().apply` takes them.
      family: Hugging Face's model type; None if the model did not come from there.
      tokens: numbers of special tokens, by Hugging Face's names for them; several end tokens are a
        list.
    """

    spec: ModelSpec
    params: Any
    family: str | None = None
    tokens: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def eos(self) -> tuple[int, ...] | None:
        """The tokens that end a text, as `TextOptions` takes them; None if the model names none.

        Example:
          >>> from jaxrec.models import TransformerConfig
          >>> spec = ModelSpec("causal", TransformerConfig())
          >>> Pretrained(spec=spec, params=None, tokens={"eos_token_id": [2, 7]}).eos
          (2, 7)
        """
        named = self.tokens.get("eos_token_id")
        if named is None:
            return None
        return tuple(named) if isinstance(named, list | tuple) else (named,)


def import_model(
    path: str | os.PathLike[str],
    kind: Kind | None = None,
    dtype: Dtype = "float32",
    place: Place | None = None,
) -> Pretrained:
    """Read a checkpoint made by another library into our parameters.

    Args:
      path: a directory in Hugging Face's format, a `.gguf` or a llama2.c `.bin` file.
      kind: architecture and head; None for those in the checkpoint's config.
      dtype: dtype of the parameters.
      place: function of a leaf's path and values that puts the leaf on devices, for instance with a
        sharding; None for the default device.

    Raises:
      ConfigError: a model type or setting is not supported.
      DataError: tensors are missing, unused, of the wrong shape, or differ although the config ties
        them; the message names them.

    Example:
      >>> import tempfile
      >>> from flax import linen as nn
      >>> from jaxrec.models import TransformerConfig
      >>> spec = ModelSpec("causal", TransformerConfig(vocab_size=8, width=4, depth=1))
      >>> params = jax.tree.map(jnp.zeros_like, nn.meta.unbox(spec.shapes()))
      >>> directory = Path(tempfile.mkdtemp()) / "llama"
      >>> family = export_model(Pretrained(spec=spec, params=params), directory)
      >>> model = import_model(directory)
      >>> model.family, model.spec.kind, model.spec.config.vocab_size
      ('llama', 'causal', 8)
    """
    source = open_source(path)
    model = _describe(source, path, kind)
    assert model.family is not None  # every checkpoint names its family
    table = table_of(model.family, model.spec)
    return dataclasses.replace(model, params=read_weights(source, table, model.spec, dtype, place))


def describe_checkpoint(path: str | os.PathLike[str], kind: Kind | None = None) -> Pretrained:
    """Read everything but the weights of a checkpoint; `params` is None.

    Args:
      path: a directory in Hugging Face's format, a `.gguf` or a llama2.c `.bin` file.
      kind: architecture and head; None for those in the checkpoint's config.

    Raises:
      ConfigError: a model type or setting is not supported.
      DataError: the path holds no checkpoint.
    """
    return _describe(open_source(path), path, kind)


def _describe(source: WeightSource, path: str | os.PathLike[str], kind: Kind | None) -> Pretrained:
    family, spec = read_spec(source, kind)
    tokens = read_tokens(source, Path(path))
    model = Pretrained(spec=spec, params=None, family=family, tokens=tokens)
    ends = tuple(token for token in model.eos or () if token < spec.config.vocab_size)
    if len(ends) > 1:
        config = dataclasses.replace(spec.config, end_tokens=ends)
        model = dataclasses.replace(model, spec=dataclasses.replace(spec, config=config))
    return model


def read_weights(
    source: WeightSource,
    table: Table,
    spec: ModelSpec,
    dtype: Dtype = "float32",
    place: Place | None = None,
) -> Any:
    """Check a source against a weight table and read its tensors; see `import_model`."""
    leaves = spec.flat_shapes()
    at = _match(source, table, leaves)
    rows = table.by_path()
    place = place or (lambda _, leaf: jnp.asarray(leaf))
    params = {}
    for path, shape in leaves.items():
        params[path] = place(path, _leaf(source, rows[path], at, shape, jnp.dtype(dtype)))
    return {"params": unflatten_dict(params, sep="/")}


def _leaf(
    source: WeightSource, row: Weight, at: dict[str, str], shape: tuple[int, ...], dtype: Any
) -> np.ndarray:
    if not row.stacked:
        values = row.here(_read(source, at[row.name]), shape)
        return np.ascontiguousarray(values.astype(dtype, copy=False))
    leaf = np.empty(shape, dtype)
    for name, layer in _names(row, shape):
        leaf[layer] = row.here(_read(source, at[name]), shape)
    return leaf


def _read(source: WeightSource, name: str) -> np.ndarray:
    """Read a tensor that must hold finite real numbers."""
    values = source.read(name)
    if not jnp.issubdtype(values.dtype, jnp.floating):
        raise DataError(
            f"{source.path.parent}: {name} holds numbers of type {values.dtype}, not weights: they "
            "are quantized or damaged; give the model that they were made from"
        )
    check_finite(values, f"{source.path.parent}: {name}")
    return values


def _match(
    source: WeightSource, table: Table, leaves: dict[str, tuple[int, ...]]
) -> dict[str, str]:
    """Check a source; return, by today's name, the source's name of every tensor."""
    uncovered = sorted(set(leaves) ^ set(table.by_path()))
    if uncovered:
        raise ValueError(f"the weight table does not match the model's parameters: {uncovered}")
    present = {}
    for name in source.names():
        current = table.current(name)
        if current is not None:
            present[current] = name
    expected = {
        name: row.shape_there(leaves[row.path])
        for row in table.weights
        for name, _ in _names(row, leaves[row.path])
    }
    for alias, name in table.aliases.items():
        if alias in present and name not in present:
            present[name] = present.pop(alias)
    problems = [f"{name} is missing" for name in expected if name not in present]
    known = {*expected, *table.aliases}
    unused = [present[name] for name in present if name not in known]
    quantized = " (the weights are quantized)"
    problems += [
        f"{name} is not used{quantized if name.endswith(QUANTIZED) else ''}" for name in unused
    ]
    for name in expected.keys() & present.keys():
        shape = source.shape(present[name])
        if shape != expected[name]:
            problems.append(f"{present[name]} has shape {shape}, expected {expected[name]}")
    if not problems:
        for alias, name in table.aliases.items():
            if alias in present and not _equal(source, present[alias], present[name]):
                problems.append(
                    f"{present[alias]} differs from {present[name]}, to which the config ties it"
                )
    if problems:
        more = f", and {len(problems) - 8} more" if len(problems) > 8 else ""
        raise DataError(
            f"the checkpoint does not match its config: {'; '.join(sorted(problems)[:8])}{more}"
        )
    return present


def _equal(source: WeightSource, a: str, b: str) -> bool:
    return source.shape(a) == source.shape(b) and np.array_equal(source.read(a), source.read(b))


def _names(row: Weight, shape: tuple[int, ...]) -> Iterator[tuple[str, int | None]]:
    """Yield Hugging Face's names of a row's tensors, with the layer of each."""
    if not row.stacked:
        yield row.name, None
        return
    for layer in range(shape[0]):
        yield row.name.replace("{layer}", str(layer)), layer


def export_model(
    model: Pretrained,
    directory: str | os.PathLike[str],
    *,
    family: str | None = None,
    dtype: Dtype = "float32",
    tokenizer: Any = None,
    shard_bytes: int = 5_000_000_000,
    extra: Mapping[str, str] | None = None,
) -> str:
    """Write a model in Hugging Face's format.

    Args:
      model: what to write.
      directory: must be empty or not exist; it appears only when it is complete.
      family: Hugging Face's model type; None for the one the model came from, or the first that
        can express it.
      dtype: dtype of the written weights.
      tokenizer: tokenizer of transformers to write as well, or None.
      shard_bytes: largest size of one file.
      extra: contents of additional text files, by file name.

    Returns:
      The family.

    Raises:
      ConfigError: the family cannot express a setting, kernels are quantized, or the directory is
        in use.

    Example:
      >>> import tempfile
      >>> from flax import linen as nn
      >>> from jaxrec.models import TransformerConfig
      >>> spec = ModelSpec("causal", TransformerConfig(vocab_size=8, width=4, depth=1))
      >>> params = jax.tree.map(jnp.zeros_like, nn.meta.unbox(spec.shapes()))
      >>> directory = Path(tempfile.mkdtemp()) / "llama"
      >>> export_model(Pretrained(spec=spec, params=params), directory)
      'llama'
      >>> sorted(path.name for path in directory.iterdir())
      ['config.json', 'generation_config.json', 'model.safetensors']
    """
    directory = Path(directory)
    family, config = write_config(model.spec, family or model.family)
    leaves = flatten_dict(model.params["params"], sep="/")
    if stored := [path for path, leaf in leaves.items() if isinstance(leaf, StoredKernel)]:
        raise ConfigError(
            f"{len(stored)} kernels are quantized ({stored[0]}, ...), which Hugging Face's format "
            "cannot express; apply jaxrec.quant.dequantize_params to the parameters first"
        )
    with writing(directory) as draft:
        _write_config(config, draft, model, dtype)
        _write_shards(table_of(family, model.spec), leaves, draft, dtype, shard_bytes)
        if tokenizer is not None:
            tokenizer.save_pretrained(draft)
        for name, text in (extra or {}).items():
            (draft / name).write_text(text, encoding="utf-8")
    return family


def check_free(directory: Path) -> None:
    """Reject a directory that is not empty, or that cannot be made.

    Raises:
      ConfigError: the directory holds files, or the path is a file.
      ResourceError: the first of its parents that exists is a file, or cannot be written.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ConfigError(f"{directory} is in use; give an empty or a new directory")
    above = next(path for path in (directory, *directory.absolute().parents) if path.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise ResourceError(
            f"cannot make {directory}, because {above} is "
            f"{'not writable' if above.is_dir() else 'a file'}; choose another directory"
        )
    if reason := not_writable(directory):
        raise ResourceError(f"cannot make {directory}: {reason}; choose another directory")


@contextlib.contextmanager
def writing(directory: Path) -> Iterator[Path]:
    """Yield a draft directory that is renamed to `directory` once everything is written.

    Raises:
      ConfigError: `directory` is not empty.
    """
    check_free(directory)
    draft = directory.with_name(f".{directory.name}.part")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        draft.mkdir(parents=True)
    except OSError as error:
        raise ResourceError(
            f"cannot make {directory}: {error.strerror}; choose another directory"
        ) from error
    try:
        yield draft
        if directory.exists():
            directory.rmdir()
        draft.rename(directory)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _write_config(config: dict[str, Any], directory: Path, model: Pretrained, dtype: Dtype) -> None:
    from transformers import CONFIG_MAPPING, GenerationConfig

    values = {key: value for key, value in config.items() if key != "model_type"}
    tokens = _written_tokens(model)
    # A family's defaults name tokens of its own vocabulary; here they may be item IDs.
    values |= {"bos_token_id": None, "eos_token_id": None, **tokens, "dtype": dtype}
    CONFIG_MAPPING[config["model_type"]](**values).save_pretrained(directory)
    if model.spec.kind in ("causal", "encoder_decoder"):
        if model.spec.kind == "encoder_decoder":
            # T5 starts decoding from its padding token.
            tokens.setdefault("decoder_start_token_id", tokens.get("pad_token_id", 0))
        GenerationConfig(**tokens).save_pretrained(directory)


def _written_tokens(model: Pretrained) -> dict[str, Any]:
    """Return the special tokens without those that lie outside of the vocabulary."""
    size, kept = model.spec.config.vocab_size, {}
    for name, named in model.tokens.items():
        if not name.endswith("_token_id"):
            kept[name] = named
            continue
        several = isinstance(named, list | tuple)
        inside = [token for token in (named if several else [named]) if 0 <= token < size]
        if inside:
            kept[name] = inside if several else inside[0]
    return kept


def _write_shards(
    table: Table, leaves: dict[str, Any], directory: Path, dtype: Dtype, shard_bytes: int
) -> None:
    from safetensors.numpy import save_file

    tensors = tensor_rows(table, {path: leaf.shape for path, leaf in leaves.items()})
    item = jnp.dtype(dtype).itemsize
    shards: list[list[str]] = [[]]
    size = total = 0
    for name, (rows, _) in tensors.items():
        bytes_ = item * int(np.prod(rows[0].shape_there(leaves[rows[0].path].shape)))
        if shards[-1] and size + bytes_ > shard_bytes:
            shards.append([])
            size = 0
        shards[-1].append(name)
        size, total = size + bytes_, total + bytes_
    files = [SINGLE]
    if len(shards) > 1:
        count = len(shards)
        files = [f"model-{i:05d}-of-{count:05d}.safetensors" for i in range(1, count + 1)]
    for file, names in zip(files, shards, strict=True):
        arrays = {name: tensor_of(*tensors[name], leaves, dtype) for name in names}
        save_file(arrays, directory / file, metadata={"format": "pt"})
        # safetensors writes files that only their owner can read.
        (directory / file).chmod(0o644)
    if len(shards) > 1:
        weight_map = {n: file for file, names in zip(files, shards, strict=True) for n in names}
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        (directory / INDEX).write_text(json.dumps(index, indent=2), encoding="utf-8")


def tensor_rows(
    table: Table, shapes: dict[str, tuple[int, ...]]
) -> dict[str, tuple[list[Weight], int | None]]:
    """Return the rows and the layer of every Hugging Face tensor, by its name.

    Tensors are ordered by block, so that shards hold whole blocks.
    """
    tensors: dict[str, tuple[list[Weight], int | None]] = {}
    for row in table.weights:
        for name, layer in _names(row, shapes[row.path]):
            tensors.setdefault(name, ([], layer))[0].append(row)
    outside = [name for name, (_, layer) in tensors.items() if layer is None]
    blocks = [name for name, (_, layer) in tensors.items() if layer is not None]
    order = outside + sorted(blocks, key=lambda name: tensors[name][1] or 0)
    return {name: tensors[name] for name in order}


def tensor_of(
    rows: list[Weight], layer: int | None, leaves: Mapping[str, Any], dtype: Dtype
) -> np.ndarray:
    """Make one Hugging Face tensor from our leaves.

    Args:
      rows: the tensor's rows of the weight table, from `tensor_rows`.
      layer: its layer, from `tensor_rows`; None for a tensor outside the blocks.
      leaves: our parameters, by path.
      dtype: dtype of the tensor.
    """
    rows = sorted(rows, key=lambda row: row.part or (0, 1))
    own = [leaves[row.path] if layer is None else leaves[row.path][layer] for row in rows]
    arrays = [np.asarray(jax.device_get(leaf)) for leaf in own]
    tensor = rows[0].there(arrays, leaves[rows[0].path].shape)
    return np.ascontiguousarray(tensor.astype(jnp.dtype(dtype)))
