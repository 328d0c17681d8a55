"""Documents of a corpus, read as a stream from text, JSON lines and Parquet, plain or gzipped.

A reader yields a `Document` for each document, or a `Rejected` with the reason why a row is none,
so that bad rows are counted and not lost. A file that is damaged as a whole is an error.
"""

import dataclasses
import itertools
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from jaxrec.core import ConfigError, DataError, RepeatedKey, check_file, nearest, unique_keys
from jaxrec.data import contents, files, parquet

Form = Literal["auto", "file", "blank_lines", "end_marks", "wikitext", "json_lines", "parquet"]

END_MARK = "<|endoftext|>"
LONGEST = 1 << 26  # bytes of a document; a larger one is rejected while it is read
# Names of text columns that published corpora use, in the order in which they are looked for.
TEXT_COLUMNS = ("text", "content", "document", "body", "raw_content", "article", "passage")
_HEADING = re.compile(rb"= [^=].* =\n")  # of the first level: "= Title ="
_PROBED = 100  # records that a file's text column is looked for in
_BLOCK = 1 << 16
_SUFFIXES: Mapping[str, Form] = {
    ".jsonl": "json_lines",
    ".ndjson": "json_lines",
    ".json": "json_lines",
    ".parquet": "parquet",
}
_TEXT_SUFFIXES = (".txt", ".text", ".md", ".raw", ".tokens")


@dataclasses.dataclass(frozen=True, slots=True)
class Document:
    """A text and where it comes from.

    Attributes:
      id: distinct within a corpus: the file's path below the corpus, "#" and the row from 0.
      text: the text.
      meta: further columns of the row, by name.

    Example:
      >>> Document("a.txt#0", "A film.").text
      'A film.'
    """

    id: str
    text: str
    meta: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Rejected:
    """What is left of a document that a reader or a filter drops.

    Attributes:
      id: of the document.
      reason: a short name that reports count by.
    """

    id: str
    reason: str


