"""Make the item IDs of a data set by the scheme that the config names.

The scheme is fitted, collisions are repaired, and all IDs are brought to one length.
"""

import dataclasses
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.core import LOCAL, ConfigError, DataError, Engine, nearest
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


def fit_ids(
    config: IdConfig, dataset: Dataset, text: ItemText | None = None, engine: Engine = LOCAL
) -> ItemCodes:
    """Give every item a unique ID, from item texts and *training* interactions only.

    Args:
      config: the scheme and its settings.
      dataset: the items and their interactions.
      text: text vectors of the items; None computes those that the config asks for.
      engine: what encodes texts and assigns codes, by rows; the IDs are the same from each.

    Returns:
      Unique IDs of one length. Their metadata has these entries: "text" says which text vectors
      were used, "repair" how collisions were repaired with the statistics before it, "warning"
      which codebooks collapsed (None if none did), and "chosen", if the config has any, which
      settings were "auto".

    Raises:
      ConfigError: the data cannot satisfy the settings; see `check_ids`.
      DataError: the file of IDs cannot be read, or there are collisions and `repair` is "refuse".

    Example:
      >>> from jaxrec.data import Dataset, Interactions, leave_one_out
      >>> data = Interactions.from_columns(user=[0, 0, 0, 1, 1, 1], item=[0, 1, 2, 1, 2, 3])
      >>> dataset = Dataset(data, leave_one_out(data))
      >>> fit_ids(IdConfig(scheme="sequential", size=2), dataset).codes.tolist()
      [[0, 0], [0, 1], [1, 0], [1, 1]]
    """
    check_ids(config, dataset)
    chosen = [s for s in ("levels", "size") if config.reads(s) and getattr(config, s) == "auto"]
    config = config.sized(dataset.num_items)
    if text is None:
        text = item_text.read(config, dataset, item_text.choose(config, dataset), engine=engine)
    codes, vectors = _fit(config, dataset, text, engine)
    warning = collapse_warning(codes.metadata) or codes.metadata.get("collapse")
    if config.reads("repair"):
        codes = repair(codes, vectors, config.repair)
    codes = closed(codes)
    facts: dict[str, Any] = {"text": text.facts if text else None, "warning": warning}
    if chosen:
        facts["chosen"] = chosen
    return dataclasses.replace(codes, metadata=codes.metadata | facts)


def new_item_codes(
    config: IdConfig,
    dataset: Dataset,
    codes: ItemCodes,
    texts: Sequence[str],
    text: ItemText | None,
) -> np.ndarray:
    """Return free IDs, int32 [I', L], for items that were added after the fit, from their texts.

    The codebooks stay as they are. New items have no interactions yet, so the collaborative part of
    their vectors is zero.

    Args:
      config: the config of the fit.
      dataset: the data set of the fit.
      codes: the result of `fit_ids`.
      texts: one string per new item, with the fields in the order of `ids.text_fields`.
      text: the text vectors of the fit, which a run keeps.

    Raises:
      ConfigError: the scheme does not code texts, or no ID is free.
      DataError: the encoder no longer gives the vectors of the fit for the texts of the data set.
    """
    if config.scheme not in ("pq", "rq", "rqvae") or not item_text.fields_used(config, dataset):
        raise ConfigError(
            f"ids.scheme {config.scheme!r} does not code item texts here, so it cannot code new "
            "items; use pq, rq or rqvae with text_fields that the data have"
        )
    if text is None:
        raise DataError(
            "the IDs do not record the text vectors that they were made of; fit them again"
        )
    directory = text.facts["directory"]
    encoded = item_text.read(config, dataset, Path(directory) if directory else None, texts)
    assert encoded is not None  # there are fields
    old, new = encoded.vectors[: dataset.num_items], encoded.vectors[dataset.num_items :]
    if not np.allclose(old, text.vectors, atol=1e-4):
        raise DataError(
            f"{text.facts['encoder']} does not give the item vectors that the IDs were made of; "
            "install the versions of the run's env.json, or start the run over"
        )
    blocks = [config.text_weight**0.5 * new]
    if config.text_weight < 1:
        blocks.append(np.zeros((len(texts), config.dim), np.float32))
    return encode_items(codes, np.concatenate(blocks, axis=1))


def describe(codes: ItemCodes) -> str:
    """Return one line about the IDs: how long they are, and how many items had shared one.

    Args:
      codes: what `fit_ids` returned.
    """
    facts = codes.metadata
    shape = f"{codes.levels} codes each of {' x '.join(f'{size:,}' for size in codes.sizes)}"
    if facts.get("end_codes"):
        shape = f"{facts['mean_length']:.2f} codes on average, with END codes {shape}"
    if facts.get("chosen"):
        shape += f" ({' and '.join(f'ids.{name}' for name in facts['chosen'])} auto)"
    repaired = facts.get("repair", {})
    before, moved = repaired.get("before", facts), repaired.get("moved", 0)
    return (
        f"{codes.scheme}: {codes.num_items:,} items, {shape}; {before['collision_share']:.1%} of "
        f"items shared an ID, {moved:,} were given another; all {codes.num_items:,} are distinct"
    )


