"""Share of padding in training batches: padded to the maximum, in length buckets, packed.

    python tools/bench packing [--data ml-1m] [--from-file DIR] [--max-items 200] [--epochs 2]

Counts real batches of the training part (leave-one-out, all interactions), as `jaxrec train` draws
them, for two kinds of histories: the newest items of every user, and the windows that tile the
whole history. Items are counted, and their share of padding is that of the model's input tokens,
whatever the length of the IDs. Each layout also has its number of compiled shapes, what a batch and
an epoch hold, and the CPU time that preparing a batch takes. No device is used.
"""

import dataclasses
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from support.header import print_header
from support.table import Table

from jaxrec.data import (
    Buckets,
    DataConfig,
    Packing,
    Windows,
    bucketed_batches,
    load_dataset,
    packed_batches,
    pad_left,
    padded_batches,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Which histories, and which layouts.

    Attributes:
      data: name of the data set.
      from_file: directory to read it from; empty for the usual places.
      max_items: items of a history.
      batch_size: rows of a batch.
      buckets: numbers of length buckets.
      rows: items of a packed row, one layout each; `max_items` by default.
      epochs: epochs to count.
    """

    data: str = "ml-1m"
    from_file: str = ""
    max_items: int = 200
    batch_size: int = 64
    buckets: tuple[int, ...] = (2, 4, 8)
    rows: tuple[int, ...] = ()
    epochs: int = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A layout: the padding that it states, its steps an epoch, and its batches."""

    name: str
    stated: float
    per_epoch: float
    batches: Iterator[dict[str, np.ndarray]]

    def count(self, epochs: int) -> dict[str, Any]:
        """Count cells and padding over some epochs of batches, and the time they take."""
        cells = padding = 0
        shapes = set()
        steps = max(1, round(self.per_epoch * epochs))
        begun = time.process_time()
        for _ in range(steps):
            batch = next(self.batches)
            used = batch["segments"] >= 0 if "segments" in batch else batch["mask"]
            shapes.add(used.shape)
            cells += used.size
            padding += used.size - int(used.sum())
        seconds = time.process_time() - begun
        return {
            "padding": padding / cells,
            "stated": self.stated,
            "shapes": sorted(shapes),
            "steps_per_epoch": self.per_epoch,
            "items_per_batch": (cells - padding) / steps,
            "ms_per_batch": 1e3 * seconds / steps,
        }


def rows_of(
    windows: Windows, batch_size: int, buckets: Sequence[int], rows: Sequence[int]
) -> list[Row]:
    """The layouts of some windows: padded, bucketed, packed."""
    per_epoch = windows.per_epoch / batch_size
    padded = padded_batches(windows, batch_size=batch_size)
    layouts = [
        Row(
            name="padded to the maximum",
            stated=windows.padding,
            per_epoch=per_epoch,
            batches=iter(padded),
        )
    ]

    def encode(length: int) -> Any:
        return lambda items, rng: pad_left(items, rng, length=length)

    for count in buckets:
        made = Buckets.of(windows, count=count, batch_size=batch_size)
        per_epoch = sum(size / rows for size, rows in zip(made.sizes, made.rows, strict=True))
        name = f"{count} length buckets"
        layouts.append(
            Row(
                name=name,
                stated=made.padding,
                per_epoch=per_epoch,
                batches=iter(bucketed_batches(made, encode=encode)),
            )
        )
    for row in rows:
        packing = Packing(windows, row)
        packed = packed_batches(
            packing, batch_size=batch_size, encode=lambda items, _: {"items": items}
        )
        name = f"packed, rows of {row}"
        layouts.append(
            Row(
                name=name,
                stated=packing.padding,
                per_epoch=packing.per_epoch / batch_size,
                batches=iter(packed),
            )
        )
    return layouts


def run(options: Options) -> Table:
    """Count every layout of both kinds of histories."""
    print_header()
    config = DataConfig(name=options.data, from_file=options.from_file, min_count=0)
    histories = load_dataset(config).split.train.sequences()
    length = options.max_items
    sources = {
        f"the newest {length} items of every user": [history[-length:] for history in histories],
        f"windows of up to {length} items over the whole history": histories,
    }
    layouts: dict[str, Any] = {}
    for title, source in sources.items():
        windows = Windows.of(source, length=length, seed=0)
        print(
            f"\n{options.data}, {title}: {windows.per_epoch:,} an epoch, "
            f"{windows.lengths.mean():.1f} items on average\n"
            f"{'layout':24} {'padding':>8} {'shapes':>7} {'steps/epoch':>12} {'items/batch':>12} "
            f"{'ms/batch':>9}"
        )
        layouts[title] = {}
        packed = options.rows or (length,)
        for row in rows_of(windows, options.batch_size, options.buckets, packed):
            counted = row.count(options.epochs)
            layouts[title][row.name] = counted
            print(
                f"{row.name:24} {counted['padding']:8.2%} {len(counted['shapes']):7} "
                f"{counted['steps_per_epoch']:12.1f} {counted['items_per_batch']:12.0f} "
                f"{counted['ms_per_batch']:9.2f}"
            )
    return Table({"data": options.data, "max_items": length, "layouts": layouts})
