"""The measurement of search and planning."""

import json

import pytest

from jaxrec.core import DataError


def test_planning_reaches_its_figures(command, capsys, real_data):
    data = real_data("game24").parent
    command["main"](["planning", "--data", str(data)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("device ")
    assert json.loads(lines[-1]) == {
        "game24": 100,
        "blocksworld": 5,
        "reflexion_with_memory": 1.0,
        "reflexion_without": 0.0,
    }


def test_planning_without_data_names_what_is_missing(command, tmp_path):
    with pytest.raises(DataError, match=r"no game24/24\.csv below .*; name the directory with --d"):
        command["main"](["planning", "--data", str(tmp_path)])
