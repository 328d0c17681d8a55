"""Runs of a sweep, each trained and measured once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxrec.core.files import write_text
from jaxrec.systems import run as runs
from jaxrec.systems.system import Options, system_of


def measure(config: Any, directory: Path) -> Mapping[str, Any]:
    """Train and measure one run, or read what it gave."""
    path, system = directory / "eval.json", system_of(config)
    if not path.exists():
        system.train(config, directory, Options())
        write_text(path, runs.to_json(system.evaluate(config, directory, baselines=True)))
    elif runs.load_any(directory) != config:
        raise SystemExit(f"{directory} holds a run of other settings; give another --out")
    return runs.read_json(path)
