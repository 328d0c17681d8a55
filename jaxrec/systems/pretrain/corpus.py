"""The documents of a run: read, split into parts, and as tokens."""

import dataclasses
import functools
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jaxrec.core import DataError, nearest
from jaxrec.data.corpora import Form, Source, encode_documents, find_text, left_out, read_texts
from jaxrec.data.recruitment import Recruitment, recruitment_world
from jaxrec.systems.pretrain.config import WORLD, PretrainDataConfig

Part = Literal["train", "valid", "test"]
# Known corpora: folder below JAXREC_DATA, files in it, and how they hold documents.
CORPORA: dict[str, tuple[str, tuple[str, ...], Form]] = {
    "wikitext-2": (
        "wikitext-2",
        ("train.txt", "valid.txt", "test.txt", "train.txt.gz", "valid.txt.gz", "test.txt.gz"),
        "wikitext",
    ),
    "onet-occupations": ("onet-occupations", ("Occupation Data.txt",), "file"),
    "tinyshakespeare": ("tinyshakespeare", ("input.txt", "input.txt.gz"), "file"),
}
# With fewer documents, a split by documents would make parts of one document or none.
_FEW = 20


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Corpus:
    """Documents in three parts.

    Attributes:
      name: of the corpus.
      source: where it was read.
      train: texts to train on.
      valid: texts that rank checkpoints.
      test: texts that are measured.
      rejected: number of documents left out, by reason.
      phrases: that masked language modeling may predict as one word.
    """

    name: str
    source: str
    train: list[str]
    valid: list[str]
    test: list[str]
    rejected: Mapping[str, int]
    phrases: tuple[str, ...] = ()

    def part(self, name: Part) -> list[str]:
        """The texts of a part."""
        return {"train": self.train, "valid": self.valid, "test": self.test}[name]

    def describe(self) -> Mapping[str, object]:
        """Say what the run is trained and measured on: JSON-able."""
        return self._facts

    @functools.cached_property
    def _facts(self) -> Mapping[str, object]:
        digest = hashlib.sha256()
        for part in (self.train, self.valid, self.test):
            digest.update(f"{len(part)}:".encode())
            for text in part:
                digest.update(f"{len(text)}:".encode())
                digest.update(text.encode())
        return {
            "dataset": self.name,
            "source": self.source,
            "train": len(self.train),
            "valid": len(self.valid),
            "test": len(self.test),
            "train_bytes": sum(len(text.encode()) for text in self.train),
            "test_bytes": sum(len(text.encode()) for text in self.test),
            "rejected": dict(self.rejected),
            "fingerprint": digest.hexdigest(),
        }

    def __str__(self) -> str:
        """Describe the corpus in a line or two, to print before training."""
        facts = self.describe()
        text = (
            f"{facts['dataset']}: {facts['train']:,} documents to train on "
            f"({facts['train_bytes']:,} bytes), {facts['valid']:,} for validation, "
            f"{facts['test']:,} for test ({facts['source']})"
        )
        return "\n".join(filter(None, (text, left_out(self.rejected))))


def load_corpus(config: PretrainDataConfig) -> Corpus:
    r"""Read and split the documents of a config.

    Raises:
      DataError: the corpus is not found or not readable, or too small for three parts.

    Example:
      >>> import tempfile
      >>> path = Path(tempfile.mkdtemp()) / "notes.txt"
      >>> _ = path.write_text("\n".join(f"line {n}" for n in range(50)))
      >>> corpus = load_corpus(PretrainDataConfig(name="notes", paths=(str(path),)))
      >>> len(corpus.train), corpus.test[0].splitlines()[-1]
      (1, 'line 49')
    """
    rejected: Mapping[str, int] = {}
    phrases = _read_phrases(config.phrases) if config.phrases else ()
    if config.name == WORLD and not config.paths:
        world = recruitment_world(config.world)
        documents, place = _texts_of(world.recruitment), "made up"
        phrases = phrases or tuple(world.structure.catalogue.skills)
    else:
        source = _source(config)
        texts = read_texts(source, config.name)
        documents, rejected = texts.documents, texts.rejected
        place = ", ".join(source.paths)
    parts = _split(documents, config)
    for name, part in parts.items():
        if not any(text.strip() for text in part):
            raise DataError(
                f"data.name {config.name}: {len(documents)} documents leave no text for the "
                f"part {name}; give more text, or change --data.valid and --data.test"
            )
    return Corpus(
        name=config.name,
        source=place,
        rejected=rejected,
        phrases=phrases,
        **parts,
    )


