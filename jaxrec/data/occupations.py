"""Reader of O*NET's occupations, a table of codes, titles and descriptions."""

import csv
import dataclasses
import io
import os
from pathlib import Path

from jaxrec.core import DataError
from jaxrec.data import files

_CODE, _TITLE, _DESCRIPTION = "O*NET-SOC Code", "Title", "Description"


@dataclasses.dataclass(frozen=True)
class Occupation:
    """An occupation of O*NET.

    Attributes:
      title: such as "Chief Executives".
      description: what people of this occupation do.
      code: O*NET-SOC code such as "11-1011.00"; "" if the table has none.

    Example:
      >>> Occupation("Bakers", "Mix and bake ingredients.").code
      ''
    """

    title: str
    description: str
    code: str = ""


def read_occupations(path: str | os.PathLike[str]) -> list[Occupation]:
    r"""Read O*NET's "Occupation Data.txt", separated by tabs, with a header.

    Args:
      path: the file.

    Raises:
      DataError: no rows, or a row without title or description; the message names the line.

    Example:
      >>> import pathlib, tempfile
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "data.txt"
      >>> _ = path.write_text("Title\tDescription\nBakers\tMix and bake ingredients.\n")
      >>> read_occupations(path)
      [Occupation(title='Bakers', description='Mix and bake ingredients.', code='')]
    """
    path = Path(path)
    table = io.StringIO(files.decode(files.read_bytes(path), path), newline="")
    reader = csv.DictReader(table, delimiter="\t")
    rows = []
    for row in reader:
        title, description = row.get(_TITLE), row.get(_DESCRIPTION)
        if not title or not description:
            raise DataError(
                f"{path}: line {reader.line_num} has no {_TITLE} or no {_DESCRIPTION}; give "
                'O*NET\'s "Occupation Data.txt"'
            )
        rows.append(Occupation(title.strip(), description.strip(), (row.get(_CODE) or "").strip()))
    if not rows:
        raise DataError(f"{path} holds no occupations; expected rows below the header")
    return rows
