"""Reward models as a system: data, loss at the start, normalization, gold model, and bad input."""

import dataclasses
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxrec.align import append_feedback
from jaxrec.cli.main import main
from jaxrec.core import ConfigError, DataError
from jaxrec.data import epoch_batches
from jaxrec.models import ModelSpec, Pretrained, ScalarHead, TransformerConfig, save_model
from jaxrec.peft import TuneConfig
from jaxrec.runs import Options, load_run, offered
from jaxrec.systems.reward import (
    FeedbackConfig,
    Planted,
    PlantedConfig,
    RewardEvalConfig,
    RewardModelConfig,
)
from jaxrec.systems.reward.data import encode_parts, load_preferences
from jaxrec.systems.reward.measure import part_values
from jaxrec.systems.reward.network import make_loss, open_network
from jaxrec.systems.reward.run import evaluate, open_reward, train
from jaxrec.testing import random_params
from jaxrec.train import TrainConfig

SMALL = PlantedConfig(prompts=60, answers=3, words=8, length=2, scale=4.0)


def tiny(**changed):
    settings = {
        "data": FeedbackConfig(gold=0.2),
        "planted": SMALL,
        "model": TransformerConfig(width=16, depth=1, num_heads=2),
        "vocab_size": 320,
        "max_length": 40,
        "train": TrainConfig(
            steps=6, batch_size=8, lr=5e-3, warmup_steps=0, eval_every=3, log_every=3
        ),
        "eval": RewardEvalConfig(batch_size=16, bins=3, resamples=20),
    }
    return RewardModelConfig(**settings | changed)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    directory = tmp_path_factory.mktemp("reward")
    train(tiny(), directory / "run", Options())
    return directory


def test_rewards_of_a_run_are_normalized_over_its_samples(place):
    config = load_run(place / "run")
    preferences = load_preferences(config)
    for gold, part in ((False, "train"), (True, "gold")):
        model = offered(config, "open_reward")(config, place / "run", gold=gold)
        rows = preferences.parts[part].rows
        prompts = [row.prompt for row in rows for _ in row.answers]
        answers = [answer for row in rows for answer in row.answers]
        # Fewer than 256, so all of them are samples.
        rewards = model.rewards(prompts, answers).astype(np.float64)
        assert len(rewards) < config.samples
        assert abs(rewards.mean()) < 1e-3
        assert abs(rewards.var() - 1) < 1e-3
    with pytest.raises(DataError, match="sample 1 belongs to the answers that do not fit"):
        model.rewards(["Hi"] * 2, ["a", "word " * 99])


def test_the_models_of_a_run_differ_and_learn_from_other_prompts(place):
    config = load_run(place / "run")
    parts = load_preferences(config).parts
    texts = {name: {row.prompt for row in part.rows} for name, part in parts.items()}
    assert set(texts) == {"train", "valid", "test", "gold"}
    assert sum(map(len, texts.values())) == SMALL.prompts == len(set.union(*texts.values()))
    row = parts["test"].rows[0]
    first, gold = (
        open_reward(config, place / "run", gold=gold).rewards([row.prompt] * 3, row.answers)
        for gold in (False, True)
    )
    assert not np.allclose(first, gold)


def test_eval_measures_the_pairs_by_hand(place, capsys):
    assert main(["eval", str(place / "run")]) == 0
    assert "calibration error" in capsys.readouterr().out
    report = json.loads((place / "run" / "eval.json").read_text())
    config = load_run(place / "run")
    preferences, model = load_preferences(config), open_reward(config, place / "run")
    hits, ideal, weights = [], [], []
    for row in preferences.parts["test"].rows:
        rewards = model.rewards([row.prompt] * len(row.answers), row.answers)
        utilities = preferences.planted.utilities(row.answers)
        for i, j in zip(*np.nonzero(row.wins > 0), strict=True):
            # Equal answers to a prompt are one, whose pairs add up.
            weights.append(row.wins[i, j])
            hits.append((np.sign(rewards[i] - rewards[j]) + 1) / 2)
            ideal.append((np.sign(utilities[i] - utilities[j]) + 1) / 2)
    accuracy, best = (np.average(values, weights=weights) for values in (hits, ideal))
    rows = report["rows"]
    assert set(rows) == {"model", "gold", "longer answer", "planted utility"}
    assert rows["model"]["metrics"]["accuracy"] == pytest.approx(accuracy, abs=1e-6)
    assert rows["planted utility"]["metrics"]["accuracy"] == pytest.approx(best, abs=1e-6)
    low, high = rows["model"]["intervals"]["accuracy"]
    assert low <= accuracy <= high
    assert sum(part["pairs"] for part in rows["model"]["calibration"]) == len(hits)


