"""A run's histories as training batches: padded, in length buckets, or packed.

All layouts hold the same windows; they differ in their shapes and in their share of padding. If a
model reads histories in both directions, the examples are prefixes of histories and not windows.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.core import make_mesh, ways
from jaxrec.data import (
    Buckets,
    Encode,
    Packing,
    Prefixes,
    Source,
    Windows,
    bucketed_batches,
    packed_batches,
    padded_batches,
)
from jaxrec.ids import write_histories
from jaxrec.systems.generative.config import Config

# Share of padding, or of additional padding, that is not worth another layout.
_LITTLE = 0.1


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class TrainingBatches:
    """Batches for `id_loss`, or for `next_item_loss`.

    Attributes:
      dataset: endless Grain dataset of "tokens", with "segments" if rows are packed; or of "source"
        and "target".
      shapes: `jax.ShapeDtypeStruct`s of every kind of batch, the one with the longest rows last.
      description: what a batch is like, in words.
      chosen: the layout that "auto" chose; "" if the config names one.
      padding: share of padding over an epoch.
      baseline: share of padding if every history were padded to `max_items`.
    """

    dataset: Any
    shapes: list[dict[str, jax.ShapeDtypeStruct]]
    description: str
    chosen: str = ""
    padding: float
    baseline: float

    def __str__(self) -> str:
        """Return one line to show before training."""
        line = f"batches of {self.description}: {self.padding:.1%} padding"
        if self.padding != self.baseline:
            line += f", {self.baseline:.1%} if every history were padded to the longest"
        if not self.chosen:
            return line
        return f"{line} (batches.layout auto chose {self.chosen} for these histories)"


def training_batches(
    config: Config,
    source: Source,
    tokens_of: np.ndarray,
    shard: tuple[int, int] = (0, 1),
    starts: np.ndarray | None = None,
) -> TrainingBatches:
    """Lay out the training histories as the config says.

    Args:
      config: the config of the run.
      source: item arrays, one per user.
      tokens_of: `[I, L]` int32, tokens of each item.
      shard: (part, parts): which part of every batch the dataset gives; shapes are those of whole
        batches.
      starts: `[U]` int32 tokens that the histories begin with; see `model.start_tokens`.

    Raises:
      ConfigError: a batch that does not divide over devices and micro-batches.
    """
    levels = tokens_of.shape[1]
    apart = config.architecture != "causal"
    # An example of a bidirectional model is a history and the item that follows it.
    items = config.max_items + apart
    kind, users = (Prefixes if apart else Windows), starts is not None
    windows = kind.of(source, length=items, seed=config.train.seed, users=users)
    if config.batches.layout == "auto":
        chosen = choose_layout(config, windows)
        layout = dataclasses.replace(config.batches, layout=chosen)
        config = dataclasses.replace(config, batches=layout)
        made = training_batches(config, source, tokens_of, shard, starts)
        return dataclasses.replace(made, chosen=chosen)
    layout, rows = config.batches, config.train.batch_size

    def shape(rows: int, length: int) -> dict[str, jax.ShapeDtypeStruct]:
        shapes = {"tokens": (1 + length * levels,)}
        if apart:
            shapes = {"source": (1 + (length - 1) * levels,), "target": (levels,)}
        return {
            name: jax.ShapeDtypeStruct((rows, *size), jnp.int32) for name, size in shapes.items()
        }

    def padded_to(length: int) -> Encode:
        def encode(items: np.ndarray, _: np.random.Generator) -> dict[str, np.ndarray]:
            first = None if starts is None else starts[items[:1]]
            items = items if starts is None else items[1:]
            if not apart:
                return {"tokens": write_histories([items], tokens_of, length, first)[0]}
            source = write_histories([items[:-1]], tokens_of, length - 1, first)[0]
            return {"source": source, "target": tokens_of[items[-1]]}

        return encode

    if layout.layout == "pad":
        return TrainingBatches(
            dataset=padded_batches(windows, batch_size=rows, encode=padded_to(items), shard=shard),
            shapes=[shape(rows, items)],
            description=f"{rows} rows of {items} items",
            padding=windows.padding,
            baseline=windows.padding,
        )
    if layout.layout == "bucket":
        buckets = _buckets(config, windows)
        sizes = list(zip(buckets.rows, buckets.lengths, strict=True))
        return TrainingBatches(
            dataset=bucketed_batches(buckets, encode=padded_to, shard=shard),
            shapes=[shape(*size) for size in sizes],
            description=" or ".join(f"{rows} rows of {length} items" for rows, length in sizes),
            padding=buckets.padding,
            baseline=windows.padding,
        )
    packing = Packing(windows, layout.row_items or items)
    histories = windows.per_epoch / packing.per_epoch
    return TrainingBatches(
        dataset=packed_batches(
            packing,
            batch_size=rows,
            encode=lambda items, _: {"tokens": tokens_of[items]},
            shard=shard,
        ),
        shapes=[
            {
                "tokens": jax.ShapeDtypeStruct((rows, packing.row, levels), jnp.int32),
                "segments": jax.ShapeDtypeStruct((rows, packing.row), jnp.int32),
            }
        ],
        description=f"{rows} rows of {packing.row} items, {histories:.1f} histories packed in each",
        padding=packing.padding,
        baseline=windows.padding,
    )


def choose_layout(config: Config, windows: Windows) -> Literal["pad", "bucket", "pack"]:
    """The layout of "auto": padding if it wastes little, else the layout with the least padding.

    Args:
      config: the config of the run.
      windows: the training histories, cut to what the model reads.

    Example:
      >>> config = Config(max_items=8)
      >>> choose_layout(config, Windows.of([np.arange(8)] * 9, length=8, seed=0))
      'pad'
      >>> choose_layout(config, Windows.of([np.arange(2)] * 90, length=8, seed=0))
      'pack'
    """
    if windows.padding <= _LITTLE:
        return "pad"
    padding = {"bucket": _buckets(config, windows).padding}
    if config.can_pack:
        row = config.batches.row_items or config.max_items
        padding["pack"] = Packing(windows, row).padding
    # Packing compiles one program, and buckets one for each length.
    return "pack" if padding.get("pack", 1.0) <= padding["bucket"] + _LITTLE else "bucket"


def _buckets(config: Config, windows: Windows) -> Buckets:
    mesh = make_mesh(config.mesh)
    devices = ways(mesh, config.sharding.mesh_axes("batch", mesh))
    return Buckets.of(
        windows,
        count=config.batches.buckets,
        batch_size=config.train.batch_size,
        multiple=config.train.accumulate * devices,
    )


def measure(batch: Mapping[str, np.ndarray]) -> tuple[int, int]:
    """Return the number of tokens that the model reads of a batch, and the number of its cells."""
    if "segments" in batch:
        levels = batch["tokens"].shape[-1]
        used = batch["segments"] >= 0
        return levels * int(np.count_nonzero(used)), levels * used.size
    if "source" in batch:
        # The tokens of all items: what is read without the first token, and what is written.
        read = batch["source"][:, 1:]
        written = batch["target"].size
        return int(np.count_nonzero(batch["source"])) - len(read) + written, read.size + written
    read = batch["tokens"][:, :-1]
    return int(np.count_nonzero(read)), read.size
