"""`jaxrec skills RUN FILE`: the skills that a trained tagger finds in the texts of a file."""

import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Annotated

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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Tag the texts of a file.

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
    for number, (text, spans) in enumerate(
        zip(texts, tag(config, options.run, texts), strict=True)
    ):
        kept = [span for span in spans if span.probability >= options.least]
        counts.update(span.kind for span in kept)
        record = {_FIELD: text, "spans": [dataclasses.asdict(span) for span in kept]}
        lines.append(json.dumps(record, ensure_ascii=False))
        if out is None:
            for span in kept:
                print(
                    f"{number + 1:>5}  {span.kind:<10} {span.probability:.2f}  "
                    f"{printable(' '.join(span.text.split()))}"
                )
    if out is not None:
        write_text(out, "\n".join(lines) + "\n")
        print(f"wrote {quoted(out)}")
    total = sum(counts.values())
    print(
        json.dumps({"texts": len(texts), "spans": total, "by_kind": dict(sorted(counts.items()))})
    )


def read_texts(path: Path) -> list[str]:
    r"""Read texts: the lines of a text file that are not empty, or "text" of JSON lines.

    Args:
      path: the file, plain or gzipped.

    Raises:
      DataError: no texts, or a record without one.

    Example:
      >>> import tempfile
      >>> path = Path(tempfile.mkdtemp()) / "a.txt"
      >>> _ = path.write_text("know Python\n\nlead a team\n")
      >>> read_texts(path)
      ['know Python', 'lead a team']
    """
    if {".json", ".jsonl"} & set(path.suffixes):
        rows = read_json_rows(path, "texts", [_FIELD])
        for number, row in enumerate(rows, start=1):
            if not isinstance(row.get(_FIELD), str):
                raise DataError(
                    f"{path}: record {number} has no text in {_FIELD!r}, got "
                    f"{files.shown(row.get(_FIELD))}"
                )
        return [row[_FIELD] for row in rows]
    lines = [line.strip() for line in files.decode(files.read_bytes(path), path).splitlines()]
    texts = [line for line in lines if line]
    if not texts:
        raise DataError(f"{path} holds no texts; give a file with one text a line")
    return texts
