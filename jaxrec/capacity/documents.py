"""The data of a task: files below one directory, read as documents.

A document is a mapping of fields. JSON lines, JSON lists, CSV and TSV are read by their names,
gzipped or not; a text file gives one document with the whole text. A task whose documents follow
a rule, such as sums, makes them in place of a file. Documents that lack a field
which the task needs are left out, counted and named, so that no figure stands on fewer documents
than its reader thinks.
"""

import csv
import dataclasses
import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxrec.core import ConfigError, DataError, JaxrecError
from jaxrec.data import files, read_json_rows

Document = Mapping[str, Any]
Prepare = Callable[[list[Document], Path], Sequence[Document]]

# Field that every document gets: its file below the data directory and its number in it, from 1.
ID = "_id"
_TABLES = {".csv": ",", ".tsv": "\t"}
_JSON = (".json", ".jsonl")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """Where the documents of a task come from.

    Attributes:
      files: names below the data directory, without `.gz`; `*` stands for any characters of a name.
        The ending says the form: `.jsonl`, `.json`, `.csv`, `.tsv` or `.txt`.
      fields: names of the fields that a document must have.
      make: returns documents that no file holds; they must be the same each time.
      prepare: changes the documents of one file, for instance cuts a text into pages; it gets them
        and the data directory.
      held_out: number of documents at the end of each file that are asked; those before them are
        for demonstrations. None asks all that are not shown as demonstrations.

    Raises:
      ConfigError: neither files nor `make`, an ending that is not known, or a number below 1.

    Example:
      >>> Source(files=("blimp/*.jsonl",), fields=("sentence_good", "sentence_bad")).fields
      ('sentence_good', 'sentence_bad')
    """

    files: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    make: Callable[[], Sequence[Document]] | None = None
    prepare: Prepare | None = None
    held_out: int | None = None

    def __post_init__(self) -> None:
        for name in ("files", "fields"):
            if isinstance(getattr(self, name), str):
                raise ConfigError(
                    f"{name} must be a tuple of names, got one: ({getattr(self, name)!r},)"
                )
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not self.files and self.make is None:
            raise ConfigError(
                "files is empty; name the files of the task's documents, or give make, which "
                "returns them"
            )
        for name in self.files:
            if Path(name).suffix not in (*_TABLES, *_JSON, ".txt"):
                raise ConfigError(
                    f"the file {name!r} has an unknown ending; expected .jsonl, .json, .csv, .tsv "
                    "or .txt, without .gz"
                )
        if self.held_out is not None and self.held_out < 1:
            raise ConfigError(f"held_out must be at least 1, or None, got {self.held_out}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Documents:
    """The documents of a task.

    Attributes:
      asked: those that the model is asked about, file after file.
      shown: those that demonstrations are taken from.
      missing: for each field, the number of documents without it, which are left out.
      first_missing: the first document that is left out; "" for none.
    """

    asked: tuple[Document, ...]
    shown: tuple[Document, ...] = ()
    missing: Mapping[str, int] = dataclasses.field(default_factory=dict)
    first_missing: str = ""


def data_directory(path: str | os.PathLike[str] | None = None) -> Path:
    """Return the directory below which the files of tasks lie.

    Args:
      path: the directory; None for JAXREC_DATA.

    Raises:
      DataError: there is no such directory, or neither is given.

    Example:
      >>> import tempfile
      >>> data_directory(tempfile.gettempdir()).is_dir()
      True
    """
    given = path if path is not None else os.environ.get("JAXREC_DATA")
    if not given:
        raise DataError(
            "the data of tasks are looked for below JAXREC_DATA, which is not set; set it to the "
            "directory of your data, or give the directory by --data"
        )
    root = Path(given).expanduser()
    if not root.is_dir():
        raise DataError(f"{root} is no directory; give the directory of the tasks' data by --data")
    return root


def find_files(source: Source, directory: Path) -> list[Path]:
    """Return the files of a source in the order of their names.

    Args:
      source: what the task needs.
      directory: of the data.

    Raises:
      DataError: there is no file of one of the names, neither plain nor gzipped.

    Example:
      >>> import tempfile
      >>> directory = Path(tempfile.mkdtemp())
      >>> _ = (directory / "a.jsonl").write_text("{}")
      >>> [path.name for path in find_files(Source(files=("*.jsonl",)), directory)]
      ['a.jsonl']
    """
    found: dict[str, Path] = {}
    for name in source.files:
        # A plain file is found last, so it takes the place of a packed one of the same name.
        paths = [*directory.glob(f"{name}.gz"), *directory.glob(name)]
        if not paths:
            raise DataError(
                f"{directory / name}[.gz] does not exist; put the data there, or give another "
                "directory by --data"
            )
        found |= {str(path).removesuffix(".gz"): path for path in paths}
    return [found[name] for name in sorted(found)]


def read_documents(
    source: Source, directory: Path, *, limit: int | None = None, shots: int = 0
) -> Documents:
    r"""Read the documents of a task.

    Args:
      source: what the task needs.
      directory: of the data.
      limit: most documents of each file that are asked; None for all.
      shots: number of documents at the beginning that are demonstrations; they are not asked.

    Returns:
      The documents. Each has its file and number as the field `_id`.

    Raises:
      ConfigError: `limit` is below 1, or `shots` is negative.
      DataError: a file is missing or damaged, all its documents lack a field, or there are too few
        for the demonstrations.

    Example:
      >>> import tempfile
      >>> directory = Path(tempfile.mkdtemp())
      >>> _ = (directory / "sums.csv").write_text("question,answer\n1+1,2\n2+2,\n")
      >>> source = Source(files=("sums.csv",), fields=("question", "answer"))
      >>> found = read_documents(source, directory)
      >>> found.asked[0]["question"], found.missing, found.first_missing
      ('1+1', {'answer': 1}, 'sums.csv:2')
    """
    if limit is not None and limit < 1:
        raise ConfigError(f"limit must be at least 1, or None for all documents, got {limit}")
    if shots < 0:
        raise ConfigError(f"shots must not be negative, got {shots}")
    asked: list[Document] = []
    shown: list[Document] = []
    missing = dict.fromkeys(source.fields, 0)
    first = ""
    for path, name, read in _parts(source, directory):
        rows: Sequence[Document] = [
            {**row, ID: f"{name}:{number}"} for number, row in enumerate(read, start=1)
        ]
        if source.prepare is not None:
            rows = [
                {ID: f"{name}:{number}", **row}
                for number, row in enumerate(
                    _prepared(source.prepare, rows, directory, (str(path), f"{name}:")), start=1
                )
            ]
        whole = []
        for row in rows:
            absent = [field for field in source.fields if row.get(field) in (None, "")]
            for field in absent:
                missing[field] += 1
            if absent:
                first = first or str(row[ID])
            else:
                whole.append(row)
        if not whole:
            raise DataError(
                f"{path}: none of {len(rows)} documents has the fields {', '.join(source.fields)}; "
                f"fields of the first: {field_names(rows[0]) if rows else 'none'}"
            )
        start = _first_asked(path, len(whole), len(shown), source.held_out, shots)
        shown += whole[:start]
        asked += whole[start:][:limit]
    return Documents(
        asked=tuple(asked),
        shown=tuple(shown[:shots]),
        missing={field: count for field, count in missing.items() if count},
        first_missing=first,
    )


def field_names(document: Document) -> str:
    """Return the fields of a document as an error message lists them, without our own.

    Example:
      >>> field_names({"_id": "birds.jsonl:1", "animal": "emu", "flies": False})
      'animal, flies'
    """
    return files.listed(name for name in document if name != ID)


def _prepared(
    prepare: Prepare, rows: Sequence[Document], directory: Path, names: tuple[str, str]
) -> Sequence[Document]:
    """Prepare the documents of a file; every error has the file or a document by its name."""
    path, _ = names
    try:
        return prepare(list(rows), directory)
    except (ConfigError, DataError) as error:
        if any(name in str(error) for name in names):
            raise
        raise type(error)(f"{path}: {error}") from error
    except JaxrecError:
        raise
    except (Exception, SystemExit) as error:
        raise DataError(
            f"{path}: the documents cannot be prepared: {type(error).__name__}: {error}; correct "
            "the file, or the function prepare of the task's Source"
        ) from error


def _parts(source: Source, directory: Path) -> Iterator[tuple[Path | str, str, Sequence[Document]]]:
    """What errors call each part of the documents, its name in their identifiers, and its rows."""
    for path in find_files(source, directory):
        yield path, str(path.relative_to(directory)).removesuffix(".gz"), _read(path)
    if source.make is not None:
        yield "documents made by rule", "made", source.make()


def _first_asked(
    path: Path | str, count: int, before: int, held_out: int | None, shots: int
) -> int:
    """Place of the first document of a file that is asked; those before it may be shown."""
    if held_out is None:
        start = max(0, shots - before)
        if start >= count:
            raise DataError(
                f"{path}: {count} documents do not suffice for {shots} demonstrations and a "
                "question; lower --shots"
            )
        return start
    start = max(0, count - held_out)
    if before + start < shots:
        raise DataError(
            f"{path}: the last {held_out} documents are asked, which leaves {start} for {shots} "
            "demonstrations; lower --shots, or give more documents"
        )
    return start


def _read(path: Path) -> list[dict[str, Any]]:
    suffix = Path(path.name.removesuffix(".gz")).suffix
    if suffix in _JSON:
        return read_json_rows(path, "documents", ["the task's fields"])
    text = files.decode(files.read_bytes(path), path)
    if suffix == ".txt":
        return [{"text": text}]
    try:
        table = csv.DictReader(
            io.StringIO(text, newline=""), delimiter=_TABLES[suffix], strict=True
        )
        rows = list(table)
    except csv.Error as error:
        raise DataError(
            f"{path}: line {table.line_num}: {error}; correct the line or its quotes"
        ) from error
    for number, row in enumerate(rows, start=1):
        # The reader puts cells beyond the header under the key None.
        if None in row:
            raise DataError(
                f"{path}: row {number} has more cells than the header; quote cells that hold "
                f"{_TABLES[suffix]!r}"
            )
    return rows
