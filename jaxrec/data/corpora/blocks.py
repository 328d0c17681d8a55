"""Blocks of tokens: documents in a row, each followed by the end token, cut to one length.

tokens    5 7 6 E 9 8 | 4 E 3 3 E .     E ends a document, . is padding
segments  0 0 0 0 1 1 | 0 0 1 1 1 -1    which document of the block; -1 for padding

A document that does not fit goes on in the next block. The last block of a shard is padded, so that
shards do not depend on one another.
"""

import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.core import DataError, check_file, write_bytes
from jaxrec.data.corpora.shards import shard_path

SUFFIXES = {"array_record": ".array_record", "parquet": ".parquet"}
_FIELDS = ("tokens", "segments")


def pack_blocks(
    documents: Iterable[Sequence[int]], length: int, *, end: int, padding: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield blocks of the documents' tokens.

    Args:
      documents: the tokens of each.
      length: T, tokens of a block.
      end: the token after each document.
      padding: the token that fills the last block.

    Yields:
      int32 [T] tokens and int32 [T] segments, which count the documents of a block from 0; -1 is
      padding.

    Example:
      >>> for tokens, segments in pack_blocks([[5, 7, 6], [9, 8, 4]], 6, end=1, padding=0):
      ...     print(tokens.tolist(), segments.tolist())
      [5, 7, 6, 1, 9, 8] [0, 0, 0, 0, 1, 1]
      [4, 1, 0, 0, 0, 0] [0, 0, -1, -1, -1, -1]
    """
    tokens = np.full(length, padding, np.int32)
    segments = np.full(length, -1, np.int32)
    used = number = 0
    for document in documents:
        rest = np.append(np.asarray(document, np.int32), np.int32(end))
        while len(rest):
            part = rest[: length - used]
            tokens[used : used + len(part)] = part
            segments[used : used + len(part)] = number
            used, rest = used + len(part), rest[len(part) :]
            if used == length:
                yield tokens.copy(), segments.copy()
                tokens[:], segments[:] = padding, -1
                used, number = 0, -1 if not len(rest) else 0
        number += 1
    if used:
        yield tokens, segments


def write_blocks(path: Path, blocks: Iterable[tuple[np.ndarray, np.ndarray]]) -> int:
    """Write blocks to a file whose ending names its format, and return how many there are.

    A record of array_record is the block's int32 tokens, then its int32 segments, little-endian.
    Parquet has the columns tokens and segments, which are lists.

    Raises:
      ResourceError: the disk is full or the directory cannot be written.
    """
    rows = list(blocks)
    if path.suffix == ".parquet":
        import pyarrow as pa
        from pyarrow import parquet as pq

        columns = {
            name: pa.array([row[n].tolist() for row in rows], pa.list_(pa.int32()))
            for n, name in enumerate(_FIELDS)
        }
        buffer = io.BytesIO()
        pq.write_table(pa.table(columns), buffer)
        write_bytes(path, buffer.getvalue())
    else:
        _write_records(path, [np.concatenate(row).astype("<i4").tobytes() for row in rows])
    return len(rows)


def _write_records(path: Path, records: Sequence[bytes]) -> None:
    from array_record.python.array_record_module import ArrayRecordWriter

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    writer = ArrayRecordWriter(str(temporary), "group_size:1")
    for record in records:
        writer.write(record)
    writer.close()
    write_bytes(path, temporary.read_bytes())
    temporary.unlink()


class BlockSource:
    """The blocks of a corpus by number, as Grain reads them: `len` and `[]`.

    Args:
      directory: of a corpus, with the folder `blocks`.

    Raises:
      DataError: there are no blocks, or a file is damaged.

    Example:
      >>> import tempfile
      >>> place = Path(tempfile.mkdtemp())
      >>> blocks = pack_blocks([[5, 7], [9, 8, 4]], 4, end=1, padding=0)
      >>> write_blocks(place / "blocks" / "00000.array_record", blocks)
      2
      >>> source = BlockSource(place)
      >>> len(source), source[1]["tokens"].tolist()
      (2, [8, 4, 1, 0])
    """

    def __init__(self, directory: Path) -> None:
        folder = Path(directory) / "blocks"
        files = {suffix: sorted(folder.glob(f"[0-9]*{suffix}")) for suffix in SUFFIXES.values()}
        found = [(suffix, paths) for suffix, paths in files.items() if paths]
        if len(found) != 1:
            what = "no blocks" if not found else "blocks of two formats"
            raise DataError(f"{folder}: there are {what}; prepare it by jaxrec corpus")
        suffix, paths = found[0]
        opener = _Table if suffix == ".parquet" else _Records
        self._shards = [_opened(path, opener) for path in paths]
        self._starts = np.cumsum([0, *map(len, self._shards)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, number: Any) -> dict[str, np.ndarray]:
        """Return int32 [T] "tokens" and "segments" of a block."""
        if not 0 <= number < len(self):
            raise IndexError(f"block {number} of {len(self)}")
        shard = int(np.searchsorted(self._starts, number, side="right")) - 1
        row = self._shards[shard][int(number) - int(self._starts[shard])]
        return dict(zip(_FIELDS, row, strict=True))


def _opened(path: Path, opener: Any) -> Any:
    check_file(path)
    try:
        return opener(path)
    except Exception as error:  # both libraries raise many types for damaged files
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path}: damaged ({reason}); prepare the corpus again") from error


class _Records:
    def __init__(self, path: Path) -> None:
        from array_record.python.array_record_data_source import ArrayRecordDataSource

        self._source = ArrayRecordDataSource(str(path))

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, row: int) -> np.ndarray:
        return np.frombuffer(self._source[row], "<i4").reshape(2, -1).astype(np.int32)


class _Table:
    def __init__(self, path: Path) -> None:
        from pyarrow import parquet as pq

        table = pq.read_table(path)
        self._columns = [
            np.array(table[name].to_pylist(), np.int32).reshape(len(table), -1) for name in _FIELDS
        ]

    def __len__(self) -> int:
        return len(self._columns[0])

    def __getitem__(self, row: int) -> list[np.ndarray]:
        return [column[row] for column in self._columns]


def block_path(directory: Path, number: int, form: str) -> Path:
    """Return where a shard of blocks lies."""
    return shard_path(directory / "blocks", number, SUFFIXES[form])
