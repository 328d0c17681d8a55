"""An export in the format of Hugging Face as a ranker: what `jaxrec.open` needs of it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.core import DataError, read_json
from jaxrec.data import id_tokens
from jaxrec.decode import Recommender
from jaxrec.ids import ItemCodes, ItemIndex
from jaxrec.models import open_model
from jaxrec.systems.generative.config import Config
from jaxrec.systems.generative.ranker import GenerativeRanker

_ROWS, _SEARCH = "item_ids.json", "recommender.json"
_CODE = re.compile(r"<[a-z]+_(\d+)>")


class _Search(TypedDict):
    """What `recommender.json` holds."""

    sizes: list[int]
    max_items: int
    beams: int
    batch_size: int
    normalize: str
    user_tokens: int


class _Row(TypedDict):
    """A row of `item_ids.json`."""

    item: str
    id: str
    label: str


def search_settings(config: Config, codes: ItemCodes) -> dict[str, Any]:
    """Return what a search in an exported run needs besides the model and the IDs, JSON-able.

    Example:
      >>> codes = ItemCodes(codes=np.array([[0, 1], [1, 0]]), sizes=(2, 2), scheme="mine")
      >>> search_settings(Config(max_items=20), codes)["max_items"]
      20
    """
    return {
        "sizes": list(codes.sizes),
        "max_items": config.items_read,
        "beams": config.decode.beams,
        "batch_size": config.decode.batch_size,
        "normalize": config.decode.normalize,
        "user_tokens": config.user_tokens,
    }


def open_export(directory: Path) -> tuple[GenerativeRanker, list[Mapping[str, str]]]:
    """Open what `jaxrec export RUN --to hf` wrote.

    Lists are those of a beam search, whatever `decode.strategy` the run has.

    Args:
      directory: of the export.

    Returns:
      The ranker, and a row {"item", "id", "label"} for each item.

    Raises:
      DataError: a file is missing or damaged, or they do not belong together.

    Example:
      >>> open_export(Path("nowhere"))  # doctest: +ELLIPSIS
      Traceback (most recent call last):
      jaxrec.core.errors.DataError: nowhere/recommender.json is missing; ...
    """
    fix = "export the run again"
    search = read_json(directory / _SEARCH, _Search, missing=fix, fix=fix)
    rows: list[Mapping[str, str]] = read_json(directory / _ROWS, list[_Row], missing=fix, fix=fix)
    sizes = tuple(search["sizes"])
    read = [[int(code) for code in _CODE.findall(row["id"])] for row in rows]
    if not read or {len(row) for row in read} != {len(sizes)}:
        raise DataError(
            f"{directory / _ROWS}: every ID must have {len(sizes)} codes, as {_SEARCH} says; {fix}"
        )
    codes = ItemCodes(codes=np.array(read), sizes=sizes, scheme="exported")
    opened = open_model(directory)
    first = (
        None if opened.tokenizer is None else opened.tokenizer.get_vocab().get(id_tokens(sizes)[0])
    )
    if first is None:
        raise DataError(f"{directory} has no tokenizer with the tokens of its item IDs; {fix}")
    recommender = Recommender(
        model=opened.model.spec.build(),
        params=jax.tree.map(jnp.asarray, opened.model.params),
        codes=codes,
        index=ItemIndex.build(codes),
        num_special=first,
        max_items=search["max_items"],
        beams=min(search["beams"], codes.num_items),
        batch_size=search["batch_size"],
        normalize="legal" if search["normalize"] == "legal" else "codes",
    )
    ranker = GenerativeRanker(recommender=recommender, user_tokens=search["user_tokens"])
    return ranker, rows
