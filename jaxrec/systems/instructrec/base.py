"""A pretrained encoder-decoder that a run starts from, such as a T5 of Hugging Face."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxrec.core import ConfigError
from jaxrec.models import Opened
from jaxrec.systems.instructrec.config import InstructRecConfig
from jaxrec.texts import tuned


def resolve(config: InstructRecConfig) -> InstructRecConfig:
    """The config as a run directory holds it: with the shape of the base, if there is one.

    Raises:
      ConfigError, DataError: see `open_base`.
    """
    if not config.tune.base:
        return config
    return dataclasses.replace(config, model=open_base(config).model.spec.config)


def open_base(config: InstructRecConfig) -> Opened:
    """Open the model that a run starts from.

    Raises:
      ConfigError: it is no encoder-decoder that reads text, begins its answers with the padding
        token and ends texts, as T5 does.
      DataError: there is no model at `tune.base`.
    """
    opened = tuned.open_base(config.tune)
    spec, tokenizer = opened.model.spec, opened.tokenizer
    where = f"tune.base {config.tune.base}"
    if spec.kind != "encoder_decoder" or tokenizer is None:
        raise ConfigError(
            f"{where} is a model of kind {spec.kind}{'' if tokenizer else ' without a tokenizer'}; "
            "it must be an encoder-decoder with a tokenizer beside it"
        )
    if not tuned.reads_text(tokenizer):
        raise ConfigError(f"{where} has a tokenizer that cannot read text; give a text model")
    if tokenizer("a")["input_ids"][-1] != tokenizer.eos_token_id:
        raise ConfigError(f"{where} has a tokenizer that does not end texts, as T5's does")
    begins = opened.model.tokens.get("decoder_start_token_id", tokenizer.pad_token_id)
    if begins != tokenizer.pad_token_id:
        raise ConfigError(
            f"{where} begins its answers with token {begins} and not with the padding token "
            f"{tokenizer.pad_token_id}; give a model that begins as T5 does"
        )
    return opened


def first_params(config: InstructRecConfig) -> Callable[[], Any] | None:
    """What makes the parameters that training starts from; None for random ones."""
    if not config.tune.base:
        return None
    params = open_base(config).model.params["params"]
    # Training donates the arrays that it begins with, so each start gets a copy.
    return lambda: {"params": jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), params)}
