"""Whatever holds a model, opened alike: a run, a model directory, a checkpoint made elsewhere."""

from pathlib import Path

from jaxrec.models import Dtype, Kind, Opened, open_model
from jaxrec.runs.directory import is_run, load_run
from jaxrec.runs.system import offered


def open_any(
    path: Path, kind: Kind | None = None, dtype: Dtype = "float32", tokenizer: Path | None = None
) -> Opened:
    """Open a run directory, a model directory, or a checkpoint of another format.

    Args:
      path: of any of these.
      kind: of a checkpoint: architecture and head; None for what it says itself.
      dtype: of a checkpoint's parameters.
      tokenizer: directory or llama2.c file of a tokenizer; None for the one beside the model.

    Raises:
      ConfigError, DataError: as the readers of each; a run of a system that holds no such model.
    """
    if not is_run(path):
        return open_model(path, kind, dtype, tokenizer)
    config = load_run(path)
    return offered(config, "open_model")(config, path)
