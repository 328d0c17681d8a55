"""The model of a run: its shape and vocabulary, and where it comes from.

A run without `tune.base` trains a model from scratch. A run with it starts from another model:
either a run, which must have the same item IDs, or a text model, to which the IDs are added as
tokens.
"""

import dataclasses
import zlib
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from jaxrec.core import ConfigError, quoted, read_json
from jaxrec.data import Dataset, add_id_tokens, id_tokenizer
from jaxrec.ids import BOS, PAD, IdVocabulary, ItemCodes
from jaxrec.models import CausalLM, EncoderDecoder, ModelSpec, Pretrained
from jaxrec.runs import is_run, load_codes
from jaxrec.systems.generative import text_base
from jaxrec.systems.generative.config import Config, load_config


class _Row(TypedDict):
    """A row of `item_ids.json`."""

    item: str
    id: str


# Settings that only training reads, so they may differ from the base's.
_OWN = ("dropout", "attention_dropout", "mlp_dropout", "dtype", "remat")


def resolve(config: Config) -> Config:
    """Return the config with the shape of its base; a config without a base is unchanged.

    Raises:
      ConfigError: a base that no recommender can start from.
      DataError: no base there.

    Example:
      >>> resolve(Config()) == Config()
      True
    """
    if not config.tune.base:
        return config
    path = Path(config.tune.base)
    if config.align.method != "none" and not is_run(path):
        raise ConfigError(
            f"align.method {config.align.method} starts from a trained run, and tune.base {path} "
            f"is none; train one first, such as: jaxrec train quickstart --run-dir {quoted(path)}"
        )
    if is_run(path):
        theirs, codes = load_config(path), load_codes(path)
        if theirs.architecture != "causal" or theirs.user_tokens:
            raise ConfigError(
                f"tune.base {path} has architecture {theirs.architecture} and user_tokens "
                f"{theirs.user_tokens}; a run starts from a causal one without user_tokens"
            )
        shape, special = make_model(theirs, codes).config, vocabulary(theirs, codes).num_special
    else:
        model, tokenizer = text_base.describe(path)
        shape, special = model.spec.config, text_base.text_tokens(tokenizer)
    own = {name: getattr(config.model, name) for name in _OWN}
    return dataclasses.replace(config, model=dataclasses.replace(shape, vocab_size=special, **own))


def vocabulary(config: Config, codes: ItemCodes) -> IdVocabulary:
    """Return the token numbers of the IDs; those of a text model come before them.

    Args:
      config: a resolved config.
      codes: the item IDs.
    """
    if not config.tune.base:
        return IdVocabulary(
            sizes=codes.sizes,
            num_special=IdVocabulary(sizes=codes.sizes).num_special + config.user_tokens,
        )
    return IdVocabulary(sizes=codes.sizes, num_special=config.model.vocab_size)


def start_tokens(config: Config, dataset: Dataset) -> np.ndarray | None:
    """Return the token that each user's history begins with, `[U]` int32; None for BOS.

    It is a hash of the user's original ID, so it does not depend on the other users of the data.

    Example:
      >>> from jaxrec.data import leave_one_out
      >>> from jaxrec.testing import tiny_interactions
      >>> data = tiny_interactions(users=5, items=12)
      >>> tokens = start_tokens(Config(user_tokens=3), Dataset(data, leave_one_out(data)))
      >>> tokens.shape, bool((tokens >= 2).all() and (tokens < 5).all())
      ((5,), True)
    """
    if not config.user_tokens:
        return None
    first = IdVocabulary(sizes=(1,)).num_special
    users = dataset.split.train.user_ids.astype(str)
    hashed = [first + zlib.crc32(user.encode()) % config.user_tokens for user in users]
    return np.array(hashed, np.int32)


def knows_text(words: IdVocabulary) -> bool:
    """Return whether the vocabulary of a run with `tune.base` has tokens of text."""
    return words.num_special > IdVocabulary(sizes=words.sizes).num_special


def make_model(config: Config, codes: ItemCodes) -> CausalLM | EncoderDecoder:
    """Build the model of a resolved config.

    What HSTU's blocks divide by is the number of tokens of `max_items` items, the item that follows
    and the beginning, or what the base divides by: in either case the same in every batch.

    Raises:
      ConfigError: a base whose table of positions or distances is too short.
    """
    shape, length = config.model, 1 + (config.max_items + 1) * codes.levels
    if config.tune.base:
        virtual = config.tune.method in ("prefix", "prompt")
        longest = length + (config.tune.virtual_tokens if virtual else 0)
        shape.check_length(longest, f"histories of max_items {config.max_items}", "lower it")
    size = vocabulary(config, codes).size
    longest = max(shape.max_length, length)
    if shape.block == "hstu" and not config.tune.base:
        longest = length
    shape = dataclasses.replace(shape, vocab_size=size, max_length=longest)
    return EncoderDecoder(shape) if _has_encoder(config) else CausalLM(shape)


def _has_encoder(config: Config) -> bool:
    return config.architecture == "encoder_decoder"


def make_spec(config: Config, codes: ItemCodes) -> ModelSpec:
    """Return the model of `make_model` as a `ModelSpec`."""
    shape = make_model(config, codes).config
    return ModelSpec("encoder_decoder" if _has_encoder(config) else "causal", shape)


def origin(config: Config, codes: ItemCodes) -> tuple[Pretrained, Any]:
    """Return the text model that a run was tuned from, directly or through other runs.

    Args:
      config: a resolved config.
      codes: the item IDs.

    Returns:
      The model without parameters, and its tokenizer with the IDs added. A run that was trained
      from scratch has its own model and a tokenizer of IDs alone.
    """
    path = Path(config.tune.base)
    if not config.tune.base:
        special = {"pad_token_id": PAD, "bos_token_id": BOS}
        if _has_encoder(config):
            special["decoder_start_token_id"] = PAD
        bare = Pretrained(spec=make_spec(config, codes), params=None, family=None, tokens=special)
        return bare, id_tokenizer(codes.sizes, users=config.user_tokens)
    if is_run(path):
        return origin(load_config(path), codes)
    described, tokenizer = text_base.describe(path)
    add_id_tokens(tokenizer, codes.sizes)
    return described, tokenizer


def check_items(config: Config, rows: list[dict[str, str]]) -> None:
    """Check that a base that is a run gives the items the same IDs.

    Args:
      config: the config of the new run.
      rows: its map from items to IDs; see `item_ids.item_rows`.

    Raises:
      ConfigError: other items, or another ID of an item; the message names the first.
    """
    path = Path(config.tune.base)
    if not config.tune.base or not is_run(path):
        return
    theirs = {
        row["item"]: row["id"] for row in read_json(path / "ids" / "item_ids.json", list[_Row])
    }
    ours = {row["item"]: row["id"] for row in rows}
    fix = "give the same data and ids settings, or another tune.base"
    if len(theirs) != len(ours):
        raise ConfigError(
            f"tune.base {path} has {len(theirs):,} items, and the data have {len(ours):,}; {fix}"
        )
    for item, code in ours.items():
        if theirs.get(item) != code:
            there = f"as {theirs[item]}" if item in theirs else "under no ID"
            raise ConfigError(
                f"tune.base {path} knows item {item} {there}, and here its ID is {code}; {fix}"
            )
