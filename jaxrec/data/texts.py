"""Documents of plain text, or of JSON lines, for language models."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from jaxrec.core import DataError, nearest
from jaxrec.data.contents import decode, read_bytes

_BETWEEN = "\n\n"


def read_texts(path: str | os.PathLike[str], fields: Sequence[str] = ("text",)) -> list[str]:
    r"""Read the documents of a file.

    Args:
      path: a text file, whose documents are separated by blank lines, or JSON lines (`.jsonl`,
        `.json`); either may be gzipped. A relative path is looked up below JAXREC_DATA first.
      fields: fields of a JSON line that make a document together, one below the other.

    Returns:
      The documents, without empty ones.

    Raises:
      DataError: no such file, a damaged one, or a line without such a field.

    Example:
      >>> import tempfile
      >>> path = Path(tempfile.mkdtemp()) / "poems.txt"
      >>> _ = path.write_text("one\n\ntwo\nlines\n\n\n")
      >>> read_texts(path)
      ['one', 'two\nlines']
    """
    place = _find(Path(path))
    text = decode(read_bytes(place), place)
    if place.name.removesuffix(".gz").endswith((".json", ".jsonl")):
        # Not `splitlines`: JSON may have a line separator of Unicode inside a text.
        lines = enumerate(text.split("\n"), 1)
        found = [_document(place, n, line, fields) for n, line in lines if line.strip()]
    else:
        found = text.replace("\r\n", "\n").split(_BETWEEN)
    return [document for document in found if document.strip()]


def _find(path: Path) -> Path:
    path = path.expanduser()
    root = os.environ.get("JAXREC_DATA")
    places = [Path(root).expanduser() / path] if root and not path.is_absolute() else []
    for place in (*places, path):
        if place.is_file():
            return place
    searched = ", ".join(str(place) for place in (*places, path))
    raise DataError(
        f"{path} was not found (searched {searched}); give a file of text or JSON "
        "lines, or put it below the directory JAXREC_DATA"
    )


def _document(path: Path, number: int, line: str, fields: Sequence[str]) -> str:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path}: line {number} is not JSON ({error}); correct or remove it"
        ) from error
    if not isinstance(record, dict):
        raise DataError(f"{path}: line {number} is no JSON object; correct or remove it")
    for name in fields:
        if not isinstance(record.get(name), str):
            raise DataError(
                f"{path}: line {number} has no text in field {name!r}{nearest(name, record)}; "
                f"fields: {', '.join(record)}; name those that make a document"
            )
    return "\n".join(record[name] for name in fields)
