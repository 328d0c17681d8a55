"""Recommendations to many users, as shards of Parquet that are each written whole or not at all.

    DIR/part-00000.parquet ...   user (or row), rank, item, title, score: a row for each item
    DIR/_state/manifest.json     the settings that DIR was begun with

Users are read in pieces, one for each shard, so memory does not depend on their number. A command
that was stopped continues when it is started again: shards that exist are not computed again.
"""

import dataclasses
import hashlib
import io
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from jaxrec.core import (
    ConfigError,
    Count,
    ProgressBar,
    check_file,
    check_ranges,
    locked,
    read_json,
    to_json,
    write_bytes,
    write_text,
)
from jaxrec.runs import Asked, check_top, reads_times
from jaxrec.serve.recommender import OpenRecommender
from jaxrec.serve.user_files import Row, read_users

ALL = "all"
_STATE, _MANIFEST = "_state", "manifest.json"
_HASHED = 1 << 20


class _Manifest(TypedDict):
    """What is read of the manifest."""

    settings: dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """Whom to recommend to, and what.

    Attributes:
      users: a file, see `user_files`; or "all" for all users of the run.
      top: number of items for each user.
      include_seen: also recommend items of the history.
      allowed: a text file with the only items that may be recommended, an ID or title on each
        line; "" for all.
      exclude: such a file with items that must not be recommended; "" for none.
      shard_users: number of users of each shard.

    Example:
      >>> BatchOptions(users="all", top=50).shard_users
      8192
    """

    users: str
    top: Count = 10
    include_seen: bool = False
    allowed: str = ""
    exclude: str = ""
    shard_users: Count = 8192

    def __post_init__(self) -> None:
        check_ranges(self, "--")


@dataclasses.dataclass(frozen=True)
class Batch:
    """What `recommend_all` did.

    Attributes:
      users: number of users.
      shards: number of shards.
      written: number of shards that were written now; the others existed.
    """

    users: int
    shards: int
    written: int


@dataclasses.dataclass(frozen=True, eq=False)
class _Piece:
    """Rows of one shard: names of users, "" for nobody, and their histories as numbers.

    `times` are those of `Asked`; None for a model that reads none.
    """

    users: list[str]
    histories: list[np.ndarray]
    times: list[np.ndarray] | None = None


