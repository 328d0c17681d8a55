"""Conversion of a tuned model to one without an adapter, for export or serving."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxrec.models import Pretrained, untie
from jaxrec.nn import TUNED, StoredKernel
from jaxrec.peft.lora import merge, updates


def merged(model: Pretrained, trained: Mapping[str, Any]) -> Pretrained:
    """Replace the fully trained leaves of a base and add the LoRA updates to its kernels.

    If LoRA changes the embedding or the head and they share a table, the head gets its own table.

    Args:
      model: the base.
      trained: {"tuned": LoRA nodes, "params": other trained leaves}, as `load_peft` returns them;
        each key is optional, arrays may be boxed.

    Returns:
      The model without a `TUNED` collection.

    Raises:
      ConfigError: a prefix, prompt or adapter, which cannot be merged into kernels.

    Example:
      >>> import jax
      >>> from jaxrec.models import ModelSpec
      >>> from jaxrec.peft import TuneConfig, start
      >>> from jaxrec.testing import random_params, tiny_model
      >>> spec = ModelSpec("causal", tiny_model())
      >>> base = Pretrained(spec=spec, params=random_params(spec.build()))
      >>> config = TuneConfig(method="lora", rank=2)
      >>> tuning = start(jax.random.key(0), spec.shapes(), base.params, config)
      >>> sorted(merged(base, tuning.trainable).params)
      ['params']
    """
    trained = nn.meta.unbox(dict(trained))
    tuned = trained.get(TUNED, {})
    leaves = _flat(model.params["params"])
    for path, leaf in _flat(trained.get("params", {})).items():
        stored = isinstance(leaves[path], StoredKernel)
        leaves[path] = jnp.asarray(leaf, jnp.float32 if stored else leaves[path].dtype)
    model = dataclasses.replace(model, params={"params": unflatten_dict(leaves, sep="/")})
    shared = model.spec.shares_table and model.spec.kind != "masked"
    if shared and {"embedding", "head"} & set(updates(tuned)):
        return _scaled(_with_adapter(untie(model), tuned))
    return _with_adapter(model, tuned)


def _with_adapter(model: Pretrained, tuned: Any) -> Pretrained:
    params = merge(model.params["params"], tuned, model.spec)
    return dataclasses.replace(model, params={"params": params})


def _scaled(model: Pretrained) -> Pretrained:
    """Scale the head's table instead of the states that it reads.

    T5 scales these states only if the head is tied; Hugging Face's untied T5 models do not.
    """
    config = model.spec.config
    params = dict(model.params["params"])
    table = params["head"]["table"]
    params["head"] = {"table": table * jnp.asarray(config.logit_scale, table.dtype)}
    config = dataclasses.replace(config, logit_scale=1.0)
    spec = dataclasses.replace(model.spec, config=config)
    return dataclasses.replace(model, spec=spec, params={"params": params})


def _flat(tree: Any) -> dict[str, Any]:
    return flatten_dict(tree, sep="/", is_leaf=lambda _, leaf: isinstance(leaf, StoredKernel))
