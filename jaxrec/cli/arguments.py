"""Arguments and config files, with errors of one line that name the nearest thing that exists."""

import contextlib
import importlib.util
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import tyro

from jaxrec.core import ConfigError, DataError, check_types, flatten, nearest
from jaxrec.runs import system_of
from jaxrec.systems.generative import Config

T = TypeVar("T")

# Of `jaxrec train`, which explains them.
FLAGS = ("--dry-run", "--show-shardings", "--profile", "--distributed")


def parse(kind: type[T], arguments: Sequence[str], *, prog: str, default: T | None = None) -> T:
    """Parse into a dataclass with tyro.

    Raises:
      ConfigError: an unknown option (with the nearest one), or a value of the wrong type.
      SystemExit: with code 0, after printing help.
    """
    options: dict[str, Any] = {} if default is None else {"default": default}
    output = io.StringIO()
    try:
        with contextlib.redirect_stderr(output), contextlib.redirect_stdout(output):
            found, unknown = tyro.cli(
                kind, args=list(arguments), prog=prog, return_unknown_args=True, **options
            )
    except SystemExit as error:
        if not error.code:
            print(output.getvalue(), end="")
            raise
        raise ConfigError(_first_line(output.getvalue())) from None
    if unknown:
        word = unknown[0].split("=")[0]
        known = _option_names(found)
        raise ConfigError(f"unknown option {word!r}{nearest(word, known)}; {prog} --help lists all")
    return found


def load_config_file(path: Path) -> Any:
    """Run a config file and return its `get_config()`, the config of any system.

    Raises:
      DataError: no such file.
      ConfigError: it fails, or gives no config, or one with a wrong type or an unknown name.
    """
    if not path.is_file():
        there = sorted(str(p) for p in path.parent.glob("*.py")) if path.parent.is_dir() else []
        raise DataError(
            f"no config file {path}{nearest(str(path), there)}; there: {', '.join(there) or 'none'}"
        )
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path} is no Python file; a config ends in .py")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        config = module.get_config()
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    except AttributeError as error:
        raise ConfigError(f"{path}: {error}; it must define get_config() -> Config") from error
    except TypeError as error:
        raise ConfigError(f"{path}: {_explain(error)}") from error
    except (SyntaxError, NameError, ImportError, ValueError) as error:
        raise ConfigError(f"{path}: {type(error).__name__}: {error}") from error
    try:
        system_of(config)
    except ConfigError as error:
        raise ConfigError(f"{path}: get_config() gave no Config: {error}") from error
    check_types(config)
    return config


def take_config(arguments: list[str], command: str) -> tuple[Any, Path, Path]:
    """Parse `CONFIG [--run-dir DIR] [--overrides]`.

    Returns:
      The config, its file, and the run directory: `runs/<name of the file>` unless given.

    Raises:
      ConfigError, DataError: as above.
    """
    prog = f"jaxrec {command} CONFIG"
    wants_help = not arguments or arguments[0] in ("-h", "--help")
    if wants_help:
        listed = " ".join(f"[{flag}]" for flag in FLAGS) + " " if command == "train" else ""
        print(f"usage: {prog} [--run-dir DIR] {listed}[--from-file PATH] [--SETTING VALUE ...]\n")
        parse(Config, ["--help"], prog=prog, default=Config())
    path, rest = Path(arguments[0]), list(arguments[1:])
    if str(path).startswith("-"):
        raise ConfigError(
            f"the config file comes first, got {arguments[0]!r}: "
            f"jaxrec {command} configs/quickstart.py"
        )
    config = load_config_file(path)
    rest, run_dir = _pop(rest, "--run-dir")
    rest = ["--data.from-file" if word == "--from-file" else word for word in rest]
    config = parse(type(config), rest, prog=prog, default=config)
    check_types(config)
    return config, path, Path(run_dir or f"runs/{path.stem}")


def _pop(words: list[str], option: str) -> tuple[list[str], str | None]:
    """Take `--option VALUE` or `--option=VALUE` out of the words."""
    for at, word in enumerate(words):
        if word.startswith(option + "="):
            return words[:at] + words[at + 1 :], word.split("=", 1)[1]
        if word == option:
            if at + 1 == len(words):
                raise ConfigError(f"{option} needs a value")
            return words[:at] + words[at + 2 :], words[at + 1]
    return words, None


def _option_names(config: Any) -> list[str]:
    return ["--" + name.replace("_", "-") for name, _ in flatten(config)] + [
        "--run-dir",
        *FLAGS,
    ]


def _first_line(box: str) -> str:
    """The message inside the frame that tyro draws, as one line: what stands below its title."""
    parts = re.split(r"^\W*[-\u2500-\u257f]{3,}\W*$", box, flags=re.MULTILINE)
    words = [" ".join(re.sub(r"[\u2500-\u257f]", " ", part).split()) for part in parts]
    title, *rest = [word for word in words if word] or ["the arguments cannot be parsed"]
    return rest[0].removeprefix("Error parsing Config: ") if rest else title


def _explain(error: TypeError) -> str:
    """Name the nearest setting when a config file uses one that does not exist."""
    found = re.search(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'", str(error))
    if not found:
        return str(error)
    names = {name.split(".")[-1] for name, _ in flatten(Config())} | set(vars(Config()))
    return f"{found[1]} has no setting {found[2]!r}{nearest(found[2], names)}"
