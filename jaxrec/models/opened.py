"""Opens anything that holds a model: a model directory, or a checkpoint of another library."""

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import jax

from jaxrec.core import ConfigError, DataError
from jaxrec.data import add_id_tokens, has_tokenizer, load_tokenizer
from jaxrec.ids import ItemCodes
from jaxrec.models.convert import Dtype, Pretrained, import_model
from jaxrec.models.spec import Kind
from jaxrec.models.store import is_model, load_model
from jaxrec.models.vocabulary import extend_vocabulary


@dataclasses.dataclass(frozen=True, kw_only=True)
class Opened:
    """A model with its tokenizer and items.

    Attributes:
      model: kind, config and parameters.
      tokenizer: tokenizer of transformers, or None.
      items: rows {"item", "id", "label"} of a run's items, with each ID as the tokenizer writes it;
        None unless the model comes from a run.
      start: token that every history begins with; None unless the model comes from a run that has
        one for all users.
      readme: how to use an export of the model, in Markdown.
      search: how items are searched for, JSON-able, so that `jaxrec.open` opens an export; None
        for a model that it does not open.
    """

    model: Pretrained
    tokenizer: Any = None
    items: list[dict[str, str]] | None = None
    start: int | None = None
    readme: str = ""
    search: dict[str, Any] | None = None


def open_model(
    path: Path, kind: Kind | None = None, dtype: Dtype = "float32", tokenizer: Path | None = None
) -> Opened:
    """Open a model directory, or a checkpoint of another library.

    Args:
      path: a directory that `save_model` wrote, or a checkpoint that `import_model` can read.
      kind: architecture and head of a checkpoint; None for those in its config.
      dtype: dtype of a checkpoint's parameters.
      tokenizer: directory or llama2.c file of a checkpoint's tokenizer; None for the one stored
        with the model.

    Raises:
      ConfigError: a checkpoint has a model type or setting that is not supported.
      DataError: files are missing or damaged, or they do not match the model's config.

    Example:
      >>> from flax import linen as nn
      >>> from jaxrec.models import ModelSpec, TransformerConfig, save_model
      >>> spec = ModelSpec("causal", TransformerConfig(vocab_size=8, width=4, depth=1))
      >>> zeros = jax.tree.map(jax.numpy.zeros_like, nn.meta.unbox(spec.shapes()))
      >>> directory = Path(tempfile.mkdtemp()) / "model"
      >>> save_model(Pretrained(spec=spec, params=zeros), directory)
      >>> opened = open_model(directory)
      >>> opened.model.spec == spec, opened.tokenizer
      (True, None)
    """
    if is_model(path):
        return _matched(load_model(path), tokenizer_beside(path), path)
    model = import_model(path, kind, dtype)
    if tokenizer is None:
        return _matched(model, tokenizer_beside(path), path)
    if tokenizer.is_dir():
        return _matched(model, load_tokenizer(tokenizer), tokenizer)
    from jaxrec.models.llama2c import read_llama2c_tokenizer

    read = read_llama2c_tokenizer(tokenizer, model.spec.config.vocab_size)
    return Opened(model=model, tokenizer=read)


def _matched(model: Pretrained, tokenizer: Any, path: Path) -> Opened:
    if tokenizer is not None:
        check_tokenizer(tokenizer, model.spec.config.vocab_size, path)
    return Opened(model=model, tokenizer=tokenizer)


def check_tokenizer(tokenizer: Any, vocab_size: int, path: Path) -> None:
    """Reject a tokenizer that writes tokens for which a model has no row.

    Args:
      tokenizer: of transformers.
      vocab_size: V of the model; a larger table is usual, because sizes are rounded up.
      path: where the tokenizer comes from, for the message.

    Raises:
      DataError: the tokenizer has more tokens than the model.
    """
    size = 1 + max(tokenizer.get_vocab().values(), default=-1)
    if size > vocab_size:
        raise DataError(
            f"{path}: the tokenizer has {size} tokens, the model's table only {vocab_size}; copy "
            "both from the same model"
        )


def add_ids(opened: Opened, codes: ItemCodes, key: jax.Array) -> Opened:
    """Add the tokens of item IDs to a text model and, in place, to its tokenizer.

    Args:
      opened: the model and its tokenizer.
      codes: the item IDs.
      key: random key of the new embedding rows.

    Raises:
      ConfigError: the model has no tokenizer, or its tokenizer already has other item IDs.
    """
    if opened.tokenizer is None:
        raise ConfigError(
            "item IDs are added to a tokenizer, but this model has none; give the directory of its "
            "tokenizer"
        )
    first = add_id_tokens(opened.tokenizer, codes.sizes)
    # Tables are often longer than the tokenizer's vocabulary, because their size is rounded up.
    size = max(len(opened.tokenizer), opened.model.spec.config.vocab_size)
    assert first + sum(codes.sizes) <= size
    return dataclasses.replace(opened, model=extend_vocabulary(opened.model, size, key))


def tokenizer_beside(path: Path) -> Any:
    """Load the tokenizer of transformers that is stored with a model; None if there is none.

    Raises:
      DataError: there is one, but it is damaged, or a package that it needs is not installed.
    """
    if path.suffix == ".gguf":
        from jaxrec.models.gguf import GgufSource

        with tempfile.TemporaryDirectory() as directory:
            GgufSource(path).save_tokenizer(directory)
            return load_tokenizer(directory)
    return load_tokenizer(path) if has_tokenizer(path) else None
