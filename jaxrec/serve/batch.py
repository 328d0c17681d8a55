"""Recommendations to many users, as shards of Parquet that are each written whole or not at all.

    DIR/part-00000.parquet ...   user (or row), rank, item, title, score: a row for each item
    DIR/_state/manifest.json     the settings that DIR was begun with

Users are read in pieces, one for each shard, so memory does not depend on their number. A command
that was stopped continues when it is started again: shards that exist are not computed again.
"""

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from jaxrec.core import (
    LOCAL,
    ConfigError,
    DataError,
    Engine,
    LocalEngine,
    ProgressBar,
    check_file,
    locked,
    read_json,
    to_json,
    write_bytes,
    write_text,
)
from jaxrec.runs import Changes, Kept, check_top, read_changes
from jaxrec.serve.recommender import OpenRecommender
from jaxrec.serve.shards import ALL, BatchOptions, ShardJob, batched, history_numbers
from jaxrec.serve.user_files import Row, read_users

_STATE, _MANIFEST = "_state", "manifest.json"
_HASHED = 1 << 20


class _Manifest(TypedDict):
    """What is read of the manifest."""

    settings: dict[str, Any]


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


def recommend_all(
    model: OpenRecommender, options: BatchOptions, out: Path, engine: Engine = LOCAL
) -> Batch:
    """Recommend to many users and write shards; started again, it continues, by any engine.

    Args:
      model: what `jaxrec.open` returned.
      options: whom to recommend to, and what.
      out: a directory that does not exist, is empty, or was begun with the same settings.
      engine: what computes shards. The workers of another engine than `LocalEngine` open the run
        themselves, and read the file of users; the shards come back and are written here.

    Raises:
      ConfigError: an unknown user or item, with its row; a `top` above the number of items; or a
        directory that holds something else, or was begun with other settings; or changes of the
        model that are not saved, which workers would not see. Nothing is written.
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
    if not isinstance(engine, LocalEngine):
        _check_saved(model)
    limits = (_read_items(model, options.allowed), _read_items(model, options.exclude))
    count, named = _check_users(model, options)
    settings = _settings(model, options)
    state = out / _STATE
    _check_out(out, settings)
    with locked(state, "--out"):
        _check_out(out, settings)
        write_text(state / _MANIFEST, to_json({"settings": settings, "users": count}))
        shards = -(-count // options.shard_users)
        missing = [number for number in range(shards) if not _part(out, number).exists()]
        job = ShardJob(
            model=model,
            directory=model.directory,
            baseline=model.baseline,
            options=options,
            limits=limits,
            named=named,
        )
        with ProgressBar("recommend", count, "user") as bar:
            done = count - sum(_size(number, options, count) for number in missing)
            for place, content in engine.map(job, missing):
                write_bytes(_part(out, missing[place]), content)
                done += _size(missing[place], options, count)
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
    try:
        lines = Path(path).read_text("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not a text in UTF-8 ({error.reason} at byte {error.start}); write it again"
        ) from error
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise ConfigError(f"{path} names no items; give an ID or a title on each line")
    return model.names.numbers(names, path)


def _check_saved(model: OpenRecommender) -> None:
    """Reject changes that only this process knows."""
    saved = Changes() if model.config is None else read_changes(model.directory)
    if model.changes.content != saved.content:
        raise ConfigError(
            "items were added to the model or removed from it, and are not saved; workers open "
            f"{model.directory} themselves, so call save() first"
        )


def _check_users(model: OpenRecommender, options: BatchOptions) -> tuple[int, bool]:
    """Check all rows before any work; return how many there are, and whether any names a user."""
    kept = model.kept
    unknown = f"{model.directory} is an export, which knows no users; give a file of histories"
    if options.users == ALL:
        if kept is None:
            raise ConfigError(unknown)
        return kept.num_users, True
    path, count, named = Path(options.users), 0, False
    for rows in batched(read_users(path), options.shard_users):
        count, named = count + len(rows), named or any(row.user for row in rows)
        history_numbers(model, path, rows)
        named_rows = [row for row in rows if row.history is None]
        if named_rows and kept is None:
            raise ConfigError(unknown)
        if named_rows and kept is not None:
            _check_known(kept, path, named_rows)
    return count, named


def _check_known(kept: Kept, path: Path, rows: Sequence[Row]) -> None:
    """Reject rows whose user is none of the run."""
    missing = np.flatnonzero(kept.rows([row.user for row in rows]) < 0)
    if len(missing):
        row = rows[int(missing[0])]
        try:
            kept.find([row.user])
        except ConfigError as error:
            raise ConfigError(f"{path}, row {row.number}: {error}") from error


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
    return given | {
        "baseline": model.baseline,
        "run": run,
        "changes": hashlib.sha256(model.changes.content.encode()).hexdigest(),
    }


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
        f"{name} was {begun.get(name, '')} and is {settings[name]}"
        for name in settings
        if begun.get(name, "") != settings[name]
    ]
    if changed:
        raise ConfigError(
            f"--out {out} was begun with other settings ({'; '.join(changed)[:400]}); give the "
            "same to continue, or another --out"
        )
