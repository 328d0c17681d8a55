"""The model of a run: its shape and vocabulary, and where it comes from.

A run without `tune.base` trains a decoder from scratch. One with it starts from another model: from
a run, whose item IDs must be these, or from a text model, which is given them as tokens.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from jaxrec.core import ConfigError
from jaxrec.data.tokenizers import add_id_tokens, id_tokenizer
from jaxrec.ids import BOS, PAD, IdVocabulary, ItemCodes
from jaxrec.models import CausalLM, ModelSpec, Pretrained
from jaxrec.systems import run, text_base
from jaxrec.systems.config import Config

# What training alone reads, so that it may differ from the base's.
_OWN = ("dropout", "attention_dropout", "mlp_dropout", "dtype", "remat")


def resolve(config: Config) -> Config:
    """The config with the shape of the model that it starts from; the same where there is no base.

    Raises:
      ConfigError: a base that no recommender can start from.
      DataError: no base there.
    """
    if not config.tune.base:
        return config
    path = Path(config.tune.base)
    if run.exists(path):
        theirs, codes = run.load_config(path), run.load_codes(path)
        shape, special = make_model(theirs, codes).config, vocabulary(theirs, codes).num_special
    else:
        model, tokenizer = text_base.describe(path)
        shape, special = model.spec.config, text_base.text_tokens(tokenizer)
    own = {name: getattr(config.model, name) for name in _OWN}
    return dataclasses.replace(config, model=dataclasses.replace(shape, vocab_size=special, **own))


def vocabulary(config: Config, codes: ItemCodes) -> IdVocabulary:
    """Token numbers of the IDs of a resolved config; those of a text model come before them."""
    if not config.tune.base:
        return IdVocabulary(codes.sizes)
    return IdVocabulary(codes.sizes, config.model.vocab_size)


def knows_text(words: IdVocabulary) -> bool:
    """Whether there are tokens of text before those of the IDs."""
    return words.num_special > IdVocabulary(words.sizes).num_special


def make_model(config: Config, codes: ItemCodes) -> CausalLM:
    """Build the decoder of a resolved config.

    Raises:
      ConfigError: a base whose table of positions is too short.
    """
    shape, length = config.model, 1 + (config.max_items + 1) * codes.levels
    if config.tune.base:
        virtual = config.tune.method in ("prefix", "prompt")
        longest = length + (config.tune.virtual_tokens if virtual else 0)
        shape.check_length(longest, f"histories of max_items {config.max_items}", "lower it")
    size = vocabulary(config, codes).size
    longest = max(shape.max_length, length)
    return CausalLM(dataclasses.replace(shape, vocab_size=size, max_length=longest))


def make_spec(config: Config, codes: ItemCodes) -> ModelSpec:
    """The same as a `ModelSpec`."""
    return ModelSpec("causal", make_model(config, codes).config)


def init_function(model: CausalLM) -> Callable[[jax.Array], Any]:
    """From a key to the model's variables, with their axis names."""
    example = jnp.zeros((1, 2), jnp.int32)
    return lambda key: model.init(key, example, example == 0)


def origin(config: Config, codes: ItemCodes) -> tuple[Pretrained, Any]:
    """The text model that a run goes back to, without parameters, and its tokenizer with the IDs.

    A run that goes back to none has a model and a tokenizer of IDs alone.
    """
    path = Path(config.tune.base)
    if not config.tune.base:
        special = {"pad_token_id": PAD, "bos_token_id": BOS}
        bare = Pretrained(make_spec(config, codes), None, None, special)
        return bare, id_tokenizer(codes.sizes)
    if run.exists(path):
        return origin(run.load_config(path), codes)
    described, tokenizer = text_base.describe(path)
    add_id_tokens(tokenizer, codes.sizes)
    return described, tokenizer


def check_items(config: Config, rows: list[dict[str, str]]) -> None:
    """Check that a run that is the base gives the items these IDs.

    Args:
      config: of the run to be.
      rows: its item <-> ID map, see `item_ids.item_rows`.

    Raises:
      ConfigError: naming the first difference.
    """
    path = Path(config.tune.base)
    if not config.tune.base or not run.exists(path):
        return
    theirs = {row["item"]: row["id"] for row in run.read_json(path / "ids" / "item_ids.json")}
    ours = {row["item"]: row["id"] for row in rows}
    fix = "give the same data and ids settings, or another tune.base"
    if len(theirs) != len(ours):
        raise ConfigError(
            f"tune.base {path} has {len(theirs):,} items, and the data have {len(ours):,}; {fix}"
        )
    for item, code in ours.items():
        if theirs.get(item) != code:
            there = f"as {theirs[item]}" if item in theirs else "not at all"
            raise ConfigError(
                f"tune.base {path} knows item {item} {there}, and here its ID is {code}; {fix}"
            )
