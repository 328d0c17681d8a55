"""Stages: runs that build on one another, trained by one command."""

import dataclasses
import sys
import types
from pathlib import Path
from typing import ClassVar

import pytest

from jaxrec.cli.main import main
from jaxrec.core import ConfigError
from jaxrec.runs import check_stages, placed
from jaxrec.systems.generative import Config

CONFIG = """
from stage_system import Toy

def get_stages():
    return {{"first": Toy(name="a"), "second": Toy(name="b", base="stage:first")}}

def get_config():
    return Toy(name="c", base="stage:{base}")
"""


@dataclasses.dataclass(frozen=True)
class Toy:
    system: ClassVar[str] = "stage_system"
    name: str = ""
    base: str = ""
    steps: int = 500


@pytest.fixture
def trained(monkeypatch):
    """A system that notes what it is asked to train."""
    calls = []
    module, package = types.ModuleType("stage_system.run"), types.ModuleType("stage_system")

    def train(config, directory, options):
        calls.append((config.name, config.base, str(directory), options.dry, config.steps))

    module.CONFIG, module.train, package.Toy = Toy, train, Toy
    monkeypatch.setitem(sys.modules, "stage_system", package)
    monkeypatch.setitem(sys.modules, "stage_system.run", module)
    return calls


def _file(tmp_path, base="second"):
    path = tmp_path / "jobs.py"
    path.write_text(CONFIG.format(base=base))
    return str(path)


def test_stages_are_trained_in_order_each_in_its_directory(tmp_path, trained):
    run = tmp_path / "run"
    assert main(["train", _file(tmp_path), "--run-dir", str(run)]) == 0
    assert trained == [
        ("a", "", f"{run}/first", False, 500),
        ("b", f"{run}/first", f"{run}/second", False, 500),
        ("c", f"{run}/second", str(run), False, 500),
    ]


def test_a_dry_run_reports_the_first_stage_and_quick_shortens_all(tmp_path, trained, capsys):
    run = str(tmp_path / "run")
    assert main(["train", _file(tmp_path), "--run-dir", run, "--dry-run"]) == 0
    assert [call[0] for call in trained] == ["a"] and trained[0][3]
    assert "when stage first is trained" in capsys.readouterr().out
    assert not Path(run).exists()
    trained.clear()
    assert main(["train", _file(tmp_path), "--run-dir", run, "--quick"]) == 0
    assert [call[4] for call in trained] == [100, 100, 100]


def test_a_stage_that_does_not_come_before_is_named(tmp_path, trained, capsys):
    assert main(["train", _file(tmp_path, "secnd"), "--run-dir", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert "base is 'stage:secnd', and no stage 'secnd' comes before it" in said
    assert "did you mean 'second'" in said
    assert not trained


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        ([Config()], "must return a dictionary from names to configs, got list"),
        ({"a/b": Config()}, "stage 'a/b' needs a name of letters"),
        (
            {"checkpoints": Config()},
            "stage 'checkpoints' has the name of a directory that every run",
        ),
        ({"": Config()}, "stage '' needs a name of letters"),
        ({"config.json": Config()}, "stage 'config.json' needs a name of letters"),
        ({"a": 3}, "stage 'a': int is not the config of a system"),
        ({"a": Toy(base="stage:a")}, "no stage 'a' comes before it; stages: none"),
    ],
)
def test_impossible_stages_are_errors(stages, said, trained):
    with pytest.raises(ConfigError, match=said):
        check_stages(stages, None)


def test_only_settings_that_name_a_stage_change():
    config = Config()
    assert placed(config, Path("runs")) == config
