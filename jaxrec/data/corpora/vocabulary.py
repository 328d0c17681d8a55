"""The tokenizer of a corpus: trained on it with reserved tokens, or an existing one."""

import itertools
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jaxrec.core import ConfigError
from jaxrec.data import load_tokenizer, save_tokenizer, train_bpe, train_unigram
from jaxrec.data.corpora.config import Tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

RESERVED = {
    "pad_token": "<pad>",
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
}


def reserved_tokens(settings: Tokenizer) -> list[str]:
    """Return the reserved tokens beside those with a role: sentinels, then modes.

    Example:
      >>> reserved_tokens(Tokenizer(sentinels=2, modes=("[S]",)))
      ['<extra_id_0>', '<extra_id_1>', '[S]']
    """
    return [*(f"<extra_id_{number}>" for number in range(settings.sentinels)), *settings.modes]


def train_tokenizer(settings: Tokenizer, texts: Iterable[str]) -> "PreTrainedTokenizerBase":
    """Train a tokenizer with reserved tokens, which have the highest ids.

    Raises:
      ConfigError: the vocabulary is too small for what it must hold.
      DataError: there are no texts.

    Example:
      >>> tokenizer = train_tokenizer(Tokenizer(vocab_size=400), ["a film, another film"] * 9)
      >>> tokenizer.decode(tokenizer.encode("a film")), len(tokenizer) <= 400
      ('a film', True)
    """
    from tokenizers import AddedToken

    extra = reserved_tokens(settings)
    size = settings.vocab_size - len(extra)
    if size < 1:
        raise ConfigError(
            f"--tokenizer.vocab-size {settings.vocab_size} cannot hold {len(extra)} sentinels and "
            "modes; raise it, or lower --tokenizer.sentinels"
        )
    train = train_bpe if settings.kind == "bpe" else train_unigram
    tokenizer = train(texts, size, special_tokens=RESERVED, split_digits=settings.split_digits)
    tokenizer.add_tokens([AddedToken(token, normalized=False, special=True) for token in extra])
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
        tokenizer = load_tokenizer(settings.path)
        if tokenizer.eos_token_id is None:
            raise ConfigError(
                f"--tokenizer.path {settings.path}: this tokenizer has no end token (eos_token), "
                "which separates documents; choose one that has"
            )
        return tokenizer
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