def _texts_of(records: Recruitment) -> list[str]:
    """The texts of a planted world of recruitment, each of them once."""
    texts = [job.text() for job in records.jobs] + [one.text() for one in records.resumes]
    return list(dict.fromkeys([*texts, *(each.assessment for each in records.interviews)]))


def _read_phrases(named: str) -> tuple[str, ...]:
    """The phrases of a file, each of them once."""
    path = find_text(named)
    lines = path.read_text(encoding="utf-8").splitlines()
    found = tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not found:
        raise DataError(f"--data.phrases {path} has no phrases; write one on each line")
    return found


def _source(config: PretrainDataConfig) -> Source:
    if config.paths:
        paths = tuple(_documents_in(path) for path in config.paths)
        return Source(paths=paths, form=config.form, column=config.column)
    if config.name not in CORPORA:
        if Path(config.name).expanduser().exists():
            paths = (_documents_in(config.name),)
            return Source(paths=paths, form=config.form, column=config.column)
        known = [*CORPORA, WORLD]
        raise DataError(
            f"no corpus, file or directory {config.name!r}{nearest(config.name, known)}; known "
            f"corpora: {', '.join(known)}; or give files by --data.paths"
        )
    folder, names, form = CORPORA[config.name]
    root = os.environ.get("JAXREC_DATA")
    if not root:
        raise DataError(
            f"corpus {config.name!r} is looked for below JAXREC_DATA, which is not set; set it to "
            "the directory of your data, or give files by --data.paths"
        )
    place = Path(root).expanduser() / folder
    there = {name for name in names if (place / name).is_file()}
    # A file that lies there plain and gzipped is one file.
    found = tuple(
        str(place / name)
        for name in names
        if name in there and name.removesuffix(".gz") not in there - {name}
    )
    if not found:
        raise DataError(
            f"corpus {config.name!r}: none of {', '.join(names)} in {place}; put them there, or "
            "give files by --data.paths"
        )
    form = form if config.form == "auto" else config.form
    return Source(paths=found, form=form, column=config.column)


def _documents_in(path: str) -> str:
    """The documents of a prepared corpus, which has other files beside them; else the path."""
    folder = Path(path).expanduser()
    prepared = (folder / "corpus.json").is_file() and (folder / "documents").is_dir()
    return str(folder / "documents") if prepared else path


def _split(documents: list[str], config: PretrainDataConfig) -> dict[str, list[str]]:
    """Split by documents, or inside each of them if they are few."""
    if len(documents) < _FEW:
        cut = [_cut(text, config.valid, config.test) for text in documents]
        names = ("train", "valid", "test")
        return {name: [parts[at] for parts in cut if parts[at]] for at, name in enumerate(names)}
    order = np.random.default_rng(config.seed).permutation(len(documents))
    tested = max(1, round(config.test * len(documents)))
    validated = max(1, round(config.valid * len(documents)))
    chosen = {
        "test": order[:tested],
        "valid": order[tested : tested + validated],
        "train": order[tested + validated :],
    }
    # In the order of the files, which may be that of a book.
    return {name: [documents[at] for at in sorted(rows)] for name, rows in chosen.items()}


def _cut(text: str, valid: float, test: float) -> tuple[str, str, str]:
    """Cut a text into its beginning, middle and end, after lines where there are any."""
    places = []
    for share in (1 - valid - test, 1 - test):
        at = round(share * len(text))
        line = text.find("\n", at)
        # A text without lines near the place is cut between words, or anywhere.
        near = line if 0 <= line < at + 2000 else text.find(" ", at)
        places.append(near + 1 if near >= 0 else at)
    return text[: places[0]], text[places[0] : places[1]], text[places[1] :]


@dataclasses.dataclass(frozen=True, eq=False)
class Encoded:
    """A part as tokens.

    Attributes:
      documents: int32 tokens of each document, without its end.
      end: number of the token after each document.
    """

    documents: list[np.ndarray]
    end: int

    @functools.cached_property
    def stream(self) -> np.ndarray:
        """All documents, each with its end: `[n]` int32."""
        last = np.array([self.end], np.int32)
        return np.concatenate([part for text in self.documents for part in (text, last)])


def encode(tokenizer: Any, texts: list[str], end: int) -> Encoded:
    """Encode the texts of a part, in which no reserved token is spelled out.

    Args:
      tokenizer: of transformers.
      texts: of the part.
      end: number of the token that ends a document.
    """
    rows = encode_documents(tokenizer, texts)
    return Encoded([np.array(row, np.int32) for row in rows], end)
