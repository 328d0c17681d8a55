"""Whether a checkpoint belongs to the run and to the frozen parameters that it is used with.

Two runs may have parameters of equal shapes and other item IDs, data or settings. The record of a
checkpoint therefore holds a hash of each, as `Start.run` gives them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxrec.core import DataError


def check_base(record: Mapping[str, Any], base: str, directory: Path) -> None:
    """Reject frozen parameters that differ from those that a checkpoint was trained with.

    Raises:
      DataError: they differ; the message names both.
    """
    trained = record.get("base", "")
    if trained != base:
        raise DataError(
            f"{directory} was trained on the frozen parameters {trained or 'of no base'}, but they "
            f"are now {base or 'of no base'}; restore that base, or use another --run-dir"
        )


def check_owner(record: Mapping[str, Any], run: Mapping[str, str], directory: Path) -> None:
    """Reject a checkpoint of another run.

    Args:
      record: of the checkpoint; those of earlier versions name no run, and pass.
      run: a hash of each thing that the parameters depend on, by its name.
      directory: of the checkpoints.

    Raises:
      DataError: the message names what differs.

    Example:
      >>> check_owner({"run": {"item IDs": "ab"}}, {"item IDs": "cd"}, Path("a/checkpoints"))
      ... # doctest: +ELLIPSIS
      Traceback (most recent call last):
      jaxrec.core.errors.DataError: a/checkpoints belongs to a run with other item IDs (ab, ...
    """
    trained = record.get("run") or {}
    for name, now in run.items():
        then = trained.get(name, now)
        if then != now:
            raise DataError(
                f"{directory} belongs to a run with other {name} ({then[:12]}, here {now[:12]}); "
                "restore the checkpoints of this run, or train it again in another --run-dir"
            )
