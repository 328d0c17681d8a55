"""A run that is aligned from another run: its start, its metrics, resumption, and bad input."""

import dataclasses
import json
import math

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.align import AlignConfig, RewardConfig
from jaxrec.cli.main import main
from jaxrec.core import ConfigError
from jaxrec.peft import TuneConfig
from jaxrec.runs import load_codes, load_run
from jaxrec.systems.generative import BatchConfig, Config, DecodeConfig, recommender
from jaxrec.testing import tiny_config
from jaxrec.train import MetricWriter

SHORT = [
    "--train.steps",
    "2",
    "--train.warmup-steps",
    "0",
    "--train.eval-every",
    "2",
    "--train.log-every",
    "1",
]


def train(place, name, *words):
    options = [str(place / "tiny.py"), "--run-dir", str(place / name), *words]
    return main(["train", *options])


def metrics(place, name):
    rows = map(json.loads, (place / name / "metrics.jsonl").read_text().splitlines())
    return {row["step"]: row for row in rows if "loss" in row}


def test_preferences_start_at_ln_2_from_the_model_of_another_run(tiny_run, tmp_path, capsys):
    place = tiny_run(tmp_path)
    base = ["--tune.base", str(place / "run")]
    assert train(place, "dpo", *base, "--align.method", "dpo", *SHORT) == 0
    seen = metrics(place, "dpo")
    assert seen[1]["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert seen[1]["margin"] == pytest.approx(0.0, abs=1e-5)
    assert seen[1]["gradient_norm"] > 0
    assert seen[2]["margin"] != pytest.approx(0.0, abs=1e-5)
    capsys.readouterr()
    # A setting that only groups read.
    assert train(place, "dpo", *base, "--align.method", "dpo", "--align.group", "4") == 2
    assert "align.group is not read by align.method dpo" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tune": TuneConfig()}, "align.method grpo starts from a trained run; give it as tune"),
        ({"tune": TuneConfig(base="x", method="prefix")}, "no place for the virtual tokens of"),
        ({"tune": TuneConfig(base="x", method="lora", dropout=0.1)}, "set tune.dropout 0"),
        ({"batches": BatchConfig(layout="pad")}, "reads no settings of batches"),
        ({"decode": DecodeConfig(beams=10, strategy="sample")}, "decode.strategy is sample"),
    ],
)
def test_settings_that_alignment_cannot_use_are_refused(change, message):
    config = dataclasses.replace(
        tiny_config("x.csv"), tune=TuneConfig(base="x"), align=AlignConfig(method="grpo")
    )
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(config, **change)


def test_dropout_and_rewards_without_weight_are_refused():
    config = tiny_config("x.csv")
    dropped = dataclasses.replace(config, model=dataclasses.replace(config.model, dropout=0.1))
    with pytest.raises(ConfigError, match=r"model\.dropout 0\.1 would make random"):
        dataclasses.replace(dropped, tune=TuneConfig(base="x"), align=AlignConfig(method="sdpo"))
    with pytest.raises(ConfigError, match="all weights are 0"):
        RewardConfig(hit=0.0)
    with pytest.raises(ConfigError, match="scored_by markov is not read"):
        RewardConfig(scored_by="markov")
    with pytest.raises(ConfigError, match=r"align\.beta is not read by align\.method none"):
        AlignConfig(beta=0.5)


def test_a_start_that_is_no_run_of_this_system_or_has_other_ids_is_refused(
    tiny_run, tmp_path, capsys
):
    place = tiny_run(tmp_path)
    method = ["--align.method", "grpo", "--dry-run"]
    assert train(place, "new", *method, "--tune.base", str(place / "nowhere")) == 2
    assert "starts from a trained run, and tune.base" in capsys.readouterr().err
    assert train(place, "new", *method, "--tune.base", str(place / "run"), "--ids.seed", "5") == 2
    assert "knows item" in capsys.readouterr().err
    large = ["--align.group", "99", "--tune.base", str(place / "run")]
    assert train(place, "new", *method, *large) == 2
    assert "align.group 99 is too much for a catalogue of 30 items" in capsys.readouterr().err
    other = json.loads((place / "run" / "config.json").read_text())
    (place / "other").mkdir()
    (place / "other" / "config.json").write_text(
        json.dumps({"system": "sasrec", "data": other["data"]})
    )
    assert train(place, "new", *method, "--tune.base", str(place / "other")) == 2
    assert "holds a run of sasrec" in capsys.readouterr().err
    assert not (place / "new").exists()


