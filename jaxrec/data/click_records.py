"""Click questions as published: files of instruction records whose inputs quote titles.

TALLRec's files (Bao et al., RecSys 2023) are JSON lists of records such as

    instruction  Given the user's preference and unpreference, identify whether ...
    input        User Preference: "Alien (1979)", "Heat (1995)"
                 User Unpreference: "Titanic (1997)"
                 Whether the user will like the target movie "Scream (1996)"?
    output       Yes.

Titles are recognized by their quotes, so the records become click windows, and their wording
becomes a template that writes the same texts again. The name of an item is its quoted title with
what follows, such as an author: "Emma" written by Jane Austen.

The files do not say whose records they hold. Published files list the windows of a user one after
the other, so a record belongs to the user before it if its titles are those of the record before
it, that record's target among them. On the published movie files this finds 80 users in the
training file, 14 in the validation file and 16 in the test file, which are their true numbers.
"""

import collections
import dataclasses
import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxrec.core import DataError
from jaxrec.data.clicks import ClickWindows
from jaxrec.data.files import shown
from jaxrec.data.instructions import FIELDS, Instruction, as_record
from jaxrec.data.json_rows import read_json_rows, record_line

_FORM = (
    "two lines of quoted titles, those that the user liked first, and a question that quotes one "
    "title"
)
_BETWEEN = ", "
_QUOTED = re.compile(r'"([^"]*)"')


class Wording(NamedTuple):
    """What the records of a file have in common.

    Attributes:
      instruction: of all records.
      liked: what stands before the liked titles.
      disliked: what stands before the others.
      before: the question, up to the title.
      after: the question, after the title.
    """

    instruction: str
    liked: str
    disliked: str
    before: str
    after: str


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ClickRecords:
    """Records of several files as windows.

    Attributes:
      windows: by the name of the part. A history has its liked items first, as the files do, and is
        padded on the left with -1. A user's number is unique over all parts.
      titles: `[I]` titles, in the order in which they first occur.
      names: `[I]` how prompts write the items: the quoted title with what follows.
      wording: of all records.
      digest: sha256 of all records.
    """

    windows: Mapping[str, ClickWindows]
    titles: list[str]
    names: list[str]
    wording: Wording
    digest: str


class _Row(NamedTuple):
    """One record; items are names."""

    liked: list[str]
    disliked: list[str]
    asked: str
    label: bool


def read_click_records(
    paths: Mapping[str, Path],
    answers: tuple[str, str] = ("Yes.", "No."),
    *,
    allow_repeats: bool = False,
) -> ClickRecords:
    r"""Read files of click questions.

    Args:
      paths: the files by the name of their part, such as "train".
      answers: the output of a liked target and that of another one.
      allow_repeats: accept a title that stands twice in one record, and one that is followed by
        different texts. Two items of one title may cause the first, and are then taken for one; the
        others are told apart by what follows. Published files have a few such records.

    Raises:
      DataError: a file is missing or holds no such records; a field is missing; an output is
        neither of the answers; an instruction or a wording differs from that of the first record;
        or a title is not unique. The message names the file and the line.

    Example:
      >>> import json, pathlib, tempfile
      >>> from jaxrec.data import read_click_records
      >>> question = 'Liked: "Alien"\nNot liked: "Heat", "Emma"\nWill the user like "Cats"?'
      >>> record = {"instruction": "Answer.", "input": question, "output": "No."}
      >>> with tempfile.TemporaryDirectory() as directory:
      ...     path = pathlib.Path(directory) / "train.json"
      ...     _ = path.write_text(json.dumps([record]))
      ...     found = read_click_records({"train": path})
      >>> found.titles, found.windows["train"].history.tolist(), found.wording.before
      (['Alien', 'Heat', 'Emma', 'Cats'], [[0, 1, 2]], 'Will the user like ')
    """
    wording: tuple[Wording, str] | None = None
    rows: dict[str, list[_Row]] = {}
    follows: dict[str, str] = {}
    digest = hashlib.sha256(b"jaxrec click records 1")
    for part, path in paths.items():
        rows[part] = []
        for number, raw in enumerate(read_json_rows(path, "questions", FIELDS)):
            record = as_record(path, number, raw)
            digest.update(f"\0{part}\0{record.prompt}\0{record.output}".encode())
            try:
                own, row = _parse(record, answers)
                if not allow_repeats:
                    _check_titles(row, follows)
                if wording is None:
                    wording = own, f"{path}, line {record_line(path, number)}"
                wording = _joined(own, *wording), wording[1]
            except ValueError as error:
                line = record_line(path, number)
                raise DataError(f"{path}, line {line}: record {number} {error}") from error
            rows[part].append(row)
    assert wording is not None
    every = [name for part in rows.values() for row in part for name in _names(row)]
    items = {name: number for number, name in enumerate(dict.fromkeys(every))}
    most = max(len(row.liked) + len(row.disliked) for part in rows.values() for row in part)
    first, windows = 0, {}
    for part, parsed in rows.items():
        windows[part] = _windows(parsed, items, most, first)
        first = int(windows[part].user[-1]) + 1
    return ClickRecords(
        windows=windows,
        titles=[_QUOTED.findall(name)[0] for name in items],
        names=list(items),
        wording=wording[0],
        digest=digest.hexdigest(),
    )


