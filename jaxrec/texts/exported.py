"""A tuned text model for export: with plain kernels, or as an adapter of its base."""

import dataclasses
from typing import Any

from flax.traverse_util import flatten_dict, unflatten_dict

from jaxrec.core import ConfigError
from jaxrec.models import Opened, Pretrained
from jaxrec.nn import TUNED
from jaxrec.peft import TuneConfig, merged
from jaxrec.quant import dequantize_params
from jaxrec.texts.tuned import TextModel


def open_tuned(tune: TuneConfig, text: TextModel, variables: Any, base: Opened | None) -> Opened:
    """Return the trained model with plain kernels, and its tokenizer.

    Args:
      tune: how it was trained.
      text: the text model.
      variables: all of its variables after training.
      base: the model that training began with; None for a model from scratch.

    Raises:
      ConfigError: tuning that no kernel can hold.
    """
    if tune.method not in ("full", "lora", "qlora"):
        raise ConfigError(
            f"tune.method {tune.method} trains parts that no plain kernel can hold; tune with "
            "lora, qlora or full to export the run"
        )
    if base is None:
        tokenizer = text.tokenizer
        names = ("bos_token_id", "eos_token_id", "pad_token_id")
        ids = {name: getattr(tokenizer, name) for name in names}
        tokens = {name: number for name, number in ids.items() if number is not None}
        family = None
    else:
        tokens, family = base.model.tokens, base.model.family
    model = Pretrained(
        spec=text.spec, params={"params": variables["params"]}, family=family, tokens=tokens
    )
    if TUNED in variables:
        model = merged(model, {TUNED: variables[TUNED]})
    params = {"params": dequantize_params(model.params["params"])}
    model = dataclasses.replace(model, params=params)
    return Opened(model=model, tokenizer=text.tokenizer)


def open_tuned_adapter(
    tune: TuneConfig, text: TextModel, variables: Any, base: Opened | None
) -> tuple[Opened, dict[str, Any], TuneConfig]:
    """Return the base of a tuned run, and what training added to it.

    Args:
      tune: how it was trained.
      text: the text model.
      variables: all of its variables after training.
      base: the model that training began with; None for a model from scratch.

    Raises:
      ConfigError: a run that trained all parameters.
    """
    if base is None or text.frozen is None:
        raise ConfigError(
            "this run trained all parameters, so there is no adapter; use jaxrec export --to hf"
        )
    leaves = flatten_dict(variables["params"], sep="/")
    besides = flatten_dict(text.trainable.get("params", {}), sep="/")
    trained = {TUNED: variables[TUNED]}
    if besides:
        trained["params"] = unflatten_dict({path: leaves[path] for path in besides}, sep="/")
    return base, trained, tune
