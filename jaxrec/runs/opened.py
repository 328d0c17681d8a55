"""Open anything that holds a model: a run, a model directory, or a checkpoint made elsewhere."""

from pathlib import Path

from jaxrec.models import Dtype, Kind, Opened, open_model
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
