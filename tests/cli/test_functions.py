"""Python functions do what the commands do, and reject what they reject."""

import json

import numpy as np
import pytest

import jaxrec
from jaxrec.baselines import SasrecConfig
from jaxrec.cli.main import main
from jaxrec.core import ConfigError, DataError
from jaxrec.runs import BaselinesConfig, is_quick, load_run, with_seed
from jaxrec.systems.sasrec import SasrecRunConfig
from jaxrec.testing import tiny_config, write_tiny_csv
from jaxrec.train import TrainConfig


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    data = tiny_config(write_tiny_csv(tmp_path_factory.mktemp("data"))).data
    return SasrecRunConfig(
        data=data,
        model=SasrecConfig(width=8, depth=1, max_items=6),
        train=TrainConfig(steps=2, batch_size=8, eval_every=2),
        eval=BaselinesConfig(baselines=("popularity",), resamples=20),
    )


FILE = """
from jaxrec.baselines import SasrecConfig
from jaxrec.data import DataConfig
from jaxrec.runs import BaselinesConfig
from jaxrec.systems.sasrec import SasrecRunConfig
from jaxrec.train import TrainConfig

def get_config():
    return SasrecRunConfig(
        data=DataConfig(**{data!r}),
        model=SasrecConfig(width=8, depth=1, max_items=6),
        train=TrainConfig(steps=2, batch_size=8, eval_every=2),
        eval=BaselinesConfig(baselines=("popularity",), resamples=20),
    )
"""


def test_a_config_trains_is_measured_and_opens_as_by_the_commands(
    config, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    run = jaxrec.train_run(config, tmp_path / "object")
    assert run == tmp_path / "object" and load_run(run) == config
    report = jaxrec.evaluate_run(run)
    assert list(report["rows"]) == ["model", "popularity"]
    assert json.loads((run / "eval.json").read_text())["rows"] == report["rows"]
    alone = jaxrec.evaluate_run(run, baselines=())
    assert list(alone["rows"]) == ["model"]
    # The command trains the same from a file.
    (tmp_path / "mine.py").write_text(FILE.format(data=vars(config.data)))
    assert main(["train", "mine.py"]) == 0
    assert "next: jaxrec eval runs/mine" in capsys.readouterr().out
    assert main(["eval", "runs/mine"]) == 0
    ours, theirs = (
        json.loads((p / "eval.json").read_text()) for p in (run, tmp_path / "runs/mine")
    )
    assert ours["rows"]["model"]["metrics"] == theirs["rows"]["model"]["metrics"]
    # A name resumes the run of the command, and other settings are refused.
    assert str(jaxrec.train_run("mine.py")) == "runs/mine"
    with pytest.raises(ConfigError, match=r"holds a run with other settings .train\.seed"):
        jaxrec.train_run(with_seed(config, 1), "runs/mine")
    lists = jaxrec.open(run).recommend(users=["u003"], top=3)
    other = jaxrec.open("runs/mine").recommend(users=["u003"], top=3)
    assert lists.items.tolist() == other.items.tolist()
    np.testing.assert_allclose(lists.scores, other.scores, rtol=1e-5)


@pytest.mark.slow
def test_a_quick_run_is_marked(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = jaxrec.train_run(config, "quick", quick=True)
    assert is_quick(run)
    with pytest.raises(ConfigError, match="holds a quick run; give --quick"):
        jaxrec.train_run(config, "quick")
    assert jaxrec.evaluate_run(run, baselines=())["rows"]
    assert "QUICK RUN" in json.loads((run / "eval.json").read_text())["warning"]


def test_what_cannot_be_done_is_said_before_any_work(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for call, kind, words in (
        (lambda: jaxrec.train_run("quickstrat"), ConfigError, "did you mean 'quickstart'"),
        (lambda: jaxrec.train_run(config), ConfigError, "needs a directory"),
        (lambda: jaxrec.train_run(3, "a"), ConfigError, "not the config of a system"),
        (lambda: jaxrec.train_run("quickstart", stages={}), ConfigError, "leave stages out"),
        (lambda: jaxrec.train_run(config, "a", stages=[1]), ConfigError, "get_stages.. must"),
        (lambda: jaxrec.evaluate_run("quickstart"), ConfigError, "is a config and no run"),
        (lambda: jaxrec.export_run("quickstart", "out"), ConfigError, "is a config and no run"),
        (lambda: jaxrec.export_run("nowhere", "out"), DataError, "no run directory"),
        (lambda: jaxrec.export_run("nowhere", "out", to="tf"), ConfigError, "to must be one of"),
        (lambda: jaxrec.export_run("nowhere", "out", dtype="int8"), ConfigError, "dtype must be"),
        (lambda: jaxrec.export_run("nowhere", "out", shard_mb=0), ConfigError, "shard_mb"),
        (lambda: jaxrec.export_run("nowhere", "out", shard_mb=2.5), ConfigError, "got 2.5"),
        (lambda: jaxrec.export_run("nowhere", None), ConfigError, "out must be a path, got None"),
        (lambda: jaxrec.evaluate_run(5), ConfigError, "directory must be a path, got 5"),
        (lambda: jaxrec.train_run(config, ""), ConfigError, "directory must be a path, got ''"),
        (lambda: jaxrec.train_run(config, "a", quick="no"), ConfigError, "quick must be True or"),
        (lambda: jaxrec.open(None), ConfigError, "the path of the run must be a path, got None"),
    ):
        with pytest.raises(kind, match=words):
            call()
    assert not list(tmp_path.iterdir())


def test_an_export_is_that_of_the_command(tmp_path, monkeypatch):
    from ..serve.runs import generative_run

    monkeypatch.chdir(tmp_path)
    _, run = generative_run(tmp_path)
    made = jaxrec.export_run(run, "ours", to="hf")
    assert (str(made.directory), made.loader) == ("ours", "AutoModelForCausalLM")
    assert main(["export", str(run), "--out", "theirs"]) == 0
    names = sorted(path.name for path in (tmp_path / "ours").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "theirs").iterdir())
    for name in names:
        ours, theirs = ((tmp_path / folder / name).read_bytes() for folder in ("ours", "theirs"))
        assert ours == theirs, name
    with pytest.raises(ConfigError, match="ours is in use"):
        jaxrec.export_run(run, "ours")
