"""The smallest sentence encoder that has every part, as files."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxrec.models import ModelSpec, Pretrained, TransformerConfig, export_model

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def write_tiny_encoder(
    directory: str | Path,
    pooling: str = "mean_tokens",
    normalize: bool = True,
    max_length: int = 24,
    seed: int = 0,
) -> Path:
    """Write a random BERT over letters and digits, in the format of sentence-transformers.

    Args:
      directory: must be empty or not exist.
      pooling: "mean_tokens", "cls_token", "max_tokens" or "lasttoken".
      normalize: whether a last module scales vectors to unit length.
      max_length: maximum number of tokens that are read from a text.
      seed: of the weights, which are large enough that mistakes change the outputs.

    Returns:
      The directory.
    """
    directory = Path(directory)
    characters = [chr(c) for c in (*range(ord("a"), ord("z") + 1), *range(ord("0"), ord("9") + 1))]
    vocabulary = [*_SPECIAL, *characters, *("##" + c for c in characters)]
    config = TransformerConfig(
        vocab_size=len(vocabulary),
        width=32,
        depth=2,
        num_heads=4,
        mlp_width=48,
        norm="layer",
        norm_order="post",
        norm_eps=1e-12,
        positions="learned",
        max_length=40,
        token_types=2,
        pooler=True,
        activation="gelu",
        gated=False,
        qkv_bias=True,
        out_bias=True,
        mlp_bias=True,
    )
    spec = ModelSpec("encoder", config)
    rng = np.random.default_rng(seed)

    def leaf(path: tuple[jax.tree_util.DictKey, ...], shape: jax.ShapeDtypeStruct) -> jax.Array:
        center = 1.0 if path[-1].key == "scale" else 0.0
        return jnp.asarray(center + 0.3 * rng.normal(size=shape.shape), shape.dtype)

    params = jax.tree_util.tree_map_with_path(leaf, nn.meta.unbox(spec.shapes()))
    export_model(Pretrained(spec=spec, params=params), directory, family="bert")
    (directory / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    modules = ["Transformer", "Pooling", "Normalize"][: 3 if normalize else 2]
    paths = ["", "1_Pooling", "2_Normalize"]
    files = {
        "modules.json": [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for i, (kind, path) in enumerate(zip(modules, paths, strict=False))
        ],
        "sentence_bert_config.json": {"max_seq_length": max_length, "do_lower_case": False},
        "1_Pooling/config.json": {
            "word_embedding_dimension": config.width,
            **{
                f"pooling_mode_{name}": name == pooling
                for name in ("cls_token", "mean_tokens", "max_tokens", "lasttoken")
            },
        },
    }
    (directory / "1_Pooling").mkdir()
    for name, content in files.items():
        (directory / name).write_text(json.dumps(content), encoding="utf-8")
    return directory
