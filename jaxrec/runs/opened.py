"""Open anything that holds a model: a run, a model directory, or a checkpoint made elsewhere."""

from pathlib import Path
from typing import Any

from jaxrec.models import Dtype, Kind, Opened, open_model
from jaxrec.prompting import LocalModel
from jaxrec.runs.directory import is_run, load_run
from jaxrec.runs.system import offered


def open_any(
    path: Path, kind: Kind | None = None, dtype: Dtype = "float32", tokenizer: Path | None = None
) -> Opened:
    """Open a run directory, a model directory, or a checkpoint of another format.

    Args:
      path: the directory or file.
      kind: architecture and head of a checkpoint; None for what it says itself.
      dtype: type of a checkpoint's parameters.
      tokenizer: directory or llama2.c file of a tokenizer; None for the one beside the model.

    Raises:
      ConfigError: a run of a system whose models cannot be opened, or a checkpoint that is not
        supported.
      DataError: no model there, or a damaged file.
    """
    if not is_run(path):
        return open_model(path, kind, dtype, tokenizer)
    config = load_run(path)
    return offered(config, "open_model")(config, path)


def open_language_model(
    path: Path | str,
    *,
    name: str | None = None,
    dtype: Dtype = "float32",
    tokenizer: Path | None = None,
    **options: Any,
) -> LocalModel:
    """Open a run of a system that trains text models, or any other text model, for prompting.

    Args:
      path: see `open_any`: a run of `pretrain`, `instruct`, `ppo` or another system of text models,
        a model directory, or a checkpoint of another format.
      name: what reports call the model; None for the path's name and the first digits of the
        parameters' checksum.
      dtype: type of a checkpoint's parameters.
      tokenizer: directory or llama2.c file of a tokenizer; None for the one beside the model.
      **options: `context`, `overflow`, `batch_size` and `prefixes` of `prompting.LocalModel`.

    Raises:
      ConfigError: a run of a system without a text model, a model that writes no text, or one
        without a tokenizer.
      DataError: no model there, or a damaged file.

    Example:
      Ask the model of a run::

        model = open_language_model("runs/instruct", overflow="cut")
        model.generate(["Name three films."], GenerateOptions(max_tokens=40))
    """
    path = Path(path)
    return LocalModel.at(open_any(path, None, dtype, tokenizer), path, name, **options)
