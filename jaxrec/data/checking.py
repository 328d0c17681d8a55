"""Say beforehand what a file is, how it would be read, and what training would refuse."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.core import JaxrecError
from jaxrec.data.bad_rows import BadRowsError
from jaxrec.data.dataset import DataConfig, Dataset, columns_of, prepare_dataset, read_interactions
from jaxrec.data.description import describe
from jaxrec.data.interactions import UNIT_NOTE, Interactions
from jaxrec.data.layout import Layout
from jaxrec.data.loading import DATASETS, layout_of
from jaxrec.data.records import record_names
from jaxrec.data.tables import FILE_ORDER, Columns

_FILES_SHOWN = 20
_FEW_ITEMS = 50  # the beams of a config, unless it says otherwise
_FEWEST_ITEMS = 10  # checkpoints are chosen by NDCG@10
_DELIMITERS = {"\t": "tab", " ": "space"}


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Check:
    """What `check` found.

    Attributes:
      facts: format, delimiter, columns with their roles, and the figures of `describe`; only what
        could be read.
      problems: errors that training would end with, each with its fix.
      advice: what training accepts, and a user may want to change.
      error: the first error; None if training would accept the data.
      bad_rows: the first bad rows of the file, ten at most, each with its line and what is wrong.
    """

    facts: dict[str, Any]
    problems: tuple[str, ...]
    advice: tuple[str, ...]
    error: JaxrecError | None
    bad_rows: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return all of it as one JSON-able object, with "accepted" and "problems"."""
        return {
            "accepted": self.error is None,
            **self.facts,
            "problems": list(self.problems),
            "bad_rows": list(self.bad_rows),
            "advice": list(self.advice),
        }


def check(config: DataConfig) -> Check:
    r"""Read the data of a config as training would, and collect what is found and what is wrong.

    Args:
      config: the data settings of a run; its name may be a path.

    Example:
      >>> import tempfile
      >>> path = Path(tempfile.mkdtemp()) / "log.csv"
      >>> _ = path.write_text("user;item;timestamp\nu;a;1\nu;b;2\n")
      >>> found = check(DataConfig(name=str(path)))
      >>> found.facts["delimiter"], found.error is None
      (';', False)
      >>> found = check(DataConfig(name=str(path), time_column="timestamp", min_count=0))
      >>> found.problems[0].partition("; ")[2]
      'drop them with --data.short-users drop, or filter with --data.min-count 3 or more'
    """
    facts: dict[str, Any] = {"name": config.name}
    try:
        facts |= _layout_facts(config)
        data = read_interactions(config)
    except JaxrecError as error:
        rows = error.rows if isinstance(error, BadRowsError) else ()
        return Check(facts=facts, problems=(str(error),), advice=(), error=error, bad_rows=rows)
    facts |= describe(data)
    facts["times"] = _times(data)
    facts |= {"min_count": config.min_count, "short_users": facts["users_with_fewer_than_3"]}
    try:
        dataset = prepare_dataset(data, config)
    except JaxrecError as error:
        return Check(facts=facts, problems=(str(error),), advice=_advice(facts), error=error)
    facts |= _training_facts(dataset)
    facts |= _filtered_facts(data, dataset)
    return Check(facts=facts, problems=(), advice=_advice(facts), error=None)


def accepts(data: Interactions, config: DataConfig) -> bool:
    """Return whether training would accept interactions with these settings.

    Example:
      >>> data = Interactions.from_columns(user=["u"] * 3, item=["a", "b", "c"])
      >>> accepts(data, DataConfig(min_count=5)), accepts(data, DataConfig(min_count=0))
      (False, True)
    """
    try:
        prepare_dataset(data, config)
    except JaxrecError:
        return False
    return True


def verdict(data: Interactions, config: DataConfig) -> str:
    """Say in one line whether training would accept interactions with these settings.

    Example:
      >>> data = Interactions.from_columns(user=["u", "u"], item=["a", "b"])
      >>> verdict(data, DataConfig(min_count=2)).partition("; ")[0].split(" of ")[0]
      'training with --data.min-count 2: refused: nothing left after 2-core'
    """
    start = f"training with --data.min-count {config.min_count}"
    try:
        dataset = prepare_dataset(data, config)
    except JaxrecError as error:
        return f"{start}: refused: {error}"
    return f"{start}: accepted, {dataset.num_users:,} users and {dataset.num_items:,} items"