def _parse(record: Instruction, answers: tuple[str, str]) -> tuple[Wording, _Row]:
    """Split a record into its wording and its data.

    Raises:
      ValueError: it has another form; the message continues "record 3 ...".
    """
    if record.output not in answers:
        raise ValueError(
            f"has the output {shown(record.output)}; expected {answers[0]!r} or {answers[1]!r} "
            "(--data.answers)"
        )
    lines = record.input.strip("\n").split("\n")
    if len(lines) != 3:
        raise ValueError(f"has an input of {len(lines)} lines; expected {_FORM}")
    for line in lines:
        if line.count('"') % 2:
            raise ValueError(f"has a quote without its pair in {shown(line)}; quote whole titles")
    (liked_before, liked), (disliked_before, disliked) = map(_titles, lines[:2])
    asked = _QUOTED.search(lines[2])
    if asked is None or lines[2].count('"') != 2:
        raise ValueError(
            f"quotes {lines[2].count(chr(34)) // 2} titles in its question; expected {_FORM}"
        )
    # What stands between the title and the question mark belongs to the item's name.
    rest = lines[2][asked.end() :]
    more, mark, end = rest.rpartition("?")
    name = asked.group() + more
    if not asked.group(1):
        raise ValueError("asks about an empty title")
    wording = Wording(
        instruction=record.instruction,
        liked=liked_before,
        disliked=disliked_before,
        before=lines[2][: asked.start()],
        after=mark + end,
    )
    return wording, _Row(liked, disliked, name, record.output == answers[0])


def _titles(line: str) -> tuple[str, list[str]]:
    """Split a line into what stands before its titles, and the names of the items."""
    found = list(_QUOTED.finditer(line))
    if not found:
        return line, []
    names = []
    for title, following in zip(found, [*found[1:], None], strict=True):
        end = len(line) if following is None else following.start()
        more = line[title.end() : end]
        if following is not None and not more.endswith(_BETWEEN):
            raise ValueError(
                f"separates titles by {shown(more)}; expected {_BETWEEN!r} between them"
            )
        if not title.group(1):
            raise ValueError(f"has an empty title in {shown(line)}")
        names.append(title.group() + (more if following is None else more[: -len(_BETWEEN)]))
    return line[: found[0].start()], names


def _names(row: _Row) -> list[str]:
    return [*row.liked, *row.disliked, row.asked]


def _check_titles(row: _Row, follows: dict[str, str]) -> None:
    """Reject a title that may mean two items; `follows` has what stood after each title so far."""
    fix = "rename the items, or accept this with --data.repeated-titles allow"
    names = _names(row)
    name, count = collections.Counter(names).most_common(1)[0]
    if count > 1:
        raise ValueError(
            f"names {shown(_QUOTED.findall(name)[0])} {count} times, as if two items had one "
            f"title; {fix}"
        )
    for name in names:
        title = _QUOTED.findall(name)[0]
        more = name[len(title) + 2 :]
        if (before := follows.setdefault(title, more)) != more:
            raise ValueError(
                f"has {shown(more)} after the title {shown(title)}, which had {shown(before)} "
                f"before; {fix}"
            )


def _joined(own: Wording, first: Wording, where: str) -> Wording:
    """The wording of two records; a line without titles may lack the space before them.

    Raises:
      ValueError: they have different wordings.
    """
    for field, mine, theirs in zip(Wording._fields, own, first, strict=True):
        listed = field in ("liked", "disliked")
        if mine != theirs and not (listed and mine.rstrip() == theirs.rstrip()):
            part = "instruction" if field == "instruction" else "wording"
            raise ValueError(
                f"has another {part} ({shown(mine)}) than the first one ({shown(theirs)}, "
                f"{where}); give one file for each {part}"
            )
    return Wording(*(max(both, key=len) for both in zip(own, first, strict=True)))


def _windows(rows: Sequence[_Row], items: Mapping[str, int], most: int, first: int) -> ClickWindows:
    """Records as windows whose users count from `first`."""
    history = np.full((len(rows), most), -1, np.int32)
    liked = np.zeros((len(rows), most), bool)
    for place, row in enumerate(rows):
        shown_items = [items[name] for name in (*row.liked, *row.disliked)]
        begin = most - len(shown_items)
        history[place, begin:] = shown_items
        liked[place, begin : begin + len(row.liked)] = True
    return ClickWindows(
        user=first + np.cumsum([False, *map(_new_user, rows[:-1], rows[1:])]).astype(np.int32),
        history=history,
        liked=liked,
        target=np.array([items[row.asked] for row in rows], np.int32),
        label=np.array([row.label for row in rows]),
    )


def _new_user(before: _Row, row: _Row) -> bool:
    """Whether a record does not continue the window of the record before it."""
    told = {**dict.fromkeys(before.liked, True), **dict.fromkeys(before.disliked, False)}
    told[before.asked] = before.label
    now = {**dict.fromkeys(row.liked, True), **dict.fromkeys(row.disliked, False)}
    return before.asked not in now or not now.items() <= told.items()
