"""What a system offers the commands: its config names the package, and `run.py` has the parts.

A config class has `system: ClassVar[str]`, such as "jaxrec.systems.generative"; the `run` module of
that package has `CONFIG`, that class, and those functions of `System` that the system offers. So a
config file is all that a command needs.
"""

import dataclasses
import importlib
import importlib.util
import pkgutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from jaxrec.core import ConfigError, nearest
from jaxrec.runs.measured import Measured

if TYPE_CHECKING:
    pass

PACKAGE = "jaxrec.systems"
# Systems that run directories written by earlier versions name otherwise, or not at all.
OLD_NAMES = {"": "generative", "generative_run": "generative"}


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
      ConfigError: the config belongs to no system.
    """
    name = getattr(config, "system", None)
    if not dataclasses.is_dataclass(config) or not isinstance(name, str):
        raise ConfigError(
            f"{type(config).__name__} is no config of a system: it must be a dataclass with "
            "system: ClassVar[str], its package"
        )
    return cast(System, importlib.import_module(f"{name}.run"))


def offered(config: Any, function: str) -> Callable[..., Any]:
    """The function of a config's system, such as "recommend".

    Raises:
      ConfigError: the system does not offer it; the message names those that do.
    """
    found = getattr(system_of(config), function, None)
    if found is None:
        able = [name for name in system_names() if hasattr(_module(name), function)]
        raise ConfigError(
            f"{short_name(config)} does not offer {function}; systems that do: {', '.join(able)}"
        )
    return cast(Callable[..., Any], found)


def system_names() -> list[str]:
    """Names of the systems that come with jaxrec, in alphabetical order."""
    package = importlib.import_module(PACKAGE)
    return sorted(found.name for found in pkgutil.iter_modules(package.__path__) if found.ispkg)


def config_class(name: str) -> type:
    """The config class of the system that a run directory names, such as "generative".

    Raises:
      ConfigError: this version has no such system.
    """
    name = OLD_NAMES.get(name, name)
    inside, outside = name.isidentifier(), "." in name
    try:
        if inside and name in system_names():
            return _module(name).CONFIG
        if outside:
            return cast(System, importlib.import_module(f"{name}.run")).CONFIG
    except (ModuleNotFoundError, AttributeError):
        pass
    raise ConfigError(f"this version has no system {name!r}{nearest(name, system_names())}")


def short_name(config: Any) -> str:
    """The name of a config's system in a run directory, which `config_class` reads."""
    return str(config.system).removeprefix(PACKAGE + ".")


def _module(name: str) -> System:
    return cast(System, importlib.import_module(f"{PACKAGE}.{name}.run"))
