"""Tables of a comparison."""

import pytest

from jaxrec.eval import markdown


def report(scale):
    """Two rows with figures around .1 times a scale."""

    def row(value):
        metrics = {"hr@10": value * scale, "ndcg@10": value * scale / 2}
        ends = {name: [x - 0.01 * scale, x + 0.01 * scale] for name, x in metrics.items()}
        return {
            "metrics": metrics,
            "intervals": ends,
            "other": metrics,
            "other_intervals": ends,
            "quality": {"coverage": 0.5},
            "slices": {"all": value * scale / 2},
            "seeds": 1,
            "parameters": 1234,
            "fit_seconds": 2.0,
            "test_seconds": 0.5,
        }

    test = {"system": "b", "difference": 0.01234, "interval": [-0.001, 0.02], "p_holm": 0.04}
    facts = {"dataset": "d", "users": 9, "ranking": "full catalogue", "seen_items": "kept"}
    facts |= {"split": "leave-one-out", "ties": "none"}
    rows = {"a": row(0.12), "b": row(0.13)}
    return {"rows": rows, "comparisons": [test], "reference": "a", "protocol": facts}


@pytest.mark.parametrize(
    ("scale", "cells", "sliced"),
    [
        (1, [".1300 [.1200, .1400]", ".0650 [.0550, .0750]", "+.0123 [-.0010, +.0200]"], ".0650"),
        (2, [".260 [.240, .280]", ".130 [.110, .150]", "+.012 [-.001, +.020]"], ".130"),
    ],
)
def test_low_figures_have_four_digits(scale, cells, sliced):
    lines = markdown(report(scale)).splitlines()
    found = next(line for line in lines if line.startswith("| b |")).split(" | ")
    assert found[1:6] == [*cells[:2], *cells[:2], cells[2]]
    assert found[6:9] == [".040", "1", "1,234"]
    assert lines[-1] == f"| b | {sliced} |"
