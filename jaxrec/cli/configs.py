"""Where config files are: the named ones that come with jaxrec, and files of the user's own.

A named config is `SYSTEM/NAME`, the path of a file below `configs/` without ".py". These files lie
beside the package in a checkout, and inside the package once it is installed from a wheel.
"""

import ast
import difflib
from collections.abc import Iterable
from pathlib import Path

import jaxrec
from jaxrec.core import ConfigError, DataError, nearest

_SUFFIX = ".py"


def configs_directory() -> Path:
    """The directory of the configs that come with jaxrec.

    Raises:
      DataError: an installation without them.
    """
    package = Path(jaxrec.__file__).parent
    for directory in (package / "configs", package.parent / "configs"):
        if (directory / f"quickstart{_SUFFIX}").is_file():
            return directory
    raise DataError(
        f"jaxrec in {package} has no configs; install it again, or give the path of a config file"
    )


def config_names() -> dict[str, Path]:
    """The configs that come with jaxrec: their files by name.

    Example:
      >>> [name for name in config_names() if name.startswith("gptrec/")]
      ['gptrec/ml100k', 'gptrec/ml100k_svd']
    """
    directory = configs_directory()
    return {
        file.relative_to(directory).with_suffix("").as_posix(): file
        for file in sorted(directory.rglob(f"*{_SUFFIX}"))
    }


def find_config(word: str) -> Path:
    """Find the file of a config by its name or its path.

    Args:
      word: what the user typed: a name such as "tiger/beauty", or a path that ends in ".py".
        Outside a checkout, "configs/tiger/beauty.py" is the file that comes with jaxrec.

    Raises:
      ConfigError: a file of another kind.
      DataError: no such config; the message lists near ones.

    Example:
      >>> find_config("quickstart").name
      'quickstart.py'
    """
    path, names = Path(word), config_names()
    if path.is_file() and path.suffix == _SUFFIX:
        return path
    if word in names:
        return names[word]
    if path.parts[:1] == ("configs",) and path.suffix == _SUFFIX and config_name(path) in names:
        return names[config_name(path)]
    if path.is_file():
        raise ConfigError(f"{word} is no Python file; a config file ends in {_SUFFIX}")
    if path.suffix == _SUFFIX:
        beside = sorted(map(str, path.parent.glob(f"*{_SUFFIX}"))) if path.parent.is_dir() else []
        hint = nearest(path.stem, [Path(file).stem for file in beside])
        hint = nearest(word, beside) if hint else nearest(config_name(path), names)
        there = ", ".join(beside) or "no config files"
        raise DataError(f"no config file {word}{hint}; in {path.parent}: {there}")
    near = "" if any(name.split("/")[-1] == word for name in names) else nearest(word, names)
    raise DataError(f"no config {word!r}{near}; {_near(word, names)} (all: jaxrec list configs)")


def _near(word: str, names: Iterable[str]) -> str:
    """The configs of the system that the word names or nearly names, else all systems."""
    systems = sorted({name.split("/")[0] for name in names})
    alike = [name for name in names if name.split("/")[-1] == word]
    if alike:
        return f"configs of that name: {', '.join(alike)}"
    close = difflib.get_close_matches(word.split("/")[0], systems, n=1)
    if not close:
        return f"systems with configs: {', '.join(systems)}"
    listed = ", ".join(name for name in names if name.split("/")[0] == close[0])
    return f"configs of {close[0]}: {listed}"


def config_name(path: Path) -> str:
    """What a config is called in tables: its path below a directory `configs`, else its stem.

    Example:
      >>> config_name(Path("configs/tiger/beauty.py")), config_name(Path("own/mine.py"))
      ('tiger/beauty', 'mine')
    """
    parts = path.with_suffix("").parts
    if "configs" not in parts[:-1]:
        return parts[-1]
    return "/".join(parts[len(parts) - parts[::-1].index("configs") :])


def run_name(path: Path) -> str:
    """What a config's run directories are called.

    Example:
      >>> run_name(Path("configs/tiger/beauty.py"))
      'tiger-beauty'
    """
    return config_name(path).replace("/", "-")


def describe_config(path: Path) -> tuple[str, list[str]]:
    """The first line of a config file, and the commands that can run it; nothing is executed.

    Example:
      >>> about, commands = describe_config(find_config("generative/schemes"))
      >>> commands
      ['train', 'sweep']
    """
    tree = ast.parse(path.read_bytes())
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    commands = {"train": "get_config", "sweep": "get_sweep"}
    about = (ast.get_docstring(tree) or "").split("\n")[0]
    return about, [command for command, name in commands.items() if name in functions]
