"""The public names of a package, imported when they are first used.

A package's `__init__` imports its public names below `if TYPE_CHECKING:`, so type checkers and
completion see them all; `attach` reads the same lines at run time and imports each name's file only
when the name is asked for. So `jaxrec --help` imports no JAX, and there is one list of names.
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
      package: its `__name__`; its source has one `if TYPE_CHECKING:` block of imports from its own
        files, each written `from FILE import NAME as NAME`.

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
    """The file that each public name comes from; of a name that is a file, that file itself."""
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.loader is not None
    source = spec.loader.get_source(package)  # type: ignore[attr-defined]
    found = {}
    for block in ast.parse(source).body:
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING":
            for node in block.body:
                assert isinstance(node, ast.ImportFrom) and node.module is not None
                for alias in node.names:
                    own = node.module == package
                    found[alias.name] = f"{package}.{alias.name}" if own else node.module
    return found
