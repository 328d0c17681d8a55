"""What a system offers the commands: functions in the `run.py` of the package its config names.

A config class has `system: ClassVar[str]`, such as "jaxrec.systems.generative". The `run` module of
that package has `CONFIG`, which is that class, and those functions of `System` that the system
offers. So a config file is all that a command needs. A class that takes settings of another one and
does not read all of them names these in `unread`; see `config.check_unread`. A config that does not
read some settings because of the values of others has these as the property `ignored`, so that its
quick variant leaves them as they are.
"""

import dataclasses
import importlib
import importlib.util
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from jaxrec.core import LOCAL, ConfigError, Engine, nearest

if TYPE_CHECKING:
    from jaxrec.align import RewardModel
    from jaxrec.data import Dataset
    from jaxrec.eval import RunParts
    from jaxrec.ids import ItemCodes
    from jaxrec.models import Opened
    from jaxrec.peft import TuneConfig
    from jaxrec.runs.kept import Kept
    from jaxrec.runs.measured import Measured
    from jaxrec.runs.ranker import Ranker
    from jaxrec.runs.requests import Recommendations, RecommendRequest, TextRecommendations

PACKAGE = "jaxrec.systems"
# The command that needs a function of `System`, as error messages name it.
_COMMANDS = {
    "train": "jaxrec train",
    "evaluate": "jaxrec eval",
    "rank": "jaxrec compare",
    "recommend": "jaxrec recommend",
    "recommend_text": "jaxrec recommend --resume",
    "report": "jaxrec report",
    "tag": "jaxrec skills",
    "fit_ids": "jaxrec ids",
    "open_model": "jaxrec export --to hf",
    "open_adapter": "jaxrec export --to peft",
    "open_ranker": "jaxrec.open",
    "add_items": "adding items to a run",
    "open_reward": "a reward model",
}

