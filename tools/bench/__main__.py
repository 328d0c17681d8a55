"""Run a measurement: `python tools/bench NAME [OPTIONS]`; without a name, list them all."""

import ast
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import tyro

from jaxrec.core import ConfigError, JaxrecError, nearest

MEASUREMENTS = Path(__file__).parent / "measurements"
PROGRAM = "python tools/bench"


def names() -> list[str]:
    """The measurements, one module each."""
    return sorted(path.stem for path in MEASUREMENTS.glob("*.py") if path.stem != "__init__")


def purpose(name: str) -> str:
    """The first line of a measurement's docstring, read without importing the module."""
    tree = ast.parse((MEASUREMENTS / f"{name}.py").read_text())
    return (ast.get_docstring(tree) or "").split("\n")[0]


def listing() -> str:
    """What the command prints without a name."""
    lines = [f"usage: {PROGRAM} NAME [OPTIONS]; NAME --help shows the options", ""]
    return "\n".join([*lines, *(f"  {name:16} {purpose(name)}" for name in names())])


def parse(module: ModuleType, name: str, arguments: Sequence[str]) -> object:
    """The measurement's options, from the words after its name."""
    return tyro.cli(
        module.Options,
        args=list(arguments),
        prog=f"{PROGRAM} {name}",
        description=module.__doc__.split("\n\n")[0],
    )


def main(arguments: Sequence[str]) -> None:
    """Run the measurement that the first word names, with the options that follow."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(listing())
        return
    name = arguments[0].replace("-", "_")
    if name not in names():
        near = nearest(name, names())
        known = f"{'M' if near else 'm'}easurements: {', '.join(names())}"
        raise ConfigError(f"no measurement {name!r}{near or ';'} {known}")
    module = importlib.import_module(f"measurements.{name}")
    table = module.run(parse(module, name, arguments[1:]))
    table.show()
    if table.failures:
        sys.exit("\n".join(table.failures))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except JaxrecError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
