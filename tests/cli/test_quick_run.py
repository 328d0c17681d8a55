"""`jaxrec train --quick`: a short run in its own directory, which says that it means nothing."""

import json

import pytest

from jaxrec.cli.main import main
from jaxrec.runs import WARNING
from jaxrec.runs.quick import MARK
from jaxrec.testing import write_tiny_run

SAMPLED = """

def get_quick_config():
    return dataclasses.replace(get_config(), max_items=5)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    directory = tmp_path_factory.mktemp("quick")
    write_tiny_run(directory)
    return directory


def test_a_quick_run_is_marked_from_its_beginning_to_its_table(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    assert main(["train", "tiny.py", "--quick"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(WARNING) and text.count(WARNING) == 1
    assert text.endswith("next: jaxrec eval runs/tiny-quick\n")
    run = place / "runs" / "tiny-quick"
    assert (run / MARK).read_text() == WARNING + "\n"
    assert main(["eval", str(run), "--no-baselines"]) == 0
    assert capsys.readouterr().out.count(WARNING) == 1
    for name in ("train.json", "eval.json", "result.json"):
        assert json.loads((run / name).read_text())["warning"] == WARNING
    assert main(["report", str(run)]) == 0
    for name in ("report.html", "README.md"):
        assert (run / name).read_text().count(WARNING) == 1
    assert main(["train", "tiny.py", "--run-dir", str(run)]) == 2
    assert "holds a quick run; give --quick" in capsys.readouterr().err


def test_a_dry_run_names_the_command_with_all_its_settings(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    words = ["tiny.py", "--quick", "--run-dir", "runs/dry", "--train.lr", "0.5"]
    assert main(["train", *words, "--dry-run"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"nothing written; next: jaxrec train {' '.join(words)}"
    assert not (place / "runs" / "dry").exists()


def test_a_config_may_say_itself_what_is_quick(place, tmp_path, monkeypatch):
    text = "import dataclasses\n" + (place / "tiny.py").read_text() + SAMPLED
    (tmp_path / "own.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    assert main(["train", "own.py", "--quick", "--train.steps", "2"]) == 0
    settings = json.loads((tmp_path / "runs" / "own-quick" / "config.json").read_text())
    assert (settings["max_items"], settings["train"]["steps"]) == (5, 2)
