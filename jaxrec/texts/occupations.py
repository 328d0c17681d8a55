"""Questions about occupations: a task data set made of O*NET's descriptions.

Each row of O*NET's "Occupation Data.txt" has the title of an occupation and a description of it.
Templates ask for the title of a description, and reversed ones for a description of a title.
"""

import csv
import io
import os
from pathlib import Path

from jaxrec.core import DataError
from jaxrec.data import Template, files
from jaxrec.texts.task_sets import TaskSet

FILE = Path("onet-occupations") / "Occupation Data.txt"
_TITLE, _DESCRIPTION = "Title", "Description"
_TITLES = (
    "Which occupation is this?\n{description}",
    "{description}\nName the occupation.",
    "People who do this have an occupation: {description} What is it called?",
    "Job description: {description}\nJob title:",
)
_DESCRIPTIONS = (
    "Describe the occupation {title}.",
    "What do people do whose occupation is {title}?",
)


def occupation_tasks(path: str | os.PathLike[str] | None = None) -> list[TaskSet]:
    r"""Read O*NET's occupations as two tasks: titles of descriptions, and the reverse.

    Args:
      path: of "Occupation Data.txt"; None for `onet-occupations` below JAXREC_DATA.

    Raises:
      DataError: the file is missing, or is not a table with titles and descriptions.

    Example:
      >>> import pathlib, tempfile
      >>> from jaxrec.texts import occupation_tasks
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "data.txt"
      >>> _ = path.write_text("Title\tDescription\nBakers\tMix and bake ingredients.\n")
      >>> [task.name for task in occupation_tasks(path)]
      ['occupation-titles', 'occupation-descriptions']
    """
    if path is None:
        root = os.environ.get("JAXREC_DATA")
        if not root:
            raise DataError(
                f"{FILE} is looked for below JAXREC_DATA, which is not set; set it to the "
                "directory of your data"
            )
        path = Path(root).expanduser() / FILE
    path = Path(path)
    table = io.StringIO(files.decode(files.read_bytes(path), path), newline="")
    rows = []
    for number, row in enumerate(csv.DictReader(table, delimiter="\t"), start=2):
        title, description = row.get(_TITLE), row.get(_DESCRIPTION)
        if not title or not description:
            raise DataError(
                f"{path}: line {number} has no {_TITLE} or no {_DESCRIPTION}; give O*NET's "
                '"Occupation Data.txt"'
            )
        rows.append({"title": title.strip(), "description": description.strip()})
    kinds = (("titles", _TITLES, "{title}"), ("descriptions", _DESCRIPTIONS, "{description}"))
    return [
        TaskSet(
            name=f"occupation-{kind}",
            cluster="occupations",
            rows=rows,
            templates=tuple(
                Template(name=f"{kind}-{n}", source=source, target=target, seen=n < len(wordings))
                for n, source in enumerate(wordings, start=1)
            ),
        )
        for kind, wordings, target in kinds
    ]
