"""The peer of rollouts and updates must compute the same, or its times mean nothing."""

import json

import pytest


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("levels", [2, 3])
def test_rollouts_and_updates_agree_with_the_trainer_of_trl(command, capsys, levels):
    words = f"rollouts --batch 3 --group 4 --items 60 --size 8 --levels {levels} --history 5"
    command["main"]([*words.split(), "--repeats", "1", "--threads", "0"])
    rows = json.loads(capsys.readouterr().out.splitlines()[-1])["rows"]
    assert [row["name"] for row in rows] == ["rollout", "update"]
    for row in rows:
        assert row["rows_agree"] == 1.0
        assert row["ours_ms"] > 0 and row["trl_ms"] > 0
        assert row["ratio"] == pytest.approx(row["trl_ms"] / row["ours_ms"], rel=0.1)