def test_a_setting_that_is_refused_leaves_no_run_that_bars_the_corrected_command(
    tiny_run, tmp_path, capsys
):
    place = tiny_run(tmp_path)
    words = ["--align.method", "dpo", "--tune.base", str(place / "run")]
    assert train(place, "new", *words, "--align.negatives", "99") == 2
    assert "align.negatives 99 is too much" in capsys.readouterr().err
    assert not (place / "new" / "config.json").exists()
    assert train(place, "new", *words, "--align.negatives", "2", *SHORT) == 0


def test_a_recommender_without_text_is_refused_as_the_start_of_a_text_model(
    tiny_run, tmp_path, capsys
):
    place = tiny_run(tmp_path)
    records = place / "pairs.jsonl"
    lines = [{"prompt": f"q{n}", "chosen": "yes", "rejected": "no"} for n in range(200)]
    records.write_text("".join(json.dumps(line) + "\n" for line in lines))
    words = ["--data.name", "mine", "--data.records", str(records), "--run-dir", str(place / "new")]
    assert main(["train", "align/dpo_text", "--tune.base", str(place / "run"), *words]) == 2
    message = capsys.readouterr().err
    assert f"tune.base {place / 'run'} has a tokenizer that cannot read text" in message
    assert main(["train", "align/dpo_text", "--tune.base", str(place / "nowhere"), *words]) == 3
    message = capsys.readouterr().err
    assert f"tune.base {place / 'nowhere'} does not exist; train that run first" in message
    assert not (place / "new").exists()


def group_words(place):
    return [
        *("--tune.base", str(place / "run"), "--align.method", "dr_grpo"),
        *("--align.sampler", "stochastic", "--align.redraws", "1", "--align.group", "6"),
        *("--align.epochs", "2", "--align.minibatches", "2", "--align.kl", "0.1"),
        *("--align.rewards.rank", "1", "--align.rewards.recommender", "0.5"),
        *("--train.steps", "10", "--train.eval-every", "5", "--train.log-every", "1"),
    ]


def train_until_step_7(place, name, words, monkeypatch):
    """Cut a run off, so that the checkpoint of step 5 is its newest one."""
    write = MetricWriter.write

    def stop(self, step, values):
        write(self, step, values)
        if step == 7:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MetricWriter, "write", stop)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            raise SystemExit(train(place, name, *words))


@pytest.mark.slow
def test_a_run_that_is_cut_in_the_middle_of_an_epoch_ends_with_the_same_bits(
    tiny_run, tmp_path, monkeypatch
):
    place = tiny_run(tmp_path)
    words = group_words(place)
    assert train(place, "whole", *words) == 0
    whole = metrics(place, "whole")
    assert {row["compiles"] for row in whole.values()} == {whole[1]["compiles"]}
    # The first update of every rollout of four has the ratio 1, so nothing is clipped.
    assert whole[1]["clipped"] == whole[5]["clipped"] == whole[9]["clipped"] == 0.0
    assert whole[1]["kl"] == pytest.approx(0.0, abs=1e-6)
    assert main(["report", str(place / "whole")]) == 0
    assert "Reward against KL: from " in (place / "whole" / "report.html").read_text()
    # A rollout has 4 updates, so the checkpoint of step 5 is in the middle of the second one.
    train_until_step_7(place, "cut", words, monkeypatch)
    assert train(place, "cut", *words) == 0
    cut = metrics(place, "cut")
    for step in (6, 7, 10):
        for name in ("loss", "reward", "kl", "clipped"):
            assert cut[step][name] == whole[step][name]
    config, codes = load_run(place / "whole"), load_codes(place / "whole")
    assert isinstance(config, Config)
    lists = [
        recommender.load_recommender(config, codes, place / name).recommend([np.arange(3)])
        for name in ("whole", "cut")
    ]
    assert np.array_equal(lists[0][1], lists[1][1])


@pytest.mark.slow
def test_rewards_that_are_not_finite_stop_the_run_and_keep_the_last_good_checkpoint(
    tiny_run, tmp_path, monkeypatch, capsys
):
    from jaxrec.align import item_rewards

    place = tiny_run(tmp_path)
    words = group_words(place)
    train_until_step_7(place, "bad", words, monkeypatch)
    kept = sorted(path.name for path in (place / "bad" / "checkpoints").iterdir())
    monkeypatch.setattr(item_rewards, "hit", lambda group: jnp.full(group.items.shape, jnp.nan))
    capsys.readouterr()
    assert train(place, "bad", *words) != 0
    # Steps up to 8 finish the rollout that the checkpoint holds.
    assert "step 9 met rewards that are not finite" in capsys.readouterr().err
    assert sorted(path.name for path in (place / "bad" / "checkpoints").iterdir()) == kept
    assert (place / "bad" / "bad_batch.npz").exists()
