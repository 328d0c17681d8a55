r"""The documents of a few files in memory: how systems that learn from texts read them.

A corpus that does not fit into memory is prepared by `jaxrec corpus` and read as token blocks.
"""

import dataclasses
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from jaxrec.core import DataError
from jaxrec.data.corpora.documents import Document, Source, read_documents


@dataclasses.dataclass(frozen=True, eq=False)
class Texts:
    """Documents, and what was left out.

    Attributes:
      documents: the texts, in the order of the files.
      rejected: number of documents left out, by reason.
    """

    documents: list[str]
    rejected: Mapping[str, int]


def left_out(rejected: Mapping[str, int]) -> str:
    """Say what was left out and why, in a line to print; "" if nothing was.

    Args:
      rejected: numbers by reason.

    Example:
      >>> left_out({"empty": 2, "not JSON": 1})
      'left out: 2 empty, 1 not JSON'
    """
    return f"left out: {_reasons(rejected)}" if rejected else ""


def read_texts(source: Source, name: str, append: Sequence[str] = ()) -> Texts:
    r"""Read all documents of a source.

    Args:
      source: its files and how to read them.
      name: what the setting `data.name` calls them, for messages.
      append: further columns of a record that follow in its document; see `read_documents`.

    Raises:
      DataError: a file is missing or damaged, has no text column, or there is no document.

    Example:
      >>> import tempfile
      >>> path = Path(tempfile.mkdtemp()) / "poems.txt"
      >>> _ = path.write_text("one\n\ntwo\nlines\n\n\n")
      >>> read_texts(Source(paths=(str(path),), form="blank_lines"), "poems").documents
      ['one\n', 'two\nlines\n']
    """
    documents, rejected = [], Counter[str]()
    try:
        for row in read_documents(source, append):
            if isinstance(row, Document):
                documents.append(row.text)
            else:
                rejected[row.reason] += 1
    except DataError as error:
        # Settings of a source are settings of the data here.
        raise DataError(str(error).replace("--source.", "--data.")) from error
    if not documents:
        raise DataError(
            f"data.name {name}: no document in {', '.join(source.paths[:3])} "
            f"({_reasons(rejected) or 'the files are empty'}); give files of text"
        )
    return Texts(documents, dict(sorted(rejected.items())))


def find_text(path: str) -> Path:
    """Find a file of text: below JAXREC_DATA, unless the path is absolute, or where it says.

    Raises:
      DataError: there is no such file; the message says where it was looked for.

    Example:
      >>> find_text("nowhere.txt")  # doctest: +ELLIPSIS
      Traceback (most recent call last):
      jaxrec.core.errors.DataError: nowhere.txt was not found (searched ...
    """
    wanted, root = Path(path).expanduser(), os.environ.get("JAXREC_DATA")
    places = [Path(root).expanduser() / wanted] if root and not wanted.is_absolute() else []
    for place in (*places, wanted):
        if place.is_file():
            return place
    searched = ", ".join(str(place) for place in (*places, wanted))
    raise DataError(
        f"{path} was not found (searched {searched}); give a file of text, JSON lines or Parquet, "
        "or put it below the directory JAXREC_DATA"
    )


def _reasons(rejected: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in rejected.items())
