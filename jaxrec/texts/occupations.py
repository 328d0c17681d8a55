"""Questions about occupations, made of O*NET's descriptions, and preferences by a rule.

Each row of O*NET's "Occupation Data.txt" has the title of an occupation and a description of it.
Templates ask for the title of a description, and reversed ones for a description of a title. The
rule prefers the description of the occupation that is asked for to that of another one.
"""

import os
from pathlib import Path

import numpy as np

from jaxrec.align import Feedback, make_preference
from jaxrec.core import DataError
from jaxrec.data import Template, read_occupations
from jaxrec.texts.task_sets import TaskSet, split_rows

FILE = Path("onet-occupations") / "Occupation Data.txt"
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
    rows = _occupations(path)
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


def occupation_preferences(
    shares: tuple[float, float],
    rejected: int = 1,
    seed: int = 0,
    path: str | os.PathLike[str] | None = None,
) -> dict[str, list[Feedback]]:
    r"""Make preferences for the description of an occupation over those of others.

    The occupations are split as `split_rows` splits the rows of `occupation_tasks`, so a model that
    was tuned on these tasks with the same shares and seed has not learned those of the test part.
    Rejected descriptions are of the same part, so none of them is better known than the right one.

    Args:
      shares: shares of validation and test.
      rejected: number of rejected descriptions for each occupation.
      seed: seed of the split and of the rejected descriptions.
      path: of "Occupation Data.txt"; None for `onet-occupations` below JAXREC_DATA.

    Returns:
      The preferences of the parts "train", "valid" and "test".

    Raises:
      ConfigError: shares that leave nothing to train on.
      DataError: the file cannot be read, or a part has too few occupations.

    Example:
      >>> import pathlib, tempfile
      >>> from jaxrec.texts import occupation_preferences
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "data.txt"
      >>> rows = [f"Kind {n} Bakers\tMix and bake ingredients of kind {n}." for n in range(40)]
      >>> _ = path.write_text("\n".join(["Title\tDescription", *rows]))
      >>> first = occupation_preferences((0.2, 0.2), path=path)["train"][0]
      >>> first.prompt, first.ranks
      ('Describe the occupation Kind 0 Bakers.', (1, 2))
    """
    rows = _occupations(path)
    rng = np.random.default_rng(seed)
    found: dict[str, list[Feedback]] = {}
    for part, numbers in split_rows(rows, shares, seed).items():
        # Several occupations may share a description, and a title.
        texts = sorted({rows[n]["description"] for n in numbers.tolist()})
        if len(texts) <= rejected:
            raise DataError(
                f"the part {part} has {len(texts)} descriptions of occupations, and one is to be "
                f"preferred to {rejected} others; lower the number, or give a larger share"
            )
        right = {rows[n]["title"]: rows[n]["description"] for n in numbers.tolist()}
        found[part] = []
        for title, description in right.items():
            drawn = [texts[k] for k in rng.choice(len(texts), rejected + 1, replace=False).tolist()]
            others = [text for text in drawn if text != description][:rejected]
            prompt = _DESCRIPTIONS[0].format(title=title)
            found[part].append(make_preference(prompt, description, tuple(others), "rule"))
    return found


def _occupations(path: str | os.PathLike[str] | None) -> list[dict[str, str]]:
    """Titles and descriptions of all occupations."""
    if path is None:
        root = os.environ.get("JAXREC_DATA")
        if not root:
            raise DataError(
                f"{FILE} is looked for below JAXREC_DATA, which is not set; set it to the "
                "directory of your data"
            )
        path = Path(root).expanduser() / FILE
    return [
        {"title": occupation.title, "description": occupation.description}
        for occupation in read_occupations(path)
    ]
