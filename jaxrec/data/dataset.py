"""Load the data set that a config describes, with the split for training and evaluation."""

import dataclasses
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jaxrec.core import ConfigError, DataError, Seed, Whole, check_ranges, on_writer
from jaxrec.data.filters import k_core, sample_users
from jaxrec.data.interactions import Interactions
from jaxrec.data.loading import load
from jaxrec.data.repeats import Drop, drop_repeats
from jaxrec.data.splits import TIE_RULE, Split, leave_one_out
from jaxrec.data.tables import Columns
from jaxrec.data.tfds_store import ItemSequences, item_sequences, prepare


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The interactions to load, and how to filter and split them.

    Attributes:
      name: a known data set (`jaxrec data list` shows them), or a path.
      from_file: file or directory to read instead of searching for `name`.
      user_column: column of user IDs in a table (text with a delimiter, Parquet, JSON lines).
      item_column: column of item IDs in a table.
      time_column: column of times in a table: numbers in any unit, or ISO dates. "" reads the order
        of the file, and rejects a table with a column such as timestamp in another order;
        "file-order" reads the order of the file in any case.
      time_format: how that column writes dates, if they are no ISO dates: a format of Python's
        strptime, such as "%d.%m.%Y" or "%B %d, %Y %H:%M". Dates without a zone are UTC.
      rating_column: column of ratings in a table; "" for none.
      rating_levels: texts of that column, the lowest first, if it holds no numbers, such as
        "messaged" and "interviewed"; they become the ratings 0, 1 and so on.
      item_table: table with item texts; "" for none.
      item_id_column: column of item IDs in the item table.
      delimiter: separator of a text table: a character, "::" or "tab"; "" finds it.
      min_count: k of the iterated k-core filter over users and items; 0 for no filter.
      sample_users: number of users to sample after filtering; 0 keeps all. The catalogue stays
        whole.
      sample_seed: seed of the sample.
      tie: order of interactions at the same time; all values but "row" are controls.
      short_users: what to do with users who have fewer than 3 interactions: "error" or "drop" them.
      drop_repeats: "duplicates" drops rows that equal another in user, item, rating and time;
        "repeats" keeps only a user's first interaction with an item. Both act before the filter.

    Raises:
      ConfigError: a number is out of range, `delimiter` is no separator, or `time_format` does not
        say the day.

    Example:
      >>> DataConfig(name="ml-1m", min_count=10).tie
      'row'
    """

    name: str = "ml-100k"
    from_file: str = ""
    user_column: str = "user"
    item_column: str = "item"
    time_column: str = ""
    time_format: str = ""
    rating_column: str = ""
    rating_levels: tuple[str, ...] = ()
    item_table: str = ""
    item_id_column: str = "item"
    min_count: Whole = 5
    sample_users: Whole = 0
    sample_seed: Seed = 0
    tie: Literal["row", "random", "item_asc", "item_desc"] = "row"
    short_users: Literal["error", "drop"] = "error"
    delimiter: str = ""
    drop_repeats: Drop = "none"

    def __post_init__(self) -> None:
        """Reject numbers out of range, and a delimiter that is none."""
        check_ranges(self, "--data.")
        columns_of(self)
        if self.rating_levels and not self.rating_column:
            raise ConfigError(
                f"data.rating_levels {self.rating_levels} are of a column, and there is none; give "
                "data.rating_column"
            )


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Filtered interactions and their split.

    Attributes:
      interactions: all interactions after filtering.
      split: their leave-one-out split.
    """

    interactions: Interactions
    split: Split

    @property
    def num_items(self) -> int:
        """Number of items I."""
        return self.interactions.num_items

    @property
    def num_users(self) -> int:
        """Number of users U."""
        return self.split.train.num_users

    def __str__(self) -> str:
        """Describe the data set in two lines and its notes, to print before training."""
        facts = self.describe()
        notes = "".join(f"\nnote: {note}" for note in self.interactions.notes)
        return (
            f"{facts['dataset']}: {facts['users']:,} users, {facts['items']:,} items, "
            f"{facts['interactions']:,} interactions ({facts['source']})\n"
            f"split: {facts['split']}; ties: {facts['ties']}{notes}"
        )

    @property
    def train_times(self) -> np.ndarray | None:
        """`[n]` int64 seconds of the training interactions, one user after the other.

        None if the data only tell the order.
        """
        train = self.split.train
        return train.time if train.time_unit == "s" else None

    def describe(self) -> dict[str, object]:
        """Return the JSON-able facts that belong to every figure measured on the data set."""
        data = self.interactions
        return {
            "dataset": data.name,
            "source": data.source,
            "users": self.num_users,
            "items": self.num_items,
            "interactions": len(data),
            "dropped_users": self.split.dropped_users,
            "fingerprint": data.fingerprint(),
            "split": "leave-one-out: last item test, second last validation",
            "ties": TIE_RULE if self.split.tie == "row" else f"control: {self.split.tie}",
        }


