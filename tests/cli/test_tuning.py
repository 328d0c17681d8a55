"""Tuned runs on the command line: dry runs, training, measuring, exporting."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.cli.main import main
from jaxrec.runs.directory import load_codes
from jaxrec.systems.generative import recommender as generative
from jaxrec.systems.generative.config import load_config
from jaxrec.testing import write_tiny_csv

CONFIG = """
import dataclasses
from jaxrec.testing import tiny_config

def get_config():
    config = tiny_config({path!r})
    return dataclasses.replace(
        config,
        train=dataclasses.replace(config.train, steps=4, eval_every=4, log_every=2),
        eval=dataclasses.replace(config.eval, baselines=(), valid_users=8),
    )
"""
LORA = ["--tune.method", "lora", "--tune.rank", "2"]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tuning")
    path = directory / "tiny.py"
    path.write_text(CONFIG.format(path=str(write_tiny_csv(directory))))
    return path


@pytest.fixture(scope="module")
def base(file):
    run = file.with_name("base")
    assert main(["train", str(file), "--run-dir", str(run)]) == 0
    return run


@pytest.fixture(scope="module")
def lora(file, base):
    run = file.with_name("lora")
    assert main(["train", str(file), "--run-dir", str(run), *LORA, "--tune.base", str(base)]) == 0
    return run


@pytest.fixture(scope="module")
def prefix(file, base):
    run = file.with_name("prefix")
    tune = ["--tune.method", "prefix", "--tune.virtual-tokens", "2", "--tune.prefix-hidden", "0"]
    assert main(["train", str(file), "--run-dir", str(run), *tune, "--tune.base", str(base)]) == 0
    return run


def fails(arguments, capsys, code, *words):
    assert main(arguments) == code
    last = capsys.readouterr().err.strip().splitlines()[-1]
    for word in words:
        assert word in last, last


def logits_of(model, histories):
    """Next-token logits of a model of transformers at the end of token rows."""
    import torch

    with torch.no_grad():
        return model(torch.tensor(np.asarray(histories))).logits.numpy()[:, -1]


@pytest.fixture(scope="module")
def histories():
    """Rows of BOS and three items of two codes of 8."""
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 8, (4, 7)) + np.array([0, 2, 10, 2, 10, 2, 10])
    rows[:, 0] = 1
    return rows.astype(np.int32)


def ours(directory, histories):
    """The level that a run's own recommender reads at the end of these histories."""
    config, codes = load_config(directory), load_codes(directory)
    recommender = generative.load_recommender(config, codes, directory)
    from jaxrec.decode import Prompts, read_histories

    prompts = Prompts(tokens=jnp.asarray(histories))
    read = read_histories(recommender.model, recommender.params, prompts)
    return recommender.model.apply(recommender.params, read.state[:, 0], method="logits")


def test_a_dry_run_says_what_it_takes_and_writes_nothing(file, base, tmp_path, capsys):
    run = tmp_path / "run"
    command = ["train", str(file), "--run-dir", str(run), "--dry-run"]
    assert main([*command, *LORA, "--tune.base", str(base)]) == 0
    text = capsys.readouterr().out
    # Rank 2 on query and value of 16 x 16; the model has 26 tokens at most.
    assert "parameters: 128 of " in text and " trained (" in text
    assert "trained 512 B (float32 512 B)" in text
    assert "frozen " in text and "optimizer state 1.0 KiB" in text
    assert "a step: " in text and "device memory: " in text
    assert text.strip().splitlines()[-1].startswith("nothing written; next: jaxrec train")
    assert not run.exists()
    assert main(command) == 0
    assert "trained (100.00 %)" in capsys.readouterr().out
    assert not run.exists()


def test_where_parameters_lie_is_shown_of_trained_and_frozen_ones(file, base, tmp_path, capsys):
    command = ["train", str(file), "--run-dir", str(tmp_path / "run"), "--dry-run"]
    command += ["--show-shardings", "--sharding.preset", "fsdp", "--mesh.data", "1"]
    assert main([*command, *LORA, "--tune.base", str(base)]) == 0
    text = capsys.readouterr().out
    trained, frozen = text.split("\ntrained\n")[1].split("\nfrozen\n")
    down = next(line for line in trained.splitlines() if "query" in line and "16 x 2" in line)
    assert "embed" in down and "data" in down
    assert "128 parameters: 512 B, 512 B on each of 1 devices (data 1 x model 1)" in trained
    table = next(line for line in frozen.splitlines() if "embedding/table" in line)
    assert "vocab, embed" in table and "-, data" in table


