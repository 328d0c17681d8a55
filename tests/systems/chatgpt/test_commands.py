"""The commands on a study: train, eval with baselines, report, and a sweep of scripts."""

import json

from jaxrec.cli.main import main
from jaxrec.testing import tiny_config, tiny_options, write_tiny_csv

CONFIG = """
from jaxrec.runs import Sweep
from jaxrec.systems.chatgpt import ChatGptConfig, ChatGptEvalConfig, PlantedConfig


def get_config(script="neutral"):
    return ChatGptConfig(
        candidates=12,
        tasks=("rating", "sequential_choose"),
        planted=PlantedConfig(script=script),
        eval=ChatGptEvalConfig(test_instances=8, probe_slots=2, resamples=20),
    )


def get_sweep():
    return Sweep(
        variants={name: get_config(name) for name in ("neutral", "position")},
        metrics=("sequential_choose/hr@10|11",),
        all_rows=True,
    )
"""


def test_a_study_is_run_by_the_commands(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(CONFIG)
    options = tiny_options(write_tiny_csv(tmp_path))
    assert tiny_config("x").data.rating_column in options
    assert main(["train", "mine.py", *options, "--dry-run"]) == 0
    assert not (tmp_path / "runs").exists()
    assert main(["train", "mine.py", *options]) == 0
    assert main(["eval", "runs/mine", "--baselines", "popularity"]) == 0
    report = json.loads((tmp_path / "runs" / "mine" / "eval.json").read_text())
    assert list(report["tables"]["rating"]["rows"])[:2] == ["model", "mean rating"]
    assert list(report["tables"]["sequential_choose"]["rows"]) == ["model", "popularity"]
    shown = capsys.readouterr().out
    assert "sequential_choose:" in shown and "compliance_before" in shown
    assert main(["report", "runs/mine"]) == 0
    assert "Asked language model" in (tmp_path / "runs" / "mine" / "report.html").read_text()
    assert main(["recommend", "runs/mine"]) == 2
    assert "does not offer jaxrec recommend" in capsys.readouterr().err
    capsys.readouterr()
    assert main(["sweep", "mine.py", *options, "--seeds", "2"]) == 0
    line = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    rows = {row["name"]: row["metrics"] for row in line["rows"]}
    assert rows["neutral"]["slope"] == 0.0 > rows["position"]["slope"]
    assert rows["neutral: sequential_choose, model"]["compliance"] == 1.0
    assert len(line["tests"]) == 1
