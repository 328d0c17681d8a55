"""Where config files are: the named ones that come with jaxrec, and files of the user's own.

A named config is `SYSTEM/NAME`, the path of a file below `configs/` without ".py". These files lie
beside the package in a checkout, and inside the package once it is installed from a wheel.
"""

import ast
import difflib
import shlex
import textwrap
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
      ConfigError: no such config, where the message lists near ones, or a file of another kind.

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
    if path.is_dir():
        raise ConfigError(
            f"{word} is a directory, and a config is needed: its name (jaxrec list configs) or a "
            f"file that ends in {_SUFFIX}"
        )
    if path.suffix == _SUFFIX:
        beside = sorted(map(str, path.parent.glob(f"*{_SUFFIX}"))) if path.parent.is_dir() else []
        hint = nearest(path.stem, [Path(file).stem for file in beside])
        hint = nearest(word, beside) if hint else nearest(config_name(path), names)
        listing = f"in {path.parent}: {', '.join(beside) or 'no config files'}"
        raise ConfigError(f"no config file {word}{_then(hint, listing)}")
    near = "" if any(name.split("/")[-1] == word for name in names) else nearest(word, names)
    raise ConfigError(f"no config {word!r}{_then(near, _near(word, names, bool(near)))}")


def _then(near: str, listing: str) -> str:
    """What `nearest` suggests as a question, then the listing as a sentence of its own."""
    return f"{near} {listing[0].upper()}{listing[1:]}" if near else f"; {listing}"


def _near(word: str, names: Iterable[str], suggested: bool) -> str:
    """The configs of the system that the word names or nearly names, else all systems.

    Where one config was suggested already, no list of systems is needed.
    """
    names = list(names)
    systems = sorted({name.split("/")[0] for name in names if "/" in name})
    alike = [name for name in names if name.split("/")[-1] == word]
    if alike:
        return f"configs of that name: {', '.join(alike)} (all: jaxrec list configs)"
    close = difflib.get_close_matches(word.split("/")[0], systems, n=1)
    if close:
        listed = ", ".join(name for name in names if name.split("/")[0] == close[0])
        return f"configs of {close[0]}: {listed} (all: jaxrec list configs)"
    if suggested:
        return "all configs: jaxrec list configs"
    return f"systems with configs: {', '.join(systems)} (all configs: jaxrec list configs)"


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
    tree = _parse(path)
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    returned = getattr(functions.get("get_config"), "returns", None)
    train = "corpus" if returned is not None and "Corpus" in ast.unparse(returned) else "train"
    commands = {train: "get_config", "sweep": "get_sweep"}
    about = (ast.get_docstring(tree) or "").split("\n")[0]
    return about, [command for command, name in commands.items() if name in functions]


def copied(path: Path, name: str, target: Path) -> str:
    r"""The text of a config file under a header that belongs to its copy.

    The commands and results in the original's header are those of the original, so they stay out.

    Args:
      path: the original.
      name: what the user called it.
      target: where the copy will be.

    Raises:
      ConfigError: the original is no Python file that can be parsed.

    Example:
      >>> text = copied(find_config("quickstart"), "quickstart", Path("mine.py"))
      >>> print(text.split("\n\n")[1])
          jaxrec train mine.py
          jaxrec eval runs/mine
    """
    tree, lines = _parse(path), path.read_text(encoding="utf-8").splitlines(keepends=True)
    about, commands = describe_config(path)
    word, run = shlex.quote(str(target)), shlex.quote(f"runs/{run_name(target)}")
    known = {
        "train": f"    jaxrec train {word}\n    jaxrec eval {run}",
        "sweep": f"    jaxrec sweep {word}",
        "corpus": f"    jaxrec corpus {word}",
    }
    body = [f"Copied from {name}.", "\n".join(known[command] for command in commands)]
    body += [textwrap.fill(f"The original: {about}", 100)] if about else []
    text = "\n\n".join(body).replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    start = end = 0
    if ast.get_docstring(tree) is not None:
        start, end = tree.body[0].lineno - 1, tree.body[0].end_lineno or 0
    return "".join([*lines[:start], f'"""{text}\n"""\n', *lines[end:]])


def _parse(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_bytes())
    except (SyntaxError, ValueError) as error:
        raise ConfigError(f"{path}: {type(error).__name__}: {error}; mend the file") from error
