"""A page for each notebook: its text as it stands, and its code without results.

Notebooks are stored without outputs. The tests run them; the build of these pages does not.
"""

import json
from pathlib import Path

# Where the repository is published. Badges and first cells of notebooks name it.
REPOSITORY = "OWNER/jaxrec"
_BADGE = "https://colab.research.google.com/assets/colab-badge.svg"
_OPEN = "https://colab.research.google.com/github/{repository}/blob/main/notebooks/{name}.ipynb"


def pages(folder: Path) -> dict[str, str]:
    """Paths and texts of the pages.

    Args:
      folder: the directory of the notebooks.
    """
    return {f"notebooks/{path.stem}.md": page(path) for path in sorted(folder.glob("*.ipynb"))}


def page(path: Path) -> str:
    """The text of one page."""
    parts = []
    for kind, source in cells(path):
        parts.append(source if kind == "markdown" else f"```python\n{source}\n```")
    return "\n\n".join(parts) + "\n"


def cells(path: Path) -> list[tuple[str, str]]:
    """The kind, "markdown" or "code", and the text of every cell."""
    notebook = json.loads(path.read_text())
    return [(cell["cell_type"], "".join(cell["source"])) for cell in notebook["cells"]]


def badge(name: str) -> str:
    """The Markdown that opens a notebook in Colab.

    Example:
      >>> badge("quickstart").rpartition("/")[2]
      'quickstart.ipynb)'
    """
    return f"[![Open in Colab]({_BADGE})]({_OPEN.format(repository=REPOSITORY, name=name)})"
