"""Item IDs of a data set, by the scheme that the config names.

fit -> repair of collisions -> one length for all
"""

import dataclasses
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.core import ConfigError, DataError, nearest
from jaxrec.data import SEPARATOR, Dataset, id_tokens, load_tokenizer
from jaxrec.ids import (
    ItemCodes,
    closed,
    collaborative,
    collapse_warning,
    encode_items,
    external,
    hybrid,
    item_vectors,
    pq,
    repair,
    rq,
    rqvae,
    semantic,
    simple,
    svd,
    textual,
)
from jaxrec.items import text as item_text
from jaxrec.items.config import IdConfig
from jaxrec.items.text import ItemText


def fit_ids(config: IdConfig, dataset: Dataset, text: ItemText | None = None) -> ItemCodes:
    """Give every item an ID, from item texts and *training* interactions alone.

    Args:
      config: how.
      dataset: the items, and who met which.
      text: their text vectors; None for those that the config asks for.

    Returns:
      IDs of one length, no two alike. Their metadata say under "text" which text vectors went in,
      under "repair" how collisions were repaired and what the statistics were before, and under
      "warning" which codebooks collapsed (None: none did).

    Raises:
      ConfigError: settings that the data cannot meet, see `check_ids`.
      DataError: an unreadable file of IDs, or collisions that are to be refused.
    """
    check_ids(config, dataset)
    if text is None:
        text = item_text.read(config, dataset, item_text.choose(config))
    codes, vectors = _fit(config, dataset, text)
    warning = collapse_warning(codes.metadata)
    if config.reads("repair"):
        codes = repair(codes, vectors, config.repair)
    codes = closed(codes)
    facts = {"text": text.facts if text else None, "warning": warning}
    return dataclasses.replace(codes, metadata=codes.metadata | facts)


def new_item_codes(
    config: IdConfig, dataset: Dataset, codes: ItemCodes, texts: Sequence[str], text: ItemText
) -> np.ndarray:
    """Return free IDs, int32 [I', L], of items that came after the fit, from their texts.

    They are coded by the codebooks as they are; of interactions, which nobody has had with them,
    they get zeros.

    Args:
      config: of the fit.
      dataset: of the fit.
      codes: what `fit_ids` returned.
      texts: of the new items, a string each, with the fields in the order of `ids.text_fields`.
      text: vectors that the fit used, such as a run keeps.

    Raises:
      ConfigError: a scheme that does not code texts, or no free IDs.
      DataError: the texts of the data set do not give the vectors of the fit any more.
    """
    if config.scheme not in ("pq", "rq", "rqvae") or not item_text.fields_used(config, dataset):
        raise ConfigError(
            f"ids.scheme {config.scheme!r} codes no item texts here; new items need pq, rq or "
            "rqvae, with text_fields that the data have"
        )
    directory = text.facts["directory"]
    found = item_text.read(config, dataset, Path(directory) if directory else None, texts)
    assert found is not None  # there are fields
    old, new = found.vectors[: dataset.num_items], found.vectors[dataset.num_items :]
    if not np.allclose(old, text.vectors, atol=1e-4):
        raise DataError(
            f"the item texts by {text.facts['encoder']} are not the vectors that the IDs were made "
            "of; use the versions of the run's env.json, or start the run over"
        )
    blocks = [config.text_weight**0.5 * new]
    if config.text_weight < 1:
        blocks.append(np.zeros((len(texts), config.dim), np.float32))
    return encode_items(codes, np.concatenate(blocks, axis=1))


def check_ids(config: IdConfig, dataset: Dataset) -> None:
    """Check what can be checked before any work.

    Raises:
      ConfigError: more items than IDs, more levels than there are columns, or a field of items or a
        tokenizer that is not there.
    """
    # A level that repair adds makes room where the grid has none.
    grows = config.reads("repair") and config.repair == "suffix"
    if config.reads("levels") and not grows:
        simple.check_room(dataset.num_items, config.level_sizes)
    if config.scheme == "svd":
        _check_levels(config, min(dataset.num_items, dataset.num_users), "items or users")
    if config.scheme == "pq":
        with_text = bool(item_text.fields_used(config, dataset))
        blocks = with_text + (not with_text or config.text_weight < 1)
        _check_levels(config, blocks * config.dim, "columns of the item vectors; raise ids.dim")
    table = dataset.interactions.items
    for setting in ("category_field", "title_field"):
        name = getattr(config, setting)
        if config.reads(setting) and name not in table.fields:
            known = ", ".join(table.fields) or "none"
            raise ConfigError(
                f"ids.{setting} is {name!r}, which the items do not have"
                f"{nearest(name, table.fields)}; their fields: {known}"
            )
    if config.reads("tokenizer") and config.tokenizer and not Path(config.tokenizer).is_dir():
        raise ConfigError(
            f"ids.tokenizer is {config.tokenizer!r}, which is no directory; give that of a "
            "tokenizer, or '' for words"
        )


