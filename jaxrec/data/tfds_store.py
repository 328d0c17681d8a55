"""`Interactions` as a TFDS dataset on disk, without TensorFlow.

`prepare` writes array_record files with TFDS metadata; `open_data_source` gives the random-access
source that Grain reads; `read_prepared` gives exactly the same `Interactions` back.
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
    """Write a TFDS dataset below `directory` unless the same one is there, and return its path.

    The path ends in name and fingerprint, so other data never meet old files; it appears complete
    or not at all. It holds two TFDS configs: `users` (a record a user) and `items`.

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
    """Open what `prepare` returned as a `tfds.data_source`: a random-access sequence of records.

    A record of "users" is a dict of user_id (bytes) and item, rating, time, row ([n_u] arrays); of
    "items" a dict of item_id and texts (bytes). Texts are called "field/<name>".

    Raises:
        DataError: nothing prepared there, or it does not open.
    """
    _read_meta(Path(path))
    import tensorflow_datasets as tfds

    location = Path(path) / "jaxrec_interactions" / config / "1.0.0"
    try:
        builder = tfds.builder_from_directory(location)
        return builder.as_data_source(split=_SPLIT)
    except Exception as error:  # TFDS and array_record raise anything on damaged files
        raise _damaged(Path(path), error) from error


def item_sequences(path: str | os.PathLike[str]) -> "ItemSequences":
    """Open the users of a prepared dataset as a random-access sequence of item arrays."""
    return ItemSequences(open_data_source(path))


class ItemSequences:
    """Random access to item arrays, over a data source of user records."""

    def __init__(self, records: Any):
        self._records = records

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, user: int) -> np.ndarray:
        return self._records[user]["item"]

    def __getitems__(self, users: Sequence[int]) -> list[np.ndarray]:
        """Return the arrays of several users; reading them together costs less than half."""
        return [record["item"] for record in self._records.__getitems__(users)]


def read_prepared(path: str | os.PathLike[str]) -> Interactions:
    """Read back exactly the `Interactions` that were prepared.

    Raises:
        DataError: nothing prepared there, or the files do not match their fingerprint.
    """
    path = Path(path)
    meta = _read_meta(path)
    try:
        users, items = _all_records(path, "users"), _all_records(path, "items")
        counts = [len(record["item"]) for record in users]
        columns = {
            name: np.concatenate([record[name] for record in users])
            for name in ("item", "rating", "time", "row")
        }
        found = Interactions(
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
    except DataError:
        raise
    except Exception as error:  # as above
        raise _damaged(path, error) from error
    if found.fingerprint() != meta["fingerprint"]:
        raise _damaged(path, "the contents do not match their fingerprint")
    return found


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
        # TFDS announces each dataset on stdout, which belongs to the command that runs.
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
    """Rename into place; if another process was quicker, its files are the same."""
    scratch.chmod(0o755)  # mkdtemp gives 0700, and a prepared data set may be shared
    try:
        os.rename(scratch, path)
    except OSError:
        if not (path / _META).is_file():
            raise


def _read_meta(path: Path) -> dict[str, Any]:
    try:
        return json.loads((path / _META).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path}: no prepared data set here; run prepare first") from error
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: object) -> DataError:
    reason = " ".join(str(error).split())
    return DataError(f"{path}: damaged ({reason[:200]}); delete this directory and prepare again")


def _texts(records: list[dict[str, Any]], name: str) -> list[str]:
    return [bytes(record[name]).decode() for record in records]


def _fields(records: list[dict[str, Any]], names: list[str]) -> dict[str, np.ndarray]:
    return {name: np.array(_texts(records, f"field/{name}"), dtype=object) for name in names}