def recommend_all(model: OpenRecommender, options: BatchOptions, out: Path) -> Batch:
    """Recommend to many users and write shards; started again, it continues.

    Args:
      model: what `jaxrec.open` returned.
      options: whom to recommend to, and what.
      out: a directory that does not exist, is empty, or was begun with the same settings.

    Raises:
      ConfigError: an unknown user or item, with its row; a `top` above the number of items; or a
        directory that holds something else, or was begun with other settings. Nothing is written.
      DataError: a file that is missing, malformed or damaged.
      ResourceError: the shards cannot be written, or another process writes there.

    Example:
      >>> import tempfile
      >>> from jaxrec.testing import four_films
      >>> out = Path(tempfile.mkdtemp()) / "lists"
      >>> recommend_all(four_films(), BatchOptions(users="all", top=1, shard_users=1), out)
      Batch(users=2, shards=2, written=2)
      >>> from pyarrow import parquet
      >>> parquet.read_table(out, columns=["user", "title"]).to_pylist()
      [{'user': 'ann', 'title': 'Fargo'}, {'user': 'bob', 'title': 'Alien'}]
    """
    check_top(options.top, len(model.names))
    limits = [_read_items(model, path) for path in (options.allowed, options.exclude)]
    count, named = _check_users(model, options)
    settings = _settings(model, options)
    state = out / _STATE
    _check_out(out, settings)
    with locked(state, "--out"):
        _check_out(out, settings)
        write_text(state / _MANIFEST, to_json({"settings": settings, "users": count}))
        shards = -(-count // options.shard_users)
        missing = [number for number in range(shards) if not _part(out, number).exists()]
        with ProgressBar("recommend", count, "user") as bar:
            done = count - sum(_size(number, options, count) for number in missing)
            for number, piece in _pieces(model, options, missing):
                numbers, scores = _best(model, options, piece, limits)
                first = number * options.shard_users
                content = _parquet(model, piece, numbers, scores, None if named else first)
                write_bytes(_part(out, number), content)
                done += len(piece.histories)
                bar.update(done)
    return Batch(count, shards, len(missing))


def _part(out: Path, number: int) -> Path:
    return out / f"part-{number:05}.parquet"


def _size(number: int, options: BatchOptions, count: int) -> int:
    """Number of users of a shard."""
    return min(options.shard_users, count - number * options.shard_users)


def _read_items(model: OpenRecommender, path: str) -> np.ndarray | None:
    """The numbers of the items of a text file; None for no file."""
    if not path:
        return None
    check_file(Path(path))
    lines = Path(path).read_text("utf-8-sig").split("\n")
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise ConfigError(f"{path} names no items; give an ID or a title on each line")
    return model.names.numbers(names, path)


def _check_users(model: OpenRecommender, options: BatchOptions) -> tuple[int, bool]:
    """Check all rows before any work; return how many there are, and whether any names a user."""
    kept = model.kept
    unknown = f"{model.directory} is an export, which knows no users; give a file of histories"
    if options.users == ALL:
        if kept is None:
            raise ConfigError(unknown)
        return kept.num_users, True
    path, count, named = Path(options.users), 0, False
    for rows in _batched(read_users(path), options.shard_users):
        count, named = count + len(rows), named or any(row.user for row in rows)
        _numbers(model, path, rows)
        users = [row.user for row in rows if row.history is None]
        if users and kept is None:
            raise ConfigError(unknown)
        if users and kept is not None:
            kept.find(users)
    return count, named


def _numbers(model: OpenRecommender, path: Path, rows: Any) -> list[np.ndarray | None]:
    """The histories of rows as item numbers; None for rows without one."""
    return [
        None
        if row.history is None
        else model.names.numbers(row.history, f"{path}, row {row.number}")
        for row in rows
    ]


def _pieces(
    model: OpenRecommender, options: BatchOptions, missing: list[int]
) -> Iterator[tuple[int, _Piece]]:
    """Yield the shards that are missing, with their rows."""
    if not missing:
        return
    kept, size = model.kept, options.shard_users
    if options.users == ALL:
        assert kept is not None
        # Shards are written in order, so only the first ones exist.
        first, wanted = missing[0], set(missing)
        for number, piece in enumerate(kept.batches(size, first * size), first):
            if number in wanted:
                times = None
                if reads_times(model.ranker):
                    times = kept.times(number * size + np.arange(len(piece[0])))
                yield number, _Piece(*piece, times)
        return
    path, wanted = Path(options.users), set(missing)
    for number, rows in enumerate(_batched(read_users(path), size)):
        if number in wanted:
            yield number, _piece(model, path, rows)


def _batched(rows: Iterator[Row], size: int) -> Iterator[tuple[Row, ...]]:
    while batch := tuple(itertools.islice(rows, size)):
        yield batch


def _piece(model: OpenRecommender, path: Path, rows: tuple[Row, ...]) -> _Piece:
    found = _numbers(model, path, rows)
    named = [number for number, history in enumerate(found) if history is None]
    users = np.zeros(0, np.int64)
    if named and model.kept is not None:
        users = model.kept.find([rows[number].user for number in named])
        for number, history in zip(named, model.kept.histories(users), strict=True):
            found[number] = history
    histories = [history for history in found if history is not None]
    times = None
    if reads_times(model.ranker):
        times = [np.full(len(history), -1, np.int32) for history in histories]
        known = None if model.kept is None or not named else model.kept.times(users)
        for number, row in zip(named, known or [], strict=False):
            times[number] = row
    return _Piece([row.user for row in rows], histories, times)


def _best(
    model: OpenRecommender,
    options: BatchOptions,
    piece: _Piece,
    limits: list[np.ndarray | None],
) -> tuple[np.ndarray, np.ndarray]:
    """The lists of a shard, as item numbers and scores."""
    allowed, exclude = (
        None if limit is None else [limit] * len(piece.histories) for limit in limits
    )
    asked = Asked(
        histories=piece.histories,
        users=piece.users,
        allowed=allowed,
        excluded=exclude,
        times=piece.times,
    )
    return model.best(asked, options.top, seen=options.include_seen)


def _parquet(
    model: OpenRecommender,
    piece: _Piece,
    numbers: np.ndarray,
    scores: np.ndarray,
    first: int | None,
) -> bytes:
    """The content of a shard, whose rows are counted from `first`; None to name users."""
    import pyarrow as pa
    from pyarrow import parquet

    row, place = np.nonzero(numbers >= 0)
    chosen = pa.array(numbers[row, place])
    if first is None:
        who = {"user": pa.array(piece.users, pa.string()).take(pa.array(row))}
    else:
        who = {"row": pa.array(row.astype(np.int64) + first)}
    table = pa.table(
        who
        | {
            "rank": pa.array((place + 1).astype(np.int32)),
            "item": model.names.arrow_ids.take(chosen),
            "title": model.names.arrow_labels.take(chosen),
            "score": pa.array(scores[row, place].astype(np.float32)),
        }
    )
    buffer = io.BytesIO()
    parquet.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def _settings(model: OpenRecommender, options: BatchOptions) -> dict[str, Any]:
    """What must be the same when the work continues, JSON-able."""
    given = dataclasses.asdict(options)
    for name in ("users", "allowed", "exclude"):
        if given[name] and given[name] != ALL:
            given[name] = {"file": Path(given[name]).name, "sha256": _digest(Path(given[name]))}
    files = ("config.json", "train.json", "recommender.json")
    run = {
        name: _digest(model.directory / name) for name in files if (model.directory / name).exists()
    }
    changed = json.dumps([model.changes.added, model.changes.removed], sort_keys=True)
    return given | {"run": run, "changes": hashlib.sha256(changed.encode()).hexdigest()}


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(_HASHED):
            digest.update(part)
    return digest.hexdigest()


def _check_out(out: Path, settings: dict[str, Any]) -> None:
    """Reject a directory that holds something else, or work with other settings."""
    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out {out} is a file; give a directory")
    path = out / _STATE / _MANIFEST
    if not path.exists():
        there = [] if not out.exists() else [p for p in sorted(out.iterdir()) if p.name != _STATE]
        if there:
            raise ConfigError(
                f"--out {out} holds {there[0].name} and was not begun by jaxrec recommend; give "
                "an empty directory"
            )
        return
    begun = read_json(path, _Manifest, fix="delete the directory and start again")["settings"]
    changed = [
        f"{name} was {begun.get(name)} and is {settings[name]}"
        for name in settings
        if begun.get(name) != settings[name]
    ]
    if changed:
        raise ConfigError(
            f"--out {out} was begun with other settings ({'; '.join(changed)[:400]}); give the "
            "same to continue, or another --out"
        )
