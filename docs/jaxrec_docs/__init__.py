"""Sphinx extension that writes the pages made from code, below `docs/generated`.

Systems come from the headers of configs and the docstrings of modules, settings from dataclasses,
commands from their own help, the API from the faces of the rooms, and notebooks from their files.
So none of these pages can disagree with the code. A page is only written when its text changes,
which keeps a second build quick.
"""

from pathlib import Path
from typing import Any

from jaxrec_docs import api, commands, docstrings, notebooks, settings, systems

ROOT = Path(__file__).resolve().parents[2]


def write_pages(root: Path, place: Path) -> list[Path]:
    """Write every generated page, and remove those that no longer belong to anything.

    Args:
      root: of the repository.
      place: the directory of the generated pages.

    Returns:
      The paths of the pages.
    """
    pages = {
        **systems.pages(root / "configs"),
        **settings.pages(),
        **commands.pages(root / "tools" / "bench"),
        **api.pages(),
        **notebooks.pages(root / "notebooks"),
    }
    paths = []
    for name, text in pages.items():
        path = place / name
        paths.append(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
    for path in [path for kind in ("md", "rst", "ipynb") for path in place.rglob(f"*.{kind}")]:
        if path not in paths:
            path.unlink()
    return paths


def setup(app: Any) -> dict[str, bool]:
    """Connect to Sphinx."""
    write_pages(ROOT, Path(app.srcdir) / "generated")
    app.connect("autodoc-process-docstring", _rewrite)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _rewrite(app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    lines[:] = docstrings.to_rst("\n".join(lines)).splitlines()
