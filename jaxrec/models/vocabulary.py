"""Changes to a model's vocabulary: new tokens, such as item IDs, and untying the head's table."""

import dataclasses

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxrec.core import ConfigError
from jaxrec.models.convert import Pretrained

# Leaves with one row per token.
_TABLES = ("embedding/table", "head/table", "head/bias")


def extend_vocabulary(model: Pretrained, size: int, key: jax.Array) -> Pretrained:
    """Add tokens at the end of a model's vocabulary.

    A new row is the mean of the old rows plus noise of a hundredth of their standard deviation.
    Untrained new tokens thus take little probability from old ones, and no two are equal
    (J. Hewitt, "Initializing New Word Embeddings for Pretrained Language Models", 2021).

    Args:
      model: a model of any kind.
      size: size of the new vocabulary.
      key: random key of the noise.

    Raises:
      ConfigError: `size` is below the size of the vocabulary, or the vocabulary has read-only
        tokens, which must stay last.

    Example:
      >>> from jaxrec.models import ModelSpec, TransformerConfig
      >>> spec = ModelSpec("causal", TransformerConfig(vocab_size=2, width=2, num_heads=1))
      >>> table = jnp.array([[0.0, 5.0], [4.0, 5.0]])
      >>> model = Pretrained(spec=spec, params={"params": {"embedding": {"table": table}}})
      >>> larger = extend_vocabulary(model, 3, jax.random.key(0))
      >>> larger.spec.config.vocab_size
      3
      >>> larger.params["params"]["embedding"]["table"].round().tolist()
      [[0.0, 5.0], [4.0, 5.0], [2.0, 5.0]]
    """
    config = model.spec.config
    if config.read_only:
        raise ConfigError(
            f"the last {config.read_only} tokens of the model are read-only and must stay last; "
            "extend the vocabulary before adding read-only tokens"
        )
    added = size - config.vocab_size
    if added < 0:
        raise ConfigError(
            f"size {size} is below the model's {config.vocab_size} tokens; tokens can only be added"
        )
    leaves = flatten_dict(model.params["params"], sep="/")
    for path, leaf in leaves.items():
        if path.endswith(_TABLES):
            key, own = jax.random.split(key)
            noise = jax.random.normal(own, (added, *leaf.shape[1:]), leaf.dtype)
            rows = leaf.mean(0, keepdims=True) + 0.01 * leaf.std(0, keepdims=True) * noise
            leaves[path] = jnp.concatenate([leaf, rows.astype(leaf.dtype)])
    spec = dataclasses.replace(model.spec, config=dataclasses.replace(config, vocab_size=size))
    params = {"params": unflatten_dict(leaves, sep="/")}
    return dataclasses.replace(model, spec=spec, params=params)


def untie(model: Pretrained) -> Pretrained:
    """Give the language head its own copy of the embedding table; the outputs stay the same.

    Raises:
      ConfigError: the model has no language head, or its head is not tied to the embedding.
    """
    spec = model.spec
    if not spec.shares_table or spec.kind == "masked":
        raise ConfigError(
            f"this {spec.kind} model has no language head that is tied to the embedding, so there "
            "is nothing to untie"
        )
    params = {**model.params["params"]}
    # A copy, because a training step must not donate one buffer twice.
    params["head"] = {"table": jnp.copy(params["embedding"]["table"])}
    config = dataclasses.replace(spec.config, tie_embeddings=False)
    spec = dataclasses.replace(spec, config=config)
    return dataclasses.replace(model, spec=spec, params={"params": params})
