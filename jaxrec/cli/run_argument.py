"""The argument RUN of commands: its directory read, with advice where it is something else."""

from pathlib import Path
from typing import Any

from jaxrec.cli.configs import config_names, run_name
from jaxrec.core import ConfigError
from jaxrec.runs import is_run, load_run


def read_run(path: Path) -> Any:
    """Read the config of a run.

    Args:
      path: what the user typed as RUN.

    Raises:
      ConfigError: it is a config, whose run the message names, or settings are wrong.
      DataError: no run there; see `load_run`.

    Example:
      >>> read_run(Path("quickstart"))  # doctest: +ELLIPSIS
      Traceback (most recent call last):
      ...
      jaxrec.core.errors.ConfigError: quickstart is a config and no run; ...
    """
    if not path.is_dir():
        check_no_config(path)
    return load_run(path)


def check_no_config(path: Path) -> None:
    """Reject a config, by name or by path, that stands where a run is needed.

    Raises:
      ConfigError: the message says how to train it, or which runs of it there are.
    """
    names = config_names()
    file = names.get(str(path)) or (path if path.suffix == ".py" and path.is_file() else None)
    if file is None:
        return
    runs = [Path(f"runs/{run_name(file)}{ending}") for ending in ("", "-quick")]
    known = [str(run) for run in runs if is_run(run)]
    if known:
        raise ConfigError(f"{path} is a config and no run; give a run of it: {', '.join(known)}")
    raise ConfigError(
        f"{path} is a config and no run; train it by jaxrec train {path}, then give {runs[0]}"
    )
