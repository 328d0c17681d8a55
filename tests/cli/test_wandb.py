"""`jaxrec train --wandb` sends every logged value once, and nothing is imported without it."""

import json
import os
import subprocess
import sys
import types

import pytest

from jaxrec.cli.main import main
from jaxrec.cli.wandb_mirror import mirrored
from jaxrec.core import ConfigError
from jaxrec.train import MetricWriter


class Service:
    """A stand-in for the package `wandb`, which keeps what it is given."""

    def __init__(self):
        self.begun, self.rows, self.finished, self.step = [], [], [], 0

    def init(self, **options):
        self.begun.append(options)

        def log(values, step):
            assert step >= self.step, "Weights & Biases drops a step that is over"
            self.step = step
            self.rows.append({"step": step} | values)

        return types.SimpleNamespace(
            starting_step=self.step,
            log=log,
            finish=lambda exit_code: self.finished.append(exit_code),
        )


@pytest.fixture
def service(monkeypatch):
    found = Service()
    monkeypatch.setitem(sys.modules, "wandb", found)
    return found


def test_each_row_is_sent_once_and_a_resumed_run_goes_on(service, tmp_path):
    directory = tmp_path / "run"
    directory.mkdir()
    sending = mirrored(directory, {"train": {"steps": 3}}, seconds=0.01)
    with sending, MetricWriter(directory) as writer:
        writer.write(1, {"loss": 3.0})
        writer.write(2, {"loss": 2.0})
        writer.write(2, {"valid/hr@10": 0.5})
    # It was killed after a checkpoint at step 1, so step 2 is written again.
    sending = mirrored(directory, {}, seconds=0.01)
    with (
        pytest.raises(KeyboardInterrupt),
        sending,
        MetricWriter(directory, resume_step=1) as writer,
    ):
        writer.write(2, {"loss": 2.0})
        writer.write(3, {"loss": 1.0})
        raise KeyboardInterrupt
    assert [row["step"] for row in service.rows if "loss" in row][:2] == [1, 2]
    assert service.rows[-1] == {"step": 3, "loss": 1.0}
    assert {"step": 2, "valid/hr@10": 0.5} in service.rows
    first, second = service.begun
    assert first["id"] == second["id"] and first["resume"] == "allow"
    assert first["config"] == {"train": {"steps": 3}} and service.finished == [0, 1]


def test_training_sends_what_it_writes(service, tiny_run, tmp_path, capsys):
    place = tiny_run(tmp_path / "tiny")
    run = tmp_path / "again"
    steps = ["--train.steps", "4", "--train.eval-every", "2", "--train.log-every", "1"]
    assert main(["train", str(place / "tiny.py"), "--run-dir", str(run), "--wandb", *steps]) == 0
    written = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert service.rows == written and len(written) >= 4
    assert service.begun[0]["config"]["train"]["steps"] == 4


def test_a_service_that_fails_loses_no_training(service, tmp_path, capsys):
    def refuse(**options):
        def log(values, step):
            raise OSError("no network")

        return types.SimpleNamespace(log=log, finish=lambda exit_code: None)

    service.init = refuse
    with mirrored(tmp_path, {}), MetricWriter(tmp_path) as writer:
        writer.write(1, {"loss": 3.0})
    assert "step 1 cannot be sent, and no later one is (no network)" in capsys.readouterr().out


def test_what_is_missing_is_named(monkeypatch, tmp_path, service):
    def refuse(**options):
        raise RuntimeError("no API key")

    service.init = refuse
    with (
        pytest.raises(ConfigError, match=r"no API key.*WANDB_MODE=offline"),
        mirrored(tmp_path, {}),
    ):
        pass
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ConfigError, match=r"pip install 'jaxrec\[wandb\]'"), mirrored(tmp_path, {}):
        pass


@pytest.mark.slow
def test_the_real_package_offline(tmp_path):
    pytest.importorskip("wandb")
    code = (
        "import pathlib, sys; from jaxrec.cli.wandb_mirror import mirrored\n"
        "from jaxrec.train import MetricWriter; place = pathlib.Path(sys.argv[1])\n"
        "with mirrored(place, {'steps': 1}), MetricWriter(place) as writer:\n"
        "    writer.write(1, {'loss': 2.5})\n"
    )
    environment = {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        check=True, timeout=120, env=dict(os.environ) | environment,
    )  # fmt: skip
    (file,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    assert b"loss" in file.read_bytes()
