"""Shards of documents on disk, each of them whole or absent, and reading single texts from them."""

import io
import json
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.core import DataError, write_bytes
from jaxrec.data import parquet
from jaxrec.data.corpora.documents import Document

_GROUP = 128  # documents of a row group, which is what reading one text reads
_GROUPS = 64  # row groups in memory


def shard_path(folder: Path, number: int, suffix: str = ".parquet") -> Path:
    """Return where a shard lies."""
    return folder / f"{number:05d}{suffix}"


def write_documents(path: Path, documents: Sequence[Document]) -> None:
    """Write documents as Parquet: the columns id, text and meta, the last as JSON.

    Raises:
      ResourceError: the disk is full or the directory cannot be written.

    Example:
      >>> import tempfile
      >>> path = Path(tempfile.mkdtemp()) / "00000.parquet"
      >>> write_documents(path, [Document("a#0", "A film.", {"year": 1994})])
      >>> list(read_shard(path))
      [Document(id='a#0', text='A film.', meta={'year': 1994})]
    """
    import pyarrow as pa
    from pyarrow import parquet as pq

    table = pa.table(
        {
            "id": pa.array([document.id for document in documents], pa.string()),
            "text": pa.array([document.text for document in documents], pa.large_string()),
            "meta": pa.array(
                [
                    json.dumps(document.meta, default=str) if document.meta else ""
                    for document in documents
                ],
                pa.string(),
            ),
        }
    )
    buffer = io.BytesIO()
    # Texts repeat no values, and statistics of texts would be as long as the texts.
    pq.write_table(
        table, buffer, row_group_size=_GROUP, use_dictionary=False, write_statistics=False
    )
    write_bytes(path, buffer.getvalue())


def read_shard(path: Path) -> Iterator[Document]:
    """Yield the documents of a shard.

    Raises:
      DataError: the file is missing or damaged.
    """
    for row in parquet.read_rows(path, ["id", "text", "meta"]):
        yield Document(row["id"], row["text"], json.loads(row["meta"]) if row["meta"] else {})


def write_array(path: Path, values: np.ndarray) -> None:
    """Write an array as NumPy's .npy, whole or not at all."""
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=False)
    write_bytes(path, buffer.getvalue())


def map_array(path: Path) -> np.ndarray:
    """Return an array of `write_array` that stays on disk until it is read.

    Raises:
      DataError: the file is missing or damaged.
    """
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: damaged or missing ({error}); delete its folder") from error


class Texts:
    """Single texts of a folder of shards, by their number; recent row groups stay in memory.

    Args:
      folder: the folder.
      sizes: documents of each shard.
    """

    def __init__(self, folder: Path, sizes: Sequence[int]) -> None:
        self._folder = folder
        self._starts = np.cumsum([0, *sizes])
        self._open: tuple[int, Any] = (-1, None)
        self._groups: OrderedDict[tuple[int, int], list[str]] = OrderedDict()

    def __call__(self, number: int) -> str:
        """Return the text of a document."""
        shard = int(np.searchsorted(self._starts, number, side="right")) - 1
        group, row = divmod(number - int(self._starts[shard]), _GROUP)
        found = self._groups.pop((shard, group), None)
        if found is None:
            found = self._read(shard, group)
            if len(self._groups) >= _GROUPS:
                self._groups.popitem(last=False)
        self._groups[shard, group] = found
        return found[row]

    def _read(self, shard: int, group: int) -> list[str]:
        from pyarrow import parquet as pq

        if self._open[0] != shard:
            self._open = shard, pq.ParquetFile(shard_path(self._folder, shard))
        return self._open[1].read_row_group(group, columns=["text"])["text"].to_pylist()
