"""jaxrec: recommendation with language models, in JAX and Flax.

Subpackages are imported when they are first used, so `import jaxrec` costs nothing and starts no
backend: `jaxrec.data`, `jaxrec.ids`, `jaxrec.models`, `jaxrec.decode`, `jaxrec.train`, ...

    run = jaxrec.train_run("quickstart")          # what `jaxrec train quickstart` does
    report = jaxrec.evaluate_run(run)             # `jaxrec eval`
    jaxrec.export_run(run, "exports/a", to="hf")  # `jaxrec export`
    model = jaxrec.open(run)                      # recommends; see `serve.open_recommender`
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxrec.cli import (
        evaluate_run as evaluate_run,
        export_run as export_run,
        train_run as train_run,
    )
    from jaxrec.serve import open_recommender as open  # noqa: F401

__version__ = "0.1.0"

_ROOMS = (
    "core",
    "data",
    "ids",
    "nn",
    "models",
    "items",
    "quant",
    "peft",
    "objectives",
    "kernels",
    "decode",
    "train",
    "align",
    "eval",
    "prompting",
    "capacity",
    "baselines",
    "runs",
    "texts",
    "systems",
    "serve",
    "cli",
    "testing",
)
# Functions of the package itself: the room that has them, and their name there.
_FUNCTIONS = {
    "open": ("serve", "open_recommender"),
    "train_run": ("cli", "train_run"),
    "evaluate_run": ("cli", "evaluate_run"),
    "export_run": ("cli", "export_run"),
}


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"jaxrec.{name}")
    if name in _FUNCTIONS:
        room, function = _FUNCTIONS[name]
        return getattr(importlib.import_module(f"jaxrec.{room}"), function)
    known = ", ".join([*_FUNCTIONS, *_ROOMS])
    raise AttributeError(f"module 'jaxrec' has no attribute {name!r}; it has: {known}")


def __dir__() -> list[str]:
    return [*_ROOMS, *_FUNCTIONS, "__version__"]
