"""Good files of opened runs and of batches, for `tools/fuzz.py`."""

import io
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

Folder = Mapping[str, bytes]  # relative path -> contents

ROWS = [
    {"user": "u001", "history": None},
    {"user": None, "history": ["i003", "Film 004"]},
    {"user": "ann", "history": ["i005"]},
]


def _users_samples() -> list[Folder]:
    import pyarrow as pa
    from pyarrow import parquet

    buffer = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(ROWS), buffer)
    lines = "".join(f"{json.dumps(row)}\n" for row in ROWS)
    text = "user,history\nu001,\n,i003|Film 004\nann,i005\n"
    return [
        {"users.parquet": buffer.getvalue()},
        {"users.jsonl": lines.encode()},
        {"users.csv": text.encode()},
    ]


def _read_users(folder: Path) -> object:
    from jaxrec.serve import read_users

    (path,) = folder.iterdir()
    return list(read_users(path))


def _kept_samples() -> list[Folder]:
    from jaxrec.data import Dataset, leave_one_out
    from jaxrec.runs import keep_data
    from jaxrec.testing import tiny_interactions

    data = tiny_interactions(users=6, items=12)
    with tempfile.TemporaryDirectory() as directory:
        keep_data(Dataset(data, leave_one_out(data)), Path(directory))
        folder = Path(directory) / "catalogue"
        return [{f"catalogue/{path.name}": path.read_bytes() for path in folder.iterdir()}]


def _read_kept(folder: Path) -> object:
    import numpy as np

    from jaxrec.runs import read_kept

    kept = read_kept(folder)
    assert kept is not None
    rows = np.arange(min(kept.num_users, 3))
    return kept.dataset(), kept.user_ids, kept.histories(rows), list(kept.batches(4))


ENTRIES: list[tuple[str, Callable[[], Sequence[Folder]], Callable[[Path], object]]] = [
    ("batch-users", _users_samples, _read_users),
    ("catalogue", _kept_samples, _read_kept),
]
