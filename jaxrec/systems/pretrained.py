"""Whatever holds a model, opened alike: a run, a model directory, a checkpoint made elsewhere."""

import dataclasses
from pathlib import Path
from typing import Any

from jaxrec.core import ConfigError
from jaxrec.data.tokenizers import add_id_tokens, load_tokenizer
from jaxrec.ids import ItemCodes
from jaxrec.models import Kind, Pretrained, extend_vocabulary, import_model, load_model
from jaxrec.models.convert import Dtype
from jaxrec.models.store import is_model
from jaxrec.peft import TuneConfig
from jaxrec.systems import item_ids, run
from jaxrec.systems.config import Config
from jaxrec.systems.dataset import load_dataset
from jaxrec.systems.model import origin
from jaxrec.systems.parameters import adapter, merged_model
from jaxrec.systems.text_base import tokenizer_beside


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


def open_any(
    path: Path, kind: Kind | None = None, dtype: Dtype = "float32", tokenizer: Path | None = None
) -> Opened:
    """Open a run directory, a model directory, or a checkpoint of another format.

    Args:
      path: of any of these; a checkpoint is whatever `import_model` reads.
      kind: of a checkpoint: architecture and head; None for what it says itself.
      dtype: of a checkpoint's parameters.
      tokenizer: directory or llama2.c file of a tokenizer; None for the one beside the model.

    Raises:
      ConfigError, DataError: as the readers of each.
    """
    if run.exists(path) and (path / "ids").is_dir():
        return _open_run(path)
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


def open_adapter(directory: Path) -> tuple[Opened, dict[str, Any], TuneConfig]:
    """Open a tuned run: its base, what was trained as `peft.save_peft` takes it, and how.

    Raises:
      ConfigError: a run that trained all parameters.
      DataError: no run there, not trained yet, or a base that has changed since.
    """
    config, codes, rows = _read_run(directory)
    model, trained = adapter(config, codes, directory)
    return _named(model, config, codes, rows), trained, config.tune


def _open_run(directory: Path) -> Opened:
    config, codes, rows = _read_run(directory)
    return _named(merged_model(config, codes, directory), config, codes, rows)


def _named(
    model: Pretrained, config: Config, codes: ItemCodes, rows: list[dict[str, str]]
) -> Opened:
    """The model of a run with the family and the tokenizer of the one that it goes back to."""
    described, tokenizer = origin(config, codes)
    model = dataclasses.replace(model, family=described.family, tokens=described.tokens)
    return Opened(model, tokenizer, rows)


def _read_run(directory: Path) -> tuple[Config, ItemCodes, list[dict[str, str]]]:
    """Settings, IDs, and the item <-> ID map of a run."""
    config = run.load_config(directory)
    dataset = load_dataset(config.data)
    run.check(config, dataset, directory)
    codes = run.load_codes(directory)
    return config, codes, item_ids.item_rows(codes, dataset)