def _times(data: Interactions) -> str:
    """Return what the times are: a unit, ISO dates, or the order of the file."""
    if data.time_unit == "order":
        return "the order of the file"
    units = [note.removeprefix(UNIT_NOTE) for note in data.notes if note.startswith(UNIT_NOTE)]
    return units[0] if units else "seconds"


def _layout_facts(config: DataConfig) -> dict[str, Any]:
    """Return format, delimiter and columns of the file; nothing for a data set of a known name."""
    path = Path(config.from_file or config.name).expanduser()
    if not config.from_file and (config.name in DATASETS or not path.exists()):
        return {}
    columns = columns_of(config)
    layout = layout_of(path, columns)
    if layout.format == "json":
        layout = dataclasses.replace(layout, names=tuple(record_names(path)))
    facts: dict[str, Any] = {"file": str(path), "format": layout.format}
    if layout.format == "directory":
        facts["files"] = [file.name for file in sorted(path.iterdir())[:_FILES_SHOWN]]
    if layout.delimiter:
        facts["delimiter"] = _DELIMITERS.get(layout.delimiter, layout.delimiter)
    if layout.names:
        facts["columns"] = _roles(layout, columns)
    return facts


def _roles(layout: Layout, columns: Columns) -> dict[str, str]:
    """Return the role of each column of a file."""
    named = {columns.user: "user", columns.item: "item"}
    if layout.is_table:
        time = None if columns.time == FILE_ORDER else columns.time
        named |= {name: role for name, role in ((time, "time"), (columns.rating, "rating")) if name}
        return {name: named.get(name, "not read") for name in layout.names}
    fixed = {
        "user_id": "user", "userId": "user", "reviewerID": "user", "item_id": "item",
        "movieId": "item", "parent_asin": "item", "asin": "item", "rating": "rating",
        "overall": "rating", "timestamp": "time", "unixReviewTime": "time", "time": "time",
        "history_item_id": "history",
    }  # fmt: skip
    return {name: fixed.get(name, "not read") for name in layout.names}


def _training_facts(dataset: Dataset) -> dict[str, Any]:
    return {
        "training_users": dataset.num_users,
        "training_items": dataset.num_items,
        "training_interactions": len(dataset.interactions),
        "dropped_users": dataset.split.dropped_users,
    }


def _filtered_facts(data: Interactions, dataset: Dataset) -> dict[str, Any]:
    """How much of the file training would drop, by all filters together."""
    kept = dataset.interactions
    users = len(np.unique(data.user)) - len(np.unique(kept.user))
    items = len(np.unique(data.item)) - len(np.unique(kept.item))
    return {
        "filtered_users": users,
        "filtered_items": items,
        "filtered_interactions": len(data) - len(kept),
    }


def _advice(facts: dict[str, Any]) -> tuple[str, ...]:
    advice = []
    if count := facts["duplicate_rows"]:
        times = facts["time_unit"] == "s"
        equal = "another one in user, item, rating and time" if times else "the row before them"
        rows = "1 row equals" if count == 1 else f"{count:,} rows equal"
        advice.append(f"{rows} {equal}; --data.drop-repeats duplicates drops repeated rows")
    if count := facts["users_with_repeated_target"]:
        users = "1 user has" if count == 1 else f"{count:,} users have"
        advice.append(
            f"{users} met the target before, which a list without seen items cannot hit; "
            "--data.drop-repeats repeats keeps first interactions only"
        )
    if count := facts["users_with_fewer_than_3"]:
        users = "1 user has" if count == 1 else f"{count:,} users have"
        advice.append(
            f"{users} fewer than 3 interactions and cannot be evaluated; --data.min-count 3 leaves "
            "them out, and so does --data.short-users drop"
        )
    if (count := facts.get("training_items", facts["items"])) <= _FEWEST_ITEMS:
        advice.append(
            f"with {count:,} items every list holds the whole catalogue, so HR@10 is 1 for all "
            "systems and NDCG@10 says little; more items give figures that mean something"
        )
    elif count < _FEW_ITEMS:
        advice.append(
            f"{count:,} items are fewer than the {_FEW_ITEMS} beams of most configs; the lists of "
            "a generative one then hold all items, and P5 needs --decode.beams "
            f"{count}"
        )
    return tuple(advice)
