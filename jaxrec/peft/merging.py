"""A tuned model as one without an adapter, to export or to serve."""

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
    """The base with what was trained put in, and added to its kernels.

    Where LoRA changes the embedding or the head and the two share a table, the head gets its own.

    Args:
      model: the base.
      trained: {"tuned": nodes of LoRA, "params": leaves trained besides}, as far as there are such,
        as `load_peft` gives them; boxed or not.

    Raises:
      ConfigError: nodes that no kernel can hold, as prefixes, prompts and bottlenecks.
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
    """Scale the head's table in place of the states before it.

    T5 scales them where the head is tied, and no untied T5 of Hugging Face does.
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
