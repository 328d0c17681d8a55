"""One object for every trained run: it recommends to users or histories, by original item IDs."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.core import ConfigError, flag, is_list, name_list, name_text
from jaxrec.runs import Asked, Changes, Kept, Ranker, check_top, offered, reads_times, write_changes
from jaxrec.serve.lists import Lists
from jaxrec.serve.names import ItemNames
from jaxrec.serve.tables import rows_of

# Item names of one row for each user, or one row for all users.
Names = Iterable[Any]
Histories = Sequence[Names] | Mapping[str, Names]


@dataclasses.dataclass(eq=False, kw_only=True)
class OpenRecommender:
    """A trained run in use, as `jaxrec.open` returns it.

    Items are called by their original IDs, or by titles that only one item has.

    Attributes:
      directory: where the run is.
      ranker: the model.
      names: IDs and titles of the items, those included that were added later.
      kept: what the run keeps of its data; None for an export, which has no users.
      config: the settings of the run; None for an export.
      changes: items that were added and removed, saved or not.
      saved: those of them that the run has, as far as this object knows.
      baseline: name of the baseline that is open in place of the run's model; "" for the model.

    Example:
      >>> from jaxrec.testing import four_films
      >>> model = four_films()  # of a run: jaxrec.open("runs/a")
      >>> lists = model.recommend(histories=[["Alien"], ["9", "Fargo"]], top=2)
      >>> lists.titles.tolist()
      [['Heat', 'Brazil'], ['Brazil', 'Alien']]
      >>> lists.items[0].tolist(), [round(float(x), 1) for x in lists.scores[0]]
      (['9', '50'], [0.4, 0.3])
      >>> lists.to_pandas().columns.tolist()
      ['row', 'rank', 'item', 'title', 'score']
    """

    directory: Path
    ranker: Ranker
    names: ItemNames
    kept: Kept | None = None
    config: Any = None
    changes: Changes = dataclasses.field(default_factory=Changes)
    saved: Changes = dataclasses.field(default_factory=Changes)
    baseline: str = ""

    def __repr__(self) -> str:
        users = "no users" if self.kept is None else f"{self.kept.num_users:,} users"
        return f"OpenRecommender({str(self.directory)!r}, {len(self.names):,} items, {users})"

    def recommend(
        self,
        users: Sequence[Any] | None = None,
        histories: Histories | None = None,
        *,
        top: int = 10,
        allowed: Names | None = None,
        exclude: Names | None = None,
        seen: bool = False,
    ) -> Lists:
        """Recommend the best items to users of the run, or after histories.

        Args:
          users: original IDs of users of the run; all their interactions are read, held-out ones
            included.
          histories: lists of items, oldest first; as a mapping, from names of users, which only
            models with user tokens read. Give these or `users`.
          top: K, length of the lists.
          allowed: the only items that may be recommended: one list for all, or a list of lists,
            one for each user or history. None for all.
          exclude: items that must not be recommended, in the same form.
          seen: also recommend items of the history.

        Returns:
          `Lists` of `[U, K]`.

        Raises:
          ConfigError: an unknown user; an unknown item, with the nearest name; a title of several
            items; a `top` above the number of items; lists of nothing, or of another number than
            there are rows.
          DataError: scores that are not numbers.

        Example:
          >>> from jaxrec.testing import four_films
          >>> four_films().recommend(users=["ann", "bob"], top=1).titles.tolist()
          [['Fargo'], ['Alien']]
          >>> shelf = ["Alien", "Fargo"]
          >>> four_films().recommend(users=["bob"], allowed=shelf, top=2, seen=True).titles.tolist()
          [['Fargo', 'Alien']]
        """
        check_top(top, len(self.names))
        flag(seen, "seen")
        asked = self.asked(users, histories, allowed=allowed, exclude=exclude)
        numbers, scores = self.best(asked, top, seen=seen)
        return Lists.of(self.names, asked.users, numbers, scores, self.ranker.meaning)

    def asked(
        self,
        users: Sequence[Any] | None = None,
        histories: Histories | None = None,
        *,
        allowed: Names | None = None,
        exclude: Names | None = None,
    ) -> Asked:
        """Return what `recommend` asks the model, as numbers of items.

        The arguments and the errors are those of `recommend`.

        Example:
          >>> from jaxrec.testing import four_films
          >>> [row.tolist() for row in four_films().asked(histories=[["Alien", "9"]]).histories]
          [[0, 1]]
        """
        who, read = self._rows(users, histories)
        times = None
        if users is not None and self.kept is not None and reads_times(self.ranker):
            times = self.kept.times(self.kept.find(who or []))
        only = self._per_row(allowed, len(read), "allowed")
        out = self._per_row(exclude, len(read), "exclude")
        return Asked(histories=read, users=who, excluded=out, allowed=only, times=times)

    def best(self, asked: Asked, top: int, *, seen: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Recommend by item numbers, without names; see `Ranker.best`.

        Args:
          asked: U rows. Items of the histories, unless they are `seen` too, and items that were
            removed are excluded besides.
          top: K.
          seen: see `recommend`.

        Raises:
          ConfigError: a row is allowed no item that is left.
        """
        removed, only, out = self._removed, asked.allowed, asked.excluded
        if only is not None and len(removed):
            only = [np.setdiff1d(row, removed) for row in only]
        for number, row in enumerate(only or ()):
            if not len(row):
                raise ConfigError(
                    f"allowed, row {number}: there are no items left to recommend; give at least "
                    "one that was not removed, or None for all items"
                )
        excluded = None
        if not seen or out is not None or len(removed):
            excluded = [
                np.concatenate(
                    [
                        *([] if seen else [history]),
                        *([] if out is None else [out[number]]),
                        removed,
                    ]
                ).astype(np.int32)
                for number, history in enumerate(asked.histories)
            ]
        return self.ranker.best(dataclasses.replace(asked, excluded=excluded, allowed=only), top)

    def score(self, histories: Histories, items: Names) -> np.ndarray:
        """Score items after histories, whether they would be recommended or not.

        Args:
          histories: see `recommend`.
          items: one list of items for all histories, or a list of lists, one for each.

        Returns:
          `[U, N]` float32; NaN at the end of rows with fewer items than the longest.

        Raises:
          ConfigError: see `recommend`.
          DataError: scores that are not numbers.

        Example:
          >>> from jaxrec.testing import four_films
          >>> four_films().score([["Alien"]], ["Heat", "12"]).round(1).tolist()
          [[0.4..., 0.2...]]
        """
        who, read = self._rows(None, histories)
        wanted = self._lists(name_list(items, "items"), len(read), "items")
        scores = self.ranker.scores(Asked(histories=read, users=who), wanted)
        result = np.full((len(read), max(map(len, wanted), default=0)), np.nan, np.float32)
        for row, values in zip(result, scores, strict=True):
            row[: len(values)] = values
        return result

    def explain(self, history: Names | Mapping[str, Names], item: Any) -> Lists:
        """Say which items of a history speak for an item: how far its score falls without each.

        Each item of the history is left out in turn, so this asks the model once for each of them.

        Args:
          history: one list of items, oldest first; or a mapping with it from the name of a user.
          item: ID or title of the item.

        Returns:
          One list of the items of the history, those that speak most for the item first. A negative
          number says that the score rises without the item.

        Raises:
          ConfigError: see `recommend`; or a history without items.

        Example:
          >>> from jaxrec.testing import four_films
          >>> lists = four_films().explain(["Alien", "Heat"], "Fargo")  # reads no history
          >>> lists.titles.tolist(), lists.scores.tolist()
          ([['Alien', 'Heat']], [[0.0, 0.0]])
        """
        rows = history if isinstance(history, Mapping) else [name_list(history, "history")]
        who, read = self._rows(None, rows)
        if len(read) != 1 or not len(read[0]):
            raise ConfigError(f"explain takes one history with items, got {history!r}")
        (whole,), places = read, range(len(read[0]))
        asked = Asked(
            histories=[whole, *(np.delete(whole, place) for place in places)],
            users=None if who is None else who * (len(whole) + 1),
        )
        wanted = [self.names.numbers([item], "item")] * len(asked)
        full, *without = (row[0] for row in self.ranker.scores(asked, wanted))
        falls = np.array([full - left for left in without], np.float32)
        order = np.argsort(-falls, kind="stable")
        meaning = "how far the score falls without this item of the history"
        return Lists.of(self.names, who, whole[order][None], falls[order][None], meaning)

    def add_items(self, table: Any) -> None:
        """Let the model recommend items that its training did not know; `save` keeps them.

        Args:
          table: a data frame, an Arrow table or a list of dicts with a row for each item: the
            column "item" has the original ID, and the others the texts by field ("title",
            "genres", ...). Some ID schemes need other columns, see `generative.NewItem`.

        Raises:
          ConfigError: the system cannot know new items; an ID that exists; or a row without what
            the system makes an ID of.

        Example:
          >>> from jaxrec.testing import four_films
          >>> four_films().add_items([{"item": "99", "title": "Ran"}])  # doctest: +ELLIPSIS
          Traceback (most recent call last):
          jaxrec.core.errors.ConfigError: four_films is an export, which cannot code new items; ...
        """
        rows = rows_of(table)
        self._check_model("add items to")
        if self.config is None or self.kept is None:
            raise ConfigError(
                f"{self.directory} is an export, which cannot code new items; add them to the run"
            )
        add = offered(self.config, "add_items")
        self.ranker, added = add(self.config, self.directory, self.kept, self.ranker, rows)
        self.names = self.names.more([r["item"] for r in added], [r["label"] for r in added])
        self.changes = dataclasses.replace(self.changes, added=(*self.changes.added, *added))

    def remove_items(self, items: Names) -> None:
        """Never recommend some items again; histories may still have them. `save` keeps this.

        Args:
          items: IDs or titles of items.

        Raises:
          ConfigError: an unknown item, or no item would be left.

        Example:
          >>> from jaxrec.testing import four_films
          >>> model = four_films()
          >>> model.remove_items(["Heat"])
          >>> model.recommend(histories=[["Alien"]], top=2).titles.tolist()
          [['Brazil', 'Fargo']]
        """
        names = name_list(items, "remove_items")
        removed = [str(self.names.ids[n]) for n in self.names.numbers(names, "remove_items")]
        every = tuple(dict.fromkeys((*self.changes.removed, *removed)))
        if len(every) >= len(self.names):
            raise ConfigError(f"remove_items: none of {len(self.names):,} items would be left")
        self.changes = dataclasses.replace(self.changes, removed=every)

    def save(self) -> None:
        """Write the items that were added and removed into the run, all changes or none.

        Raises:
          ConfigError: this is an export or a baseline, which is not changed; or another process has
            changed the run since it was opened.
          DataError: the run does not exist any more.
          ResourceError: the run cannot be written, or another process saves it now.
        """
        if self.config is None:
            raise ConfigError(f"{self.directory} is an export, which is not changed; save the run")
        self._check_model("save")
        write_changes(self.directory, self.changes, self.saved)
        self.saved = self.changes

    def _check_model(self, what: str) -> None:
        """Reject a change of the run by its baseline, which knows only the run's first items."""
        if self.baseline:
            raise ConfigError(
                f"this is the baseline {self.baseline} beside {self.directory}; to {what} the run, "
                "open it without a baseline"
            )

    @property
    def _removed(self) -> np.ndarray:
        return self.names.numbers(self.changes.removed, "removed items")

    def _rows(
        self, users: Sequence[Any] | None, histories: Histories | None
    ) -> tuple[list[str] | None, list[np.ndarray]]:
        """Names of the rows, if they have any, and their histories as item numbers."""
        if (users is None) == (histories is None):
            given = "both were given" if users is not None else "neither was given"
            raise ConfigError(f"give users or histories, and {given}")
        if users is not None:
            if self.kept is None:
                raise ConfigError(
                    f"{self.directory} is an export, which knows no users; give histories"
                )
            named = [name_text(user, "users") for user in name_list(users, "users")]
            return named, self.kept.histories(self.kept.find(named))
        assert histories is not None
        if isinstance(histories, Mapping):
            who = [name_text(user, "the users of histories") for user in histories]
            return who, self._numbers(histories.values(), "histories", ordered=True)
        read = name_list(histories, "histories", ordered=True)
        return None, self._numbers(read, "histories", ordered=True)

    def _per_row(self, names: Names | None, rows: int, what: str) -> list[np.ndarray] | None:
        """One array of item numbers for each row, from one list for all or one for each."""
        return None if names is None else self._lists(name_list(names, what), rows, what)

    def _lists(self, given: list[Any], rows: int, what: str) -> list[np.ndarray]:
        """See `_per_row`."""
        if not any(is_list(one) for one in given):
            if not given and what != "exclude":
                raise ConfigError(f"{what} is an empty list; give at least one item")
            return [self.names.numbers(given, what)] * rows
        if len(given) != rows:
            raise ConfigError(
                f"{what} has {len(given)} lists for {rows} users or histories; give one for each, "
                "or one list for all"
            )
        return self._numbers(given, what)

    def _numbers(
        self, lists: Iterable[Names], what: str, *, ordered: bool = False
    ) -> list[np.ndarray]:
        found = []
        for row, names in enumerate(lists):
            where = f"{what}, row {row}"
            found.append(self.names.numbers(name_list(names, where, ordered=ordered), where))
        return found
