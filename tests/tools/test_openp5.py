"""The sweep of item IDs under P5: its rows and its table."""

import dataclasses
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tool():
    bench = ROOT / "tools" / "bench"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(bench)
        return runpy.run_path(str(bench / "openp5.py"))


def _report(hit, dataset="tiny"):
    metrics = {"hr@5": hit / 2, "hr@10": hit, "ndcg@10": hit / 3, "mrr@10": hit / 4}
    rows = {name: {"metrics": metrics} for name in ("model", "model, unseen wording", "markov")}
    tables = {
        "sequential, seen items kept": {"rows": rows},
        "direct_choose, 1 of 100": {"rows": {"model": {"metrics": {"hr@10|99": 1.0}}}},
        "rating": {"item mean": {"rmse": 1.0}},
    }
    return {"protocol": {"dataset": dataset}, "tables": tables}


def test_rows_are_means_over_seeds_and_baselines_stand_once_a_data_set(tool):
    reports = {
        "random": [_report(0.1), _report(0.2)],
        "sequential": [_report(0.4), _report(0.4)],
        "other": [_report(0.3, "else")],
    }
    found = tool["rows"](reports)
    means = {(row["dataset"], row["index"], row["system"]): row["metrics"] for row in found}
    assert means["tiny", "random", "model"]["hr@10"] == pytest.approx(0.15)
    assert means["tiny", "sequential", "model"]["hr@5"] == pytest.approx(0.2)
    assert sum(row["system"] == "markov" for row in found) == 2
    assert {row["table"] for row in found} == {"sequential, seen items kept"}
    lines = tool["markdown"](found).splitlines()
    assert len(lines) == 2 + 3 * 2 + 2
    assert all(line.count("|") == 8 for line in lines)
    assert (
        "| tiny | sequential, seen items kept | model | random | .0750 | .1500 | .0500 |" in lines
    )


@pytest.mark.parametrize("name", ["openp5", "p5_sequential"])
def test_the_sweep_differs_in_its_ids_alone(name):
    config = runpy.run_path(str(ROOT / "configs" / f"{name}.py"))
    sweep = config["get_sweep"]()
    assert sweep["independent"] == config["get_config"]()
    assert len({run.ids for run in sweep.values()}) == len(sweep) == 5
    for run in sweep.values():
        assert dataclasses.replace(run, ids=config["get_config"]().ids) == config["get_config"]()
