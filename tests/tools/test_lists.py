"""The measurement of the lists of one run, by strategy."""

import json

import pytest

from jaxrec.cli.main import main
from jaxrec.testing import write_tiny_run


@pytest.mark.slow
def test_every_strategy_of_a_run_is_measured(tmp_path, capsys, command):
    run = tmp_path / "run"
    words = ["--max-items", "12", "--train.steps", "4", "--train.eval-every", "4"]
    assert main(["train", str(write_tiny_run(tmp_path)), "--run-dir", str(run), *words]) == 0
    capsys.readouterr()
    command["main"](["lists", str(run)])
    rows = json.loads(capsys.readouterr().out.splitlines()[-1])["rows"]
    names = ["beam", "sample, logprob", "sample, probability", "beam, short", "next_k"]
    assert list(rows) == names
    assert [rows[name]["reads"] for name in names] == [12, 12, 12, 3, 3]
    assert all(row["repeated"] == 0 for row in rows.values())
    assert rows["beam"]["misses"] == rows["next_k"]["misses"] == rows["beam"]["differs"] == 0
    assert rows["next_k"]["metrics"]["hr@10"][0] > 0
