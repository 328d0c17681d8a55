"""Tables of a vocabulary: growing it, as when item IDs become tokens; untying the head's."""

import dataclasses

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxrec.core import ConfigError
from jaxrec.models.convert import Pretrained

# Leaves with one row a token.
_TABLES = ("embedding/table", "head/table", "head/bias")


def extend_vocabulary(model: Pretrained, size: int, key: jax.Array) -> Pretrained:
    """Give a model `size` tokens, the first of which are those that it has.

    New rows are the mean of the old ones and a hundredth of their deviation as noise: then no new
    token draws probability from the old ones before it is trained, and none equals another
    (J. Hewitt, "Initializing New Word Embeddings for Pretrained Language Models", 2021).

    Args:
      model: any kind.
      size: tokens afterwards.
      key: of the noise.

    Raises:
      ConfigError: fewer tokens than the model has, or some that are read only, which stand last.
    """
    config = model.spec.config
    if config.read_only:
        raise ConfigError(
            f"the last {config.read_only} tokens of the model are read only, so none can follow"
        )
    added = size - config.vocab_size
    if added < 0:
        raise ConfigError(f"the model has {config.vocab_size} tokens, more than {size}")
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
    """Give the language head a table of its own, equal to the embedding: the same function.

    Raises:
      ConfigError: the head has one, or reads the embedding in a way that has no other.
    """
    spec = model.spec
    if not spec.shares_table or spec.kind == "masked":
        raise ConfigError(f"a {spec.kind} model has no language head that is tied to the embedding")
    params = {**model.params["params"]}
    # A copy: a training step is given each buffer once.
    params["head"] = {"table": jnp.copy(params["embedding"]["table"])}
    config = dataclasses.replace(spec.config, tie_embeddings=False)
    spec = dataclasses.replace(spec, config=config)
    return dataclasses.replace(model, spec=spec, params={"params": params})
