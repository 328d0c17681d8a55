"""`jaxrec skills RUN FILE`: the skills that a trained tagger finds in the texts of a file."""

import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import tyro

from jaxrec.cli.arguments import parse
from jaxrec.cli.run_argument import read_run
from jaxrec.core import (
    ConfigError,
    DataError,
    Share,
    check_ranges,
    check_writable,
    printable,
    quoted,
    write_text,
)
from jaxrec.data import files, read_json_rows
from jaxrec.runs import offered

_FIELD = "text"
_JSON = (".json", ".jsonl")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Tag the texts of a file.

    Without --out, each span is printed with the number of its line, or of its record.

    Attributes:
      run: the run directory of a tagger.
      file: plain text with one text a line, or JSON lines with "text" (.json, .jsonl); perhaps
        gzipped.
      out: file that receives the texts with their spans, one JSON line each; it must not exist.
      least: least probability of a span that is shown or written.
    """

    run: Annotated[Path, tyro.conf.Positional]
    file: Annotated[Path, tyro.conf.Positional]
    out: Path | None = None
    least: Share = 0.0

    def __post_init__(self) -> None:
        """Reject numbers out of range."""
        check_ranges(self, "--")


def run(arguments: list[str]) -> None:
    """Tag a file, print its spans, and end with a JSON line of counts.

    Raises:
      ConfigError: the run is no tagger, or a file would be overwritten.
      DataError: the file cannot be read, or has no texts.
    """
    options = parse(Arguments, arguments, prog="jaxrec skills")
    config = read_run(options.run)
    tag = offered(config, "tag")
    out = options.out
    if out is not None:
        if out.exists():
            raise ConfigError(f"--out {out} exists already; give another file, or remove it")
        check_writable(out.absolute().parent, "--out")
    texts = read_texts(options.file)
    counts: Counter[str] = Counter()
    lines = []
    found = tag(config, options.run, list(texts.values()))
    for (number, text), spans in zip(texts.items(), found, strict=True):
        kept = [span for span in spans if span.probability >= options.least]
        counts.update(span.kind for span in kept)
        record = {_FIELD: text, "spans": [dataclasses.asdict(span) for span in kept]}
        lines.append(json.dumps(record, ensure_ascii=False))
        if out is None:
            for span in kept:
                print(
                    f"{number:>5}  {span.kind:<10} {span.probability:.2f}  "
                    f"{printable(' '.join(span.text.split()))}"
                )
    if out is not None:
        write_text(out, "\n".join(lines) + "\n")
        print(f"wrote {quoted(out)}")
    total = sum(counts.values())
    print(
        json.dumps({"texts": len(texts), "spans": total, "by_kind": dict(sorted(counts.items()))})
    )


def read_texts(path: Path) -> dict[int, str]:
    r"""Read texts: the lines of a text file that are not empty, or "text" of JSON lines.

    Args:
      path: the file, plain or gzipped.

    Returns:
      The texts by their number in the file: of their line, counted from 1, or of their record,
      counted from 0 as in all messages about records.

    Raises:
      DataError: no texts, or a record without one.

    Example:
      >>> import tempfile
      >>> path = Path(tempfile.mkdtemp()) / "a.txt"
      >>> _ = path.write_text("know Python\n\nlead a team\n")
      >>> read_texts(path)
      {1: 'know Python', 3: 'lead a team'}
    """
    ending = path.with_suffix("").suffix if path.suffix.lower() == ".gz" else path.suffix
    if ending.lower() in _JSON:
        rows = read_json_rows(path, "texts", [_FIELD])
        texts = {number: _text(path, number, row) for number, row in enumerate(rows)}
        if not any(map(str.strip, texts.values())):
            raise DataError(f"{path}: all texts are empty; give records with words in {_FIELD!r}")
        return texts
    # Not `splitlines`, which also breaks lines at characters that editors show inside a line.
    lines = files.decode(files.read_bytes(path), path).split("\n")
    texts = {n: line.strip() for n, line in enumerate(lines, start=1) if line.strip()}
    if not texts:
        raise DataError(f"{path} holds no texts; give a file with one text a line")
    first, text = next(iter(texts.items()))
    if text.startswith(("{", "[{")) and f'"{_FIELD}"' in text:
        raise DataError(
            f"{path}: line {first} looks like JSON, and the file would be read as plain text; end "
            f"its name in {' or '.join(_JSON)}"
        )
    return texts


def _text(path: Path, number: int, row: dict[str, Any]) -> str:
    """The text of a record."""
    text = row.get(_FIELD)
    if not isinstance(text, str):
        raise DataError(
            f"{path}: record {number} has no text in {_FIELD!r}, got {files.shown(text)}"
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{path}: record {number}: {_FIELD!r} has half a character (a lone surrogate), "
            f"{text[error.start]!r}, at place {error.start}; remove it"
        ) from error
    return text
