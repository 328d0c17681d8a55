"""`jaxrec train --wandb`: the metrics of a run on Weights & Biases, beside its own files.

The training knows nothing of it: a thread reads `metrics.jsonl`, which every system writes, and
sends the rows that are new. So a slow network delays no step, and a resumed run continues the same
chart. The id of the run there is kept in `wandb.json`.
"""

import contextlib
import os
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypedDict

from jaxrec.core import ConfigError, DataError, is_writer, read_json, to_json, write_text
from jaxrec.train import read_metrics

PROJECT = "jaxrec"
_FILE = "wandb.json"
_SECONDS = 10.0  # between two looks at the file


class _Kept(TypedDict):
    """What `wandb.json` holds."""

    id: str


@contextlib.contextmanager
def mirrored(
    directory: Path, config: dict[str, Any], *, seconds: float = _SECONDS
) -> Iterator[None]:
    """Send the metrics of a training to Weights & Biases while the block runs, and at its end.

    Where they go is said by that package's own environment variables, such as WANDB_PROJECT,
    WANDB_ENTITY and WANDB_MODE=offline.

    Args:
      directory: the run directory.
      config: nested settings, JSON-able, which the page of the run shows.
      seconds: pause between two looks at `metrics.jsonl`.

    Raises:
      ConfigError: the package is absent, or nobody is logged in.
    """
    if not is_writer():
        yield
        return
    run = _begin(directory, config)
    sent, done = _Sent(run), threading.Event()

    def follow() -> None:
        while not done.wait(seconds):
            sent.send(directory)

    thread = threading.Thread(target=follow, name="wandb", daemon=True)
    thread.start()
    code = 1
    try:
        yield
        code = 0
    finally:
        done.set()
        thread.join()
        sent.send(directory)
        run.finish(exit_code=code)


def _begin(directory: Path, config: dict[str, Any]) -> Any:
    try:
        import wandb
    except ImportError as error:
        raise ConfigError(
            "--wandb needs the package wandb, which is not installed: pip install 'jaxrec[wandb]'"
        ) from error
    path = directory / _FILE
    fix = "remove it to begin a new chart"
    known = path.exists()
    name = read_json(path, _Kept, fix=fix)["id"] if known else uuid.uuid4().hex[:12]
    try:
        run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=directory.name,
            id=name,
            resume="allow",
            dir=str(directory),
            config=config,
        )
    except Exception as error:  # its errors share no public base
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"--wandb cannot begin ({reason}); log in by `wandb login`, or set WANDB_MODE=offline"
        ) from error
    if not known:
        write_text(path, to_json({"id": name}))
    return run


class _Sent:
    """The rows that were sent already: a resumed run writes some of them again."""

    def __init__(self, run: Any) -> None:
        self._run = run
        self._from = int(getattr(run, "starting_step", 0) or 0)  # earlier ones are there
        self._rows: set[tuple[int, tuple[str, ...]]] = set()
        self._broken = False

    def send(self, directory: Path) -> None:
        """Send what is new. A file that is being rewritten is read again later."""
        if self._broken:
            return
        try:
            rows = read_metrics(directory / "metrics.jsonl")
        except (DataError, OSError):
            return
        for row in rows:
            step = row["step"]
            key = (step, tuple(sorted(row)))
            if step < self._from or key in self._rows:
                continue
            self._rows.add(key)
            values = {name: value for name, value in row.items() if name != "step"}
            try:
                self._run.log(values, step=step)
            except Exception as error:  # no reason to lose a training
                print(f"--wandb: step {step} cannot be sent, and no later one is ({error})")
                self._broken = True
                return
