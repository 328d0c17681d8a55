"""What is checked of a checkpoint's `config.json` before anything is built from it.

A config of a few bytes can ask for a billion layers, so its sizes are compared with the weights
beside it: a model has no more layers than tensors, and no size exceeds the longest axis.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypedDict

from jaxrec.core import ConfigError, DataError, JaxrecError, mismatch, read_json
from jaxrec.models.sources import WeightSource

# Names of sizes in the configs of all families; each is the length of an axis, or a divisor of it.
_WIDTHS = (
    "d_ff",
    "d_kv",
    "d_model",
    "head_dim",
    "hidden_size",
    "intermediate_size",
    "n_embd",
    "n_head",
    "n_inner",
    "num_attention_heads",
    "num_heads",
    "num_key_value_heads",
    "relative_attention_num_buckets",
    "type_vocab_size",
    "vocab_size",
)
_DEPTHS = ("n_layer", "num_decoder_layers", "num_hidden_layers", "num_layers")
_MOST_CLASSES = 1 << 16
# Files of quantizers that do not say so in config.json.
_QUANTIZERS = {"quantize_config.json": "GPTQ", "quant_config.json": "AWQ"}
# Ends of names of tensors that accompany quantized ones.
QUANTIZED = (
    ".SCB",
    ".absmax",
    ".g_idx",
    ".qweight",
    ".qzeros",
    ".quant_map",
    ".scales",
    ".weight_packed",
    ".weight_scale",
    ".weight_scale_inv",
)


class _Tokens(TypedDict, total=False):
    """The special tokens that a config may name."""

    bos_token_id: int | None
    eos_token_id: int | list[int] | None
    pad_token_id: int | None
    decoder_start_token_id: int | None


def check_config(source: WeightSource) -> None:
    """Check quantization and sizes of a checkpoint against its weights.

    Raises:
      ConfigError: another library quantized the weights.
      DataError: a size is not a whole number above 0, or the weights cannot have it.
    """
    _check_quantization(source)
    shapes = [source.shape(name) for name in source.names()]
    axis = max((max(shape, default=1) for shape in shapes), default=0)
    for name in _WIDTHS:
        _check_size(source, name, axis, f"the longest axis of the weights is {axis}")
    for name in _DEPTHS:
        _check_size(source, name, len(shapes), f"the weights are {len(shapes)} tensors")
    limit = max(axis, _MOST_CLASSES)
    _check_size(source, "num_labels", limit, f"there can be at most {limit} classes")


def _check_size(source: WeightSource, name: str, limit: int, reason: str) -> None:
    value = source.config.get(name)
    if value is None:
        return
    if mismatch(value, int, "") or value < 1:
        raise DataError(
            f"{source.path}: {name} must be a whole number above 0, got {value!r:.60}; copy the "
            "file from the original model"
        )
    if value > limit:
        raise DataError(
            f"{source.path}: {name} is {value}, but {reason}; copy config and weights from the "
            "same model"
        )


def _check_quantization(source: WeightSource) -> None:
    settings = source.config.get("quantization_config") or source.config.get("quantization")
    method = None
    if settings:
        named = settings.get("quant_method") if isinstance(settings, dict) else None
        method = str(named or "another library")[:60]
    for file, library in _QUANTIZERS.items():
        if method is None and (source.path.parent / file).is_file():
            method = library
    if method is not None:
        raise ConfigError(
            f"{source.path.parent}: the weights were quantized by {method}, which is not "
            "supported; give the model that they were made from, and quantize it with jaxrec"
        )


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what a wrong value of a config raises anywhere into an error that names the file.

    Raises:
      ConfigError: instead of any error that is not of jaxrec.
    """
    try:
        yield
    except (JaxrecError, MemoryError, ImportError):
        raise
    except Exception as error:  # transformers checks types with classes of its own
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ConfigError(
            f"{path} has a setting that cannot be read ({reason}); copy the file from the "
            "original model"
        ) from error


def read_tokens(source: WeightSource, directory: Path) -> dict[str, Any]:
    """Return the numbers of special tokens, from `generation_config.json` or else `config.json`.

    Args:
      source: the checkpoint.
      directory: where recent versions of transformers write `generation_config.json`.

    Raises:
      DataError: a damaged file, or a token that is no number (the end tokens may be a list).
    """
    file, settings = directory / "generation_config.json", dict(source.config)
    generation = read_json(file, dict[str, Any], fix="copy it again") if file.exists() else {}
    for path, content in ((source.path, settings), (file, generation)):
        if problem := mismatch(content, _Tokens, ""):
            raise DataError(f"{path}: {problem}; copy the file from the original model")
    found = {**settings, **generation}
    names = _Tokens.__annotations__
    return {name: found[name] for name in names if found.get(name) is not None}