def test_a_run_does_not_go_on_with_other_settings_or_feedback(place):
    config = load_run(place / "run")
    with pytest.raises(ConfigError, match=r"other settings \(margin was 0.0 and is 1.0\)"):
        train(dataclasses.replace(config, margin=1.0), place / "run", Options())


def test_the_loss_is_ln_2_under_a_head_of_zeros_also_with_ties_and_padding(place):
    config = tiny()
    network = open_network(load_run(place / "run"), place / "run", [])
    parts, _ = encode_parts(config, network.text.tokenizer, load_preferences(config))
    batch = next(
        iter(epoch_batches(len(parts["train"]), parts["train"].take, batch_size=8, seed=0))
    )
    # A tie in one prompt, and a third answer that is missing in another.
    batch["wins"][0] = [[0, 1 / 3, 1 / 3], [0, 0, 0], [0, 0, 0]]
    batch["wins"][1, 2], batch["wins"][1, :, 2] = 0, 0
    batch["present"][1, 2] = False
    shapes = nn.meta.unbox(network.shapes())
    zeros = jax.tree.map(lambda leaf: jnp.ones(leaf.shape, leaf.dtype), shapes)
    zeros["out"] = jax.tree.map(jnp.zeros_like, zeros["out"])
    params = {
        "params": {"backbone": zeros["text"]["params"], "out": zeros["out"]},
    }
    loss = make_loss(ScalarHead(network.text.spec.build()), config)(params, batch, None)
    assert float(loss.total / loss.weight) == pytest.approx(math.log(2), rel=1e-6)
    # 1/3 for each of 2, at most 3, and 3 pairs of six more prompts.
    assert float(loss.weight) == pytest.approx(batch["wins"].sum())


def test_simulated_rankings_have_the_probabilities_of_bradley_and_terry():
    planted = Planted.of(PlantedConfig(prompts=4000, answers=2, words=30, length=3, scale=1.5))
    gaps, first = [], []
    for record in planted.records:
        one, other = planted.utilities(record.answers)
        gaps.append(one - other)
        first.append(record.ranks == (1, 2))
    gaps, first = np.array(gaps), np.array(first)
    assert 1.0 < gaps.std() / math.sqrt(2) < 2.0
    for low, high in ((-2, -1), (-1, 0), (0, 1), (1, 2)):
        inside = (gaps >= low) & (gaps < high)
        expected = (1 / (1 + np.exp(-gaps[inside]))).mean()
        error = math.sqrt(0.25 / inside.sum())
        assert abs(first[inside].mean() - expected) < 4 * error


def write_feedback(path):
    records = []
    # So many words that no two answers to a prompt are equal by chance.
    config = dataclasses.replace(SMALL, words=30, length=3)
    for number, record in enumerate(Planted.of(config).records):
        if number == 0:
            record = dataclasses.replace(record, payload={"ranks": [1, 1, 1]})
        if number == 1:
            record = dataclasses.replace(record, prompt="Say " * 60)
        if number == 2:
            record = dataclasses.replace(record, answers=("ba", "ba", "ze"))
        records.append(record)
    append_feedback(path, *records)
    return path


def test_what_cannot_be_learned_is_counted(tmp_path, place, capsys):
    data = FeedbackConfig(name="mine", paths=(str(write_feedback(tmp_path / "f.jsonl")),))
    config = tiny(data=data)
    preferences = load_preferences(config)
    assert preferences.rejected == {
        "pairs of equal answers": 1,
        "prompts without a pair of answers of different ranks": 1,
    }
    tokenizer = open_network(load_run(place / "run"), place / "run", []).text.tokenizer
    _, rejected = encode_parts(config, tokenizer, preferences)
    assert rejected == {"prompts that fill the context": 1}
    with pytest.raises(DataError, match="--max-length 4 leaves no prompt in the part"):
        encode_parts(tiny(data=data, max_length=4), tokenizer, preferences)
    with pytest.raises(DataError, match="unknown labeler 'ann'; labelers: simulated"):
        load_preferences(tiny(data=dataclasses.replace(data, labelers=("ann",))))
    without = r"0 prompts with a score of an answer leave none .*left out: .*--data\.seed"
    with pytest.raises(DataError, match=without):
        load_preferences(tiny(data=data, learn="scores"))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"learn": "best", "margin": 0.1}, "--margin 0.1 and --centering 0.0 belong to --learn pa"),
        ({"learn": "scores"}, "the simulation planted has rankings and no scores"),
        ({"tune": TuneConfig(method="lora")}, "there is none; give one as tune.base"),
        ({"tune": TuneConfig(method="prompt", base="x")}, "virtual tokens before every text"),
        ({"data": {"criteria": ("kind",), "weights": (1.0,)}}, "belong to --learn scores"),
        ({"data": {"criteria": ("kind",)}}, "as many different names as weights"),
        ({"data": {"valid": 0.5, "test": 0.5}}, "must leave prompts to train on"),
        ({"data": {"name": "mine"}}, "--data.name mine has no files"),
        ({"data": {"labelers": ("ann",)}}, "belongs to files of feedback"),
    ],
)
def test_settings_that_contradict_one_another_are_named(changed, message):
    with pytest.raises(ConfigError, match=message):
        data = changed.pop("data", None) if isinstance(changed.get("data"), dict) else None
        tiny(**changed | ({"data": FeedbackConfig(**data)} if data is not None else {}))


