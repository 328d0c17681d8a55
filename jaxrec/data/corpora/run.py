"""Prepare a corpus: read, filter, remove duplicates and personal data, train a tokenizer, pack.

corpus.json  documents/00000.parquet ...  tokenizer/  blocks/00000.array_record ...  report.json

Every pass writes a folder of shards, each shard whole or not at all, and goes on after the last one
that is complete. So the same command continues a run that was killed, and gives the same files.
What passes need between them lies in `work/`, which is removed at the end.
"""

import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.core import DataError, ProgressBar, read_json, to_json, write_text
from jaxrec.data.corpora.blocks import block_path, pack_blocks, write_blocks
from jaxrec.data.corpora.config import CorpusConfig
from jaxrec.data.corpora.directory import (
    REPORT,
    SETTINGS,
    WORK,
    check_directory,
    clean,
    corpus_hash,
    identity,
)
from jaxrec.data.corpora.documents import (
    Document,
    Read,
    Rejected,
    find_files,
    read_documents,
)
from jaxrec.data.corpora.duplicates import KEPT, REASONS, Keys, find_duplicates
from jaxrec.data.corpora.repeats import SentenceRuns, Units, WordRuns, occurs_earlier
from jaxrec.data.corpora.shards import (
    Texts,
    map_array,
    read_shard,
    shard_path,
    write_array,
    write_documents,
)
from jaxrec.data.corpora.stages import (
    READ,
    Drops,
    Hooks,
    Stage,
    make_stages,
    privacy_stage,
    through,
)
from jaxrec.data.corpora.vocabulary import corpus_tokenizer, encode_documents

_MOST_CHARACTERS = 1 << 26  # of a shard's texts, so that long documents make shorter shards


def try_corpus(config: CorpusConfig, hooks: Hooks | None = None, *, limit: int = 1000) -> Drops:
    """Filter the first documents of a corpus and write nothing.

    Args:
      config: the corpus.
      hooks: functions of your own.
      limit: number of documents, rejected rows among them.

    Raises:
      ConfigError, DataError: as `run_corpus` does before any work.
    """
    hooks = hooks or Hooks()
    drops = Drops()
    stages = make_stages(config, hooks)
    for _ in through(itertools.islice(read_documents(config.source), limit), stages, drops):
        pass
    return drops


def run_corpus(config: CorpusConfig, directory: Path, hooks: Hooks | None = None) -> dict[str, Any]:
    """Prepare a corpus in a directory, or continue where it was interrupted.

    Args:
      config: the corpus.
      directory: where it is written. The caller locks it.
      hooks: functions of your own, which must be the same when a run continues.

    Returns:
      The report: "stages" with what each was given and why it rejected, "personal" with what was
      replaced, "index" with the bytes that look for duplicates, numbers of documents, characters,
      tokens and blocks, and "hash" of all documents and blocks.

    Raises:
      ConfigError: the directory holds something else, or a setting is unusable.
      DataError: an input file is missing or damaged, or no document is left.
    """
    hooks = hooks or Hooks()
    settings = identity(config)
    check_directory(directory, settings)
    if (directory / REPORT).exists():
        clean(directory)
        return read_json(directory / REPORT, dict[str, Any])
    run = _Run(config, directory, hooks)
    stages = make_stages(config, hooks)
    reads = read_documents(config.source)
    if not (directory / SETTINGS).exists():
        write_text(directory / SETTINGS, to_json(settings))
    run.filter(reads, stages)
    run.drop_duplicates()
    if config.duplicates.sentences:
        run.remove_repeats("sentences", run.sentence_runs())
    if config.duplicates.tokens:
        run.remove_repeats("tokens", WordRuns(config.duplicates.tokens))
    run.finish()
    run.tokenize()
    report = run.report()
    write_text(directory / REPORT, to_json(report))
    clean(directory)
    return report


