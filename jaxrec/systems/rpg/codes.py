"""RPG's item IDs: product quantization of whitened text vectors.

    texts -> vectors -> whitened principal components -> rotation -> L segments -> centroids

The components are fitted on all items, as published, which is no leak: texts tell nothing about
interactions. Rotation and centroids are fitted on the items of training histories. Some of the
places may code collaborative vectors instead, in the same way, and these come from training
histories alone. Unlike the IDs
of a beam search, these may collide, and then the scores of the items tie. With 32 codes of 256 only
items with equal texts do.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxrec.core import ConfigError, DataError
from jaxrec.data import Dataset
from jaxrec.ids import (
    ItemCodes,
    code_statistics,
    collaborative_vectors,
    collapse_warning,
    pq,
    simple,
    whitened_vectors,
)
from jaxrec.items import IdConfig, text as item_text
from jaxrec.systems.rpg.config import CodesConfig

# Items that occur together: within so many places of a history, and less the farther apart.
_WINDOW, _DECAY = 10, 0.9


def fit_codes(config: CodesConfig, dataset: Dataset) -> ItemCodes:
    """Give every item an ID by its text.

    Args:
      config: settings.
      dataset: the items, and the training histories.

    Returns:
      IDs with the metadata of `pq.fit`, and "text_encoder", "width" of the text vectors, "warning"
      and "without_text", the number of items that have none.

    Raises:
      ConfigError: more items than IDs, or a text field or an encoder that does not exist.
      DataError: the items have no texts, or some of them have none and the config refuses that.
    """
    _check_room(config, dataset.num_items)
    texts = _texts(config, dataset)
    missing = _check_texts(config, texts, dataset)
    encoder = item_text.encoder_of(config.text_encoder, "codes.text_encoder", texts)
    vectors = item_text.encode(texts, encoder, dim=2 * config.dim)
    trained = np.unique(dataset.split.train.item)
    codes = quantize(config, vectors, trained, config.levels - config.collaborative)
    if config.collaborative:
        met = collaborative_vectors(
            dataset.split.train.sequences(),
            dataset.num_items,
            config.dim,
            window=_WINDOW,
            decay=_DECAY,
            seed=config.seed,
        )
        codes = _beside(codes, quantize(config, met, trained, config.collaborative))
    facts: dict[str, Any] = {
        "text_encoder": item_text.name_of(encoder),
        "width": vectors.shape[1],
        "warning": collapse_warning(codes.metadata),
        "without_text": missing,
    }
    return dataclasses.replace(codes, metadata=codes.metadata | facts)


def quantize(
    config: CodesConfig, vectors: np.ndarray, trained: np.ndarray, levels: int
) -> ItemCodes:
    """Quantize vectors of items.

    Args:
      config: settings.
      vectors: `[I, E]` vectors of all items.
      trained: numbers of the items on which the quantizer is fitted.
      levels: number of codes.

    Raises:
      ConfigError: the vectors have fewer columns that differ between items than there are codes.

    Example:
      >>> vectors = np.random.default_rng(0).normal(size=(40, 6))
      >>> config = CodesConfig(levels=2, size=4, dim=4)
      >>> quantize(config, vectors, np.arange(30), levels=2).codes.shape
      (40, 2)
    """
    whitened = whitened_vectors(vectors, config.dim)
    if whitened.shape[1] < levels:
        raise ConfigError(
            f"the vectors of the items have {whitened.shape[1]} independent columns, too few for "
            f"{levels} of the {config.levels} places; lower --codes.levels, or encode richer texts "
            "(codes.text_fields, codes.text_encoder)"
        )
    fitted = pq.fit(
        whitened[trained],
        levels,
        config.size,
        seed=config.seed,
        rotate=config.rotate,
        restarts=1,
    )
    return pq.recoded(fitted, whitened)


def _beside(first: ItemCodes, second: ItemCodes) -> ItemCodes:
    """IDs with the codes of both, and a statistic of the whole."""
    codes = np.concatenate([first.codes, second.codes], axis=1)
    sizes = (*first.sizes, *second.sizes)
    return ItemCodes(
        codes=codes,
        sizes=sizes,
        scheme="pq",
        metadata=first.metadata | code_statistics(codes, sizes),
    )


def _check_room(config: CodesConfig, num_items: int) -> None:
    try:
        simple.check_room(num_items, (config.size,) * config.levels)
    except ConfigError as error:
        what = str(error).partition(";")[0]
        raise ConfigError(
            f"{what}, so many items would tie; raise --codes.size {config.size} or --codes.levels "
            f"{config.levels}"
        ) from error


def _texts(config: CodesConfig, dataset: Dataset) -> Sequence[str]:
    wanted = IdConfig(text_fields=config.text_fields, text_encoder=config.text_encoder)
    try:
        fields = item_text.readable(wanted, dataset)
    except (ConfigError, DataError) as error:
        message = str(error).replace("ids.text", "codes.text").partition("; add texts")[0]
        message = message.partition(", or leave out")[0]
        raise type(error)(
            f"{message}; RPG makes IDs of texts: add them with --data.item-table, or name fields "
            "that exist with --codes.text-fields"
        ) from error
    return dataset.interactions.items.text(*fields)


def _check_texts(config: CodesConfig, texts: Sequence[str], dataset: Dataset) -> int:
    """Return the number of items without text, unless the config refuses them."""
    empty = [number for number, text in enumerate(texts) if not text.strip()]
    if empty and (config.without_text == "refuse" or len(empty) == len(texts)):
        name = dataset.interactions.items.ids[empty[0]]
        fix = "add their texts with --data.item-table, or filter them out"
        if config.without_text == "refuse" and len(empty) < len(texts):
            fix += "; --codes.without-text share gives all of them one ID, so that their scores tie"
        raise DataError(
            f"{len(empty):,} of {len(texts):,} items have no text in the fields "
            f"{', '.join(config.text_fields)} (the first is item {name}), and RPG makes IDs of "
            f"texts; {fix}"
        )
    return len(empty)


def describe(codes: ItemCodes) -> list[str]:
    """Return lines about the IDs: what encoded the texts, how many items tie, what collapsed."""
    facts = codes.metadata
    lines = [
        f"item texts: encoded by {facts['text_encoder']}, {facts['width']} wide",
        f"codes: {codes.levels} of {codes.sizes[0]}; {facts['collision_share']:.1%} of the items "
        f"share all codes with another item, at most {facts['largest_group']} one ID; their scores "
        "tie",
    ]
    if facts["without_text"]:
        lines.append(f"{facts['without_text']:,} items have no text and share one ID")
    if facts["warning"]:
        lines.append(f"warning: {facts['warning']}")
    return lines