Read = Document | Rejected


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """Files of a corpus and how to read them.

    Attributes:
      paths: files, directories (all files below them that have a known ending, by name) or patterns
        such as "crawl/*.jsonl.gz".
      form: how a file holds documents. "file" is one document a file, "blank_lines" separates them
        by blank lines, "end_marks" by <|endoftext|>, and "wikitext" by headings of the first level,
        where lines lose the spaces around them. "auto" takes JSON lines and Parquet by the file's
        ending, and one document a file otherwise.
      column: the column of the text; empty to look for it under the usual names.
      keep: further columns to keep as metadata.
    """

    paths: tuple[str, ...] = ()
    form: Form = "auto"
    column: str = ""
    keep: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Reject an unknown form."""
        if self.form not in get_args(Form):
            raise ConfigError(
                f"--source.form {self.form!r} is unknown{nearest(str(self.form), get_args(Form))}; "
                f"forms: {', '.join(get_args(Form))}"
            )


def find_files(source: Source, option: str = "--source.paths") -> list[tuple[str, Path]]:
    """Return the files of a source: a name for IDs and the path, in the order of the paths.

    Args:
      source: its paths, of which none may be empty.
      option: the setting that named the paths, for messages.

    Raises:
      DataError: a path is empty, does not exist, is no regular file or matches nothing, or two
        files have one name.

    Example:
      >>> import tempfile
      >>> place = Path(tempfile.mkdtemp())
      >>> for name in ("b.txt", "a.jsonl"):
      ...     _ = (place / name).write_text("x")
      >>> [name for name, _ in find_files(Source(paths=(str(place),)))]
      ['a.jsonl', 'b.txt']
    """
    if not source.paths:
        raise DataError(f"{option} is empty; give files, directories or patterns")
    found: list[tuple[str, Path]] = []
    for word in source.paths:
        if not word.strip():
            # Path("") is the present directory.
            raise DataError(f"{option} has an empty path {word!r}; give . for this directory")
        path = Path(word).expanduser()
        if path.is_dir():
            inside = [p for p in sorted(path.rglob("*")) if p.is_file() and form_of(p)]
            matches = [(p.relative_to(path).as_posix(), p) for p in inside]
            missing = "this directory has no files of text, JSON lines or Parquet"
        elif any(mark in word for mark in "*?["):
            root = Path(path.anchor) if path.is_absolute() else Path()
            pattern = str(path.relative_to(root))
            matches = [(p.name, p) for p in sorted(root.glob(pattern)) if p.is_file()]
            missing = "no file matches this pattern"
        else:
            matches, missing = [(path.name, path)] if path.exists() else [], "no such file"
            if matches:
                check_file(path)
        if not matches:
            raise DataError(f"{word}: {missing}; check {option}")
        found += matches
    twice = [name for name, count in Counter(name for name, _ in found).items() if count > 1]
    if twice:
        # Names that differ in their directories alone.
        found = [(path.as_posix(), path) for _, path in found]
        again = [name for name, count in Counter(n for n, _ in found).items() if count > 1]
        if again:
            raise DataError(f"{again[0]}: the file is in {option} twice; give it once")
    return found


def read_documents(source: Source, append: Sequence[str] = ()) -> Iterator[Read]:
    r"""Yield the documents of all files of a source, in order, with bad rows as `Rejected`.

    The text column of every file is found before the first document is yielded.

    Args:
      source: the files and how to read them.
      append: further columns of JSON lines and Parquet whose texts follow that of the text column,
        each on a new line.

    Raises:
      DataError: a file is missing or damaged, or has no text column.

    Example:
      >>> import tempfile
      >>> path = Path(tempfile.mkdtemp()) / "a.jsonl"
      >>> _ = path.write_text('{"text": "A film."}\n{"text": ""}\n{"title": "B"}\n')
      >>> for row in read_documents(Source(paths=(str(path),))):
      ...     print(row)
      Document(id='a.jsonl#0', text='A film.', meta={})
      Rejected(id='a.jsonl#1', reason='empty')
      Rejected(id='a.jsonl#2', reason='no text column')
    """
    readers = [_reader(name, path, source, append) for name, path in find_files(source)]
    return itertools.chain.from_iterable(reader() for reader in readers)


def read_file(path: Path, source: Source, *, name: str = "") -> Iterator[Read]:
    """Yield the documents of one file; see `read_documents`.

    Args:
      path: the file.
      source: how to read it; its paths are not read.
      name: what the documents' IDs begin with; the file's name by default.

    Raises:
      DataError: the file is missing or damaged, or has no text column.
    """
    return _reader(name or path.name, path, source)()


def form_of(path: Path) -> Form | None:
    """Return the form that a file's ending names: text is one document a file; None if unknown.

    Example:
      >>> form_of(Path("crawl.jsonl.gz")), form_of(Path("film.mp4"))
      ('json_lines', None)
    """
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    last = suffixes[-1] if suffixes else ""
    return _SUFFIXES.get(last, "file" if last in _TEXT_SUFFIXES else None)


def _reader(
    name: str, path: Path, source: Source, append: Sequence[str] = ()
) -> Callable[[], Iterator[Read]]:
    """Check a file, and return the function that yields its documents."""
    form = source.form if source.form != "auto" else form_of(path) or "file"
    make: Callable[[Any], Any]
    if form == "parquet":
        column = _parquet_column(path, source)
        wanted = dict.fromkeys((column, *append, *source.keep))
        # The names of all columns are checked now, the rows when they are read.
        files.check_names(path, parquet.column_names(path), wanted)

        def rows() -> Iterator[Any]:
            return parquet.read_rows(path, list(wanted))

        make = _record_maker((column, *append), source.keep)
    elif form == "json_lines":
        column = _json_column(path, source, append)

        def rows() -> Iterator[Any]:
            return _lines(path)

        make = _json_maker(_record_maker((column, *append), source.keep))
    else:
        contents.read_head(path, 1)  # a missing file is an error before any work
        split = _SPLITTERS[form]

        def rows() -> Iterator[Any]:
            return split(path)

        make = _text_of_bytes

    def read() -> Iterator[Read]:
        for number, row in enumerate(rows()):
            made = make(row)
            where = f"{name}#{number}"
            if isinstance(made, str):
                yield Rejected(where, made)
            else:
                yield Document(where, *made)

    return read


def _record_maker(
    columns: Sequence[str], keep: Sequence[str]
) -> Callable[[Mapping[str, Any]], Any]:
    """Return a function from a record to (text, meta), or to the reason why it is no document."""

    def make(record: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]] | str:
        parts = []
        for column in columns:
            if column not in record:
                return "no text column"
            if record[column] is None:
                return "empty"
            if not isinstance(record[column], str):
                return "text is no string"
            parts.append(record[column])
        text = "\n".join(parts)
        fault = _fault(text)
        kept = {name: record[name] for name in keep if name in record}
        return fault or (text, kept)

    return make


def _json_maker(make: Callable[[Mapping[str, Any]], Any]) -> Callable[[bytes | None], Any]:
    def parse(line: bytes | None) -> Any:
        if line is None:
            return "too long"
        try:
            record = json.loads(line, object_pairs_hook=unique_keys)
        except UnicodeDecodeError:
            return "not UTF-8"
        except RepeatedKey:
            return "a key twice"
        except (ValueError, RecursionError):
            return "not JSON"
        return make(record) if isinstance(record, dict) else "not a JSON object"

    return parse


def _text_of_bytes(raw: bytes | None) -> tuple[str] | str:
    if raw is None:
        return "too long"
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return "not UTF-8"
    return _fault(text) or (text,)


def _fault(text: str) -> str | None:
    """Return the reason why a text is no document, or None."""
    if not text or text.isspace():
        return "empty"
    if "\0" in text:
        return "binary"
    if len(text) > LONGEST:
        return "too long"
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return "half a character"
    return None


def _lines(path: Path) -> Iterator[bytes | None]:
    """Yield the lines of a file that are not blank; None for one that is too long."""
    with contents.open_stream(path) as file:
        first = True
        while line := file.readline(LONGEST):
            if len(line) == LONGEST and not line.endswith(b"\n"):
                while (rest := file.readline(LONGEST)) and not rest.endswith(b"\n"):
                    pass
                yield None
            elif line.strip():
                yield line.removeprefix(b"\xef\xbb\xbf") if first else line
            first = False


def _whole(path: Path) -> Iterator[bytes | None]:
    with contents.open_stream(path) as file:
        raw = file.read(LONGEST + 1)
    yield raw if len(raw) <= LONGEST else None


def _marked(path: Path) -> Iterator[bytes | None]:
    """Yield what stands between the marks; an empty rest after the last one is no document."""
    mark, rest, long = END_MARK.encode(), b"", False
    with contents.open_stream(path) as file:
        while block := file.read(_BLOCK):
            *whole, rest = (rest + block).split(mark)
            for raw in whole:
                yield None if long or len(raw) > LONGEST else raw
                long = False
            if len(rest) > LONGEST:
                # The end of what is dropped may hold the beginning of a mark.
                rest, long = rest[-len(mark) :], True
    if long or rest.strip():
        yield None if long else rest


def _grouped(
    path: Path, starts: Callable[[bytes], bool], *, drop: bool = False, trim: bool = False
) -> Iterator[bytes | None]:
    """Yield runs of lines; a line for which `starts` is true begins one, or is dropped.

    With `trim`, lines lose the spaces around them.
    """
    lines: list[bytes] = []
    size, blank = 0, True
    with contents.open_stream(path) as file:
        while line := file.readline(LONGEST):
            if trim:
                line = line.strip() + b"\n"
            if starts(line):
                if not blank:
                    yield b"".join(lines) if size <= LONGEST else None
                lines, size, blank = [], 0, True
                if drop:
                    continue
            size += len(line)
            blank = blank and not line.strip()
            if size <= LONGEST:
                lines.append(line)
    if not blank:
        yield b"".join(lines) if size <= LONGEST else None


def _blank_lines(path: Path) -> Iterator[bytes | None]:
    return _grouped(path, lambda line: not line.strip(), drop=True)


def _wikitext(path: Path) -> Iterator[bytes | None]:
    # Headings of other levels are "= = Part = =".
    def starts(line: bytes) -> bool:
        return _HEADING.fullmatch(line) is not None and not line.rstrip().endswith(b"= =")

    return _grouped(path, starts, trim=True)


_SPLITTERS: Mapping[str, Callable[[Path], Iterator[bytes | None]]] = {
    "file": _whole,
    "blank_lines": _blank_lines,
    "end_marks": _marked,
    "wikitext": _wikitext,
}


def _parquet_column(path: Path, source: Source) -> str:
    if source.column:
        return source.column
    return _choose(path, parquet.text_columns(path), parquet.column_names(path))


def _json_column(path: Path, source: Source, append: Sequence[str] = ()) -> str:
    """Return the text column of a file of JSON lines, looked for in its first records.

    The columns to append must be there too.

    A file whose first lines are no records is read with the usual name, so that each line is
    counted as what it is.
    """
    texts: dict[str, None] = {}
    names: dict[str, None] = {}
    for line in itertools.islice(_lines(path), _PROBED):
        try:
            record = json.loads(line or b"")
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            names |= dict.fromkeys(record)
            texts |= {name: None for name, value in record.items() if isinstance(value, str)}
    if not names:
        return source.column or TEXT_COLUMNS[0]
    given = [source.column] if source.column else []
    files.check_names(path, list(names), [*given, *append])
    return source.column or _choose(path, texts, names)


def _choose(path: Path, texts: Iterable[str], names: Iterable[str]) -> str:
    """Return the column of the text: one of the usual names, or the only one that holds text."""
    texts = list(texts)
    usual = [name for name in TEXT_COLUMNS if name in texts]
    if usual or len(texts) == 1:
        return usual[0] if usual else texts[0]
    found = [name for name in TEXT_COLUMNS if name in (names := list(names))]
    if found:
        raise DataError(
            f"{path}: column {found[0]!r} holds no text; columns of text: "
            f"{files.listed(texts) or 'none'}; write strings, or choose a column by --source.column"
        )
    raise DataError(
        f"{path}: no column is called {', '.join(TEXT_COLUMNS[:-1])} or {TEXT_COLUMNS[-1]}; "
        f"columns: {files.listed(names)}; choose one by --source.column"
    )
