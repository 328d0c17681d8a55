"""The printed table of a sweep: every figure is there, uncut, at every width of a terminal."""

import io
import re

import pytest
from rich.console import Console
from rich.markdown import Markdown

from jaxrec.runs.sweep_text import sweep_markdown


def report(variants, metrics, tests=0):
    """Each figure of the table is another number."""
    rows = [
        {
            "name": f"variant {v}",
            "metrics": {f"metric_{m}": v + m / 100 for m in range(metrics)},
            "intervals": {f"metric_{m}": [-v - m / 100, 100 + v + m / 100] for m in range(metrics)},
        }
        for v in range(1, variants + 1)
    ]
    found = [
        {"a": f"variant {v}", "b": "variant 1", "metric": f"metric_{m}"}
        | {"difference": 50 + v, "low": 40.0 + m, "high": 60.0 + m, "p_holm": 0.5}
        for m in range(tests)
        for v in range(2, variants + 1)
    ]
    return {"rows": rows, "tests": found}


def printed(text, width):
    console = Console(file=io.StringIO(), width=width)
    console.print(Markdown(text))
    return console.file.getvalue()


def figures(text):
    return sorted(re.findall(r"[-+]?\d*\.\d+", text))


@pytest.mark.parametrize("width", [80, 100, 130, 150])
@pytest.mark.parametrize(("variants", "metrics", "tests"), [(4, 20, 0), (20, 4, 2), (12, 12, 3)])
def test_every_figure_is_printed_whole_at_every_width(width, variants, metrics, tests):
    found = report(variants, metrics, tests)
    shown = printed(sweep_markdown(found, width), width)
    assert figures(shown) == figures(sweep_markdown(found))
    assert "…" not in shown
    # No cell goes on in the next line: each line with a figure begins with a name.
    lines = [line.split() for line in shown.splitlines() if re.search(r"\.\d", line)]
    assert all(line[0].startswith(("variant", "metric_", "p")) for line in lines)


@pytest.mark.parametrize("width", [80, 130])
def test_without_a_limit_figures_are_cut(width):
    found = report(4, 20)
    assert figures(printed(sweep_markdown(found), width)) != figures(sweep_markdown(found))


def test_a_p_value_stands_beside_its_difference():
    tables = sweep_markdown(report(9, 5, 5), 80).split("\n\n")
    heads = [table.splitlines()[0].strip("| ").split(" | ") for table in tables]
    assert len(heads) > 2 and heads[0][0] == "row"
    titles = [title for head in heads for title in head[1:]]
    assert titles.count("p (Holm)") == 5
    assert all(head[1] != "p (Holm)" for head in heads)


def test_a_table_that_fits_stays_as_it_is():
    found = report(2, 2, 1)
    assert sweep_markdown(found, 150) == sweep_markdown(found)


def test_many_metrics_of_few_variants_are_rows():
    head, _, first, *rest = sweep_markdown(report(2, 9), 80).splitlines()
    assert head == "| metric | variant 1 | variant 2 |"
    assert first == "| metric_0 | 1.000 [-1.000, 101.000] | 2.000 [-2.000, 102.000] |"
    assert len(rest) == 8


def test_a_row_without_a_figure_in_a_part_of_the_table_is_left_out_there():
    names = {"a": [f"x{n}" for n in range(6)], "b": [f"y{n}" for n in range(6)]}
    rows = [
        {"name": name, "metrics": dict.fromkeys(metrics, 0.25), "intervals": {}}
        for name, metrics in names.items()
        for _ in range(8)
    ]
    assert sweep_markdown({"rows": rows, "tests": []}, 44).split("\n\n") == [
        "\n".join([f"| row | {' | '.join(metrics)} |", "|---" * 7 + "|", *[
            f"| {name} | {' | '.join(['.250'] * 6)} |"] * 8])
        for name, metrics in names.items()
    ]  # fmt: skip
