"""Share of padding in training batches: padded to the maximum, in length buckets, packed.

    python tools/bench/packing.py [--data ml-1m] [--from-file DIR] [--max-items 200] [--epochs 2]

Counts real batches of the training part (leave-one-out, all interactions), as `jaxrec train` draws
them, of two kinds of histories: every user's newest items, and the windows that tile the whole
history. Items are what is counted; that is the share of the model's input tokens too, whatever the
ID length. Beside each layout stand its compiled shapes, what a batch and an epoch hold, and the CPU
time in which batches are prepared. No device is used. Ends with one JSON line.
"""

import argparse
import dataclasses
import json
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

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
class Row:
    """One line of the table: a layout, what it is said to waste, and its batches."""

    name: str
    stated: float
    per_epoch: float
    batches: Iterator[dict[str, np.ndarray]]

    def count(self, epochs: int) -> dict[str, Any]:
        """Count cells and padding of that many epochs of batches, and the time they took."""
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


def rows_of(windows: Windows, batch_size: int, buckets: list[int], rows: list[int]) -> list[Row]:
    per_epoch = windows.per_epoch / batch_size
    padded = padded_batches(windows, batch_size=batch_size)
    found = [
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
        found.append(
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
        found.append(
            Row(
                name=name,
                stated=packing.padding,
                per_epoch=packing.per_epoch / batch_size,
                batches=iter(packed),
            )
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default="ml-1m")
    parser.add_argument("--from-file", default="")
    parser.add_argument("--max-items", type=int, default=200)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--buckets", type=int, nargs="*", default=[2, 4, 8])
    parser.add_argument("--rows", type=int, nargs="*", help="items of a packed row")
    parser.add_argument("--epochs", type=int, default=2)
    options = parser.parse_args()
    config = DataConfig(name=options.data, from_file=options.from_file, min_count=0)
    histories = load_dataset(config).split.train.sequences()
    length = options.max_items
    sources = {
        f"the newest {length} items of every user": [history[-length:] for history in histories],
        f"windows of up to {length} items over the whole history": histories,
    }
    found: dict[str, Any] = {}
    for title, source in sources.items():
        windows = Windows.of(source, length=length, seed=0)
        print(
            f"\n{options.data}, {title}: {windows.per_epoch:,} an epoch, "
            f"{windows.lengths.mean():.1f} items on average\n"
            f"{'layout':24} {'padding':>8} {'shapes':>7} {'steps/epoch':>12} {'items/batch':>12} "
            f"{'ms/batch':>9}"
        )
        found[title] = {}
        for row in rows_of(windows, options.batch_size, options.buckets, options.rows or [length]):
            counted = row.count(options.epochs)
            found[title][row.name] = counted
            print(
                f"{row.name:24} {counted['padding']:8.2%} {len(counted['shapes']):7} "
                f"{counted['steps_per_epoch']:12.1f} {counted['items_per_batch']:12.0f} "
                f"{counted['ms_per_batch']:9.2f}"
            )
    print(json.dumps({"data": options.data, "max_items": length, "layouts": found}))


if __name__ == "__main__":
    main()
