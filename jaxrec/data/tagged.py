"""Texts of words with tagged spans: the record, and readers of CoNLL columns and of SkillSpan.

A text has spans of several kinds. Spans of one kind never overlap, while those of different kinds
may: SkillSpan (Zhang et al., NAACL 2022) tags skills and knowledge in two layers.
"""

import dataclasses
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from jaxrec.core import ConfigError, DataError
from jaxrec.data import files
from jaxrec.data.json_rows import read_json_rows
from jaxrec.data.tags import Scheme, Span, repair_tags, spans_of_tags, tags_of_spans

Illegal = Literal["error", "repair"]
SKILLSPAN_KINDS = ("skill", "knowledge")


@dataclasses.dataclass(frozen=True)
class TaggedText:
    """One text.

    Attributes:
      words: its words.
      spans: its entities, sorted; spans of one kind do not overlap.
      source: where it comes from; "" if that is not known.

    Raises:
      DataError: spans that the words cannot have.

    Example:
      >>> from jaxrec.data import Span, TaggedText
      >>> text = TaggedText(("know", "Python"), (Span(1, 2, "knowledge"),))
      >>> text.phrases("knowledge"), text.tags("knowledge")
      ([('Python',)], ['O', 'S-knowledge'])
    """

    words: tuple[str, ...]
    spans: tuple[Span, ...] = ()
    source: str = ""

    def __post_init__(self) -> None:
        """Reject spans outside of the text, and overlapping spans of one kind."""
        for kind in {span.kind for span in self.spans}:
            self.tags(kind)

    def of_kind(self, kind: str) -> list[Span]:
        """The spans of one kind."""
        return [span for span in self.spans if span.kind == kind]

    def phrases(self, kind: str) -> list[tuple[str, ...]]:
        """The words of the spans of one kind."""
        return [self.words[span.start : span.end] for span in self.of_kind(kind)]

    def tags(self, kind: str, scheme: Scheme = "BIOES") -> list[str]:
        """The tags of one kind."""
        return tags_of_spans(self.of_kind(kind), len(self.words), scheme)


@dataclasses.dataclass(frozen=True)
class TaggedTexts:
    """The texts of a file.

    Attributes:
      texts: in the order of the file.
      repaired: number of tags that were changed to make sequences legal.

    Example:
      >>> len(TaggedTexts((TaggedText(("a",)),)))
      1
    """

    texts: tuple[TaggedText, ...]
    repaired: int = 0

    def __len__(self) -> int:
        return len(self.texts)


def read_conll(
    path: str | os.PathLike[str],
    *,
    word_column: int = 0,
    tag_column: int = -1,
    scheme: Scheme = "BIO",
    illegal: Illegal = "error",
) -> TaggedTexts:
    r"""Read a CoNLL file: a word and its tag in a line, and an empty line after each text.

    Columns are separated by tabs, or by spaces in a line without tabs. Kinds are in lower case.

    Args:
      path: the file, plain or gzipped.
      word_column: number of the column of words.
      tag_column: number of the column of tags; -1 is the last one.
      scheme: of the tags.
      illegal: what an illegal sequence of tags is: an "error", or "repair" and count it.

    Raises:
      DataError: no texts, a line without these columns, or illegal tags; the message names the
        line.

    Example:
      >>> import pathlib, tempfile
      >>> from jaxrec.data import read_conll
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "a.conll"
      >>> _ = path.write_text("strong\tO\nteam\tB-Skill\nplayer\tI-Skill\n\nfull\tO\ntime\tO\n")
      >>> [text.spans for text in read_conll(path).texts]
      [(Span(start=1, end=3, kind='skill'),), ()]
    """
    path = Path(path)
    texts: list[TaggedText] = []
    repaired = 0
    for lines in _blocks(files.decode(files.read_bytes(path), path)):
        words, tags = [], []
        for number, line in lines:
            columns = [c.strip() for c in line.split("\t" if "\t" in line else None)]
            try:
                word, tag = columns[word_column], columns[tag_column]
            except IndexError:
                word = tag = ""
            if len(columns) < 2 or not word or not tag:
                raise DataError(
                    f"{path}: line {number}: {files.shown(line)} has no word and tag; expected at "
                    "least two columns, separated by tabs or spaces"
                )
            words.append(word)
            prefix, dash, kind = tag.partition("-")
            tags.append(prefix + dash + kind.lower())
        spans, changed = _read_spans(tags, scheme, illegal, [f"{path}: line {n}" for n, _ in lines])
        texts.append(TaggedText(tuple(words), tuple(spans)))
        repaired += changed
    if not texts:
        raise DataError(f"{path} holds no texts; expected lines of a word and a tag")
    return TaggedTexts(tuple(texts), repaired)