def test_a_run_that_cannot_fit_exits_with_4_and_its_numbers(file, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("jaxrec.train.plan.device_memory", lambda: 1000)
    command = ["train", str(file), "--run-dir", str(tmp_path / "run")]
    words = ("device memory: 1000 B", "train.batch_size", "tune.method")
    fails([*command, "--dry-run"], capsys, 4, *words)
    assert not (tmp_path / "run").exists()
    fails(command, capsys, 4, *words)
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_tuned_run_is_measured_reported_and_asked(lora, capsys):
    assert main(["eval", str(lora)]) == 0
    assert main(["report", str(lora)]) == 0
    assert main(["recommend", str(lora), "--user", "u003", "--top", "3"]) == 0
    assert "top 3" in capsys.readouterr().out
    result = json.loads((lora / "result.json").read_text())
    assert result["invalid_items"] == 0
    trained = json.loads((lora / "train.json").read_text())
    assert trained["trained_parameters"] == 128
    page = (lora / "report.html").read_text()
    assert "tune.method" in page and "lora" in page


def test_a_tuned_run_resumes_with_the_command_that_began_it(file, base, lora, capsys):
    command = ["train", str(file), "--run-dir", str(lora), *LORA, "--tune.base", str(base)]
    assert main(command) == 0
    assert "best step 4 of 4" in capsys.readouterr().out
    fails([*command, "--tune.alpha", "3"], capsys, 2, "tune.alpha was 16.0 and is 3.0")


def test_a_lora_run_is_exported_as_one_model(lora, histories, tmp_path, capsys):
    transformers = pytest.importorskip("transformers")
    out = tmp_path / "hf"
    assert main(["export", str(lora), "--to", "hf", "--out", str(out)]) == 0
    model = transformers.AutoModelForCausalLM.from_pretrained(out).eval()
    np.testing.assert_allclose(ours(lora, histories), logits_of(model, histories), atol=1e-4)


@pytest.mark.parametrize("method", ["lora", pytest.param("prefix", marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore")
def test_a_run_is_exported_as_an_adapter_of_peft(request, method, histories, tmp_path, capsys):
    peft = pytest.importorskip("peft")
    run, out = request.getfixturevalue(method), tmp_path / "adapter"
    assert main(["export", str(run), "--to", "peft", "--out", str(out)]) == 0
    model = peft.AutoPeftModelForCausalLM.from_pretrained(out).eval()
    expected = logits_of(model, histories)
    np.testing.assert_allclose(ours(run, histories), expected, atol=1e-4)
    with model.disable_adapter():
        assert np.abs(logits_of(model, histories) - expected).max() > 1e-3
    assert len(json.loads((out / "base" / "item_ids.json").read_text())) == 30


def test_what_cannot_be_exported_is_named_with_what_can(base, prefix, tmp_path, capsys):
    out = ["--out", str(tmp_path / "o")]
    fails(["export", str(prefix), *out], capsys, 2, "tune.method prefix", "--to peft")
    fails(["export", str(base), "--to", "peft", *out], capsys, 2, "all parameters", "--to hf")
    fails(["export", str(base), "--base", "x", *out], capsys, 2, "--base", "--to peft")
    assert not (tmp_path / "o").exists()


def test_bad_tuning_is_named_before_anything_is_written(file, base, tmp_path, capsys):
    run = tmp_path / "run"
    command = ["train", str(file), "--run-dir", str(run)]
    fails([*command, *LORA], capsys, 2, "tune.method lora", "tune.base")
    fails([*command, *LORA, "--tune.base", str(tmp_path / "no")], capsys, 3, str(tmp_path / "no"))
    there = ["--tune.base", str(base)]
    fails([*command, *LORA, *there, "--ids.seed", "3"], capsys, 2, "knows item", "its ID is")
    fails([*command, *there, "--tune.method", "loar"], capsys, 2, "--tune.method", "loar")
    fails([*command, *LORA, *there, "--tune.targets", "qery"], capsys, 2, "'query'")
    assert not run.exists()
