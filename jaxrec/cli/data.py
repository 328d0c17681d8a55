"""`jaxrec data list | describe NAME | add NAME --from-file PATH`: data sets by name or path."""

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table

from jaxrec.cli.arguments import parse
from jaxrec.core import ConfigError, nearest
from jaxrec.data import DATASETS, DataConfig, cache_dir, describe, load_interactions, prepare

_VERBS = {
    "list": "list the data sets that are found by name",
    "describe": "show sizes, times, ties and item fields of a data set",
    "add": "convert a data set to a TFDS dataset in the cache",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reading(DataConfig):
    """How a data set is read and filtered; its name is the positional argument."""

    name: Annotated[str, tyro.conf.Fixed] = ""
    min_count: int = 0


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Which data set to read, and how.

    Attributes:
      name: the name of a data set (jaxrec data list), or a path.
      data: how the data set is read and filtered.
    """

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")]
    data: Annotated[Reading, tyro.conf.arg(name=""), tyro.conf.SuppressFixed] = Reading()


def run(arguments: list[str]) -> None:
    """Run the verb, which is the first word.

    Raises:
      ConfigError: an unknown verb or option.
      DataError: the data set is not found, or it is malformed.
    """
    verb, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if verb in ("-h", "--help"):
        print("usage: jaxrec data VERB [NAME] [--from-file PATH] [--min-count K] ...\n")
        print("\n".join(f"  {name:<9} {about}" for name, about in _VERBS.items()))
        return
    if verb not in _VERBS:
        raise ConfigError(f"no verb {verb!r}{nearest(verb, _VERBS)}; verbs: {', '.join(_VERBS)}")
    if verb == "list":
        table = Table("name", "what it is", "source")
        for name, known in DATASETS.items():
            table.add_row(name, known.about, known.homepage)
        Console().print(table)
        print("next: jaxrec data describe ml-100k")
        return
    options = parse(Arguments, rest, prog=f"jaxrec data {verb}")
    config = dataclasses.replace(options.data, name=options.name)
    interactions = load_interactions(config)
    for name, value in describe(interactions).items():
        print(f"{name}: {value:.4g}" if isinstance(value, float) else f"{name}: {value}")
    if verb == "add":
        path: Path = prepare(interactions, cache_dir() / "prepared")
        print(f"prepared: {path}")
    print(f"next: jaxrec train quickstart {shlex.join(again(options, rest))}".rstrip())


def again(options: Arguments, words: Sequence[str]) -> list[str]:
    """The options of `jaxrec train` that read the same data.

    Args:
      options: the parsed arguments.
      words: what they were parsed from; only options that were given are repeated.

    Example:
      >>> words = ["clicks.csv", "--user-column", "who"]
      >>> again(parse(Arguments, words, prog="data"), words)
      ['--run-dir', 'runs/clicks', '--data.name', 'clicks.csv', '--data.user-column', 'who']
    """
    given = {word[2:].split("=")[0].replace("-", "_") for word in words if word.startswith("--")}
    data = []
    if options.name != DataConfig().name:
        data = ["--run-dir", f"runs/{Path(options.name).stem}", "--data.name", options.name]
    for field in dataclasses.fields(options.data):
        if field.name in given:
            value = str(getattr(options.data, field.name))
            data += [f"--data.{field.name.replace('_', '-')}", value]
    return data
