"""Arguments of the commands, with one-line errors that name the nearest option that exists."""

import contextlib
import dataclasses
import io
import re
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import tyro

from jaxrec.cli.configs import find_config, run_name
from jaxrec.cli.loading import load_config_file
from jaxrec.core import (
    ConfigError,
    Range,
    check_number,
    check_ranges,
    check_types,
    field_ranges,
    flatten,
    nearest,
    option,
)
from jaxrec.systems.generative import Config

T = TypeVar("T")

# Flags of `jaxrec train`; its module explains them.
FLAGS = ("--dry-run", "--show-shardings", "--profile", "--distributed", "--quick", "--wandb")
QUICK = "--quick"
# Messages of Python about a value of the wrong type, and what a user reads instead.
_TYPES = {
    r"could not convert string to float: ": "expected a number, got ",
    r"invalid literal for int\(\) with base 10: ": "expected a whole number, got ",
}


def parse(kind: type[T], arguments: Sequence[str], *, prog: str, default: T | None = None) -> T:
    """Parse all arguments into a dataclass with tyro.

    Args:
      kind: the dataclass; its "Attributes" are the help text.
      arguments: words of the command line.
      prog: what help and messages call the command.
      default: values of options that are not given; None for the dataclass's own.

    Raises:
      ConfigError: an unknown option (the message names the nearest one), or a wrong value.
      SystemExit: with code 0, after printing help.

    Example:
      >>> from jaxrec.train import TrainConfig
      >>> parse(TrainConfig, ["--steps", "5"], prog="train").steps
      5
    """
    value, unknown = parse_known(kind, arguments, prog=prog, default=default)
    if unknown:
        word = unknown[0].split("=")[0]
        known = ["--" + name.replace("_", "-") for name, _ in flatten(value)]
        near = nearest(word, (*known, "--run-dir", *FLAGS))
        what = "unknown option" if word.startswith("-") else "unexpected argument"
        raise ConfigError(f"{what} {word!r}{near}; {prog} --help lists all")
    return value


def parse_known(
    kind: type[T], arguments: Sequence[str], *, prog: str, default: T | None = None
) -> tuple[T, list[str]]:
    """Parse like `parse`, but return words that belong to no option instead of rejecting them.

    Raises:
      ConfigError: a value of the wrong type or out of range, or a missing one.
      SystemExit: with code 0, after printing help.

    Example:
      >>> from jaxrec.train import TrainConfig
      >>> parse_known(TrainConfig, ["--steps", "5", "--model.width", "8"], prog="train")[1]
      ['--model.width', '8']
    """
    options: dict[str, Any] = {} if default is None else {"default": default}
    output = io.StringIO()
    _check_numbers(kind, arguments)
    try:
        with contextlib.redirect_stderr(output), contextlib.redirect_stdout(output):
            value, unknown = tyro.cli(
                kind, args=list(arguments), prog=prog, return_unknown_args=True, **options
            )
    except SystemExit as error:
        if not error.code:
            print(output.getvalue(), end="")
            raise
        raise ConfigError(_first_line(output.getvalue())) from None
    check_ranges(value, "--")
    return value, unknown


def _check_numbers(kind: Any, arguments: Sequence[str]) -> None:
    """Reject numbers out of range by the option that was typed.

    The dataclasses check themselves too, but a class that stands in several places of a config does
    not know which of its names the user typed.
    """
    known = _option_ranges(kind, "--")
    name, several = "", False
    ranges: tuple[Range, ...] = ()
    for word in arguments:
        value = word
        if word.startswith("--"):
            name, _, value = word.partition("=")
            name = option(name)
            ranges, several = known.get(name, ((), False))
        if value:
            number = _number(value)
            check_number(number, ranges, name, number)
            ranges = ranges if several else ()


def _number(word: str) -> int | float | None:
    """The number that a word spells, or None."""
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(word)
    return None


def _option_ranges(kind: Any, prefix: str) -> dict[str, tuple[tuple[Range, ...], bool]]:
    """Ranges of all numeric options of a dataclass and those inside it; whether each is a list."""
    hints = typing.get_type_hints(kind)
    ranges = {
        option(prefix + name): (found, "tuple" in str(hints[name]))
        for name, found in field_ranges(kind).items()
    }
    for name, hint in hints.items():
        if dataclasses.is_dataclass(hint):
            ranges |= _option_ranges(hint, f"{prefix}{name}.")
    return ranges


