"""A trained run as a model that can leave: merged, or as an adapter beside its base."""

import dataclasses
from pathlib import Path
from typing import Any

from jaxrec.data import load_dataset
from jaxrec.ids import ItemCodes
from jaxrec.items import ids as item_ids
from jaxrec.models import Opened, Pretrained
from jaxrec.peft import TuneConfig
from jaxrec.runs import check_run, load_codes
from jaxrec.systems.generative.config import Config, load_config
from jaxrec.systems.generative.model import origin
from jaxrec.systems.generative.parameters import adapter, merged_model


def open_adapter(directory: Path) -> tuple[Opened, dict[str, Any], TuneConfig]:
    """Open a tuned run: its base, what was trained as `peft.save_peft` takes it, and how.

    Raises:
      ConfigError: a run that trained all parameters.
      DataError: no run there, not trained yet, or a base that has changed since.
    """
    config, codes, rows = _read_run(directory)
    model, trained = adapter(config, codes, directory)
    return _named(model, config, codes, rows), trained, config.tune


def open_run_model(directory: Path) -> Opened:
    """Open a run as one model of plain kernels, with the tokenizer and the items' IDs.

    Raises:
      ConfigError, DataError: see `merged_model`.
    """
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
    config = load_config(directory)
    dataset = load_dataset(config.data)
    check_run(config, dataset, directory)
    codes = load_codes(directory)
    return config, codes, item_ids.item_rows(codes, dataset)