def check_ids(config: IdConfig, dataset: Dataset) -> None:
    """Check the settings against the data before any work is done.

    Raises:
      ConfigError: there are more items than IDs, or more levels than columns to code; or an item
        field or a tokenizer does not exist.
    """
    if config.reads("text_fields") and config.text_weight:
        item_text.check_fields(config, dataset)
    config = config.sized(dataset.num_items)
    # The level that repair "suffix" or a hybrid adds makes room even if the grid has none.
    own = "independent" in config.parts
    grows = own or (config.reads("repair") and config.repair == "suffix")
    if config.reads("levels") and not grows:
        try:
            simple.check_room(dataset.num_items, config.level_sizes)
        except ConfigError as error:
            what = str(error).partition(";")[0]
            raise ConfigError(
                f"{what}; raise --ids.size {config.size} or --ids.levels {config.levels}"
            ) from error
    if config.scheme == "svd":
        _check_levels(config, min(dataset.num_items, dataset.num_users), "items or users")
    if "pq" in config.parts:
        with_text = bool(item_text.fields_used(config, dataset))
        blocks = with_text + (not with_text or config.text_weight < 1)
        _check_levels(config, blocks * config.dim, "columns of the item vectors; raise ids.dim")
    table = dataset.interactions.items
    for setting in ("category_field", "title_field"):
        name = getattr(config, setting)
        if config.reads(setting) and name not in table.fields:
            known = ", ".join(table.fields) or "none"
            raise ConfigError(
                f"ids.{setting} is {name!r}, but the items have no such field"
                f"{nearest(name, table.fields)}; their fields: {known}"
            )
    if config.reads("tokenizer") and config.tokenizer and not Path(config.tokenizer).is_dir():
        raise ConfigError(
            f"ids.tokenizer is {config.tokenizer!r}, which is not a directory; give the directory "
            "of a tokenizer, or '' to split titles into words"
        )


def item_rows(codes: ItemCodes, dataset: Dataset) -> list[dict[str, str]]:
    """Return the map between items and IDs: one row {"item", "id", "label"} per item.

    "id" is the text of the codes with END codes, which `data.id_tokenizer` reads; the scheme
    "external" reads the whole map.

    Example:
      >>> from jaxrec.data import Dataset, Interactions, leave_one_out
      >>> data = Interactions.from_columns(user=[7, 7, 7], item=["x", "y", "z"])
      >>> dataset = Dataset(data, leave_one_out(data))
      >>> codes = ItemCodes(codes=np.array([[0, 1], [1, 0], [1, 1]]), sizes=(2, 2), scheme="mine")
      >>> item_rows(codes, dataset)[0]
      {'item': 'x', 'id': '<a_0><b_1>', 'label': 'x'}
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
    config: IdConfig, dataset: Dataset, text: ItemText | None, engine: Engine
) -> tuple[ItemCodes, np.ndarray | None]:
    """Fit IDs, which may collide; also return the vectors [I, D] that repair measures by."""
    if config.scheme in ("pq", "rq", "rqvae"):
        vectors = _vectors(config, dataset, text)
        return _quantized(config, vectors, engine), vectors
    if config.scheme == "svd":
        train, items = dataset.split.train.sequences(), dataset.num_items
        codes = svd.fit(
            train,
            items,
            len(config.level_sizes),
            config.level_sizes,
            bins=config.bins,
            seed=config.seed,
        )
        return codes, svd.coordinates(codes, svd.columns(train, items))
    if config.scheme == "hybrid":
        if config.parts[0] == "pq":
            # Every code tells something of the item, so all of them stay.
            first = _quantized(config, _vectors(config, dataset, text), engine)
            codes = hybrid.append_item(first)
            # A hybrid leaves out codes that no item has, so only the first part can tell.
            collapsed = {"collapse": collapse_warning(first.metadata)}
            return dataclasses.replace(codes, metadata=codes.metadata | collapsed), None
        first, second = (_plain(part, config, dataset) for part in config.parts)
        if second.scheme != "independent":
            return hybrid.join(first, second), None
        # Every code of a sequential ID identifies the item. In the others, the last code is only a
        # position within a group, so it can be replaced.
        add = hybrid.append_item if first.scheme == "sequential" else hybrid.replace_last
        return add(first), None
    return _plain(config.scheme, config, dataset), None


def _plain(scheme: str, config: IdConfig, dataset: Dataset) -> ItemCodes:
    """Fit a scheme that does not quantize anything."""
    items, table = dataset.num_items, dataset.interactions.items
    longest = config.max_length or None
    if scheme == "independent":
        return simple.independent(items)
    if scheme == "random":
        return simple.random(items, len(config.level_sizes), config.level_sizes, config.seed)
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
        assert isinstance(config.size, int)  # IdConfig has checked it
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
        # Without item texts, the interactions alone decide.
        text_weight=config.text_weight if text else 0.0,
        window=config.window or None,
        decay=config.decay,
        seed=config.seed,
    )


def _quantized(config: IdConfig, vectors: np.ndarray, engine: Engine) -> ItemCodes:
    sizes, seed = config.level_sizes, config.seed
    levels = len(sizes)
    if "pq" in config.parts:
        return pq.fit(vectors, levels, sizes, seed=seed, rotate=config.rotate, engine=engine)
    if config.scheme == "rq":
        return rq.fit(vectors, levels, sizes, seed=seed, engine=engine)
    return rqvae.fit(vectors, levels, sizes, config=config.rqvae, seed=seed, engine=engine)


def _tokenize(directory: str, texts: Sequence[str]) -> Callable[[str], Sequence[int]]:
    """Return a function from a text to token numbers: a tokenizer's, or the numbers of words."""
    if directory:
        tokenizer: Any = load_tokenizer(directory)
        return lambda text: tokenizer.encode(text, add_special_tokens=False)
    cut = [_words(text) for text in texts]
    number = {word: n for n, word in enumerate(sorted({word for words in cut for word in words}))}
    return lambda text: [number[word] for word in _words(text)]


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _check_levels(config: IdConfig, most: int, of_what: str) -> None:
    levels = len(config.level_sizes)
    if levels > most:
        raise ConfigError(f"ids.levels is {levels}, but there are only {most} {of_what}")
