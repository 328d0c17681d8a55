"""The corpus of a run: documents for pre-training, and prompts cut out of them.

Shapes: `N` rows, `P` tokens of a prompt, `W` of a window.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxrec.core import DataError
from jaxrec.data import TokenRows
from jaxrec.data.corpora import Source, find_text, form_of, read_texts
from jaxrec.systems.ppo.config import PpoDataConfig

_BETWEEN = "\n\n"


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Corpus:
    """Documents to train on, and documents that are held out.

    Attributes:
      name: what they are called.
      train: texts of the first documents.
      held: texts of the last ones.
      rejected: number of documents left out, by reason.
    """

    name: str
    train: Sequence[str]
    held: Sequence[str]
    rejected: Mapping[str, int]

    def describe(self) -> Mapping[str, object]:
        """Say what the run is measured on: JSON-able."""
        return {
            "dataset": self.name,
            "train": len(self.train),
            "held_out": len(self.held),
            "fingerprint": self._fingerprint,
        }

    @functools.cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256()
        for text in (*self.train, "", *self.held):
            digest.update(hashlib.sha256(text.encode()).digest())
        return digest.hexdigest()


def load_corpus(config: PpoDataConfig) -> Corpus:
    """Read the documents.

    Raises:
      DataError: no such file, a damaged one, or fewer than two documents.

    Example:
      >>> import pathlib, tempfile
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "poems.txt"
      >>> _ = path.write_text("one" + _BETWEEN + "two" + _BETWEEN + "three")
      >>> load_corpus(PpoDataConfig(path=str(path), held_out=0.4)).held
      ['three']
    """
    path = find_text(config.path)
    form = form_of(path)
    if form in ("json_lines", "parquet"):
        column, *append = config.fields
        source = Source(paths=(str(path),), form=form, column=column)
        texts = read_texts(source, config.name, append)
        documents = texts.documents
    else:
        texts = read_texts(Source(paths=(str(path),), form="blank_lines"), config.name)
        # What separates documents is put between them again when they become tokens.
        documents = [text.removesuffix("\n") for text in texts.documents]
    held = int(len(documents) * config.held_out)
    if not 0 < held < len(documents):
        raise DataError(
            f"{config.path} has {len(documents)} documents, of which data.held_out "
            f"{config.held_out:g} are kept for validation; give a file with more documents"
        )
    return Corpus(
        name=config.name,
        train=documents[:-held],
        held=documents[-held:],
        rejected=texts.rejected,
    )


def tokenize(tokenizer: Any, texts: Sequence[str]) -> np.ndarray:
    """Return all texts as one row of int32 tokens, with a blank line between them."""
    whole = [text + _BETWEEN for text in texts]
    return np.concatenate([np.asarray(ids, np.int32) for ids in tokenizer(whole)["input_ids"]])


def windows(tokens: np.ndarray, length: int) -> TokenRows:
    """Cut a row of tokens into pre-training texts: `[N, W]`, without the rest.

    Raises:
      DataError: fewer tokens than a window.

    Example:
      >>> windows(np.arange(7), 3).tokens.tolist()
      [[0, 1, 2], [3, 4, 5]]
    """
    count = len(tokens) // length
    if not count:
        raise DataError(
            f"the corpus has {len(tokens)} tokens, fewer than a window of {length}; give more "
            "text, or a smaller window"
        )
    rows = tokens[: count * length].reshape(count, length)
    there = np.ones(rows.shape, bool)
    return TokenRows(
        tokens=rows,
        valid=there,
        weights=there.astype(np.float32),
        answer=np.zeros(count, np.int32),
    )


def cut_prompts(tokens: np.ndarray, count: int, length: int, seed: int) -> np.ndarray:
    """Cut prompts out of a row of tokens at random places: `[N, P]`.

    Raises:
      DataError: fewer tokens than a prompt.

    Example:
      >>> cut_prompts(np.arange(4), count=1, length=4, seed=0).tolist()
      [[0, 1, 2, 3]]
    """
    if len(tokens) < length:
        raise DataError(
            f"the corpus has {len(tokens)} tokens, fewer than a prompt of {length}; give more "
            "text, or a smaller prompt"
        )
    starts = np.random.default_rng(seed).integers(len(tokens) - length + 1, size=count)
    return tokens[starts[:, None] + np.arange(length)[None]]
