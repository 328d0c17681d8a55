"""A page for each notebook: a copy of its file, which `myst_nb` renders without running it.

Notebooks are stored without outputs. The tests run them; the build of these pages does not.
"""

import json
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_BADGE = "https://colab.research.google.com/assets/colab-badge.svg"
_OPEN = "https://colab.research.google.com/github/{repository}/blob/main/notebooks/{name}.ipynb"


def pages(folder: Path) -> dict[str, str]:
    """Paths and texts of the pages.

    Args:
      folder: the directory of the notebooks.
    """
    return {f"notebooks/{path.name}": path.read_text() for path in sorted(folder.glob("*.ipynb"))}


def cells(path: Path) -> list[tuple[str, str]]:
    """The kind, "markdown" or "code", and the text of every cell."""
    notebook = json.loads(path.read_text())
    return [(cell["cell_type"], "".join(cell["source"])) for cell in notebook["cells"]]


def address() -> str:
    """Where the repository is published; `tools/address` writes it into `pyproject.toml`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return str(project["urls"]["Repository"])


def badge(name: str) -> str:
    """The Markdown that opens a notebook in Colab.

    Example:
      >>> badge("quickstart").rpartition("/")[2]
      'quickstart.ipynb)'
    """
    repository = address().removeprefix("https://github.com/")
    return f"[![Open in Colab]({_BADGE})]({_OPEN.format(repository=repository, name=name)})"
