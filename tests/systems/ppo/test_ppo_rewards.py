"""PPO with the reward models of other runs: what is refused, what is recorded, and a tiny run."""

import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.align import Episodes, PpoSettings
from jaxrec.cli.main import main
from jaxrec.core import ConfigError, DataError
from jaxrec.models import TransformerConfig
from jaxrec.runs import Options, load_run, open_reward
from jaxrec.systems.ppo import (
    PpoConfig,
    PpoDataConfig,
    PpoEvalConfig,
    RewardRunConfig,
    rewards as ppo_rewards,
)
from jaxrec.systems.ppo.run import evaluate, train
from jaxrec.systems.reward import FeedbackConfig, PlantedConfig, RewardEvalConfig, RewardModelConfig
from jaxrec.systems.reward.run import train as train_reward
from jaxrec.texts import tuned
from jaxrec.train import TrainConfig, read_metrics

SHAPE = TransformerConfig(width=16, depth=1, num_heads=2, max_length=128)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    directory = tmp_path_factory.mktemp("ppo-rewards")
    lines = [{"text": f"Say something nice, number {n}: a word or two."} for n in range(60)]
    (directory / "texts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    config = RewardModelConfig(
        data=FeedbackConfig(gold=0.3),
        planted=PlantedConfig(prompts=60, answers=3, words=8, length=2, scale=4.0),
        model=SHAPE,
        vocab_size=260,  # bytes, as the policy below
        max_length=64,
        train=TrainConfig(steps=4, batch_size=8, lr=5e-3, warmup_steps=0, eval_every=4),
        eval=RewardEvalConfig(batch_size=16, bins=3, resamples=20),
    )
    train_reward(config, directory / "reward", Options())
    return directory


def tiny(place, **changed):
    settings = {
        "data": PpoDataConfig(name="texts", path=str(place / "texts.jsonl"), fields=("text",)),
        "model": SHAPE,
        "window": 32,
        "pretrain": TrainConfig(steps=4, batch_size=8, lr=1e-2, warmup_steps=0, eval_every=4),
        "prompt": 16,
        "prompts": 32,
        "reward": "",
        "reward_run": RewardRunConfig(run=str(place / "reward")),
        "ppo": PpoSettings(response=8, temperature=1.0, minibatches=2, epochs=2, beta=0.05),
        "train": TrainConfig(
            steps=8,
            batch_size=8,
            lr=3e-3,
            warmup_steps=0,
            eval_every=4,
            log_every=4,
            max_loss_ratio=0.0,
        ),
        "eval": PpoEvalConfig(valid_prompts=8, test_prompts=16, resamples=20),
    }
    return PpoConfig(**settings | changed)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reward": ""}, 'reward "" leaves nothing to learn from'),
        (
            {"reward": "", "rule_weight": 2.0, "reward_run": RewardRunConfig(run="x")},
            "names no rule",
        ),
        ({"gold": "different_digits", "gold_run": RewardRunConfig(run="x")}, "two gold rewards"),
        (
            {"reward_run": RewardRunConfig(run="x"), "gold_run": RewardRunConfig(run="x")},
            r"gold_run\.run x is the reward itself",
        ),
    ],
)
def test_rewards_that_contradict_each_other_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        PpoConfig(**change)


def test_a_weight_without_a_run_is_refused():
    with pytest.raises(ConfigError, match=r"weight 2 belong to a reward model, and there is none"):
        RewardRunConfig(weight=2.0)


def refused(place, run, error, message, **changed):
    config = tiny(place, reward_run=RewardRunConfig(run=str(run)), **changed)
    with pytest.raises(error, match=message):
        train(config, place / "refused", Options())
    assert not (place / "refused" / "config.json").exists()


def test_a_directory_without_a_reward_model_is_refused_before_work(place, tmp_path):
    refused(place, tmp_path, DataError, r"reward_run\.run .* is no run directory")
    (tmp_path / "config.json").write_text(json.dumps({"system": "ppo", "patience": 3}))
    wanted = r"ppo does not offer a reward model; systems that do: girl, reward"
    refused(place, tmp_path, ConfigError, wanted)


def test_a_context_that_is_too_short_is_refused_before_work(place):
    wanted = r"reads at most 64 tokens, and a prompt of 16 tokens, a response of 50"
    response = PpoSettings(response=50, temperature=1.0)
    refused(place, place / "reward", ConfigError, wanted, ppo=response)


def test_a_run_without_a_second_model_is_refused_before_work(place, tmp_path):
    run = tmp_path / "single"
    shutil.copytree(place / "reward", run)
    scales = json.loads((run / "reward.json").read_text())
    (run / "reward.json").write_text(json.dumps({"model": scales["model"]}))
    gold = RewardRunConfig(run=str(run), second=True)
    wanted = r"gold_run\.run .*single: .* has no gold model"
    refused(place, place / "reward", DataError, wanted, gold_run=gold)


