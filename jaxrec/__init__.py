"""jaxrec: recommendation with language models, in JAX and Flax.

Subpackages are imported when they are first used, so `import jaxrec` costs nothing and starts no
backend: `jaxrec.data`, `jaxrec.ids`, `jaxrec.models`, `jaxrec.decode`, `jaxrec.train`, ...

`jaxrec.open("runs/a")` opens a trained run; see `jaxrec.serve.open_recommender`.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"jaxrec.{name}")
    if name == "open":
        return importlib.import_module("jaxrec.serve").open_recommender
    raise AttributeError(f"module 'jaxrec' has no attribute {name!r}; it has: {', '.join(_ROOMS)}")


def __dir__() -> list[str]:
    return [*_ROOMS, "__version__", "open"]
