"""Changes of a vocabulary's tables: more tokens, or a head with a table of its own."""

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
      ConfigError: fewer tokens than the model has.
    """
    config = model.spec.config
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
    """Give the language head a copy of the embedding's table, of its own from now on.

    The scale of the states before a tied head (T5's D^-1/2) goes into the copy, as untied models of
    Hugging Face have none.

    Raises:
      ConfigError: a kind without a tied language head.
    """
    config = model.spec.config
    if model.spec.kind not in ("causal", "encoder_decoder") or not config.tie_embeddings:
        raise ConfigError(f"this {model.spec.kind} has no head that is tied and can be untied")
    params = dict(model.params["params"])
    table = params["embedding"]["table"]
    params["head"] = {"table": table * jnp.asarray(config.logit_scale, table.dtype)}
    config = dataclasses.replace(config, tie_embeddings=False, logit_scale=1.0)
    spec = dataclasses.replace(model.spec, config=config)
    return dataclasses.replace(model, spec=spec, params={"params": params})