def test_rewards_that_are_not_finite_are_named(place):
    config = load_run(place / "run")
    model = open_reward(config, place / "run")
    broken = jax.tree.map(lambda leaf: leaf * jnp.nan, model.params)
    with pytest.raises(DataError, match="2 of 2 rewards are not finite"):
        dataclasses.replace(model, params=broken).rewards(["Hi", "Hi"], ["a", "b"])


def test_ties_of_rewards_count_half_and_share_the_best(place):
    config = tiny()
    tokenizer = open_network(load_run(place / "run"), place / "run", []).text.tokenizer
    parts, _ = encode_parts(config, tokenizer, load_preferences(config))
    test = parts["test"]
    values = part_values(config, np.zeros(test.present.shape, np.float32), test, loss=False)
    assert values["accuracy"].mean() == pytest.approx(0.5)
    # Equal answers to a prompt are one, so some prompts have fewer than three.
    chance = np.average(1 / test.present.sum(axis=1), weights=test.best.sum(axis=1))
    assert 1 / 3 <= chance < 0.4
    assert values["best_accuracy"].mean() == pytest.approx(chance)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["causal", "encoder", "lora"])
def test_any_backbone_carries_a_reward(place, tmp_path, kind):
    network = open_network(load_run(place / "run"), place / "run", [])
    shape = TransformerConfig(
        vocab_size=len(network.text.tokenizer), width=16, depth=1, num_heads=2
    )
    spec = ModelSpec("encoder" if kind == "encoder" else "causal", shape)
    params = random_params(spec.build())
    save_model(Pretrained(spec=spec, params=params), tmp_path / "base")
    network.text.tokenizer.save_pretrained(tmp_path / "base")
    method = "lora" if kind == "lora" else "full"
    tune = TuneConfig(method=method, base=str(tmp_path / "base"), rank=2)
    config = tiny(tune=tune, data=FeedbackConfig())
    train(config, tmp_path / "run", Options())
    report = evaluate(config, tmp_path / "run", baselines=())
    assert 0 <= report["rows"]["model"]["metrics"]["accuracy"] <= 1
    with pytest.raises(DataError, match="has no gold model; train it"):
        open_reward(config, tmp_path / "run", gold=True)
    # A text without the loss of a longer row: the reward does not depend on the padding.
    model = open_reward(config, tmp_path / "run")
    alone = dataclasses.replace(model, max_length=32).rewards(["Hi "], ["ba"])
    np.testing.assert_allclose(model.rewards(["Hi "], ["ba"]), alone, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("learn", ["best", "scores"])
def test_other_feedback_is_learned_too(tmp_path, learn):
    path = tmp_path / "f.jsonl"
    planted = Planted.of(dataclasses.replace(SMALL, prompts=600))
    scored = [
        dataclasses.replace(
            record,
            kind="questions",
            payload={"scores": {"helpful": planted.utilities(record.answers).tolist()}},
        )
        for record in planted.records
    ]
    append_feedback(path, *(scored if learn == "scores" else planted.records))
    data = FeedbackConfig(name="mine", paths=(str(path),))
    steps = TrainConfig(steps=200, batch_size=16, lr=5e-3, warmup_steps=0, eval_every=50)
    config = tiny(data=data, learn=learn, train=steps)
    train(config, tmp_path / "run", Options())
    row = evaluate(config, tmp_path / "run", baselines=())["rows"]["model"]["metrics"]
    if learn == "best":
        assert row["best_accuracy"] > 0.5
    else:
        # The variance of the utilities is 16.
        assert row["loss"] < 8


@pytest.mark.slow
def test_planted_preferences_are_learned_to_within_two_points_of_the_best_possible(tmp_path):
    config = RewardModelConfig(eval=RewardEvalConfig(resamples=100))
    train(config, tmp_path / "run", Options())
    rows = evaluate(config, tmp_path / "run", baselines=())["rows"]
    accuracy = {name: row["metrics"]["accuracy"] for name, row in rows.items()}
    assert accuracy["planted utility"] > 0.75
    assert accuracy["model"] > accuracy["planted utility"] - 0.02
    assert rows["model"]["calibration_error"] < 0.05
