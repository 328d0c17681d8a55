"""Rows of whatever holds a table: a data frame, an Arrow table, or a list of dicts."""

from collections.abc import Iterable, Mapping
from typing import Any

from jaxrec.core import ConfigError, name_text


def rows_of(table: Any, key: str = "item") -> list[dict[str, Any]]:
    """Return the rows of a table as dicts.

    Args:
      table: a data frame of pandas or polars, an Arrow table, or an iterable of mappings.
      key: a column that every row must have.

    Raises:
      ConfigError: it is no table, has no rows or no such column, or a row's ID is neither a text
        nor a whole number.

    Example:
      >>> import pyarrow as pa
      >>> rows_of(pa.table({"item": ["9"], "title": ["Heat"]}))
      [{'item': '9', 'title': 'Heat'}]
    """
    if hasattr(table, "ndim") and not hasattr(table, "columns"):  # a series or an array
        raise ConfigError(
            f"expected a data frame, an Arrow table or a list of dicts, got {type(table).__name__}"
        )
    if hasattr(table, "to_pylist"):  # Arrow
        rows = table.to_pylist()
    elif hasattr(table, "to_dicts"):  # polars
        rows = table.to_dicts()
    elif hasattr(table, "to_dict") and not isinstance(table, Mapping):  # pandas
        rows = table.to_dict("records")
    elif isinstance(table, Iterable) and not isinstance(table, str | Mapping):
        rows = list(table)
    else:
        raise ConfigError(
            f"expected a data frame, an Arrow table or a list of dicts, got {type(table).__name__}"
        )
    if not rows:
        raise ConfigError("the table has no rows; give at least one")
    found = []
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping) or key not in row:
            raise ConfigError(
                f"row {number} of the table has no {key!r}; give it a column {key!r} with IDs"
            )
        name = name_text(row[key], f"row {number} of the table, {key}")
        if not name.strip():
            raise ConfigError(f"row {number} of the table has the {key} {name!r}; give it an ID")
        found.append({**row, key: name})
    return found
