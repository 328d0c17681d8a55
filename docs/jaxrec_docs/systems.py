"""A page for each system: the docstring of its package and module, and the headers of its configs.

The page of a system lists every config below `configs/<system>/`. A file that lies beside these
folders belongs to the system whose config class it uses.
"""

import ast
import importlib
import importlib.util
import pkgutil
from pathlib import Path
from typing import Any

import jaxrec.data.corpora
import jaxrec.systems
from jaxrec.cli.configs import describe_config
from jaxrec_docs.docstrings import summary

OFFERS = (
    "train",
    "evaluate",
    "rank",
    "recommend",
    "open_ranker",
    "recommend_text",
    "report",
    "fit_ids",
    "open_model",
    "open_adapter",
    "open_reward",
    "tag",
)


# A sentence of `run` modules that says nothing to readers of a page.
_FOR_READERS_OF_CODE = "`System` describes the functions of this module."


def pages(configs: Path) -> dict[str, str]:
    """Paths and texts of the pages.

    Args:
      configs: the directory of the config files.
    """
    names = {info.name for info in pkgutil.iter_modules(jaxrec.systems.__path__) if info.ispkg}
    groups: dict[str, list[Path]] = {name: [] for name in sorted(names)}
    for path in sorted(configs.rglob("*.py")):
        if path.stem.startswith("_"):
            continue
        group = package_of(path) if path.parent == configs else path.parent.name
        groups.setdefault(group, []).append(path)
    return {
        f"systems/{name}.md": page(name, paths, configs.parent) for name, paths in groups.items()
    }


def page(name: str, paths: list[Path], root: Path) -> str:
    """The text of one page."""
    if paths and describe_config(paths[0])[1] == ["corpus"]:
        return corpora(name, paths, root)
    packages = list(dict.fromkeys(package_of(path) for path in paths)) or [name]
    if len(packages) > 1:
        return several(name, packages, paths, root)
    (package,) = packages
    face = importlib.import_module(f"jaxrec.systems.{package}")
    run = importlib.import_module(f"jaxrec.systems.{package}.run")
    about = summary(_header(paths[0])) if package != name else summary(face.__doc__)
    parts = [
        f"# {name}",
        plain(about),
        "## How it works",
        plain(_body(run.__doc__).replace(_FOR_READERS_OF_CODE, "").strip()),
        runs_by(package),
    ]
    for path in paths:
        parts += [f"## `{path.relative_to(root)}`", plain(_header(path))]
    return "\n\n".join(parts) + "\n"


def several(name: str, packages: list[str], paths: list[Path], root: Path) -> str:
    """The page of a folder of configs that belong to several systems."""
    parts = [f"# {name}", "The configs of this folder belong to several systems:"]
    rows = [
        f"- [{package}]({package}.md): "
        f"{plain(summary(importlib.import_module(f'jaxrec.systems.{package}').__doc__))}"
        for package in packages
    ]
    parts.append("\n".join(rows))
    for path in paths:
        parts += [f"## `{path.relative_to(root)}`", plain(_header(path)), runs_by(package_of(path))]
    return "\n\n".join(parts) + "\n"


def runs_by(package: str) -> str:
    """What runs a config, and where its settings stand."""
    run = importlib.import_module(f"jaxrec.systems.{package}.run")
    offers = ", ".join(f"`{function}`" for function in OFFERS if hasattr(run, function))
    return (
        f"Runs by `jaxrec.systems.{package}`, which offers {offers}. All of its settings stand in "
        f"[Settings of {package}](../settings/{package}.md)."
    )


def corpora(name: str, paths: list[Path], root: Path) -> str:
    """The page of the configs of `jaxrec corpus`, which belong to no system."""
    parts = [
        f"# {name}",
        plain(summary(jaxrec.data.corpora.__doc__)),
        "Runs by `jaxrec corpus`; see [](../../guides/corpora.md). All of its settings stand in "
        f"[Settings of {name}](../settings/{name}.md).",
    ]
    for path in paths:
        parts += [f"## `{path.relative_to(root)}`", plain(_header(path))]
    return "\n\n".join(parts) + "\n"


def package_of(path: Path) -> str:
    """The package below `jaxrec.systems` that runs a config file."""
    spec = importlib.util.spec_from_file_location(f"documented_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = module.get_config() if hasattr(module, "get_config") else _first(module.get_sweep())
    return str(config.system).rsplit(".", 1)[-1]


def plain(text: str) -> str:
    """Text of a docstring as Markdown: what looks like a link or a tag there is neither."""
    lines = []
    for line in text.splitlines():
        pieces = line.split("`")
        if not line.startswith("    "):
            pieces[::2] = [
                piece.replace("<", "&lt;").replace("](", "]\\(").replace("*", "\\*")
                for piece in pieces[::2]
            ]
        lines.append("`".join(pieces))
    return "\n".join(lines)


def _first(sweep: Any) -> Any:
    """The first config of a sweep: a mapping, or a value with `variants`."""
    return next(iter(getattr(sweep, "variants", sweep).values()))


def _header(path: Path) -> str:
    return _body(ast.get_docstring(ast.parse(path.read_text()), clean=False))


def _body(docstring: str | None) -> str:
    """The docstring of a module, which is not indented; to dedent it would dedent its commands."""
    return (docstring or "").strip()
