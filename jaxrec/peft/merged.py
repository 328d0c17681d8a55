"""A tuned model as one without an adapter, to export or to serve."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxrec.models import Pretrained, untie
from jaxrec.nn import TUNED, StoredKernel
from jaxrec.peft.lora import Lora, merge, updates


def merged(model: Pretrained, trained: Mapping[str, Any]) -> Pretrained:
    """The base with what was trained put in and added to its kernels.

    A head that is tied to the embedding gets a table of its own where LoRA changes one of the two.

    Args:
      model: the base.
      trained: {"tuned": nodes of LoRA, "params": leaves trained besides}, as far as there are such,
        as `load_peft` gives them; boxed or not.

    Raises:
      ConfigError: nodes that no kernel can hold, as prefixes, prompts and bottlenecks.
    """
    trained = nn.meta.unbox(dict(trained))
    leaves = _flat(model.params["params"]) | _flat(trained.get("params", {}))
    model = dataclasses.replace(model, params={"params": unflatten_dict(leaves, sep="/")})
    tuned = trained.get(TUNED, {})
    config = model.spec.config
    is_language_model = model.spec.kind in ("causal", "encoder_decoder")
    changed = {"embedding", "head"} & set(updates(tuned))
    if is_language_model and config.tie_embeddings and changed:
        model = untie(model)
        if "head" in changed:
            # The scale that went into the table belongs to its change too.
            node: Lora = tuned["head"]["update"]
            node = dataclasses.replace(node, scale=node.scale * config.logit_scale)
            tuned = {**tuned, "head": {"update": node}}
    return dataclasses.replace(model, params={"params": merge(model.params["params"], tuned)})


def _flat(tree: Any) -> dict[str, Any]:
    return flatten_dict(tree, sep="/", is_leaf=lambda _, leaf: isinstance(leaf, StoredKernel))
