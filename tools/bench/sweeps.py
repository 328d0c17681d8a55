"""Runs of a sweep, each trained and measured once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxrec.core import read_json, to_json, write_text
from jaxrec.runs import Options, load_run, system_of


def measure(config: Any, directory: Path) -> Mapping[str, Any]:
    """Train and measure one run, or read what it gave."""
    path, system = directory / "eval.json", system_of(config)
    if not path.exists():
        system.train(config, directory, Options())
        write_text(path, to_json(system.evaluate(config, directory, baselines=True)))
    elif load_run(directory) != config:
        raise SystemExit(f"{directory} holds a run of other settings; give another --out")
    return read_json(path)
