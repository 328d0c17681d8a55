"""Conversion of prompts and prefixes between our nodes and PEFT's tensor `prompt_embeddings`.

A prompt is `[P, D]` on both sides. PEFT stores a prefix as one row per virtual token, with the keys
and values of all blocks side by side, `[P, blocks x 2 x heads x size]`, just as they are attended.

For an encoder-decoder, PEFT (0.21, `PeftModel.get_prompt`) doubles that row for self- and
cross-attention, splits it into groups of four and drops the second half of each group. So block `i`
reads pair `2i` of the doubled row: only half of the parameters are used, each of them twice if the
number of blocks is even. A row with twice as many blocks gives each block its own pair, so that is
what we write.
"""

from collections.abc import Mapping
from typing import Any, TypedDict

import einops
import jax.numpy as jnp
import numpy as np

from jaxrec.core import ConfigError, DataError
from jaxrec.models import ModelSpec, TransformerConfig
from jaxrec.peft.prompt_encoder import PromptNetwork


class VirtualSettings(TypedDict):
    """What is read of an `adapter_config.json` of a prompt or a prefix."""

    num_virtual_tokens: int
    token_dim: int
    num_attention_heads: int
    num_layers: int


TENSOR = "prompt_embeddings"
_PREFIX = "blocks/attention/prefix"


def write_prompt(spec: ModelSpec, prompt: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Convert a prompt `[P, D]` to PEFT's settings and tensors.

    Raises:
      ConfigError: the model reads prompts differently from PEFT, or the prompt is still a network.
    """
    _check_pooling(spec)
    if isinstance(prompt, PromptNetwork):
        raise ConfigError(
            "the prompt is a PromptNetwork, not vectors; a prompt is saved without the network "
            "that it was trained with, see peft.without_networks"
        )
    rows = np.ascontiguousarray(prompt, np.float32)
    c = spec.config
    settings = _settings(rows, c.width, c.num_heads, c.depth, 1)
    return {**settings, "prompt_tuning_init": "RANDOM"}, {TENSOR: rows}


def read_prompt(
    spec: ModelSpec, tensors: Mapping[str, np.ndarray], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Convert a prompt of PEFT to nodes by path.

    Raises:
      ConfigError: the model reads prompts differently from PEFT.
      DataError: the vectors do not have the width of the model.
    """
    _check_pooling(spec)
    rows = _rows(tensors, settings)
    if rows.shape[1] != spec.config.width:
        raise DataError(f"the prompt has width {rows.shape[1]}, the model {spec.config.width}")
    return {f"{_backbone(spec)}embedding/prompt": jnp.asarray(rows, jnp.float32)}


def write_prefix(
    spec: ModelSpec, nodes: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Convert a prefix to PEFT's settings and tensors.

    Args:
      spec: the model.
      nodes: keys and values by path, each `[depth, P, G, H]`.

    Raises:
      ConfigError: the prefix belongs to the encoder of an encoder-decoder, which PEFT does not
        support, or is still a network.
    """
    path = _prefix_path(spec)
    if set(nodes) != {path}:
        raise ConfigError(
            f"PEFT supports one prefix, that of {path}; this adapter has {', '.join(sorted(nodes))}"
        )
    table = nodes[path]
    if not isinstance(table, tuple | list):
        raise ConfigError(
            f"{path} is a {type(table).__name__}, not keys and values; a prefix is saved without "
            "the network that it was trained with"
        )
    pairs = np.stack([np.asarray(array, np.float32) for array in table], axis=1)
    if spec.kind == "encoder_decoder":
        pairs = np.stack([pairs, np.zeros_like(pairs)], axis=1).reshape(-1, *pairs.shape[1:])
    blocks, _, _, heads, size = pairs.shape
    rows = np.ascontiguousarray(einops.rearrange(pairs, "l c p g h -> p (l c g h)"))
    submodules = 2 if spec.kind == "encoder_decoder" else 1
    settings = _settings(rows, heads * size, heads, blocks, submodules)
    return {**settings, "prefix_projection": False}, {TENSOR: rows}


def read_prefix(
    spec: ModelSpec, tensors: Mapping[str, np.ndarray], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Convert a prefix of PEFT to nodes by path.

    Raises:
      ConfigError: the prefix of an encoder-decoder also goes in front of the encoder's states.
      DataError: the prefix is for another number of blocks or heads than the model has.
    """
    c, rows = spec.config, _rows(tensors, settings)
    blocks = settings["num_layers"]
    heads, width = settings["num_attention_heads"], settings["token_dim"]
    _check_sizes(c, rows, blocks, heads, width)
    pairs = einops.rearrange(rows, "p (l c g h) -> l c p g h", l=blocks, c=2, g=heads)
    if spec.kind == "encoder_decoder":
        if settings.get("num_transformer_submodules") != 2:
            raise ConfigError(
                "num_transformer_submodules "
                f"{settings.get('num_transformer_submodules')} is not supported for the prefix of "
                "an encoder-decoder: PEFT then also puts the prefix in front of the encoder's "
                "states; use 2"
            )
        pairs = pairs[2 * np.arange(blocks) % blocks]
    if len(pairs) < c.depth or (len(pairs) > c.depth and spec.kind != "encoder_decoder"):
        raise DataError(f"the prefix is for {len(pairs)} blocks, the model has {c.depth}")
    key, value = (jnp.asarray(pairs[: c.depth, i], jnp.float32) for i in range(2))
    return {_prefix_path(spec): (key, value)}


def _check_sizes(
    c: TransformerConfig, rows: np.ndarray, blocks: int, heads: int, width: int
) -> None:
    if rows.shape[1] != 2 * blocks * width:
        raise DataError(
            f"{TENSOR} has {rows.shape[1]} columns, expected 2 x {blocks} blocks x {width}"
        )
    if (heads, width) != (c.kv_heads, c.kv_heads * c.head_width):
        raise DataError(
            f"the prefix has {heads} heads and width {width}, the model's keys "
            f"{c.kv_heads} and {c.kv_heads * c.head_width}"
        )


def _settings(
    rows: np.ndarray, width: int, heads: int, blocks: int, submodules: int
) -> dict[str, Any]:
    return {
        "num_virtual_tokens": len(rows),
        "token_dim": width,
        "num_attention_heads": heads,
        "num_layers": blocks,
        "num_transformer_submodules": submodules,
    }


def _rows(tensors: Mapping[str, np.ndarray], settings: Mapping[str, Any]) -> np.ndarray:
    """Return one row per virtual token; PEFT ignores the other rows of an encoder-decoder."""
    if TENSOR not in tensors or tensors[TENSOR].ndim != 2:
        raise DataError(f"the adapter has no matrix {TENSOR}")
    rows, count = tensors[TENSOR], settings["num_virtual_tokens"]
    if len(rows) < count:
        raise DataError(f"{TENSOR} has {len(rows)} rows for {count} virtual tokens")
    return rows[:count]


def _check_pooling(spec: ModelSpec) -> None:
    if spec.kind == "encoder_classifier":
        raise ConfigError(
            "prompts of BERT's classifier cannot be exchanged with PEFT: Hugging Face reads the "
            "class from the first virtual token, but here it is read from the first token of the "
            "text"
        )


def _backbone(spec: ModelSpec) -> str:
    headed = spec.kind == "masked" or spec.kind.endswith("classifier")
    return "backbone/" if headed else ""


def _prefix_path(spec: ModelSpec) -> str:
    is_encoder = spec.kind in ("encoder", "masked", "encoder_classifier")
    return f"{_backbone(spec)}{'encoder' if is_encoder else 'decoder'}/{_PREFIX}"
