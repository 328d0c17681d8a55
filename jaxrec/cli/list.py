"""`jaxrec list [configs | data | systems]`: what comes with jaxrec, a line each."""

import importlib
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table

from jaxrec.cli.configs import config_names, describe_config
from jaxrec.core import ConfigError, nearest
from jaxrec.data import DATASETS
from jaxrec.runs import system_names

KINDS = {
    "configs": "runs with a name: jaxrec train NAME, jaxrec sweep NAME",
    "data": "data sets that are found by their name: jaxrec data describe NAME",
    "systems": "recommenders; the first part of a config's name, or `generative`",
}


def run(arguments: list[str]) -> None:
    """Print a table of each kind, or of the one that is given.

    Raises:
      ConfigError: an unknown kind.
    """
    if {"-h", "--help"} & set(arguments):
        print("usage: jaxrec list [configs | data | systems]\n")
        print("\n".join(f"  {name:<8} {about}" for name, about in KINDS.items()))
        return
    for kind in arguments:
        if kind not in KINDS:
            raise ConfigError(
                f"nothing to list called {kind!r}{nearest(kind, KINDS)}; give one of "
                f"{', '.join(KINDS)}, or nothing for all"
            )
    console = Console(width=max(Console().width, 120))
    for kind in arguments or KINDS:
        heads, rows = _TABLES[kind]
        table = Table(*heads, title=KINDS[kind], title_justify="left")
        for row in rows():
            table.add_row(*row)
        console.print(table)
    print("next: jaxrec train quickstart, or jaxrec copy quickstart mine.py to edit a config")


def _configs() -> Iterator[Sequence[str]]:
    for name, path in config_names().items():
        about, commands = describe_config(path)
        yield name, about, ", ".join(commands)


def _data() -> Iterator[Sequence[str]]:
    for name, known in DATASETS.items():
        yield name, known.about


def _systems() -> Iterator[Sequence[str]]:
    for name in system_names():
        about = importlib.import_module(f"jaxrec.systems.{name}").__doc__ or ""
        yield name, about.split("\n")[0]


_TABLES = {
    "configs": (("config", "what it is", "commands"), _configs),
    "data": (("data set", "what it is"), _data),
    "systems": (("system", "what it is"), _systems),
}
