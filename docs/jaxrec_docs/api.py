"""A page for each room: what users call, in full, and a table of all other names of its face."""

import importlib
import inspect
import operator
from types import ModuleType
from typing import Any

import jaxrec
from jaxrec_docs.docstrings import escape, summary
from jaxrec_docs.public import SHOWN


def pages() -> dict[str, str]:
    """Paths and texts of the pages, one for each room with a face."""
    rooms = [name for name in dir(jaxrec) if isinstance(getattr(jaxrec, name), ModuleType)]
    found = {}
    for room in rooms:
        module = importlib.import_module(f"jaxrec.{room}")
        if getattr(module, "__all__", None):
            found[f"api/{room}.rst"] = page(room, module)
    return found


def page(room: str, module: ModuleType) -> str:
    """The text of one page.

    Raises:
      ValueError: `SHOWN` has a name that the room does not export.
    """
    title = f"jaxrec.{room}"
    parts = [title, "=" * len(title), "", escape(summary(module.__doc__)), ""]
    shown = SHOWN.get(room, ())
    for name in shown:
        if name.split(".")[0] not in module.__all__:
            raise ValueError(f"docs/jaxrec_docs/public.py shows {room}.{name}, which is not public")
        parts += [f".. {_directive(resolve(module, name))}:: jaxrec.{room}.{name}", ""]
    others = [name for name in module.__all__ if name not in {n.split(".")[0] for n in shown}]
    if others:
        heading = "Other names" if shown else "Names"
        parts += [heading, "-" * len(heading), "", ".. list-table::", "   :widths: 30 70", ""]
        for name in others:
            about = _about(getattr(module, name))
            parts += [f"   * - ``{name}``", f"     - {escape(about)}"]
    return "\n".join(parts).rstrip() + "\n"


def resolve(module: ModuleType, name: str) -> Any:
    """The value of a public name such as `pq.fit`."""
    return operator.attrgetter(name)(module)


def _directive(value: Any) -> str:
    if inspect.isclass(value):
        return "autoexception" if issubclass(value, BaseException) else "autoclass"
    return "autofunction"


def _about(value: Any) -> str:
    """One sentence about a name: of functions, classes and modules their own; else the value."""
    own = inspect.isclass(value) or inspect.ismodule(value) or inspect.isroutine(value)
    if own or hasattr(value, "__wrapped__"):
        return summary(value.__doc__)
    text = repr(value)
    return f"`{text}`" if len(text) < 70 and "`" not in text else type(value).__name__
