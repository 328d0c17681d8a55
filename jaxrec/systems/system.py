"""What a system offers the commands: its config names the module, and the module has these parts.

A config class has `system: ClassVar[str]`, such as "jaxrec.systems.generative_run"; the module has
`CONFIG`, that class, and the functions of `System`. So a config file is all that a command needs.
"""

import dataclasses
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, cast

from jaxrec.core import ConfigError, nearest
from jaxrec.systems.measured import Measured

PACKAGE = "jaxrec.systems."


@dataclasses.dataclass(frozen=True)
class Options:
    """What `jaxrec train` was asked for beside the config.

    Attributes:
      dry: say what it would take, and write nothing.
      show_shardings: print where every parameter lies.
      profile: write a trace of some steps.
    """

    dry: bool = False
    show_shardings: bool = False
    profile: bool = False


class System(Protocol):
    """A module of `jaxrec.systems` that commands can run."""

    CONFIG: type

    def train(self, config: Any, directory: Path, options: Options) -> None:
        """Check everything, then train or resume, and write `train.json`."""

    def evaluate(self, config: Any, directory: Path, *, baselines: bool) -> Mapping[str, Any]:
        """Measure a trained run: JSON-able, with "lines" of text that `jaxrec eval` prints."""

    def rank(self, config: Any, directory: Path) -> Measured:
        """Measure the lists of a trained run on the test items of a leave-one-out split.

        Only systems that recommend the next item have it; `jaxrec compare` needs it. A config whose
        attribute `ranks` is False is of one that does, but asks for none itself.
        """


def system_of(config: Any) -> System:
    """The module that runs a config.

    Raises:
      ConfigError: no config of any system.
    """
    name = getattr(config, "system", None)
    if not dataclasses.is_dataclass(config) or not isinstance(name, str):
        raise ConfigError(
            f"{type(config).__name__} is no config of a system: it must be a dataclass with "
            "system: ClassVar[str], its module"
        )
    return cast(System, importlib.import_module(name))


def config_class(name: str) -> type:
    """The config class of a system that a run directory names, such as "generative_run".

    Raises:
      ConfigError: no such system in this version.
    """
    try:
        if name.isidentifier():
            return cast(System, importlib.import_module(PACKAGE + name)).CONFIG
    except (ModuleNotFoundError, AttributeError):
        pass
    here = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))
    raise ConfigError(f"this version has no system {name!r}{nearest(name, here)}")


def short_name(config: Any) -> str:
    """The name of a config's system in a run directory, which `config_class` reads."""
    return str(config.system).removeprefix(PACKAGE)
