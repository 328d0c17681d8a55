"""The directory of a corpus: what it was made from and with, and a hash of what it holds."""

import hashlib
import itertools
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxrec.core import ConfigError, flatten, read_json
from jaxrec.data.corpora.config import CorpusConfig
from jaxrec.data.corpora.documents import Source, find_files
from jaxrec.data.corpora.shards import read_shard

SETTINGS, REPORT, WORK = "corpus.json", "report.json", "work"
_HEAD = 1 << 20  # bytes of an input file that tell whether it has changed


def identity(config: CorpusConfig) -> dict[str, Any]:
    """Return what makes a corpus another one: its settings and its input files, JSON-able.

    Raises:
      DataError: an input file is missing.
    """
    value = {"settings": dict(flatten(config)), "files": _inputs(config)}
    return json.loads(json.dumps(value))


def check_directory(directory: Path, settings: Mapping[str, Any]) -> None:
    """Reject a directory that holds another corpus or anything else."""
    if not directory.exists():
        return
    if not directory.is_dir():
        raise ConfigError(f"{directory} is a file; give a directory by --out")
    found = directory / SETTINGS
    others = [path.name for path in directory.iterdir() if path.name != "run.lock"]
    if not found.exists():
        if any(not name.startswith(".") for name in others):
            raise ConfigError(
                f"{directory} holds something else ({sorted(others)[0]}) and no corpus; give "
                "another directory by --out"
            )
        return
    before = read_json(found, dict[str, Any])
    if before == settings:
        return
    old, new = before.get("settings", {}), settings["settings"]
    changed = [
        f"{name} is {new.get(name)!r} and was {old.get(name)!r}"
        for name in {**old, **new}
        if old.get(name) != new.get(name)
    ]
    what = changed[0] if changed else "an input file has changed"
    raise ConfigError(
        f"{directory} holds another corpus: {what}; give another directory by --out, or delete it"
    )


def clean(directory: Path) -> None:
    """Remove what only the passes need, and files that a kill left unfinished."""
    shutil.rmtree(directory / WORK, ignore_errors=True)
    for path in [*directory.glob(".*"), *directory.glob("*/.*")]:
        if path.is_file():
            path.unlink(missing_ok=True)


def corpus_hash(directory: Path) -> str:
    """Return a hash of the documents, the tokenizer and the blocks of a corpus.

    Example:
      >>> import tempfile
      >>> len(corpus_hash(Path(tempfile.mkdtemp())))
      64
    """
    total = hashlib.sha256()
    for path in sorted((directory / "documents").glob("[0-9]*.parquet")):
        for document in read_shard(path):
            total.update(json.dumps([document.id, document.text, document.meta]).encode())
    for folder in ("tokenizer", "blocks"):
        for path in sorted((directory / folder).glob("[!.]*")):
            total.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def _inputs(config: CorpusConfig) -> list[list[Any]]:
    """Return name, size and a hash of the beginning of each file that is read."""
    scores = config.scores
    references = {
        "--evaluation.paths": config.evaluation.paths,
        "--scores.ngram-texts": scores.ngram_texts,
        "--scores.good": scores.good,
        "--scores.bad": scores.bad,
        "--scores.languages": [entry.partition("=")[2] for entry in scores.languages],
    }
    options = {word: option for option, words in references.items() for word in words}
    files = find_files(config.source)
    for word in dict.fromkeys(itertools.chain.from_iterable(references.values())):
        files += find_files(Source(paths=(word,)), options[word])
    facts = []
    for name, path in files:
        with path.open("rb") as file:
            head = hashlib.sha256(file.read(_HEAD)).hexdigest()
        facts.append([name, path.stat().st_size, head])
    return facts
