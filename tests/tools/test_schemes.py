"""The sweep of ID schemes: its table, and that it goes on where it was."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxrec.core import ConfigError
from jaxrec.testing import tiny_config, write_tiny_csv

TOOL = Path(__file__).parents[2] / "tools" / "bench" / "schemes.py"
CONFIG = """
import dataclasses
from jaxrec.systems.config import IdConfig
from jaxrec.testing import tiny_config

def get_sweep():
    config = tiny_config({path!r})
    train = dataclasses.replace(config.train, steps=2, eval_every=2)
    config = dataclasses.replace(config, train=train)
    return {{"one": dataclasses.replace(config, ids=IdConfig(scheme="independent"))}}
"""


@pytest.fixture(scope="module")
def tool():
    return runpy.run_path(str(TOOL))


def measured(rng, rate):
    hits = (rng.random(200) < rate).astype(float)
    return {
        "hr@10": hits.tolist(),
        "ndcg@10": (hits / 2).tolist(),
        "sizes": [1000, 8],
        "mean_length": 2.0,
        "unique_before_repair": 1500,
        "items": 1600,
        "parameters": 12345,
        "cpu_seconds": 3.2,
        "seconds": 2.0,
        "invalid_items": 0,
    }


def test_the_table_has_means_over_seeds_and_differences_to_the_first(tool):
    rng = np.random.default_rng(0)
    found = {"a": [measured(rng, 0.2) for _ in range(3)], "b": [measured(rng, 0.4)] * 3}
    rows = tool["table"](found)
    mean = np.mean([row["hr@10"] for row in found["a"]])
    assert rows["a"]["metrics"]["hr@10"][0] == pytest.approx(mean)
    assert rows["a"]["seeds"]["ndcg@10"] == [np.mean(row["ndcg@10"]) for row in found["a"]]
    difference, low, high = rows["b"]["difference"]["hr@10"]
    assert difference == pytest.approx(np.mean(found["b"][0]["hr@10"]) - mean)
    assert 0 < low < difference < high
    text = tool["markdown"](rows, "a", 3).splitlines()
    assert text[0].count("|") == text[1].count("|") == text[3].count("|") == 9
    assert text[3].startswith("| b | 1,000 x 8 | 1,500 of 1,600 | .")
    assert f"| +.{difference / 2 * 1000:03.0f} [+." in text[3] and text[3].endswith(
        "| 12,345 | 3 |"
    )


def test_the_command_line_changes_the_architecture_and_the_steps(tool, tmp_path):
    config = tiny_config(tmp_path / "none.csv")
    changed = tool["with_changes"](config, "encoder_decoder", 7)
    assert changed.architecture == "encoder_decoder"
    assert (changed.train.steps, changed.train.eval_every) == (7, 7)
    assert tool["with_changes"](config, None, None) == config
    with pytest.raises(ConfigError, match=r"architecture must be .* got 'encoder'"):
        tool["with_changes"](config, "encoder", None)


@pytest.mark.slow
def test_a_sweep_started_again_trains_nothing_that_is_finished(tool, tmp_path, capsys, monkeypatch):
    config = tmp_path / "sweep.py"
    config.write_text(CONFIG.format(path=str(write_tiny_csv(tmp_path))))
    words = ["--config", str(config), "--seeds", "2", "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["schemes.py", *words])
    tool["main"]()
    first = json.loads(capsys.readouterr().out.splitlines()[-1])
    files = sorted((tmp_path / "out").rglob("*"))
    times = [file.stat().st_mtime_ns for file in files]
    tool["main"]()
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == first
    assert sorted((tmp_path / "out").rglob("*")) == files
    assert [file.stat().st_mtime_ns for file in files] == times
    assert first["rows"]["one"]["sizes"] == [30]