class _Run:
    """The passes over a corpus; each reads the folder of the pass before it."""

    def __init__(self, config: CorpusConfig, directory: Path, hooks: Hooks) -> None:
        self.config, self.directory, self.hooks = config, directory, hooks
        self.work = directory / WORK
        self.folder = self.work / "filtered"
        self.passes: list[Path] = []
        self.keys = Keys(config.duplicates, config.seed)

    def filter(self, reads: Iterator[Read], stages: Mapping[str, Stage]) -> None:
        """Read all documents through the stages, and hash those that are kept."""
        self.passes.append(self.folder)
        number = used = 0
        while shard_path(self.folder, number).exists():
            used += self._note(self.folder, number)["rows"]
            number += 1
        if (self.folder / "done.json").exists():
            return
        reads = itertools.islice(reads, used, None)
        files = {name: n for n, (name, _) in enumerate(find_files(self.config.source))}
        with ProgressBar("read and filter", len(files), "file") as bar:
            while True:
                taken = list(self._take(reads))
                if not taken:
                    break
                drops = Drops()
                documents = list(through(taken, stages, drops))
                keys = [self.keys.of(document.text) for document in documents]
                rows = np.array(keys, np.uint64).reshape(len(keys), self.keys.columns)
                write_array(shard_path(self.folder, number, ".keys.npy"), rows)
                self._write(self.folder, number, documents, drops, rows=len(taken))
                used, number = used + len(taken), number + 1
                at = files[taken[-1].id.rpartition("#")[0]]
                bar.update(at, f"{used:,} documents")
        write_text(self.folder / "done.json", to_json({"shards": number}))

    def _take(self, reads: Iterator[Read]) -> Iterator[Read]:
        """Yield what makes the next shard."""
        size = 0
        for read in itertools.islice(reads, self.config.shard_documents):
            yield read
            size += len(read.text) if isinstance(read, Document) else 0
            if size >= _MOST_CHARACTERS:
                return

    def drop_duplicates(self) -> None:
        """Find repeated documents of the first pass; the next pass leaves them out."""
        path = self.work / "duplicates.npy"
        if path.exists() or not (self.config.duplicates.exact or self.config.duplicates.near):
            return
        shards = [map_array(shard_path(self.folder, n, ".keys.npy")) for n in self._numbers()]
        texts = Texts(self.folder, [len(shard) for shard in shards])
        with ProgressBar("find duplicates", self.keys.columns, "column") as bar:

            def column(number: int) -> np.ndarray:
                bar.update(number)
                found = [np.asarray(shard[:, number]) for shard in shards]
                return np.concatenate([np.zeros(0, np.uint64), *found])

            write_array(path, find_duplicates(column, self.keys, texts))

    def sentence_runs(self) -> SentenceRuns:
        """Return the runs of sentences that the settings name."""
        from jaxrec.data.corpora.words import splitters

        settings = self.config.duplicates
        return SentenceRuns(
            settings.sentences,
            splitters(self.config.quality.words).sentences,
            min_sentences=settings.min_sentences,
            min_words=settings.min_words,
        )

    def remove_repeats(self, name: str, units: Units) -> None:
        """Remove the parts that occur earlier in the corpus."""
        source = self.folder
        folder = self.work / name
        marks = folder / "marks.npy"
        kept = {n: self._kept(source, n) for n in self._numbers()}
        for number in self._progress(f"hash {name}", lambda n: shard_path(folder, n, ".units.npy")):
            hashes = [units.hashes(document.text) for document in kept[number]()]
            ends = np.cumsum([0, *map(len, hashes)])
            write_array(shard_path(folder, number, ".ends.npy"), ends)
            joined = np.concatenate([np.zeros(0, np.uint64), *hashes])
            write_array(shard_path(folder, number, ".units.npy"), joined)
        columns = [map_array(shard_path(folder, n, ".units.npy")) for n in self._numbers()]
        if not marks.exists():
            part = folder / ".marks"
            repeated = np.lib.format.open_memmap(part, "w+", np.bool_, (sum(map(len, columns)),))
            occurs_earlier(columns, repeated)
            repeated.flush()
            part.rename(marks)
        repeated = map_array(marks)
        starts = np.cumsum([0, *map(len, columns)])
        for number in self._progress(f"remove {name}", lambda n: shard_path(folder, n)):
            here = np.asarray(repeated[starts[number] : starts[number + 1]])
            ends = np.load(shard_path(folder, number, ".ends.npy"))
            places = itertools.pairwise(ends.tolist())
            stage = _removal(units, iter([here[a:b] for a, b in places]))
            drops = Drops()
            self._duplicate_drops(source, number, drops)
            documents = list(through(kept[number](), {name: stage}, drops, first=""))
            self._write(folder, number, documents, drops)
        self.folder = folder
        self.passes.append(folder)

    def finish(self) -> None:
        """Write the final documents, with personal data replaced."""
        folder = self.directory / "documents"
        found: Counter[str] = Counter()
        stages = {}
        if self.config.personal:
            stages["personal"] = privacy_stage(self.config, self.hooks, found)
        for number in self._progress("write documents", lambda n: shard_path(folder, n)):
            drops = Drops()
            found.clear()
            self._duplicate_drops(self.folder, number, drops)
            kept = self._kept(self.folder, number)()
            documents = list(through(kept, stages, drops, first=""))
            note = {"drops": drops.rows, "personal": dict(found), "documents": len(documents)}
            note["characters"] = sum(len(document.text) for document in documents)
            write_text(self._note_path("documents", number), json.dumps(note))
            write_documents(shard_path(folder, number), documents)
        if not self._total("documents", "documents"):
            raise DataError(
                f"no document is left of {self._total('filtered', 'rows'):,}: "
                f"{_worst(self._drops().rows)}; correct the source or loosen this stage"
            )

    def tokenize(self) -> None:
        """Train the tokenizer on the final documents, and pack their tokens."""
        if self.config.tokenizer.kind == "none" and not self.config.tokenizer.path:
            return
        blocks = self.config.blocks
        folder = self.directory / "documents"
        count = self._total("documents", "documents")
        tokenizer = corpus_tokenizer(
            self.config.tokenizer, self.directory / "tokenizer", lambda: _texts(folder), count
        )
        end = tokenizer.eos_token_id
        padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else end
        for number in self._progress(
            "tokenize", lambda n: block_path(self.directory, n, blocks.form)
        ):
            texts = [document.text for document in read_shard(shard_path(folder, number))]
            tokens = encode_documents(tokenizer, texts)
            note = {"tokens": sum(map(len, tokens)) + len(tokens)}
            packed = pack_blocks(tokens, blocks.length, end=end, padding=padding)
            rows = list(packed)
            note["blocks"] = len(rows)
            write_text(self._note_path("blocks", number), json.dumps(note))
            write_blocks(block_path(self.directory, number, blocks.form), rows)

    def report(self) -> dict[str, Any]:
        """Return the report of a finished corpus."""
        stages = self._drops().rows
        personal: Counter[str] = Counter()
        for number in self._numbers():
            personal.update(read_json(self._note_path("documents", number))["personal"])
        hashed = sum(
            map_array(shard_path(self.work / "filtered", n, ".keys.npy")).nbytes
            for n in self._numbers()
        )
        rows = self._total("filtered", "documents")
        report: dict[str, Any] = {
            "read": stages[READ]["in"],
            "documents": self._total("documents", "documents"),
            "characters": self._total("documents", "characters"),
            "stages": stages,
            "personal": dict(personal),
            # A verdict, and the entry of the union-find.
            "index": {"bytes": hashed + 5 * rows, "bytes_per_document": hashed / max(rows, 1) + 5},
        }
        if (self.directory / "tokenizer").is_dir() or self.config.tokenizer.path:
            report["tokens"] = self._total("blocks", "tokens")
            report["blocks"] = self._total("blocks", "blocks")
        return report | {"hash": corpus_hash(self.directory)}

    def _numbers(self) -> range:
        done = read_json(self.work / "filtered" / "done.json", dict[str, int])
        return range(done["shards"])

    def _progress(self, title: str, path: Callable[[int], Path]) -> Iterator[int]:
        """Yield the numbers of the shards whose file does not exist yet."""
        missing = [number for number in self._numbers() if not path(number).exists()]
        if not missing:
            return
        with ProgressBar(title, len(missing), "shard") as bar:
            for done, number in enumerate(missing, start=1):
                yield number
                bar.update(done)

    def _kept(self, folder: Path, number: int) -> Callable[[], Iterator[Document]]:
        """Return a function that reads a shard without the documents found to be duplicates."""

        def read() -> Iterator[Document]:
            verdicts = self._verdicts(folder, number)
            for row, document in enumerate(read_shard(shard_path(folder, number))):
                if verdicts is None or verdicts[row] == KEPT:
                    yield document

        return read

    def _verdicts(self, folder: Path, number: int) -> np.ndarray | None:
        """Return the verdicts of a shard of the first pass; later passes hold no duplicates."""
        path = self.work / "duplicates.npy"
        if folder != self.work / "filtered" or not path.exists():
            return None
        sizes = [self._note(folder, n)["documents"] for n in range(number + 1)]
        return np.asarray(map_array(path)[sum(sizes) - sizes[-1] : sum(sizes)])

    def _duplicate_drops(self, folder: Path, number: int, drops: Drops) -> None:
        verdicts = self._verdicts(folder, number)
        if verdicts is not None:
            counts = {REASONS[v]: int((verdicts == v).sum()) for v in REASONS}
            drops.add({"duplicates": {"in": len(verdicts), "rejected": counts}})

    def _write(
        self, folder: Path, number: int, documents: list[Document], drops: Drops, **note: int
    ) -> None:
        """Write a shard; the documents come last, because they say that the shard is complete."""
        facts = {"drops": drops.rows, "documents": len(documents)} | note
        write_text(self._note_path(folder.name, number), json.dumps(facts))
        write_documents(shard_path(folder, number), documents)

    def _note_path(self, name: str, number: int) -> Path:
        return shard_path(self.work / name, number, ".json")

    def _note(self, folder: Path, number: int) -> dict[str, Any]:
        return read_json(self._note_path(folder.name, number), dict[str, Any])

    def _total(self, name: str, fact: str) -> int:
        return sum(read_json(self._note_path(name, n))[fact] for n in self._numbers())

    def _drops(self) -> Drops:
        drops = Drops()
        for name in [*(folder.name for folder in self.passes), "documents"]:
            for number in self._numbers():
                drops.add(read_json(self._note_path(name, number))["drops"])
        return drops


def _removal(units: Units, marks: Iterator[np.ndarray]) -> Stage:
    """Return the stage that removes marked units; it is given the documents of `marks` in order."""

    def stage(document: Document) -> Read:
        repeated = next(marks)
        if not repeated.any():
            return document
        text, reason = units.remove(document.text, repeated)
        return (
            Rejected(document.id, reason) if reason else Document(document.id, text, document.meta)
        )

    return stage


def _texts(folder: Path) -> Iterator[str]:
    for path in sorted(folder.glob("[0-9]*.parquet")):
        yield from (document.text for document in read_shard(path))


def _worst(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Name the reason that dropped the most documents."""
    counts = [(n, s, why) for s, row in rows.items() for why, n in row["rejected"].items()]
    if not counts:
        return "the source has none"
    count, stage, reason = max(counts)
    return f"{count:,} were dropped by {stage} ({reason})"
