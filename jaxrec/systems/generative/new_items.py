"""Items that a run learns of after its training: they get free IDs, and the run keeps them.

Nothing is fitted again. An evaluation goes on to measure the catalogue of the training; the lists
of `recommend` may hold new items.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.core import ConfigError, DataError, nearest
from jaxrec.data import Dataset, ItemTable, load_dataset
from jaxrec.decode import Recommender
from jaxrec.ids import ItemCodes, ItemIndex, encode_items
from jaxrec.items import ids as item_ids, text as item_text
from jaxrec.runs import check_run, load_codes, read_changes, write_changes
from jaxrec.systems.generative.config import Config, load_config


@dataclasses.dataclass(frozen=True, kw_only=True)
class NewItem:
    """An item that was not in the data of a run.

    Attributes:
      item: its original ID.
      texts: its texts by item field, such as "title" and "genres"; IDs made of item vectors (pq,
        rq, rqvae) come from them.
      users: original IDs of the users that have it; IDs of the scheme svd come from them.
      met: how often it occurred together with other items, by their original IDs; collaborative IDs
        come from these numbers.

    Example:
      >>> NewItem(item="2001", texts={"title": "Alien"}).texts["title"]
      'Alien'
    """

    item: str
    texts: Mapping[str, str] = dataclasses.field(default_factory=dict)
    users: Sequence[str] = ()
    met: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AddedItem:
    """A new item of a run.

    Attributes:
      item: its original ID.
      label: what to show a reader.
      code: its ID, one code per level.
    """

    item: str
    label: str
    code: tuple[int, ...]


def add_items(directory: Path, items: Sequence[NewItem]) -> list[AddedItem]:
    """Give new items free IDs and save them in a run.

    Args:
      directory: of a run of the generative recommender.
      items: the new items; those that were added earlier stay.

    Returns:
      All new items of the run.

    Raises:
      ConfigError: an ID that the data or an earlier call have, an item without what the scheme of
        the run codes, an unknown field, user or item, a scheme that cannot code new items, or no
        free ID.
      DataError: no run there, or its files cannot be read.

    Example:
      >>> add_items(Path("nowhere"), [NewItem(item="a")])  # doctest: +ELLIPSIS
      Traceback (most recent call last):
      ...
      jaxrec.core.errors.DataError: nowhere is no run directory (no such directory); ...
    """
    config = load_config(directory)
    dataset = load_dataset(config.data)
    check_run(config, dataset, directory)
    changes = read_changes(directory)
    before = read_added(changes.added, str(changes.source))
    after = before + coded_items(config, dataset, load_codes(directory), before, items, directory)
    rows = tuple(dataclasses.asdict(one) for one in after)
    write_changes(directory, dataclasses.replace(changes, added=rows), changes)
    return after


def coded_items(
    config: Config,
    dataset: Dataset,
    codes: ItemCodes,
    before: Sequence[AddedItem],
    items: Sequence[NewItem],
    directory: Path,
) -> list[AddedItem]:
    """Give new items free IDs without saving them; the errors are those of `add_items`.

    Args:
      config: of the run.
      dataset: its data, or what the run keeps of them.
      codes: IDs of the items of the training.
      before: items that were added earlier.
      items: the new items.
      directory: of the run.
    """
    _check_names(items, [*dataset.interactions.items.ids.tolist(), *(one.item for one in before)])
    new = _encode(config, dataset, with_codes(codes, before), items, directory)
    return [
        AddedItem(item=one.item, label=label, code=tuple(code))
        for one, label, code in zip(items, _table(items).labels(), new.tolist(), strict=True)
    ]


def added_items(directory: Path) -> list[AddedItem]:
    """The new items of a run, in the order in which they were added.

    Raises:
      DataError: their file cannot be read.

    Example:
      >>> added_items(Path("nowhere"))
      []
    """
    changes = read_changes(directory)
    return read_added(changes.added, str(changes.source))


def read_added(rows: Sequence[Mapping[str, Any]], source: str) -> list[AddedItem]:
    """Read rows of added items as the changes of a run hold them.

    Args:
      rows: of the items.
      source: what messages call them.

    Raises:
      DataError: a row is not what `add_items` wrote.

    Example:
      >>> read_added([{"item": "a", "label": "A", "code": [0, 1]}], "the file")[0].code
      (0, 1)
    """
    try:
        return [AddedItem(**{**row, "code": tuple(row["code"])}) for row in rows]
    except (KeyError, TypeError) as error:
        raise DataError(
            f"{source} is not what add_items wrote ({error}); delete it and add the items again"
        ) from error


def with_codes(codes: ItemCodes, added: Sequence[AddedItem]) -> ItemCodes:
    """The IDs of the old items followed by those of the new ones."""
    if not added:
        return codes
    rows = np.array([one.code for one in added], codes.codes.dtype)
    return dataclasses.replace(codes, codes=np.concatenate([codes.codes, rows]))


def with_new_items(recommender: Recommender, added: Sequence[AddedItem]) -> Recommender:
    """The recommender over the old and the new items, which are numbered after the old ones.

    Args:
      recommender: what `load_recommender` returned.
      added: the new items of its run.
    """
    if not added:
        return recommender
    codes = with_codes(recommender.codes, added)
    return dataclasses.replace(recommender, codes=codes, index=ItemIndex.build(codes))


def _encode(
    config: Config,
    dataset: Dataset,
    codes: ItemCodes,
    items: Sequence[NewItem],
    directory: Path,
) -> np.ndarray:
    """Free IDs of the new items, int32 [I', L], from what the scheme of the run reads."""
    scheme = config.ids.scheme
    if scheme in ("pq", "rq", "rqvae"):
        fields = item_text.fields_used(config.ids, dataset)
        for one in items:
            _check_given(one.item, "texts", one.texts, dataset.interactions.items.fields, scheme)
        facts = codes.metadata.get("text")
        text = item_text.load(facts, directory) if facts else None
        texts = _table(items, fields).text(*fields)
        return item_ids.new_item_codes(config.ids, dataset, codes, texts, text)
    if scheme == "svd":
        names = dataset.split.train.user_ids.astype(str).tolist()
        given: list[tuple[str, Mapping[str, float]]] = [
            (one.item, dict.fromkeys(map(str, one.users), 1.0)) for one in items
        ]
        return encode_items(codes, _counts(given, names, "users", scheme))
    old = len(dataset.interactions.items)
    names = dataset.interactions.items.ids.astype(str).tolist()
    counts = _counts([(one.item, one.met) for one in items], names, "met", scheme)
    # Nothing occurred together with items that were added before.
    return encode_items(codes, np.pad(counts, ((0, 0), (0, codes.num_items - old))))


def _counts(
    given: Sequence[tuple[str, Mapping[str, float]]], names: Sequence[str], what: str, scheme: str
) -> np.ndarray:
    place = {name: number for number, name in enumerate(names)}
    counts = np.zeros((len(given), len(names)))
    for row, (item, values) in enumerate(given):
        if scheme in ("svd", "collaborative"):
            _check_given(item, what, values, place, scheme)
        for name, value in values.items():
            counts[row, place[str(name)]] = value
    return counts


def _check_given(
    item: str, what: str, values: Mapping[str, Any], known: Mapping[str, Any], scheme: str
) -> None:
    if not values:
        raise ConfigError(f"new item {item!r} has no {what}, and IDs of scheme {scheme} need them")
    for name in values:
        if str(name) not in known:
            raise ConfigError(
                f"new item {item!r}: the data have no {name!r} for its {what}"
                f"{nearest(str(name), known)}"
            )


def _check_names(items: Sequence[NewItem], taken: Sequence[str]) -> None:
    seen = set(map(str, taken))
    for one in items:
        if one.item in seen:
            raise ConfigError(f"item {one.item!r} already exists; give new items other names")
        seen.add(one.item)


def _table(items: Sequence[NewItem], fields: Sequence[str] = ("title", "year")) -> ItemTable:
    columns = {
        name: np.array([one.texts.get(name, "") for one in items], object) for name in fields
    }
    return ItemTable(np.array([one.item for one in items], object), columns)
