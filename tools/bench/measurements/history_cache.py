"""The history cache of the service: a returning user's history read on, against read again.

    python tools/bench history_cache RUN [--lengths 50 100 200] [--rows 1 8] [--new 1]

The run is one of the generative recommender with a causal decoder. It is made to read histories of
each length, whatever its own `max_items` is; the values of parameters do not change the times. Both
sides search the same lists, so the ratio is that of whole calls of the engine. "read" is the same
without the search.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import jax.numpy as jnp
import numpy as np
import tyro
from support.header import print_header
from support.table import Table
from support.timing import measure

from jaxrec.core import Count
from jaxrec.runs import Asked
from jaxrec.serve import CachedPart, CachedPrefix, HistoryCache, cache_key, open_recommender

TOP = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure.

    Attributes:
      run: a run of the generative recommender.
      lengths: items of the longer histories.
      rows: users of a call.
      new: items that each user has added.
      repeats: calls of each side.
    """

    run: Annotated[Path, tyro.conf.Positional]
    lengths: tuple[Count, ...] = (50, 100, 200)
    rows: tuple[Count, ...] = (1, 8, 64)
    new: Count = 1
    repeats: Count = 15


def run(options: Options) -> Table:
    """Print a row for each length and each number of users."""
    print_header()
    ranker: Any = open_recommender(options.run).ranker
    rows = []
    print(f"{'items':>5} {'users':>5} {'again':>9} {'cached':>9} {'ratio':>6} {'of reading':>11}")
    for length in options.lengths:
        for users in options.rows:
            row = {"items": length, "users": users, **compared(ranker, length, users, options)}
            rows.append(row)
            print(
                f"{length:>5} {users:>5} {1e3 * row['again']:>6.1f} ms {1e3 * row['cached']:>6.1f} "
                f"ms {row['ratio']:>6.2f} {row['ratio_read']:>11.2f}",
                flush=True,
            )
    return Table({"rows": rows})


def compared(ranker: Any, length: int, users: int, options: Options) -> dict[str, float]:
    """Return seconds of a call with and without a cache, and the ratios."""
    base = dataclasses.replace(ranker.recommender, max_items=length, batch_size=users)
    ranker = dataclasses.replace(ranker, recommender=base)
    rng = np.random.default_rng(0)
    histories = [rng.integers(0, ranker.num_items, length) for _ in range(users)]
    names = [f"u{number}" for number in range(users)]
    asked = Asked(histories=histories, users=names)
    cache = HistoryCache(ranker, 1024, users)
    keys = [cache_key(b"", name) for name in names]
    before = [row[: len(row) - options.new] for row in histories]
    short = dataclasses.replace(asked, histories=before)
    (part,) = cache.split(keys, ranker.tokens(short))
    ranker.lists(short, TOP, read=cache.reader(keys, part))
    (part,) = cache.split(keys, ranker.tokens(asked))
    if not part.kept:
        raise ValueError(f"{options.new} new items are read from the start; give fewer")
    # Every call of the cached side finds what the first one found.
    kept = CachedPart(part.places, [CachedPrefix(p.row, p.have, p.room) for p in part.kept])
    read, start = cache.reader([None] * users, kept), cache.reader([None] * users, _nothing(users))
    tokens = jnp.asarray(
        np.stack(
            [
                np.pad(row, (1 + length * base.codes.levels - len(row), 0))
                for row in ranker.tokens(asked)
            ]
        )
    )
    rows = np.arange(users)

    def reading(read: Any) -> Callable[[], Any]:
        return lambda: read(np.asarray(tokens), rows).state

    times = measure(
        {
            "again": lambda: ranker.best(asked, TOP),
            "cached": lambda: ranker.lists(asked, TOP, read=read),
            "again_read": reading(start),
            "cached_read": reading(read),
        },
        options.repeats,
        warmups=2,
    )
    found = {name: side.median for name, side in times.items()}
    found["ratio"] = found["again"] / found["cached"]
    found["ratio_read"] = found["again_read"] / found["cached_read"]
    return found


def _nothing(users: int) -> CachedPart:
    return CachedPart(list(range(users)), [])