def item_rows(codes: ItemCodes, dataset: Dataset) -> list[dict[str, str]]:
    """Return the item <-> ID map: a row {"item", "id", "label"} an item.

    "id" is the text of its codes, "<a_3><b_7>", as `data.tokenizers.id_tokenizer` reads it, END
    codes included; `ids.external` reads the whole.
    """
    names = id_tokens(codes.sizes)
    starts = [sum(codes.sizes[:level]) for level in range(codes.levels)]
    table = dataset.interactions.items
    return [
        {
            "item": str(item),
            "id": "".join(names[start + code] for start, code in zip(starts, row, strict=True)),
            "label": label,
        }
        for item, row, label in zip(table.ids, codes.codes.tolist(), table.labels(), strict=True)
    ]


def _fit(
    config: IdConfig, dataset: Dataset, text: ItemText | None
) -> tuple[ItemCodes, np.ndarray | None]:
    """IDs that may collide, and the vectors [I, D] by which repair tells near from far."""
    if config.scheme in ("pq", "rq", "rqvae"):
        vectors = _vectors(config, dataset, text)
        return _quantized(config, vectors), vectors
    if config.scheme == "svd":
        train, items = dataset.split.train.sequences(), dataset.num_items
        codes = svd.fit(
            train, items, config.levels, config.level_sizes, bins=config.bins, seed=config.seed
        )
        return codes, svd.coordinates(codes, svd.columns(train, items))
    if config.scheme == "hybrid":
        first, second = (_plain(part, config, dataset) for part in config.parts)
        if second.scheme != "independent":
            return hybrid.join(first, second), None
        # All of a sequential ID tells items apart; the last code of the others is a mere place.
        add = hybrid.append_item if first.scheme == "sequential" else hybrid.replace_last
        return add(first), None
    return _plain(config.scheme, config, dataset), None


def _plain(scheme: str, config: IdConfig, dataset: Dataset) -> ItemCodes:
    """IDs of the schemes that quantize nothing."""
    items, table = dataset.num_items, dataset.interactions.items
    longest = config.max_length or None
    if scheme == "independent":
        return simple.independent(items)
    if scheme == "random":
        return simple.random(items, config.levels, config.level_sizes, config.seed)
    if scheme == "semantic":
        paths = [text.split(SEPARATOR) for text in table.fields[config.category_field].tolist()]
        return semantic.fit([[name for name in path if name] for path in paths], max_depth=longest)
    if scheme == "textual":
        titles = table.text(config.title_field)
        return textual.fit(titles, _tokenize(config.tokenizer, titles), max_tokens=longest)
    if scheme == "external":
        return external.read(
            Path(config.file).expanduser(), table.ids.tolist(), unknown=config.unknown
        )
    train = dataset.split.train
    if scheme == "sequential":
        assert isinstance(config.size, int)  # IdConfig has seen to it
        return simple.sequential(
            train.sequences(),
            items,
            base=config.size,
            order=config.user_order,
            start_times=train.time[train.offsets[:-1]],
            seed=config.seed,
        )
    assert scheme == "collaborative"
    return collaborative.fit(
        train.sequences(),
        items,
        clusters=config.clusters,
        leaf=config.leaf,
        weighting=config.weighting,
        window=config.window or None,
        decay=config.decay,
        seed=config.seed,
    )


def _vectors(config: IdConfig, dataset: Dataset, text: ItemText | None) -> np.ndarray:
    return item_vectors(
        text.vectors if text else None,
        dataset.split.train.sequences(),
        dataset.num_items,
        config.dim,
        # Data without item texts are coded by their interactions alone.
        text_weight=config.text_weight if text else 0.0,
        window=config.window or None,
        decay=config.decay,
        seed=config.seed,
    )


def _quantized(config: IdConfig, vectors: np.ndarray) -> ItemCodes:
    levels, sizes, seed = config.levels, config.level_sizes, config.seed
    if config.scheme == "pq":
        return pq.fit(vectors, levels, sizes, seed=seed, rotate=config.rotate)
    if config.scheme == "rq":
        return rq.fit(vectors, levels, sizes, seed=seed)
    return rqvae.fit(vectors, levels, sizes, config=config.rqvae, seed=seed)


def _tokenize(directory: str, texts: Sequence[str]) -> Callable[[str], Sequence[int]]:
    """From a text to token numbers: of a tokenizer, or of the words of all texts."""
    if directory:
        tokenizer: Any = load_tokenizer(directory)
        return lambda text: tokenizer.encode(text, add_special_tokens=False)
    cut = [_words(text) for text in texts]
    number = {word: n for n, word in enumerate(sorted({word for words in cut for word in words}))}
    return lambda text: [number[word] for word in _words(text)]


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _check_levels(config: IdConfig, most: int, of_what: str) -> None:
    if config.levels > most:
        raise ConfigError(f"ids.levels is {config.levels}, more than the {most} {of_what}")
