"""Reader of labeled resumes in XML, and the words of plain text.

Each resume of dotin's data set (CC0) is a small XML file, `<cv>TEXT <label type="Degree">BSc
</label> TEXT</cv>`. The files come in a directory or in a zip file.
"""

import dataclasses
import os
import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

from jaxrec.core import DataError, check_file
from jaxrec.data import files
from jaxrec.data.contents import unpack_limit
from jaxrec.data.tagged import TaggedText
from jaxrec.data.tags import Span

# A word may begin with a dot, have dots, hyphens and the like inside, and end in + or #: .NET,
# node.js, C++, C#.
_WORD = re.compile(r"(?:(?<![\w.])\.(?=[A-Za-z]))?\w+(?:[-+#&.'’/@]+\w+)*[+#]*|[^\w\s]")


@dataclasses.dataclass(frozen=True)
class Resume:
    """A resume with labeled stretches of text.

    Attributes:
      name: of its file, without the ending.
      text: all of it.
      labels: kinds and places; `start` and `end` of a `Span` count characters here.

    Example:
      >>> from jaxrec.data import Span
      >>> resume = Resume("1", "I know Java.", (Span(7, 11, "Tech Tools"),))
      >>> resume.tagged().spans
      (Span(start=2, end=3, kind='Tech Tools'),)
    """

    name: str
    text: str
    labels: tuple[Span, ...]

    def tagged(self) -> TaggedText:
        """The resume as words. A label holds every word that it touches, without punctuation.

        Labels that touch no word, or only words of another label of their kind, are left out.
        """
        places = word_places(self.text)
        spans: dict[Span, None] = {}
        for label in self.labels:
            inside = [n for n, (a, b) in enumerate(places) if a < label.end and b > label.start]
            while inside and not _is_word(self.text, places[inside[0]]):
                inside.pop(0)
            while inside and not _is_word(self.text, places[inside[-1]]):
                inside.pop()
            if not inside:
                continue
            span = Span(inside[0], inside[-1] + 1, label.kind)
            if not any(
                s.kind == span.kind and s.start < span.end and span.start < s.end for s in spans
            ):
                spans[span] = None
        words = tuple(self.text[a:b] for a, b in places)
        return TaggedText(words, tuple(sorted(spans)), self.name)


def word_places(text: str) -> list[tuple[int, int]]:
    """Where the words of a text begin and end; a punctuation mark is a word.

    Args:
      text: any.

    Example:
      >>> text = "C++, node.js (5 years)"
      >>> [text[a:b] for a, b in word_places(text)]
      ['C++', ',', 'node.js', '(', '5', 'years', ')']
    """
    return [match.span() for match in _WORD.finditer(text)]


def read_resumes(path: str | os.PathLike[str]) -> list[Resume]:
    """Read labeled resumes from a directory, a zip file or one XML file, sorted by name.

    Args:
      path: the directory, the zip file, or the XML file.

    Raises:
      DataError: no resumes, a damaged zip file, XML that cannot be parsed, a label inside another,
        or a resume without text; the message names the file and, where known, the line.

    Example:
      >>> import pathlib, tempfile
      >>> folder = pathlib.Path(tempfile.mkdtemp())
      >>> _ = (folder / "1.xml").write_text('<cv>I know <label type="Tech">Java</label>.</cv>')
      >>> read_resumes(folder)
      [Resume(name='1', text='I know Java.', labels=(Span(start=7, end=11, kind='Tech'),))]
    """
    path = Path(path)
    found = sorted(_files(path), key=lambda pair: pair[0])
    if not found:
        raise DataError(f"{path} holds no resumes; expected files that end in .xml")
    return [_resume(path, name, content) for name, content in found]


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the XML files."""
    if path.is_dir():
        for file in path.rglob("*.xml"):
            if not _is_hidden(file.relative_to(path).parts):
                yield str(file.relative_to(path)), files.read_bytes(file)
        return
    check_file(path)
    if path.suffix == ".xml":
        yield path.name, files.read_bytes(path)
        return
    left = unpack_limit(path.stat().st_size)
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if not info.filename.endswith(".xml") or _is_hidden(info.filename.split("/")):
                    continue
                left -= info.file_size
                if left < 0:
                    raise DataError(
                        f"{path} unpacks to more than {unpack_limit(path.stat().st_size):,} bytes; "
                        "unpack it, and give the directory"
                    )
                yield info.filename, archive.read(info)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError) as error:
        raise DataError(f"{path} cannot be read as a zip file ({error})") from error


def _is_hidden(parts: Sequence[str]) -> bool:
    """Whether a file belongs to a file system, such as the forks that macOS adds to zip files."""
    return any(part == "__MACOSX" or part.startswith(".") for part in parts)


def _resume(path: Path, name: str, content: bytes) -> Resume:
    try:
        root = ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        raise DataError(
            f"{path}: {name}, line {error.position[0]}: {error}; correct the XML"
        ) from error
    text, labels = root.text or "", []
    for child in root:
        kind, inside = child.get("type"), child.text or ""
        if child.tag != "label" or not kind or len(child):
            raise DataError(
                f"{path}: {name}: expected <label type=...> with text alone, got <{child.tag}> "
                f"{files.shown(inside)}"
            )
        labels.append(Span(len(text), len(text) + len(inside), kind))
        text += inside + (child.tail or "")
    if not text.strip():
        raise DataError(f"{path}: {name} has no text; remove it")
    return Resume(Path(name).stem, text, tuple(labels))


def _is_word(text: str, place: tuple[int, int]) -> bool:
    return any(letter.isalnum() for letter in text[place[0] : place[1]])
