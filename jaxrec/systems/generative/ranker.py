"""A trained run as a ranker: what `jaxrec.open` needs of the generative recommender."""

import dataclasses
import functools
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.core import ConfigError, DataError, is_missing, name_list, name_text, shown_value
from jaxrec.decode import ReadRows, Recommender, bucket, masks_are_faster
from jaxrec.ids import PAD, IdVocabulary, ItemIndex, pad_items, write_histories
from jaxrec.models import EncoderDecoder
from jaxrec.peft import virtual_of
from jaxrec.runs import Asked, Kept, check_scores, load_codes, named_users, row_batches
from jaxrec.systems.generative import recommender as generative
from jaxrec.systems.generative.config import Config
from jaxrec.systems.generative.new_items import (
    AddedItem,
    NewItem,
    added_items,
    coded_items,
    read_added,
    with_codes,
    with_new_items,
)

# Short histories are read at this part of the full length. Every further length would be further
# programs to compile, which takes seconds each.
_SHORT = 4
# Excluded items are given as lists padded to these lengths, or else as a mask over all items. So
# three programs serve lists of any length.
_LISTS = (64, 512)
# Most users times items of a mask.
_MASKED = 1 << 24


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class GenerativeRanker:
    """See `Ranker`.

    Attributes:
      recommender: the model, its IDs and its search.
      user_tokens: number of tokens to which users are hashed; 0 if histories begin with BOS.
      added: items that the training did not know, which have the last numbers.
    """

    recommender: Recommender
    user_tokens: int = 0
    added: tuple[AddedItem, ...] = ()
    meaning: str = "log-probability of each ID"

    @property
    def num_items(self) -> int:
        """I, new items included."""
        return self.recommender.codes.num_items

    @property
    def codes(self) -> np.ndarray:
        """`[I, L]` int32, the IDs of all items."""
        return self.recommender.codes.codes

    def check(self, asked: Asked) -> None:
        """See `Ranker`; any name is that of a user."""
        if self.user_tokens:
            named_users(asked)

    def best(self, asked: Asked, top: int) -> tuple[np.ndarray, np.ndarray]:
        """See `Ranker`.

        A list within the run's `decode.beams` is the beginning of the list that `jaxrec eval`
        measures. For longer ones the search is as wide as the list.
        """
        return self.lists(asked, top)

    def lists(
        self,
        asked: Asked,
        top: int,
        *,
        strengths: np.ndarray | None = None,
        groups: int = 1,
        read: ReadRows | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return what `best` returns, of a diverse search or from histories read elsewhere.

        Args:
          asked: U rows.
          top: K.
          strengths: `[U]` float32, penalties of a diverse search in nats for each row, see
            `decode.Strategy`; None for a plain search. Such a list has the best item of each
            group, then the second of each, and so on, so it is not in the order of the scores.
          groups: number of groups of a diverse search.
          read: see `Recommender.recommend`; it gets numbers of rows of `asked`.
        """
        beams = self.list_length(top)
        base = dataclasses.replace(self.recommender, beams=beams, groups=groups)
        return self._search(base, asked, top, strengths, read)

    @property
    def params(self) -> Any:
        """The parameters of the model."""
        return self.recommender.params

    def tokens(self, asked: Asked) -> list[np.ndarray]:
        """Return the tokens of U histories, without padding."""
        base = self.recommender
        table = base.vocabulary.tokens(base.codes.codes)
        padded = write_histories(asked.histories, table, base.max_items, self._starts(asked))
        return [row[row != PAD] for row in padded]

    @property
    def undiverse(self) -> str:
        """Why there are no diverse lists; "" if there are."""
        strategy = self.recommender.strategy
        return "" if strategy == "beam" else f"decode.strategy {strategy!r} makes other lists"

    @property
    def uncached(self) -> str:
        """Why what was read of a history cannot be kept; "" if it can."""
        base = self.recommender
        if isinstance(base.model, EncoderDecoder):
            return "its encoder reads a whole history in both directions"
        if base.prefix:
            return "the items of a history see one another in both directions"
        if base.strategy != "beam":
            return f"decode.strategy {base.strategy!r} reads histories itself"
        virtual = virtual_of(base.params)
        if virtual.read or virtual.written:
            return "virtual tokens stand before its histories"
        if base.devices > 1:
            return f"its rows are spread over {base.devices} devices"
        return ""

    def scores(self, asked: Asked, items: Sequence[np.ndarray]) -> list[np.ndarray]:
        """See `Ranker`: log-probabilities over all codes of each level.

        The search is limited to the items and as wide as there are items, so it reaches all.
        """
        most = max((len(np.unique(row)) for row in items), default=0)
        beams = min(bucket(most, 8), self.num_items)
        base = dataclasses.replace(
            self.recommender, beams=beams, strategy="beam", normalize="codes"
        )
        only = dataclasses.replace(asked, excluded=None, allowed=items)
        found, scores = self._search(base, only, beams)
        result = []
        for wanted, have, values in zip(items, found, scores, strict=True):
            place = {item: at for at, item in enumerate(have.tolist())}
            result.append(values[[place[item] for item in wanted.tolist()]])
        return result

    @functools.cached_property
    def history_widths(self) -> list[int]:
        """Lengths to which histories are padded, ascending; longer ones are cut to the last."""
        longest = self.recommender.max_items
        return sorted({-(-longest // _SHORT), longest})

    def list_length(self, top: int) -> int:
        """See `ServedRanker`: the beam width of the search for a list."""
        beams = self.recommender.beams
        return beams if top <= beams else min(bucket(top), self.num_items)

    def with_batch(self, size: int) -> "GenerativeRanker":
        """Return the ranker with batches of at most so many rows."""
        base = self.recommender
        size = max(size, base.devices)
        return dataclasses.replace(self, recommender=dataclasses.replace(base, batch_size=size))

    def with_room(self, room: float) -> "GenerativeRanker":
        """Return the ranker with room for a share of further items; see `ItemIndex.build`."""
        base = self.recommender
        # The first update compiles what all further ones need.
        index = ItemIndex.build(base.codes, room=room).updated()
        return dataclasses.replace(self, recommender=dataclasses.replace(base, index=index))

    def with_added(self, rows: Sequence[Mapping[str, Any]]) -> "GenerativeRanker":
        """Return the ranker with other items added than those that it has.

        Args:
          rows: of all items that the training did not know, as `add_items` returns them. While
            the index has room for them, its shapes stay and nothing compiles again.

        Raises:
          DataError: rows that `add_items` did not write, an ID outside the codebooks, or two items
            with one ID.
        """
        added = read_added(rows, "the catalogue")
        base = self.recommender
        first = base.codes.num_items - len(self.added)
        own = dataclasses.replace(base.codes, codes=base.codes.codes[:first])
        levels = {len(one.code) for one in added} - {own.levels}
        if levels:
            raise DataError(
                f"the catalogue has an added item with {levels.pop()} codes, and the run has IDs "
                f"of {own.levels}; make it with the same run"
            )
        index = base.index
        if self.added:
            index = index.updated(remove=np.arange(first, base.codes.num_items))
        if added:
            numbers = np.arange(first, first + len(added))
            index = index.updated(np.array([one.code for one in added]), numbers)
        codes = with_codes(own, added)
        changed = dataclasses.replace(base, codes=codes, index=index)
        return dataclasses.replace(self, recommender=changed, added=tuple(added))

    def _search(
        self,
        base: Recommender,
        asked: Asked,
        top: int,
        strengths: np.ndarray | None = None,
        read: ReadRows | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        starts = self._starts(asked)
        items = np.full((len(asked), top), -1, np.int32)
        scores = np.full((len(asked), top), -np.inf, np.float32)
        lengths = [len(history) for history in asked.histories]
        for batch in row_batches(lengths, self.history_widths, base.batch_size, base.devices):
            part, rows = asked.take(batch.rows), batch.rows[: batch.count]
            excluded, masked = self._excluded(part)
            search = dataclasses.replace(
                base,
                max_items=batch.width,
                batch_size=len(batch.rows),
                mask_excluded=masked,
            )
            found = search.recommend(
                part.histories,
                excluded,
                starts=None if starts is None else starts[batch.rows],
                allowed=part.allowed,
                strengths=None if strengths is None else strengths[batch.rows],
                read=None if read is None else _with_numbers(read, batch.rows),
            )
            items[rows], scores[rows] = (x[: batch.count, :top] for x in found)
        check_scores(scores)
        return items, scores

    def _excluded(self, part: Asked) -> tuple[Sequence[np.ndarray] | None, bool]:
        """The excluded items in one of few shapes, and whether they become masks."""
        if part.excluded is None:
            return None, False
        longest = max(map(len, part.excluded))
        width = next((width for width in _LISTS if longest <= width), None)
        # The room of the index counts, so that an added item does not change the program.
        room = self.recommender.index.num_items
        fits = len(part) * room <= _MASKED and self.recommender.strategy != "next_k"
        if fits and (width is None or masks_are_faster(len(part), room, width)):
            return part.excluded, True
        return list(pad_items(part.excluded, width or bucket(longest))), False

    def _starts(self, asked: Asked) -> np.ndarray | None:
        """The tokens that histories begin with; see `model.start_tokens`."""
        if not self.user_tokens:
            return None
        users = named_users(asked)
        first = IdVocabulary(sizes=(1,)).num_special
        hashed = [first + zlib.crc32(user.encode()) % self.user_tokens for user in users]
        return np.array(hashed, np.int32)


def _with_numbers(read: ReadRows, numbers: np.ndarray) -> ReadRows:
    """Call a reader with the numbers of rows in place of their places in a part of them."""
    return lambda tokens, rows: read(tokens, numbers[rows])


def open_ranker(config: Config, directory: Path) -> GenerativeRanker:
    """Load the best checkpoint of a run, and the items that were added to it.

    Raises:
      DataError: not trained yet, damaged, or of a base that has changed since.
    """
    recommender = generative.load_recommender(config, load_codes(directory), directory)
    added = added_items(directory)
    return GenerativeRanker(
        recommender=with_new_items(recommender, added),
        user_tokens=config.user_tokens,
        added=tuple(added),
    )


def add_items(
    config: Config,
    directory: Path,
    kept: Kept,
    ranker: GenerativeRanker,
    rows: Sequence[Mapping[str, Any]],
) -> tuple[GenerativeRanker, list[dict[str, Any]]]:
    """Give new items free IDs; see `System.add_items`, and `new_items.add_items` for the errors.

    Of the row of an item, "users" are the users that have it, "met" how often it occurred together
    with other items, and every other value that is no "item" is a text.
    """
    items = [
        NewItem(
            item=str(row["item"]),
            texts={
                name: _text(value, f"new item {row['item']!r}, {name}")
                for name, value in row.items()
                if name not in ("item", "users", "met") and not is_missing(value)
            },
            users=[] if is_missing(users := row.get("users")) else _users(users, row["item"]),
            met={} if is_missing(met := row.get("met")) else _met(met, row["item"]),
        )
        for row in rows
    ]
    codes = load_codes(directory)
    new = coded_items(config, kept.dataset(), codes, ranker.added, items, directory)
    wider = dataclasses.replace(
        ranker,
        recommender=with_new_items(ranker.recommender, new),
        added=(*ranker.added, *new),
    )
    return wider, [dataclasses.asdict(one) for one in new]


def _text(value: Any, what: str) -> str:
    if isinstance(value, float):  # such as years in a column that has missing values
        return str(int(value) if value.is_integer() else value)
    return name_text(value, what)


def _users(value: Any, item: str) -> list[str]:
    what = f"new item {item!r}, users"
    return [name_text(user, what) for user in name_list(value, what)]


def _met(value: Any, item: str) -> dict[str, float]:
    what = f"new item {item!r}, met"
    try:
        counts = {name_text(other, what): float(count) for other, count in dict(value).items()}
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"{what} must map IDs of items to numbers, got {shown_value(value)}"
        ) from error
    return counts
