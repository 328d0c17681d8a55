"""Whatever holds a model, opened alike: a model directory, or a checkpoint made elsewhere."""

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

from jaxrec.core import ConfigError, DataError
from jaxrec.data import add_id_tokens, load_tokenizer
from jaxrec.ids import ItemCodes
from jaxrec.models.convert import Dtype, Pretrained, import_model
from jaxrec.models.spec import Kind
from jaxrec.models.store import is_model, load_model
from jaxrec.models.vocabulary import extend_vocabulary


@dataclasses.dataclass(frozen=True)
class Opened:
    """A model with what belongs to it.

    Attributes:
      model: kind, config and parameters.
      tokenizer: of transformers; None where there is none.
      items: of a run: rows {"item", "id", "label"}, the ID as the tokenizer's text; else None.
    """

    model: Pretrained
    tokenizer: Any = None
    items: list[dict[str, str]] | None = None


def open_model(
    path: Path, kind: Kind | None = None, dtype: Dtype = "float32", tokenizer: Path | None = None
) -> Opened:
    """Open a model directory, or a checkpoint of another format.

    Args:
      path: of either; a checkpoint is whatever `import_model` reads.
      kind: of a checkpoint: architecture and head; None for what it says itself.
      dtype: of a checkpoint's parameters.
      tokenizer: directory or llama2.c file of a tokenizer; None for the one beside the model.

    Raises:
      ConfigError, DataError: as the readers of each.
    """
    if is_model(path):
        return Opened(load_model(path), tokenizer_beside(path))
    model = import_model(path, kind, dtype)
    if tokenizer is None:
        return Opened(model, tokenizer_beside(path))
    if tokenizer.is_dir():
        return Opened(model, load_tokenizer(tokenizer))
    from jaxrec.models.llama2c import read_llama2c_tokenizer

    return Opened(model, read_llama2c_tokenizer(tokenizer, model.spec.config.vocab_size))


def add_ids(opened: Opened, codes: ItemCodes, key: Any) -> Opened:
    """Make the item IDs tokens of a text model and of its tokenizer.

    Raises:
      ConfigError: the model has no tokenizer, or one with other item IDs.
    """
    if opened.tokenizer is None:
        raise ConfigError("item IDs are added to a tokenizer, and this model has none beside it")
    first = add_id_tokens(opened.tokenizer, codes.sizes)
    # Tables are often longer than the vocabulary, to round their size.
    size = max(len(opened.tokenizer), opened.model.spec.config.vocab_size)
    assert first + sum(codes.sizes) <= size
    return dataclasses.replace(opened, model=extend_vocabulary(opened.model, size, key))


def tokenizer_beside(path: Path) -> Any:
    """The tokenizer of transformers that lies with a model, or None."""
    if path.suffix == ".gguf":
        from jaxrec.models.gguf import GgufSource

        with tempfile.TemporaryDirectory() as directory:
            GgufSource(path).save_tokenizer(directory)
            return load_tokenizer(directory)
    if not path.is_dir():
        return None
    try:
        return load_tokenizer(path)
    except DataError:
        return None
