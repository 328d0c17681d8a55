"""The data of a study: what the prompts tell of users and items."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from jaxrec.core import DataError, present
from jaxrec.data import (
    ItemTable,
    load_dataset,
    random_split,
    read_reviews,
    synthetic_reviews,
)
from jaxrec.eval import natural_title, split_year
from jaxrec.systems.chatgpt.config import ChatGptConfig, DomainConfig
from jaxrec.texts import (
    Datum,
    Facts,
    Grounding,
    Names,
    PromptData,
    describe,
    held_out,
    render,
)

# Between titles, which may have commas.
SEPARATOR = "; "


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ChatData(PromptData):
    """The data of prompts, and what only this study tells.

    Attributes:
      domain: words.
      top: number of items that an answer lists.
      words: most words of a text.
      rated: for each user the rows of their training ratings, oldest first.
    """

    domain: DomainConfig
    top: int
    words: int
    rated: Sequence[np.ndarray]


def unique_titles(items: ItemTable, duplicates: str) -> list[str]:
    """Titles as people write them, of which no two mean the same.

    Args:
      items: the catalogue.
      duplicates: "error", or "mark" to add the original ID to titles that several items have.

    Raises:
      DataError: items without titles, or equal titles that are not marked. A single item without
        a title is called by its ID.

    Example:
      >>> titles = np.array(["Kiss, The", "The Kiss", "Heat"], dtype=object)
      >>> unique_titles(ItemTable(np.array(["7", "8", "9"]), {"title": titles}), "mark")
      ['The Kiss [7]', 'The Kiss [8]', 'Heat']
    """
    if "title" not in items.fields:
        raise DataError(
            "the items have no titles, and prompts are written with them; give --data.item-table"
        )
    titles = [natural_title(title) for title in items.labels()]
    equal = Grounding(titles).duplicates()
    if equal and duplicates == "error":
        first = equal[0]
        ids = ", ".join(str(items.ids[item]) for item in first)
        raise DataError(
            f"{len(equal)} titles are not unique: items {ids} are all {titles[first[0]]!r}, so an "
            "answer could mean any of them; give --grounding.duplicates mark to add their IDs"
        )
    for item in (item for group in equal for item in group):
        dated = split_year(titles[item])
        year = "" if dated.year is None else f" ({dated.year})"
        titles[item] = f"{dated.title} [{items.ids[item]}]{year}"
    return titles


def load_chat_data(config: ChatGptConfig, needs: frozenset[str]) -> ChatData:
    """Load what the prompts of a study are made of.

    Args:
      config: of the study.
      needs: what its tasks need, of "ratings", "reviews" and "candidates".

    Raises:
      DataError: titles that are not unique, or data that lack what a task needs.
      ConfigError: more candidates than a user leaves.
    """
    dataset = load_dataset(config.data)
    interactions = dataset.interactions
    titles = unique_titles(interactions.items, config.grounding.duplicates)
    ratings = reviews = None
    rated: list[np.ndarray] = []
    if needs & {"ratings", "reviews"}:
        split = random_split(interactions)
        # Held-out items of the other tasks are not told, nor asked about in demonstrations.
        kept = split.train[~held_out(dataset)[split.train]]
        ratings = dataclasses.replace(split, train=kept)
        bounds = np.searchsorted(interactions.user[kept], np.arange(interactions.num_users + 1))
        rated = [kept[a:b] for a, b in itertools.pairwise(bounds)]
    if "reviews" in needs:
        reviews = (
            read_reviews(Path(config.reviews).expanduser(), interactions)
            if config.reviews
            else synthetic_reviews(interactions)
        )
    told = config.facts or config.check_facts
    facts = (Facts.read if told else Facts.find)(interactions.items)
    return ChatData(
        dataset=dataset,
        names=Names(
            users=[""] * dataset.num_users, items=titles, separator=SEPARATOR, anyone="the user"
        ),
        ratings=ratings,
        reviews=reviews,
        max_items=config.max_items,
        candidates=config.candidates,
        domain=config.domain,
        top=config.top,
        words=config.words,
        rated=rated,
        facts=facts,
    )


def render_chat(datum: Datum, data: ChatData) -> Mapping[str, str]:
    """Write a datum as fields: those of `texts.render`, and those that only this study has.

    Returns:
      Also "thing", "things" and "used" of the domain, "top" and "words"; "unordered", the history
      in alphabetical order; "rated", what the user rated beside the datum's row; and "facts".
    """
    fields = dict(render(datum, data))
    fields |= {
        "thing": data.domain.thing,
        "things": data.domain.things,
        "used": data.domain.used,
        "top": str(data.top),
        "words": str(data.words),
    }
    if datum.history is not None:
        shown = present(datum.history)[-data.max_items :]
        fields["unordered"] = SEPARATOR.join(sorted(data.names.items[n] for n in shown.tolist()))
    if datum.row >= 0 and data.rated:
        rows = data.rated[datum.user]
        rows = rows[rows != datum.row][-data.max_items :]
        table = data.dataset.interactions
        fields["rated"] = (
            SEPARATOR.join(
                f"{data.names.items[table.item[row]]}: {table.rating[row]:g}"
                for row in rows.tolist()
            )
            or "none"
        )
    if data.facts is not None and datum.item >= 0:
        known = data.facts.of_item[datum.item]
        fields["facts"] = describe(known, data.names.items[datum.item], data.facts.kind)
    return fields