def take_config(
    arguments: Sequence[str], command: str, *, quick: bool = False
) -> tuple[Any, str, Path]:
    """Parse `CONFIG [--run-dir DIR] [--SETTING VALUE ...]`.

    Args:
      arguments: words of the command line, without the flags of `jaxrec train`.
      command: the name of the command.
      quick: take the config's quick variant; its run directory is `runs/NAME-quick`.

    Returns:
      The config, the word that names it, and the run directory: `runs/NAME` unless given.

    Raises:
      ConfigError, DataError: see `find_config`, `load_config_file` and `parse`.
      SystemExit: with code 0, after printing help.

    Example:
      >>> config, word, directory = take_config(["tiger/ml100k", "--train.steps", "5"], "train")
      >>> config.train.steps, str(directory)
      (5, 'runs/tiger-ml100k')
    """
    prog = f"jaxrec {command} CONFIG"
    if not arguments or {"-h", "--help"} & set(arguments):
        flags = "".join(f"[{flag}] " for flag in FLAGS) if command == "train" else ""
        if command == "ids":
            flags = "[--engine ray --workers N [--address HOST:PORT]] "
        print(f"usage: {prog} [--run-dir DIR] {flags}[--from-file PATH] [--SETTING VALUE ...]\n")
        print("CONFIG is a name (jaxrec list configs) or the path of a config file.")
    if not arguments or arguments[0] in ("-h", "--help"):
        print("Settings of the generative recommender; CONFIG --help shows those of CONFIG:\n")
        parse(Config, ["--help"], prog=prog, default=Config())
    word, *rest = arguments
    if word.startswith("-"):
        raise ConfigError(
            f"the config comes before the options, got {word!r} first; for example: "
            f"jaxrec {command} quickstart"
        )
    path = find_config(word)
    config = load_config_file(path, quick=quick)
    rest, run_dir = take_option(rest, "--run-dir")
    config = override(config, rest, prog=prog)
    return config, word, Path(run_dir or f"runs/{run_name(path)}{'-quick' if quick else ''}")


def override(config: Any, words: Sequence[str], *, prog: str) -> Any:
    """The config with settings of the command line, `--SETTING VALUE ...`, in place of its own.

    Raises:
      ConfigError: an unknown setting, or a wrong value.

    Example:
      >>> override(Config(), ["--train.lr", "0.1"], prog="train").train.lr
      0.1
    """
    words = [re.sub(r"^--from-file(?=$|=)", "--data.from-file", word) for word in words]
    try:
        config = parse(type(config), words, prog=prog, default=config)
    except ConfigError as error:
        raise ConfigError(_as_options(str(error), config)) from error
    check_types(config)
    return config


def _as_options(message: str, config: Any) -> str:
    """A message whose settings are called as on the command line.

    The config of SASRec calls its settings `sasrec.width`, because it is mostly one of several
    baselines in a config. Where it is the model itself, the option is `--model.width`.
    """
    model: Any = getattr(config, "model", None)
    title = getattr(model, "title", "")
    if not title or hasattr(config, title):
        return message
    names = "|".join(field.name for field in dataclasses.fields(model))
    return re.sub(rf"\b{title}\.(?=(?:{names})\b)", "model.", message)


def take_option(words: Sequence[str], option: str) -> tuple[list[str], str | None]:
    """Take `--option VALUE` or `--option=VALUE` out of the words.

    Returns:
      The other words, and the value; None where the option is not given.

    Raises:
      ConfigError: the option has no value, or is given twice.

    Example:
      >>> take_option(["--run-dir", "runs/a", "--steps", "5"], "--run-dir")
      (['--steps', '5'], 'runs/a')
    """
    rest: list[str] = []
    values: list[str] = []
    left = iter(words)
    for word in left:
        if word == option:
            values.append(next(left, ""))
        elif word.startswith(option + "="):
            values.append(word.split("=", 1)[1])
        else:
            rest.append(word)
    if len(values) > 1:
        raise ConfigError(f"{option} is given {len(values)} times; give it once")
    for value in values:
        if not value or value.startswith("--"):
            got = f", got the option {value}" if value else ""
            raise ConfigError(f"{option} needs a value{got}")
    return rest, values[0] if values else None


def _first_line(box: str) -> str:
    """The message inside the frame that tyro draws, in one line: what stands below its title."""
    parts = re.split(r"^\W*[-\u2500-\u257f]{3,}\W*$", box, flags=re.MULTILINE)
    words = [" ".join(re.sub(r"[\u2500-\u257f]", " ", part).split()) for part in parts]
    title, *rest = [word for word in words if word] or ["the arguments cannot be parsed"]
    if not rest:
        return title
    # A message about an option keeps the option's name; one about a dataclass names the setting.
    text = re.sub(r"^Error parsing (?!--)[\w.]+: ", "", rest[0]).removeprefix("Error parsing ")
    for pattern, expected in _TYPES.items():
        text = re.sub(pattern, expected, text)
    return text