# Whoever cannot do the first has said at the second what to do instead.
_SAME_ADVICE = {"open_ranker": "recommend"}


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags of `jaxrec train`.

    Attributes:
      dry: report what training would take, and write nothing.
      show_shardings: print where every parameter lies.
      profile: write a trace of some steps.

    Example:
      >>> Options(dry=True).profile
      False
    """

    dry: bool = False
    show_shardings: bool = False
    profile: bool = False


class System(Protocol):
    """The `run` module of a system. Every function is optional; see `offered`.

    Attributes:
      CONFIG: the config class.
      INSTEAD: what to do instead of a function that the system does not offer, by its name; it ends
        the error message. Optional.
    """

    CONFIG: type
    INSTEAD: Mapping[str, str]

    def resolve(self, config: Any) -> Any:
        """Complete a config as its run directory holds it, such as with the shape of its base."""

    def train(self, config: Any, directory: Path, options: Options) -> None:
        """Check everything, train or resume, and write `train.json`."""

    def evaluate(
        self, config: Any, directory: Path, *, baselines: Sequence[str]
    ) -> Mapping[str, Any]:
        """Measure a trained run beside the baselines of these names; none if there are no names.

        `evaluate_run` measures a system that offers `rank` and not this.

        Returns:
          JSON-able: "heading", "protocol", "rows" and "comparisons" of the main table, and "lines"
          of text; further tables by name in "tables". "values", metric to one value per user, lets
          `jaxrec sweep` test systems that do not rank. "trained_tokens", and
          "parameters" and "parameters_without_vocabulary" in the row of the model, let
          `jaxrec scaling fit` read a sweep.
        """

    def rank(self, config: Any, directory: Path, filter_seen: bool | None = None) -> "Measured":
        """Measure the lists of a trained run on the test items of a leave-one-out split.

        `filter_seen` says whether they leave out seen items; None for what the config says.
        A config whose attribute `ranks` is False has no such lists, although others of its class
        do.
        """

    def recommend(
        self, config: Any, directory: Path, request: "RecommendRequest"
    ) -> "Recommendations":
        """Recommend items to one user, given all their interactions, held-out ones included."""

    def open_ranker(self, config: Any, directory: Path, kept: "Kept") -> "Ranker":
        """Open a trained run for recommendations, given what it keeps of its data; no data."""

    def load_data(self, config: Any) -> Any:
        """Load the data of a run for `keep_data`, if they are no `Dataset`.

        Raises:
          ConfigError: data that name no users, so that the run cannot recommend to any.
        """

    def add_items(
        self,
        config: Any,
        directory: Path,
        kept: "Kept",
        ranker: "Ranker",
        rows: Sequence[Mapping[str, Any]],
    ) -> "tuple[Ranker, list[dict[str, Any]]]":
        """Let a ranker know new items, without writing anything.

        Args:
          config: of the run.
          directory: of the run.
          kept: what the run keeps of its data.
          ranker: what `open_ranker`, or an earlier call, returned.
          rows: a row for each item: "item", its original ID, and its texts by field.

        Returns:
          The ranker with the new items, which are numbered after all others, and a row for each of
          them, see `Changes.added`.
        """

    def recommend_text(
        self, config: Any, directory: Path, text: str, top: int
    ) -> "TextRecommendations":
        """Recommend items for a text from elsewhere, such as a resume."""

    def report(self, config: Any, directory: Path) -> "RunParts":
        """Read what the page and the model card of a run show; see `read_parts`."""

    def tag(self, config: Any, directory: Path, texts: Sequence[str]) -> Sequence[Sequence[Any]]:
        """Tag texts by a trained run: the spans of each, with kind, place and probability."""

    def fit_ids(
        self, config: Any, directory: Path, engine: Engine = LOCAL
    ) -> "tuple[Dataset, ItemCodes]":
        """Fit and save the item IDs of a new run, or check and read those of an existing one.

        The `engine` encodes texts and assigns codes, by rows.
        """

    def describe_ids(self, codes: "ItemCodes") -> Sequence[str]:
        """Return lines about the IDs of `fit_ids` that are not those of the room `items`."""

    def open_model(self, config: Any, directory: Path) -> "Opened":
        """Open a trained run as one model with plain kernels and its tokenizer."""

    def open_adapter(
        self, config: Any, directory: Path
    ) -> "tuple[Opened, dict[str, Any], TuneConfig]":
        """Open a tuned run: its base, the trained arrays for `peft.save_peft`, and how."""

    def open_reward(self, config: Any, directory: Path, *, gold: bool = False) -> "RewardModel":
        """Open a trained run as a reward of texts, or its second, gold model."""


def system_of(config: Any) -> System:
    """Return the module that runs a config.

    Raises:
      ConfigError: the config belongs to no system.

    Example:
      >>> from jaxrec.systems.sasrec import SasrecRunConfig
      >>> system_of(SasrecRunConfig()).__name__
      'jaxrec.systems.sasrec.run'
    """
    name = getattr(config, "system", None)
    if not dataclasses.is_dataclass(config) or not isinstance(name, str):
        raise ConfigError(
            f"{type(config).__name__} is not the config of a system: it must be a dataclass with "
            "system: ClassVar[str], the system's package"
        )
    return cast(System, importlib.import_module(f"{name}.run"))


def offered(config: Any, function: str) -> Callable[..., Any]:
    """Return a function of a config's system.

    Args:
      config: of any system.
      function: its name in `System`, such as "recommend".

    Raises:
      ConfigError: the system does not offer it. The message names the systems that do, and what to
        do instead if the system says so.

    Example:
      >>> from jaxrec.systems.sasrec import SasrecRunConfig
      >>> offered(SasrecRunConfig(), "recommend").__name__
      'recommend'
    """
    system = system_of(config)
    offer = getattr(system, function, None)
    if offer is None:
        able = [name for name in system_names() if hasattr(_module(name), function)]
        advice: Mapping[str, str] = getattr(system, "INSTEAD", {})
        instead = advice.get(function) or advice.get(_SAME_ADVICE.get(function, ""), "")
        raise ConfigError(
            f"{short_name(config)} does not offer {_COMMANDS.get(function, function)}; "
            f"systems that do: {', '.join(able) or 'none'}{instead and f'; {instead}'}"
        )
    return cast(Callable[..., Any], offer)


def system_names() -> list[str]:
    """Return the names of the systems that come with jaxrec, in alphabetical order.

    Example:
      >>> "generative" in system_names()
      True
    """
    package = importlib.import_module(PACKAGE)
    return sorted(info.name for info in pkgutil.iter_modules(package.__path__) if info.ispkg)


def config_class(name: str) -> type:
    """Return the config class of a system, given the name that `short_name` gives.

    Args:
      name: such as "generative"; the full name of a package for a system from elsewhere.

    Raises:
      ConfigError: there is no such system.

    Example:
      >>> config_class("sasrec").__name__
      'SasrecRunConfig'
    """
    inside = name.isidentifier()
    outside = not inside and all(part.isidentifier() for part in name.split("."))
    try:
        if inside and name in system_names():
            return _module(name).CONFIG
        if outside:
            return cast(System, importlib.import_module(f"{name}.run")).CONFIG
    except (ModuleNotFoundError, AttributeError):
        pass
    near = nearest(name, system_names()) if isinstance(name, str) else ""
    raise ConfigError(f"this version has no system {name!r:.60}{near}")


def short_name(config: Any) -> str:
    """Return the name of a config's system, as run directories store it.

    Example:
      >>> from jaxrec.systems.sasrec import SasrecRunConfig
      >>> short_name(SasrecRunConfig())
      'sasrec'
    """
    return str(config.system).removeprefix(PACKAGE + ".")


def _module(name: str) -> System:
    return cast(System, importlib.import_module(f"{PACKAGE}.{name}.run"))