def read_skillspan(
    path: str | os.PathLike[str],
    kinds: Sequence[str] = SKILLSPAN_KINDS,
    illegal: Illegal = "error",
) -> TaggedTexts:
    """Read the JSON lines of SkillSpan: "tokens", and BIO tags "tags_KIND" for each kind.

    Args:
      path: the file, plain or gzipped.
      kinds: kinds to read.
      illegal: what an illegal sequence of tags is: an "error", or "repair" and count it.

    Raises:
      DataError: no records, or a record without words, with other numbers of words and tags, or
        with illegal tags; the message names the record, counted from 1 as lines are.
      ConfigError: no kinds.

    Example:
      >>> import json, pathlib, tempfile
      >>> from jaxrec.data import read_skillspan
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "a.json"
      >>> row = {"tokens": ["know", "Python"], "tags_skill": ["O", "O"]}
      >>> _ = path.write_text(json.dumps(row | {"tags_knowledge": ["O", "B"], "source": "tech"}))
      >>> read_skillspan(path).texts[0].spans
      (Span(start=1, end=2, kind='knowledge'),)
    """
    path = Path(path)
    if not kinds:
        raise ConfigError("kinds of spans must be named, such as skill knowledge")
    names = ["tokens", *(f"tags_{kind}" for kind in kinds)]
    texts, repaired = [], 0
    for number, row in enumerate(read_json_rows(path, "tagged texts", names)):
        words, *layers = (_strings(path, number, row, name) for name in names)
        if not words:
            raise DataError(f"{path}: record {number} has no words in 'tokens'; remove it")
        spans: list[Span] = []
        for kind, tags in zip(kinds, layers, strict=True):
            if len(tags) != len(words):
                raise DataError(
                    f"{path}: record {number} has {len(words)} words and {len(tags)} tags in "
                    f"'tags_{kind}'; there must be one for each word"
                )
            full = [tag if tag == "O" else f"{tag}-{kind}" for tag in tags]
            found, changed = _read_spans(full, "BIO", illegal, [f"{path}: record {number}"])
            spans += found
            repaired += changed
        source = row.get("source", "")
        texts.append(
            TaggedText(tuple(words), tuple(sorted(spans)), source if type(source) is str else "")
        )
    return TaggedTexts(tuple(texts), repaired)


def drop_repeated_texts(texts: Iterable[TaggedText]) -> list[TaggedText]:
    """Keep the first of the texts with the same words.

    Args:
      texts: in any order.

    Example:
      >>> from jaxrec.data import TaggedText, drop_repeated_texts
      >>> len(drop_repeated_texts([TaggedText(("a",)), TaggedText(("b",)), TaggedText(("a",))]))
      2
    """
    first: dict[tuple[str, ...], TaggedText] = {}
    for text in texts:
        first.setdefault(text.words, text)
    return list(first.values())


def _blocks(text: str) -> list[list[tuple[int, str]]]:
    """Lines with their numbers, split at empty lines; lines that begin documents are left out."""
    blocks: list[list[tuple[int, str]]] = [[]]
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.rstrip("\r")
        if not line.strip() or line.startswith("-DOCSTART-"):
            blocks.append([])
        else:
            blocks[-1].append((number, line))
    return [block for block in blocks if block]


def _read_spans(
    tags: list[str], scheme: Scheme, illegal: Illegal, where: Sequence[str]
) -> tuple[list[Span], int]:
    """The spans of a text, and how many tags had to be changed for them.

    `where` begins error messages: the place of each tag in the file, or one place for all of them.
    """
    changed = 0
    try:
        if illegal == "repair":
            tags, changed = repair_tags(tags, scheme)
        return spans_of_tags(tags, scheme), changed
    except DataError as error:
        # The message begins with the number of the token; an error at the end has the next one.
        token = int(str(error).removeprefix("token ").partition(":")[0])
        raise DataError(f"{where[min(token, len(where) - 1)]}: {error}") from error


def _strings(path: Path, number: int, row: dict[str, Any], name: str) -> list[str]:
    value = row.get(name)
    if not isinstance(value, list) or not all(isinstance(x, str) and x.strip() for x in value):
        raise DataError(
            f"{path}: record {number}: {name!r} must be a list of texts that are not empty, got "
            f"{files.shown(value)}"
        )
    return value
