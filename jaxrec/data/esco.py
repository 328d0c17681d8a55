"""Readers of ESCO's skills: lists of labels, and sentences whose spans are linked to labels.

ESCO is the European classification of skills, competences and occupations.
"""

import csv
import dataclasses
import io
import os
from pathlib import Path

from jaxrec.core import DataError
from jaxrec.data import files

# What Decorte et al. (2022) write where a span has no label of ESCO, or only a vague one.
_NO_LABEL = ("LABEL NOT PRESENT", "UNDERSPECIFIED")


@dataclasses.dataclass(frozen=True)
class LinkedSentence:
    """A sentence with mentions of skills.

    Attributes:
      text: of the sentence.
      links: each mention as (text of the span, label of ESCO); "" if the span is not marked, or if
        ESCO has no label for it.

    Example:
      >>> LinkedSentence("know HTML", (("HTML", ""),)).labels
      ()
    """

    text: str
    links: tuple[tuple[str, str], ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """The different labels of ESCO, in the order of the file."""
        return tuple(dict.fromkeys(label for _, label in self.links if label))


def read_skill_labels(path: str | os.PathLike[str]) -> list[str]:
    r"""Read a list of skills: one label in a line, perhaps with a code after a tab.

    Args:
      path: the file, plain or gzipped.

    Returns:
      The different labels, in the order of the file.

    Raises:
      DataError: there are no labels.

    Example:
      >>> import pathlib, tempfile
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "skills.txt"
      >>> _ = path.write_text("3D lighting\tK0211\nplan \n")
      >>> read_skill_labels(path)
      ['3D lighting', 'plan']
    """
    path = Path(path)
    lines = files.decode(files.read_bytes(path), path).splitlines()
    labels = list(dict.fromkeys(label for x in lines if (label := x.partition("\t")[0].strip())))
    if not labels:
        raise DataError(f"{path} holds no skills; expected one label in a line")
    return labels


def read_linked_sentences(path: str | os.PathLike[str]) -> list[LinkedSentence]:
    r"""Read annotations: CSV with "sentence", "label", and perhaps "span" and "sub_span".

    Rows of the same sentence become one record, and repeated rows count once. A "sub_span" is more
    exact than the "span", and replaces it.

    Args:
      path: the file, plain or gzipped.

    Raises:
      DataError: no rows, a missing column, or a row without sentence or label; the message names
        the line.

    Example:
      >>> import pathlib, tempfile
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "a.csv"
      >>> rows = "sentence,span,sub_span,label\nknow HTML and CSS,HTML,,LABEL NOT PRESENT\n"
      >>> _ = path.write_text(rows + "know HTML and CSS,CSS,,CSS\n" * 2)
      >>> read_linked_sentences(path)[0].links
      (('HTML', ''), ('CSS', 'CSS'))
    """
    path = Path(path)
    text = files.decode(files.read_bytes(path), path)
    reader = csv.DictReader(io.StringIO(text, newline=""))
    files.check_names(path, reader.fieldnames or [], ("sentence", "label"), "line 1: ")
    found: dict[str, dict[tuple[str, str], None]] = {}
    try:
        for row in reader:
            sentence, label = ((row.get(name) or "").strip() for name in ("sentence", "label"))
            if not sentence or not label or None in row:
                raise DataError(
                    f"{path}: line {reader.line_num}: expected a sentence and a label, and as many "
                    f"fields as the header has, got {files.shown(row)}"
                )
            span = (row.get("sub_span") or row.get("span") or "").strip()
            link = (span, "" if label in _NO_LABEL else label)
            found.setdefault(sentence, {})[link] = None
    except csv.Error as error:
        raise DataError(f"{path}: line {reader.line_num}: {error}; correct the quotes") from error
    if not found:
        raise DataError(f"{path} holds no annotations; expected rows below the header")
    return [LinkedSentence(sentence, tuple(links)) for sentence, links in found.items()]
