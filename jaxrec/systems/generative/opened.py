"""A trained run ready for export: as one merged model, or as an adapter beside its base."""

import dataclasses
from pathlib import Path
from typing import Any

from jaxrec.data import load_dataset
from jaxrec.ids import BOS, ItemCodes
from jaxrec.items import ids as item_ids
from jaxrec.models import LOADERS, Opened, Pretrained
from jaxrec.peft import TuneConfig
from jaxrec.runs import check_run, load_codes
from jaxrec.systems.generative.config import Config, load_config
from jaxrec.systems.generative.export_ranker import search_settings
from jaxrec.systems.generative.exported import readme
from jaxrec.systems.generative.model import origin
from jaxrec.systems.generative.parameters import adapter, merged_model


def open_adapter(directory: Path) -> tuple[Opened, dict[str, Any], TuneConfig]:
    """Open a tuned run.

    Returns:
      The base, the trained arrays as `peft.save_peft` takes them, and how they were trained.

    Raises:
      ConfigError: a run that trained all parameters.
      DataError: no run there, not trained yet, or a base that has changed since.
    """
    config, codes, rows = _read_run(directory)
    model, trained = adapter(config, codes, directory)
    return _named(model, config, codes, rows), trained, config.tune


def open_run_model(directory: Path) -> Opened:
    """Open a run as one model with plain kernels, with its tokenizer and the items' IDs.

    Raises:
      ConfigError, DataError: see `merged_model`.
    """
    config, codes, rows = _read_run(directory)
    opened = _named(merged_model(config, codes, directory), config, codes, rows)
    kind, family = opened.model.spec.kind, opened.model.family or ""
    text = readme(config, codes, LOADERS[kind], family)
    return dataclasses.replace(opened, readme=text, search=search_settings(config, codes))


def _named(
    model: Pretrained, config: Config, codes: ItemCodes, rows: list[dict[str, str]]
) -> Opened:
    """Put a run's model together with the family and tokenizer of its `origin`."""
    described, tokenizer = origin(config, codes)
    model = dataclasses.replace(model, family=described.family, tokens=described.tokens)
    return Opened(
        model=model,
        tokenizer=tokenizer,
        items=rows,
        start=None if config.user_tokens else BOS,
    )


def _read_run(directory: Path) -> tuple[Config, ItemCodes, list[dict[str, str]]]:
    """Read the settings, the IDs, and the map from items to IDs of a run."""
    config = load_config(directory)
    dataset = load_dataset(config.data)
    check_run(config, dataset, directory)
    codes = load_codes(directory)
    return config, codes, item_ids.item_rows(codes, dataset)
