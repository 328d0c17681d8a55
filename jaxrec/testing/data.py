"""Synthetic interactions whose order a model can learn within seconds.

All items lie on a random ring. Users walk along it and sometimes jump. So the next item is usually
the neighbour of the last one, neighbours usually share a genre, and no user sees an item twice.
"""

import csv
import io
from pathlib import Path

import numpy as np

from jaxrec.core import write_text
from jaxrec.data import Interactions, ItemTable

_JUMP = 0.1
_GENRES = ("Drama", "Comedy", "Western", "Musical", "Horror")


def tiny_interactions(users: int = 40, items: int = 30, seed: int = 0) -> Interactions:
    """Generate walks of 8 to 12 different items along a hidden ring.

    Args:
      users: number of users; every item occurs if there is at least one user for six items.
      items: number of items, at least 12.
      seed: of the ring and the walks.

    Returns:
      Interactions with times, ratings, and items with titles, years and genres.

    Example:
      >>> data = tiny_interactions(users=3, items=12)
      >>> data.num_users, data.num_items, list(data.items.fields)
      (3, 12, ['title', 'year', 'genres'])
    """
    rng = np.random.default_rng(seed)
    ring = rng.permutation(items)
    user, item = [], []
    for u in range(users):
        place, walk = u * items // users, []
        for _ in range(rng.integers(8, 13)):
            while ring[place % items] in walk:
                place += 1
            walk.append(ring[place % items])
            place += int(rng.integers(items)) if rng.random() < _JUMP else 1
        user += [u] * len(walk)
        item += walk
    count = len(user)
    titles = np.array([f"Film {i:03d}" for i in range(items)], dtype=object)
    years = np.array([str(1950 + i) for i in range(items)], dtype=object)
    genres = np.empty(items, dtype=object)
    genres[ring] = [_GENRES[place * len(_GENRES) // items] for place in range(items)]
    return Interactions.from_columns(
        [f"u{u:03d}" for u in user],
        [f"i{i:03d}" for i in item],
        time=1_000_000 + 60 * np.arange(count),
        rating=rng.integers(1, 6, count).astype(np.float32),
        items=ItemTable(
            np.array([f"i{i:03d}" for i in range(items)]),
            {"title": titles, "year": years, "genres": genres},
        ),
        name="tiny",
        source="jaxrec.testing",
    )


def write_tiny_csv(directory: Path, users: int = 40, items: int = 30, seed: int = 0) -> Path:
    """Write `tiny_interactions` as `interactions.csv`, with item texts in `items.csv` next to it.

    The columns are `user_id, movie_id, stars, when` and `movie_id, title, year, genres`; they
    deliberately differ from the default names. Rows are not sorted by time.

    Args:
      directory: must exist.
      users: number of users.
      items: number of items.
      seed: of the data and of the order of the rows.

    Returns:
      The path of `interactions.csv`, for `tiny_config` and `tiny_options`.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as directory:
      ...     print(write_tiny_csv(Path(directory)).read_text().splitlines()[0])
      user_id,movie_id,stars,when
    """
    data = tiny_interactions(users, items, seed)
    order = np.random.default_rng(seed).permutation(len(data))
    rows = [
        (data.user_ids[data.user[n]], data.items.ids[data.item[n]], data.rating[n], data.time[n])
        for n in order
    ]
    fields = data.items.fields
    texts = zip(data.items.ids, *(fields[name] for name in fields), strict=True)
    path = Path(directory) / "interactions.csv"
    write_text(path, _csv(("user_id", "movie_id", "stars", "when"), rows))
    write_text(path.with_name("items.csv"), _csv(("movie_id", *fields), texts))
    return path


def _csv(header: tuple[str, ...], rows: object) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)  # type: ignore[arg-type]
    return file.getvalue()
