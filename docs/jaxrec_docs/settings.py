"""A page for each config class: every setting with its option, type, default and meaning."""

import dataclasses
import importlib
import inspect
import pkgutil
import typing
from collections.abc import Iterator
from typing import Any

import jaxrec.systems
from jaxrec.data.corpora import CorpusConfig
from jaxrec_docs.docstrings import entries, sections, summary
from jaxrec_docs.systems import plain


def pages() -> dict[str, str]:
    """Paths and texts of the pages."""
    names = [info.name for info in pkgutil.iter_modules(jaxrec.systems.__path__) if info.ispkg]
    found = {}
    for name in sorted(names):
        kind = importlib.import_module(f"jaxrec.systems.{name}.run").CONFIG
        found[f"settings/{name}.md"] = page(name, kind)
    found["settings/corpus.md"] = page("corpus", CorpusConfig)
    return found


def page(name: str, kind: type) -> str:
    """The settings of one system.

    Args:
      name: of the system.
      kind: its config class.
    """
    parts = [
        f"# Settings of {name}",
        f"`{kind.__module__.rsplit('.', 1)[0]}.{kind.__name__}`: {plain(summary(kind.__doc__))}",
        "An option of the command line is the path of its setting: `train.lr` is `--train.lr`, and "
        "underscores become hyphens.",
    ]
    own, nested = [], []
    for field in dataclasses.fields(kind):
        (nested if _dataclass(kind, field) else own).append(field)
    if own:
        parts += ["## The run itself", table("", kind, own)]
    for field in nested:
        inner = _dataclass(kind, field)
        assert inner is not None
        parts += [
            f"## `{field.name}`: {inner.__name__}",
            plain(_about(kind, field.name) or summary(inner.__doc__)),
            table(f"{field.name}.", inner, dataclasses.fields(inner), _default(field)),
        ]
    return "\n\n".join(parts) + "\n"


def table(prefix: str, kind: type, fields: Any, value: Any = None) -> str:
    """Rows of a class, and of the classes inside it."""
    rows = ["| setting | type | default | meaning |", "|---|---|---|---|"]
    rows += ["| " + " | ".join(row) + " |" for row in _rows(prefix, kind, fields, value)]
    return "\n".join(rows)


def _rows(prefix: str, kind: type, fields: Any, value: Any) -> Iterator[tuple[str, ...]]:
    for field in fields:
        default = getattr(value, field.name, _default(field))
        inner = _dataclass(kind, field)
        if inner is not None:
            yield from _rows(f"{prefix}{field.name}.", inner, dataclasses.fields(inner), default)
            continue
        hint = typing.get_type_hints(kind)[field.name]
        shown = (_type(hint), repr(default).replace("|", "\\|"))
        yield f"`{prefix}{field.name}`", *(f"`{x}`" for x in shown), _cell(_about(kind, field.name))


def _type(hint: Any) -> str:
    """A type as it is written, without its modules."""
    if typing.get_origin(hint) is typing.Literal:
        return ", ".join(repr(value) for value in typing.get_args(hint))
    text = hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)
    for module in ("typing.", "collections.abc.", "jaxrec."):
        text = text.replace(module, "")
    return text.replace("|", "\\|").replace("`", "'")


def _default(field: Any) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return None


def _dataclass(kind: type, field: Any) -> type | None:
    """The class of a setting that has settings of its own."""
    hint = typing.get_type_hints(kind)[field.name]
    return hint if dataclasses.is_dataclass(hint) and isinstance(hint, type) else None


def _about(kind: type, name: str) -> str:
    """What the docstring of the class, or of one that it extends, says about a setting."""
    for base in inspect.getmro(kind):
        for key, text in entries(sections(base.__doc__ or "").get("Attributes", "")).items():
            if name in [word.strip("` ") for word in key.split(",")]:
                return text
    return ""


def _cell(text: str) -> str:
    return plain(text).replace("|", "\\|")
