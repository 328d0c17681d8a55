"""The tokenizer of a corpus: trained on it with reserved tokens, or an existing one."""

import itertools
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jaxrec.core import ConfigError
from jaxrec.data import load_tokenizer, save_tokenizer, train_reserved
from jaxrec.data.corpora.config import Tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def train_tokenizer(settings: Tokenizer, texts: Iterable[str]) -> "PreTrainedTokenizerBase":
    """Train a tokenizer with reserved tokens, of which sentinels and modes have the highest ids.

    Raises:
      ConfigError: the vocabulary is too small for what it must hold, or a mode is unusable.
      DataError: there are no texts.

    Example:
      >>> tokenizer = train_tokenizer(Tokenizer(vocab_size=400), ["a film, another film"] * 9)
      >>> tokenizer.decode(tokenizer.encode("a film")), len(tokenizer) <= 400
      ('a film', True)
    """
    try:
        return train_reserved(
            texts,
            settings.vocab_size,
            kind="unigram" if settings.kind == "unigram" else "bpe",
            sentinels=settings.sentinels,
            modes=settings.modes,
            split_digits=settings.split_digits,
        )
    except ConfigError as error:
        raise ConfigError(f"--tokenizer: {error}") from error


def check_tokenizer(settings: Tokenizer) -> None:
    """Reject a tokenizer that cannot be trained or opened, before anything is read.

    Raises:
      ConfigError: the vocabulary is too small for what it must hold, a reserved token is unusable,
        or an existing tokenizer has no end token.
      DataError: an existing tokenizer is missing or damaged.

    Example:
      >>> check_tokenizer(Tokenizer(kind="none"))
    """
    if settings.path:
        _existing(settings.path)
    elif settings.kind != "none":
        train_tokenizer(settings, ["a"])


def _existing(path: str) -> "PreTrainedTokenizerBase":
    tokenizer = load_tokenizer(path)
    if tokenizer.eos_token_id is None:
        raise ConfigError(
            f"--tokenizer.path {path}: this tokenizer has no end token (eos_token), which "
            "separates documents; choose one that has"
        )
    return tokenizer


def corpus_tokenizer(
    settings: Tokenizer, directory: Path, texts: Callable[[], Iterable[str]], count: int
) -> "PreTrainedTokenizerBase":
    """Return the tokenizer of a corpus: read, or trained and written whole or not at all.

    Args:
      settings: which one.
      directory: where a trained one is kept.
      texts: returns the documents' texts.
      count: number of documents.

    Raises:
      ConfigError: the vocabulary is too small, or an existing tokenizer has no end token.
      DataError: a tokenizer is missing or damaged.
    """
    if settings.path:
        return _existing(settings.path)
    if not directory.exists():
        # Every n-th document, so that a sorted corpus is not represented by its beginning.
        step = max(1, -(-count // settings.documents)) if settings.documents else 1
        trained = train_tokenizer(settings, itertools.islice(texts(), 0, None, step))
        part = directory.with_name(f".{directory.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        save_tokenizer(trained, part)
        part.rename(directory)
    return load_tokenizer(directory)


def encode_documents(tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str]) -> list[list[int]]:
    """Return the tokens of each text; reserved tokens that a text spells are ordinary text.

    Example:
      >>> tokenizer = train_tokenizer(Tokenizer(vocab_size=400), ["a film, another film"] * 9)
      >>> tokens, = encode_documents(tokenizer, ["</s>"])
      >>> tokenizer.eos_token_id in tokens, tokenizer.decode(tokens)
      (False, '</s>')
    """
    backend = tokenizer.backend_tokenizer
    before = backend.encode_special_tokens
    backend.encode_special_tokens = True
    try:
        return [found.ids for found in backend.encode_batch(list(texts), add_special_tokens=False)]
    finally:
        backend.encode_special_tokens = before