def with_name(config: DataConfig, name: str) -> DataConfig:
    """Return the settings for a known data set: those that describe a file are left out.

    Example:
      >>> with_name(DataConfig(name="mine", from_file="x.csv", user_column="who"), "ml-1m")
      DataConfig(name='ml-1m', from_file='', user_column='user', item_column='item', \
time_column='', time_format='', rating_column='', rating_levels=(), item_table='', \
item_id_column='item', min_count=5, sample_users=0, sample_seed=0, tie='row', \
short_users='error', delimiter='', drop_repeats='none')
    """
    of_files = (
        "from_file", "user_column", "item_column", "time_column", "time_format", "rating_column",
        "rating_levels", "item_table", "item_id_column", "delimiter",
    )  # fmt: skip
    default = DataConfig()
    plain: dict[str, Any] = {field: getattr(default, field) for field in of_files}
    return dataclasses.replace(config, name=name, **plain)


def columns_of(config: DataConfig) -> Columns:
    """Return the meaning of the columns that a config states."""
    return Columns(
        user=config.user_column,
        item=config.item_column,
        time=config.time_column or None,
        time_format=config.time_format,
        rating=config.rating_column or None,
        rating_levels=config.rating_levels,
        delimiter=config.delimiter,
        item_table=Path(config.item_table) if config.item_table else None,
        item_id=config.item_id_column,
    )


def read_interactions(config: DataConfig) -> Interactions:
    """Read the interactions of a config as they are in the file.

    Raises:
      ConfigError: columns are named for a format that fixes them.
      DataError: the data are missing or malformed.
    """
    return load(config.name, from_file=config.from_file or None, columns=columns_of(config))


def load_interactions(config: DataConfig) -> Interactions:
    """Read the interactions of a config, filter them, and sample users if it asks for that.

    Raises:
      ConfigError: the sample is larger than the number of users.
      DataError: the data are missing or malformed, or the filter leaves nothing.
    """
    return filter_interactions(read_interactions(config), config)


def filter_interactions(interactions: Interactions, config: DataConfig) -> Interactions:
    """Drop repeats, filter, and sample users, as a config asks.

    Raises:
      ConfigError: the sample is larger than the number of users.
      DataError: the filter leaves nothing.
    """
    if config.drop_repeats != "none":
        interactions = drop_repeats(interactions, config.drop_repeats)
    if config.min_count:
        interactions = k_core(interactions, config.min_count)
    if config.sample_users:
        interactions = sample_users(interactions, config.sample_users, config.sample_seed)
    return interactions


def load_dataset(config: DataConfig) -> Dataset:
    r"""Read, filter and split the data set of a config.

    Raises:
      ConfigError: the sample is larger than the number of users.
      DataError: the data are missing or malformed, or nothing is left to split.

    Example:
      >>> import tempfile
      >>> path = Path(tempfile.mkdtemp()) / "clicks.csv"
      >>> _ = path.write_text("user,item\nu,a\nu,b\nu,c\n")
      >>> dataset = load_dataset(DataConfig(name=str(path), min_count=0))
      >>> dataset.num_items, dataset.split.test_target.tolist()
      (3, [2])
    """
    return prepare_dataset(read_interactions(config), config)


def prepare_dataset(interactions: Interactions, config: DataConfig) -> Dataset:
    """Filter and split interactions that were read already, as `load_dataset` does.

    Raises:
      DataError: the filter leaves nothing, or a single item, which is every list's only one.
    """
    interactions = filter_interactions(interactions, config)
    if interactions.num_items < 2:
        raise DataError(
            f"{interactions.name}: all {len(interactions):,} interactions are with item "
            f"{str(interactions.items.ids[0])!r}, so there is nothing to choose from; check "
            "--data.item-column, or lower --data.min-count"
        )
    return Dataset(
        interactions, leave_one_out(interactions, tie=config.tie, short_users=config.short_users)
    )


def training_source(dataset: Dataset, directory: Path) -> ItemSequences:
    """Write the training part as a TFDS dataset below `directory`, if it is not there, and open it.

    Process 0 writes the files. All histories in them are compared with the data set.

    Raises:
      DataError: the files are damaged, or they were changed after they were written.
      ResourceError: the files cannot be written.
    """
    train = dataset.split.train
    on_writer(lambda: prepare(train, directory))
    path = prepare(train, directory)
    source, histories = item_sequences(path), train.sequences()
    try:
        same = len(source) == len(histories) and all(
            np.array_equal(ours, theirs)
            for ours, theirs in zip(source.__getitems__(range(len(source))), histories, strict=True)
        )
    except (OSError, ValueError, IndexError, RuntimeError) as error:  # raised by array_record
        raise DataError(f"{path} cannot be read ({error}); delete it and start again") from error
    if not same:
        raise DataError(
            f"{path} does not hold the histories that it was written from; delete it and start "
            "the same command again"
        )
    return source
