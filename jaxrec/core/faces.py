"""Lazy package faces: a package's public names, each imported when it is first used.

The `__init__` of a package imports its public names under `if TYPE_CHECKING:`, so type checkers and
editors see all of them. At run time `attach` reads the same lines from the source and imports the
file of a name only when the name is used. There is one list of names, and `jaxrec --help` does not
import JAX.
"""

import ast
import importlib
import importlib.util
import sys
from collections.abc import Callable
from typing import Any


def attach(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return `__getattr__`, `__dir__` and `__all__` for a package.

    Args:
      package: the `__name__` of the package. Its source has one block `if TYPE_CHECKING:`, which
        contains only `from FILE import NAME as NAME` with files of the package itself; a file that
        is public as a whole is imported from the package.

    Raises:
      ImportError: the block contains anything else.

    Example:
      >>> import jaxrec.core
      >>> "nearest" in dir(jaxrec.core)
      True
    """
    origins = _origins(package)

    def get(name: str) -> Any:
        if name not in origins:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        file = origins[name]
        module = importlib.import_module(file)
        value = module if file == f"{package}.{name}" else getattr(module, name)
        setattr(sys.modules[package], name, value)
        return value

    names = sorted(origins)
    return get, lambda: names, names


def _origins(package: str) -> dict[str, str]:
    """Map each public name to the module it comes from; a public module maps to itself."""
    spec = importlib.util.find_spec(package)
    source = getattr(spec and spec.loader, "get_source", lambda _: None)(package)
    if source is None:
        raise ImportError(f"the source of {package} cannot be read, so its names are unknown")
    origins: dict[str, str] = {}
    for block in ast.parse(source).body:
        if not isinstance(block, ast.If) or ast.unparse(block.test) != "TYPE_CHECKING":
            continue
        for node in block.body:
            if not isinstance(node, ast.ImportFrom) or node.module is None or node.level:
                raise ImportError(
                    f"{package}/__init__.py, line {node.lineno}: expected `from FILE import NAME "
                    f"as NAME` below `if TYPE_CHECKING:`, got `{ast.unparse(node)}`"
                )
            for alias in node.names:
                is_module = node.module == package
                origins[alias.name] = f"{package}.{alias.name}" if is_module else node.module
    return origins
