"""`jaxrec data list | describe NAME | check FILE | add NAME --from-file PATH`: data sets."""

import dataclasses
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.table import Table

from jaxrec.cli.arguments import parse
from jaxrec.core import ConfigError, nearest
from jaxrec.data import (
    DATASETS,
    DataConfig,
    Interactions,
    accepts,
    added,
    cache_dir,
    check,
    describe,
    load_interactions,
    prepare,
    read_interactions,
    verdict,
)

_VERBS = {
    "list": "list the data sets that are found by name",
    "describe": "show sizes, times, ties and item fields of a data set",
    "check": "show how a file would be read, and what training would refuse",
    "add": "convert a data set to a TFDS dataset in the cache, and keep its name",
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


@dataclasses.dataclass(frozen=True)
class CheckArguments:
    """Which data set to check, with the settings that a run would have.

    Attributes:
      name: a path, or the name of a data set (jaxrec data list).
      data: how training reads and filters the data set.
    """

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    data: Annotated[DataConfig, tyro.conf.arg(name="")] = DataConfig()


def run(arguments: list[str]) -> None:
    """Run the verb, which is the first word.

    Raises:
      ConfigError: an unknown verb or option.
      DataError: the data set is not found, or it is malformed, or training would refuse it.
    """
    verb, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if verb in ("-h", "--help"):
        print("usage: jaxrec data VERB [NAME] [--from-file PATH] [--min-count K] ...\n")
        print("\n".join(f"  {name:<9} {about}" for name, about in _VERBS.items()))
        return
    if verb not in _VERBS:
        raise ConfigError(f"no verb {verb!r}{nearest(verb, _VERBS)}; verbs: {', '.join(_VERBS)}")
    # Options are those of `jaxrec train`, whose spelling the messages use.
    rest = [f"--{word[7:]}" if word.startswith("--data.") else word for word in rest]
    if verb == "list":
        if rest and rest not in (["-h"], ["--help"]):
            raise ConfigError(f"unexpected argument {rest[0]!r}; jaxrec data list takes none")
        _list()
    elif verb == "check":
        _check(rest)
    elif verb == "describe":
        _describe(rest)
    else:
        _add(rest)


def _list() -> None:
    table = Table("name", "what it is", "source")
    for name, known in DATASETS.items():
        table.add_row(name, known.about, known.homepage)
    for name in added.names():
        table.add_row(name, "added by jaxrec data add", str(added.find(name)))
    Console().print(table)
    print("next: jaxrec data describe ml-100k")


def _check(words: Sequence[str]) -> None:
    """Print what is found, then one JSON line; end with the error that training would end with."""
    options = parse(CheckArguments, words, prog="jaxrec data check")
    found = check(dataclasses.replace(options.data, name=options.name))
    _show(found.facts)
    for line in found.advice:
        print(f"advice: {line}")
    for line in found.problems:
        print(f"wrong: {line}")
    for line in found.bad_rows:
        print(f"  {line}")
    state = "accepted" if found.error is None else "refused"
    print(f"training with --data.min-count {options.data.min_count}: {state}")
    if found.error is None:
        print(f"next: jaxrec train quickstart {shlex.join(again(options, words))}".rstrip())
    print(json.dumps(found.to_json()))
    if found.error is not None:
        raise found.error


def _describe(words: Sequence[str]) -> None:
    options = parse(Arguments, words, prog="jaxrec data describe")
    config = _config(options)
    data = read_interactions(config)
    # The facts are those of the filtered data, and both verdicts start from the file.
    _show(describe(load_interactions(config) if _changes(config) else data))
    for count in sorted({config.min_count, DataConfig().min_count}):
        print(verdict(data, dataclasses.replace(config, min_count=count)))
    words = [*again(options, words), *_needed(data, config, words)]
    print(f"next: jaxrec train quickstart {shlex.join(words)}".rstrip())


def _needed(data: Interactions, config: DataConfig, words: Sequence[str]) -> list[str]:
    """Return the options that training needs besides those that were given, to accept the data."""
    default = dataclasses.replace(config, min_count=DataConfig().min_count)
    given = any(word.split("=")[0] == "--min-count" for word in words)
    plain = ["--data.min-count", "0"]
    choices = [([], default), (plain, dataclasses.replace(config, min_count=0))]
    if given:
        choices = [([], config)]
    for options, choice in choices:
        if accepts(data, choice):
            return options
        if accepts(data, dataclasses.replace(choice, short_users="drop")):
            return [*options, "--data.short-users", "drop"]
    return []


def _add(words: Sequence[str]) -> None:
    config = _config(parse(Arguments, words, prog="jaxrec data add"))
    known = config.name in DATASETS
    if known and config.from_file:
        raise ConfigError(
            f"{config.name!r} is the name of a known data set (jaxrec data list); choose another "
            f"name for {config.from_file}"
        )
    if not known:
        added.check_name(config.name)
        if not config.from_file and added.find(config.name) is None:
            raise ConfigError(
                f"{config.name!r} needs a file to read: jaxrec data add NAME --from-file PATH"
            )
    data = load_interactions(config)
    _show(describe(data))
    path = prepare(data, cache_dir() / "prepared") if known else added.add(config.name, data)
    print(f"prepared: {path}")
    words = ["--data.name", config.name, "--run-dir", f"runs/{Path(config.name).stem}"]
    print(f"next: jaxrec train quickstart {shlex.join(words)}")


def _config(options: Arguments) -> DataConfig:
    return dataclasses.replace(options.data, name=options.name)


def _changes(config: DataConfig) -> bool:
    """Return whether the settings filter the data."""
    return bool(config.min_count or config.sample_users) or config.drop_repeats != "none"


def _show(facts: dict[str, Any]) -> None:
    for name, value in facts.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} ({role})" for key, role in value.items())
        print(f"{name}: {value:.4g}" if isinstance(value, float) else f"{name}: {value}")


def again(options: Arguments | CheckArguments, words: Sequence[str]) -> list[str]:
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
            value = getattr(options.data, field.name)
            values = map(str, value if isinstance(value, tuple) else (value,))
            data += [f"--data.{field.name.replace('_', '-')}", *values]
    return data