def test_rewards_that_are_not_finite_are_found_before_work(place, monkeypatch):
    def broken(path, *, gold=False):
        model = open_reward(path, gold=gold)
        return dataclasses.replace(model, params=jax.tree.map(lambda x: x * np.nan, model.params))

    monkeypatch.setattr(ppo_rewards, "open_reward", broken)
    wanted = r"reward model of .*reward' is nan for episode 0 of some prompts before training"
    refused(place, place / "reward", DataError, wanted)


def test_a_run_from_before_there_were_reward_models_opens(tmp_path):
    settings = {"system": "ppo"} | dataclasses.asdict(PpoConfig(patience=3))
    for name in ("rule_weight", "reward_run", "gold_run"):
        del settings[name]
    (tmp_path / "config.json").write_text(json.dumps(settings))
    assert load_run(tmp_path) == PpoConfig(patience=3)


def test_rules_and_models_are_weighed_and_so_is_the_gold_reward(place):
    texts = [json.loads(line)["text"] for line in (place / "texts.jsonl").read_text().splitlines()]
    text = tuned.from_scratch(SHAPE, texts, 260, (), 0)
    tokens = np.array([text.tokenizer(t)["input_ids"][:24] for t in texts[:8]], np.int32)
    tokens[:, -3:] = text.tokenizer.convert_tokens_to_ids("7")
    nothing, all_of_it = jnp.zeros((8, 8)), jnp.ones((8, 24), bool)
    written = Episodes(
        tokens=jnp.asarray(tokens),
        valid=all_of_it,
        mask=all_of_it[:, 16:],
        ended=all_of_it[:, 0],
        logprobs=nothing,
        reference=nothing,
        entropy=nothing,
        values=nothing,
    )
    run = str(place / "reward")
    config = tiny(
        place,
        reward="digits",
        rule_weight=2.0,
        reward_run=RewardRunConfig(run=run, weight=0.5),
        gold_run=RewardRunConfig(run=run, second=True, weight=-1.0),
    )
    rewards = ppo_rewards.Rewards.of(config, text, tokens[:, :16])
    asked, answers = (
        [text.tokenizer.decode(row) for row in part] for part in (tokens[:, :16], tokens[:, 16:])
    )
    first, second = (open_reward(place / "reward", gold=g).rewards(asked, answers) for g in (0, 1))
    shares = np.array([10 * sum(map(str.isdigit, answer)) / 8 for answer in answers])
    assert min(shares) >= 3.75
    expected = 2 * shares + 0.5 * first
    np.testing.assert_allclose(rewards.reward.score(written, "a test"), expected, atol=1e-4)
    np.testing.assert_allclose(rewards.gold.score(written, "a test"), -second, atol=1e-5)


@pytest.mark.slow
def test_a_policy_learns_from_a_rule_and_a_model_beside_a_second_model(place, tmp_path):
    one = RewardRunConfig(run=str(place / "reward"), weight=0.5)
    config = tiny(
        place,
        reward="digits",
        rule_weight=2.0,
        reward_run=one,
        gold_run=RewardRunConfig(run=str(place / "reward"), second=True),
    )
    train(config, tmp_path / "run", Options())
    rows = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert np.isfinite([row["score"] for row in rows if "score" in row]).all()
    found = evaluate(config, tmp_path / "run", baselines=())
    assert "gold" in found["rows"]["model"]["metrics"]
    assert "2 digits + 0.5 the reward model of" in found["heading"]
    # The score is that of the normalized reward model on the texts, and of the rule.
    values = np.array(found["values"]["score"])
    assert np.isfinite(values).all() and values.std() > 0

    # A reward model that was trained again is another one.
    moved = json.loads((tmp_path / "run" / "env.json").read_text())
    assert set(moved["data"]["reward_models"]) == {"reward_run.run", "gold_run.run"}
    moved["data"]["reward_models"]["reward_run.run"] = "0" * 64
    (tmp_path / "run" / "env.json").write_text(json.dumps(moved))
    with pytest.raises(
        DataError, match=r"reward model of reward_run\.run .*reward has changed since"
    ):
        evaluate(config, tmp_path / "run", baselines=())


@pytest.mark.slow
def test_a_reward_model_is_a_stage_before_the_policy(place, tmp_path):
    config = tmp_path / "both.py"
    config.write_text(
        "from pathlib import Path\n"
        "from jaxrec.runs import load_run\n"
        "def get_stages():\n"
        f"    return {{'judge': load_run(Path({str(place / 'reward')!r}))}}\n"
        "def get_config():\n"
        f"    return load_run(Path({str(tmp_path / 'first')!r}))\n"
    )
    first = tiny(place, reward_run=RewardRunConfig(run="stage:judge"))
    (tmp_path / "first").mkdir()
    settings = {"system": "ppo"} | dataclasses.asdict(first)
    (tmp_path / "first" / "config.json").write_text(json.dumps(settings))
    assert main(["train", str(config), "--run-dir", str(tmp_path / "run")]) == 0
    written = json.loads((tmp_path / "run" / "config.json").read_text())
    assert written["reward_run"]["run"] == str(tmp_path / "run" / "judge")
    assert main(["eval", str(tmp_path / "run")]) == 0
    assert main(["report", str(tmp_path / "run")]) == 0
