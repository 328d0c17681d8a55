"""From a data config to the split that everything is trained and measured on."""

import dataclasses
from pathlib import Path
from typing import Literal

import numpy as np

from jaxrec.core import ConfigError, DataError, on_writer
from jaxrec.data import (
    TIE_RULE,
    Columns,
    Interactions,
    Split,
    item_sequences,
    k_core,
    leave_one_out,
    load,
    prepare,
    sample_users,
)
from jaxrec.data.tfds_store import ItemSequences


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which interactions, and how they are split.

    Attributes:
      name: a known data set (`jaxrec data list`), or a path.
      from_file: file or directory to read instead of looking for `name`.
      user_column: of a CSV or Parquet file.
      item_column: likewise.
      time_column: likewise; "" where the file is in time order.
      rating_column: likewise; "" for none.
      item_table: CSV or Parquet file of item texts; "" for none.
      item_id_column: of the item table.
      min_count: k of the iterated k-core over users and items; 0 for none.
      sample_users: users drawn of those that are left, with the whole catalogue kept; 0 for all.
      sample_seed: of that draw.
      tie: order of interactions at the same time; all but "row" are controls.
      short_users: what to do about users with fewer than 3 interactions.
    """

    name: str = "ml-100k"
    from_file: str = ""
    user_column: str = "user"
    item_column: str = "item"
    time_column: str = ""
    rating_column: str = ""
    item_table: str = ""
    item_id_column: str = "item"
    min_count: int = 5
    sample_users: int = 0
    sample_seed: int = 0
    tie: Literal["row", "random", "item_asc", "item_desc"] = "row"
    short_users: Literal["error", "drop"] = "error"

    def __post_init__(self) -> None:
        """Reject a sample of fewer than no users."""
        if self.sample_users < 0:
            raise ConfigError(f"data.sample_users must not be negative, got {self.sample_users}")


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Filtered interactions and their split.

    Attributes:
      interactions: all of them, after the k-core.
      split: leave-one-out.
    """

    interactions: Interactions
    split: Split

    @property
    def num_items(self) -> int:
        """I."""
        return self.interactions.num_items

    @property
    def num_users(self) -> int:
        """U."""
        return self.split.train.num_users

    def __str__(self) -> str:
        """Two lines to show before training."""
        facts = self.describe()
        return (
            f"{facts['dataset']}: {facts['users']:,} users, {facts['items']:,} items, "
            f"{facts['interactions']:,} interactions ({facts['source']})\n"
            f"split: {facts['split']}; ties: {facts['ties']}"
        )

    def describe(self) -> dict[str, object]:
        """Say what the numbers are measured on: JSON-able."""
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


def load_interactions(config: DataConfig) -> Interactions:
    """Read, filter and draw the users that are asked for.

    Raises:
      ConfigError: more users to draw than there are.
      DataError: not found, malformed, or nothing left.
    """
    columns = Columns(
        user=config.user_column,
        item=config.item_column,
        time=config.time_column or None,
        rating=config.rating_column or None,
        item_table=Path(config.item_table) if config.item_table else None,
        item_id=config.item_id_column,
    )
    interactions = load(config.name, from_file=config.from_file or None, columns=columns)
    if config.min_count:
        interactions = k_core(interactions, config.min_count)
    if config.sample_users:
        interactions = sample_users(interactions, config.sample_users, config.sample_seed)
    return interactions


def load_dataset(config: DataConfig) -> Dataset:
    """Read, filter and split.

    Raises:
      DataError: not found, malformed, or nothing left.
    """
    interactions = load_interactions(config)
    return Dataset(
        interactions, leave_one_out(interactions, tie=config.tie, short_users=config.short_users)
    )


def training_source(dataset: Dataset, directory: Path) -> ItemSequences:
    """Write the training part as a TFDS dataset below `directory`, once, and open it.

    Process 0 writes it. What is there must be what the data now say, history by history.

    Raises:
      DataError: files that were changed or damaged since they were written.
      ResourceError: they cannot be written.
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
    except (OSError, ValueError, IndexError, RuntimeError) as error:  # of array_record
        raise DataError(f"{path} cannot be read ({error}); delete it and start again") from error
    if not same:
        raise DataError(
            f"{path} does not hold the histories that it was written from; delete it and start "
            "the same command again"
        )
    return source
