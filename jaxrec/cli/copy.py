"""`jaxrec copy CONFIG TO`: copies a config file, to edit the copy."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from jaxrec.cli.arguments import parse
from jaxrec.cli.configs import describe_config, find_config
from jaxrec.core import ConfigError, quoted, write_text


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Copy a config file; an existing file is never overwritten.

    Attributes:
      config: the name of a config (jaxrec list configs), or the path of a file.
      to: a new file that ends in .py, or an existing directory.
    """

    config: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="CONFIG")]
    to: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="TO")]


def run(arguments: list[str]) -> None:
    """Copy the file, and print the command that trains it.

    Raises:
      ConfigError: the target exists, or does not end in .py.
      ResourceError: it cannot be written.
    """
    options = parse(Arguments, arguments, prog="jaxrec copy")
    source = find_config(options.config)
    target = options.to / source.name if options.to.is_dir() else options.to
    if target.suffix != ".py":
        raise ConfigError(
            f"{target} is no existing directory, and no name of a config file; give a directory "
            "or a name that ends in .py"
        )
    if target.exists():
        raise ConfigError(f"{target} exists already; give another name, or remove it first")
    write_text(target, source.read_text(encoding="utf-8"))
    print(f"copied {source} to {target}")
    print(f"next: edit it, then jaxrec {describe_config(target)[1][0]} {quoted(target)}")
