r"""Preferences as records: a prompt, the answer that is chosen and those that are rejected.

    {"prompt": "Name a film.", "chosen": "Heat.", "rejected": "A film is a moving picture."}
    {"prompt": "Name a film.", "chosen": "Heat.", "rejected": ["What?", "No."]}

This is the form in which data sets of preferences are published. A record is feedback that ranks
the chosen answer first and ties the rejected ones.
"""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxrec.align.feedback import Feedback
from jaxrec.core import DataError, nearest
from jaxrec.data import files

_FIELDS = ("prompt", "chosen", "rejected")


def read_preferences(path: str | os.PathLike[str]) -> list[Feedback]:
    r"""Read a file of preferences, JSON lines, gzipped if the name ends in `.gz`.

    Other fields of a record are not read.

    Args:
      path: of the file.

    Returns:
      Rankings, in the order of the file; the labeler is the name of the file.

    Raises:
      DataError: the file is missing, empty or damaged, or a record has a prompt or an answer that
        is empty or no text, no rejected answer, or a rejected answer that is the chosen one. The
        message names the lines; nothing is loaded.

    Example:
      >>> import tempfile
      >>> path = Path(tempfile.mkdtemp()) / "pairs.jsonl"
      >>> _ = path.write_text('{"prompt": "Hi", "chosen": "Hello.", "rejected": ["No.", "Go!"]}\n')
      >>> record = read_preferences(path)[0]
      >>> record.answers, record.ranks
      (('Hello.', 'No.', 'Go!'), (1, 2, 2))
    """
    path = Path(path)
    found = []
    for line, record, bad in files.read_json_lines(path):
        try:
            found.append(_feedback(record, path.name))
        except DataError as error:
            bad.add(line, str(error))  # the reader raises one error at the end
    return found


def make_preference(prompt: str, chosen: str, rejected: tuple[str, ...], labeler: str) -> Feedback:
    """Make the feedback that prefers one answer to others.

    Args:
      prompt: text of the prompt, which also names it.
      chosen: the preferred answer.
      rejected: the others, at least one.
      labeler: who prefers it.

    Raises:
      DataError: a text is empty, or the chosen answer is among the rejected ones.

    Example:
      >>> make_preference("Hi", "Hello.", ("No.",), "ann").ranks
      (1, 2)
    """
    for name, text in (("chosen", chosen), *(("rejected", text) for text in rejected)):
        if not text.strip():
            raise DataError(
                f"the {name} answer to {files.shown(prompt)} is empty; leave the record out"
            )
    if chosen in rejected:
        raise DataError(
            f"the chosen and a rejected answer to {files.shown(prompt)} are both "
            f"{files.shown(chosen)}, which says nothing about a preference; leave the record out"
        )
    return Feedback(
        prompt_id=hashlib.sha256(prompt.encode("utf-8", "backslashreplace")).hexdigest()[:16],
        prompt=prompt,
        answers=(chosen, *rejected),
        labeler=labeler,
        kind="ranking",
        payload={"ranks": [1, *[2] * len(rejected)]},
        time=0.0,
    )


def _feedback(record: Mapping[str, Any], labeler: str) -> Feedback:
    for name in _FIELDS:
        if name not in record:
            raise DataError(
                f"no key {name!r}{nearest(name, files.usual(record))}; a preference has the keys "
                f"{', '.join(_FIELDS)}"
            )
    rejected = record["rejected"]
    rejected = [rejected] if isinstance(rejected, str) else rejected
    if not isinstance(rejected, list) or not rejected:
        raise DataError(
            f"'rejected' must be a text or a list of texts, got {files.shown(rejected)}"
        )
    for name, text in (
        ("prompt", record["prompt"]),
        ("chosen", record["chosen"]),
        *(("rejected", text) for text in rejected),
    ):
        if not isinstance(text, str):
            raise DataError(f"{name!r} must be a text, got {files.shown(text)}")
    return make_preference(record["prompt"], record["chosen"], tuple(rejected), labeler)
