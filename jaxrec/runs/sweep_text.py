"""The table of a sweep as Markdown, cut into several tables where it is too wide."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.cells import cell_len

# What separates two columns, at most, and so do the edges of a table.
_BETWEEN = 2
_P = "p (Holm)"
_Cells = Sequence[Sequence[str]]


def sweep_markdown(report: Mapping[str, Any], width: int = 0) -> str:
    """The table of a sweep in Markdown; the columns of the tests stand on the right.

    A table that is too wide is divided by its columns into several ones, each of which begins with
    the names of the rows and leaves out rows without a figure there. Metrics become rows, and rows
    become columns, where that takes fewer tables.

    Args:
      report: what `sweep_report` returned.
      width: characters of a line; 0 for one table of any width.

    Example:
      >>> row = {"name": "all", "metrics": {"auc": 0.7}, "intervals": {"auc": [0.5, 0.9]}}
      >>> print(sweep_markdown({"rows": [row], "tests": []}))
      | row | auc |
      |---|---|
      | all | .700 [.500, .900] |
      >>> wide = {"name": "all", "metrics": {"auc": 0.7, "accuracy": 0.6}, "intervals": {}}
      >>> print(sweep_markdown({"rows": [wide], "tests": []}, width=16))
      | metric | all |
      |---|---|
      | auc | .700 |
      | accuracy | .600 |
    """
    cells = _cells(report)
    tables = _divided(cells, width)
    if len(tables) > 1:
        turned = [list(column) for column in zip(*cells, strict=True)]
        turned[0][0] = "metric"
        tables = min(tables, _divided(turned, width), key=len)
    return "\n\n".join(map(_markdown, tables))


def _cells(report: Mapping[str, Any]) -> list[list[str]]:
    """The whole table: the line of titles, then a line for each row."""
    metrics = dict.fromkeys(
        metric
        for row in report["rows"]
        for metric in row["metrics"]
        if not metric.startswith("mrr")
    )
    tests = {(test["a"], test["b"], test["metric"]): test for test in report["tests"]}
    tested = list(dict.fromkeys((test["metric"], test["b"]) for test in report["tests"]))
    titles = [part for metric, b in tested for part in (f"{metric} minus {b}", _P)]
    lines = [["row", *metrics, *titles]]
    for row in report["rows"]:
        cells = [_cell(row, metric) for metric in metrics]
        for metric, b in tested:
            test = tests.get((row["name"], b, metric))
            cells += [_difference(test), _number(test["p_holm"])] if test else ["", ""]
        lines.append([row["name"], *cells])
    return lines


def _divided(cells: _Cells, width: int) -> list[_Cells]:
    """Tables of some of the columns each; the first column stands in every one."""
    if not width or _width(cells) <= width:
        return [cells]
    blocks: list[list[int]] = []
    for unit in _units(cells[0]):
        if blocks and _width(_part(cells, blocks[-1] + unit)) <= width:
            blocks[-1] += unit
        else:
            blocks.append(unit)
    return [_part(cells, block) for block in blocks]


def _width(cells: _Cells) -> int:
    """Characters of a line of the printed table."""
    columns = zip(*cells, strict=True)
    return sum(max(map(cell_len, column)) + _BETWEEN for column in columns) + _BETWEEN


def _part(cells: _Cells, block: Sequence[int]) -> _Cells:
    """The first column and some others, with the rows that have a figure there."""
    head, *body = ([line[0], *(line[n] for n in block)] for line in cells)
    return [head, *(line for line in body if any(line[1:]))]


def _units(titles: Sequence[str]) -> list[list[int]]:
    """Numbers of the columns that stay together: a p-value stands beside its difference."""
    units: list[list[int]] = []
    for number, title in enumerate(titles[1:], 1):
        if title == _P:
            units[-1].append(number)
        else:
            units.append([number])
    return units


def _markdown(cells: _Cells) -> str:
    head, *body = ["| " + " | ".join(line) + " |" for line in cells]
    return "\n".join([head, "|---" * len(cells[0]) + "|", *body])


def _cell(row: Mapping[str, Any], metric: str) -> str:
    if metric not in row["metrics"]:
        return ""
    mean = _number(row["metrics"][metric])
    if metric not in row["intervals"]:
        return mean
    low, high = row["intervals"][metric]
    return f"{mean} [{_number(low)}, {_number(high)}]"


def _difference(test: Mapping[str, Any]) -> str:
    mean, low, high = (_number(test[name], "+") for name in ("difference", "low", "high"))
    return f"{mean} [{low}, {high}]"


def _number(value: float, sign: str = "") -> str:
    """Three decimals without the leading zero: ".103", "-.002", "1.024"."""
    text = f"{value:{sign}.3f}"
    return text.replace("0.", ".", 1) if abs(value) < 1 and not text.endswith("1.000") else text
