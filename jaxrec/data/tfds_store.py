"""Store `Interactions` as a TFDS dataset on disk, without TensorFlow.

`prepare` writes array_record files with TFDS metadata. `open_data_source` opens them as the
random-access source that Grain reads, and `read_prepared` returns exactly the same `Interactions`.
"""

import contextlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jaxrec.core import DataError, ResourceError
from jaxrec.data.interactions import Interactions, ItemTable

_META = "interactions.json"
_SPLIT = "full"


def prepare(interactions: Interactions, directory: str | os.PathLike[str]) -> Path:
    """Write a TFDS dataset below `directory`, unless it already exists, and return its path.

    The path ends in name and fingerprint, so different data never share files. It appears complete
    or not at all. It holds two TFDS configs: `users` (one record per user) and `items`.

    Raises:
        ResourceError: the disk is full or not writable.
    """
    fingerprint = interactions.fingerprint()
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", interactions.name).strip("-.") or "data"
    root = Path(directory).expanduser()
    path = root / f"{name}-{fingerprint[:16]}"
    if (path / _META).is_file():
        return path
    try:
        root.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=root, prefix=f".{name}-"))
        try:
            _write(interactions, scratch, fingerprint)
            _publish(scratch, path)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except (OSError, RuntimeError) as error:  # array_record reports a full disk as RuntimeError
        reason = " ".join(str(error).split())
        raise ResourceError(
            f"{root}: cannot write the prepared data ({reason[:200]}); "
            "free space or choose another directory"
        ) from error
    return path


def open_data_source(
    path: str | os.PathLike[str], config: Literal["users", "items"] = "users"
) -> Any:
    """Open a prepared dataset as a `tfds.data_source`: a random-access sequence of records.

    A record of "users" is a dict with user_id (bytes) and item, rating, time and row ([n_u]
    arrays). A record of "items" is a dict with item_id and texts (bytes). The keys of texts are
    "field/<name>".

    Args:
        path: result of `prepare`.
        config: which records to read.

    Raises:
        DataError: the path has no prepared dataset, or the dataset cannot be opened.
    """
    _read_meta(Path(path))
    import tensorflow_datasets as tfds

    location = Path(path) / "jaxrec_interactions" / config / "1.0.0"
    try:
        builder = tfds.builder_from_directory(location)
        return builder.as_data_source(split=_SPLIT)
    except Exception as error:  # TFDS and array_record raise many types for damaged files
        raise _damaged(Path(path), error) from error


def item_sequences(path: str | os.PathLike[str]) -> "ItemSequences":
    """Open the users of a prepared dataset as a random-access sequence of item arrays.

    Raises:
        DataError: the path has no prepared dataset, or the dataset cannot be opened.
    """
    return ItemSequences(open_data_source(path))


class ItemSequences:
    """Random access to the item arrays in a data source of user records."""

    def __init__(self, records: Any):
        self._records = records

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, user: int) -> np.ndarray:
        return self._records[user]["item"]

    def __getitems__(self, users: Sequence[int]) -> list[np.ndarray]:
        """Return the arrays of several users; one joint read takes less than half the time."""
        return [record["item"] for record in self._records.__getitems__(users)]


def read_prepared(path: str | os.PathLike[str]) -> Interactions:
    """Read exactly the `Interactions` that `prepare` wrote.

    Raises:
        DataError: the path has no prepared dataset, or the files do not match their fingerprint.
    """
    path = Path(path)
    meta = _read_meta(path)
    try:
        users, items = _all_records(path, "users"), _all_records(path, "items")
        counts = [len(record["item"]) for record in users]
        columns: dict[str, Any] = {
            name: np.concatenate([record[name] for record in users])
            for name in ("item", "rating", "time", "row")
        }
        data = Interactions(
            user=np.repeat(np.arange(len(users), dtype=np.int32), counts),
            **columns,
            user_ids=np.array(_texts(users, "user_id"), dtype=str),
            items=ItemTable(
                np.array(_texts(items, "item_id"), dtype=str), _fields(items, meta["item_fields"])
            ),
            name=meta["name"],
            source=meta["source"],
            time_unit=meta["time_unit"],
            user_fields=_fields(users, meta["user_fields"]),
        )
        same = data.fingerprint() == meta["fingerprint"]
    except DataError:
        raise
    except Exception as error:  # TFDS and array_record raise many types for damaged files
        raise _damaged(path, error) from error
    if not same:
        raise _damaged(path, "the contents do not match their fingerprint")
    return data


def _all_records(path: Path, config: Literal["users", "items"]) -> list[dict[str, Any]]:
    source = open_data_source(path, config)
    return source.__getitems__(range(len(source))) if len(source) else []


def _write(interactions: Interactions, scratch: Path, fingerprint: str) -> None:
    import tensorflow_datasets as tfds

    from jaxrec.data.tfds_builder import InteractionsBuilder

    tfds.disable_progress_bar()
    for config in ("users", "items"):
        builder = InteractionsBuilder(
            interactions=interactions, config=config, data_dir=str(scratch)
        )
        # TFDS prints to stdout, which belongs to the command that runs.
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            builder.download_and_prepare()
    shutil.rmtree(scratch / "downloads", ignore_errors=True)
    meta = {
        "fingerprint": fingerprint,
        "name": interactions.name,
        "source": interactions.source,
        "time_unit": interactions.time_unit,
        "item_fields": list(interactions.items.fields),
        "user_fields": list(interactions.user_fields),
        "users": interactions.num_users,
        "items": interactions.num_items,
        "interactions": len(interactions),
    }
    (scratch / _META).write_text(json.dumps(meta, indent=2) + "\n", encoding="utf-8")


def _publish(scratch: Path, path: Path) -> None:
    """Rename into place; if another process was faster, its files are the same."""
    scratch.chmod(0o755)  # mkdtemp gives 0700, but a prepared data set may be shared
    try:
        os.rename(scratch, path)
    except OSError:
        if not (path / _META).is_file():
            raise


def _read_meta(path: Path) -> dict[str, Any]:
    try:
        return json.loads((path / _META).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no prepared data set here; run prepare first") from error
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: object) -> DataError:
    reason = " ".join(str(error).split())
    return DataError(f"{path}: damaged ({reason[:200]}); delete this directory and prepare again")


def _texts(records: list[dict[str, Any]], name: str) -> list[str]:
    return [bytes(record[name]).decode() for record in records]


def _fields(records: list[dict[str, Any]], names: list[str]) -> dict[str, np.ndarray]:
    return {name: np.array(_texts(records, f"field/{name}"), dtype=object) for name in names}
