"""PPO as a whole on a tiny model: rollouts, training by `fit`, resumption, errors and stops."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxrec.align import (
    Actor,
    PpoSettings,
    PpoTask,
    Rollouts,
    host_reward,
    over_optimized,
    ppo_loss,
    token_share,
)
from jaxrec.core import ConfigError, DataError
from jaxrec.core.compiles import CompileCounter
from jaxrec.models import CausalLM, ModelSpec
from jaxrec.peft import TuneConfig, start, variables
from jaxrec.testing import random_params, tiny_model
from jaxrec.train import Start, TrainConfig, Validation, fit, make_plan, read_metrics

MODEL = CausalLM(tiny_model())
SETTINGS = PpoSettings(response=4, temperature=0.8, minibatches=2, epochs=2, beta=0.05)
ACTOR = Actor(model=MODEL, temperature=0.8)
CONFIG = TrainConfig(
    steps=60,
    batch_size=8,
    lr=4e-3,
    warmup_steps=0,
    schedule="constant",
    weight_decay=0.0,
    beta2=0.999,
    eps=1e-5,
    eval_every=15,  # in the middle of an epoch
    log_every=1,
    max_loss_ratio=0.0,
)
WANTED = np.isin(np.arange(18), [5, 6, 7])
RNG = np.random.default_rng(0)
LENGTHS = np.array([3, 1, 2, 3, 3, 2, 1, 3, 2, 3, 3, 1])
VALID = np.arange(3)[None] >= 3 - LENGTHS[:, None]
PROMPTS = np.where(VALID, RNG.integers(1, 18, VALID.shape), 0).astype(np.int32)
BASE = random_params(MODEL)
SHARE = token_share(WANTED, 10.0, "wanted")


def task(reward=SHARE, settings=SETTINGS, **more):
    given = {"prompts": PROMPTS, "valid": VALID, "reference": BASE, "actor": ACTOR}
    return PpoTask(reward=reward, settings=settings, **given | more)


def begin():
    head = nn.meta.unbox(ACTOR.value_head())
    return {"policy": jax.tree.map(jnp.copy, BASE), "value": head}


def batches(reward=SHARE, settings=SETTINGS, **more):
    return Rollouts(task(reward, settings), batch_size=8, seed=1, **more)


def first(rollouts, given=None):
    rollouts.follow(given or begin())
    return next(rollouts)


@functools.cache
def plan(settings=SETTINGS, config=CONFIG):
    shapes = jax.eval_shape(begin)
    return make_plan(shapes, ppo_loss(ACTOR, settings), first(batches(settings=settings)), config)


def closeness(given):
    measured = task().measure(given, jax.random.key(7))
    return {name: float(values.mean()) for name, values in measured.items()}


def train(directory, rollouts=None, evaluate=closeness, stop=None, made=None):
    return fit(
        made or plan(),
        rollouts or batches(),
        Validation(evaluate, "reward"),
        directory,
        start=Start(params=begin),
        stop=stop,
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    directory = tmp_path_factory.mktemp("whole")
    return directory, train(directory)


def leaves(result):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(result.params)]


def assert_same(one, other):
    for ours, theirs in zip(leaves(one), leaves(other), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_log_probabilities_are_those_of_single_texts_without_padding():
    episodes = task().write(begin(), np.arange(12), jax.random.key(3))
    tokens, valid = np.asarray(episodes.tokens), np.asarray(episodes.valid)
    logits = jax.jit(MODEL.apply)
    for row in range(0, 12, 4):
        text = tokens[row][valid[row]]
        scores = logits(BASE, text[None], np.ones((1, len(text)), bool))[0]
        expected = jax.nn.log_softmax(np.asarray(scores) / np.float32(0.8), axis=-1)
        for t in range(4):
            at = len(text) - 5 + t
            assert float(episodes.logprobs[row, t]) == pytest.approx(
                float(expected[at, text[at + 1]]), abs=1e-5
            )
            entropy = -(np.exp(expected[at]) * np.asarray(expected[at])).sum()
            assert float(episodes.entropy[row, t]) == pytest.approx(float(entropy), abs=1e-5)
    assert (np.asarray(episodes.kl) == 0).all()  # the policy is still the reference


def test_the_first_epoch_has_ratio_one_and_a_whitened_loss_of_zero():
    rollouts, loss, means = batches(), jax.jit(ppo_loss(ACTOR, SETTINGS)), []
    for _ in range(2):
        value = loss(begin(), first(rollouts), jax.random.key(0))
        means.append({name: float(part / value.weight) for name, part in value.parts.items()})
    for mean in means:
        assert mean["ratio"] == pytest.approx(1.0, abs=1e-6)
        assert mean["clip_fraction"] == 0.0
        assert mean["approx_kl"] == pytest.approx(0.0, abs=1e-12)
    assert abs(means[0]["policy_loss"]) > 0.01  # whitening is over both minibatches
    assert sum(mean["policy_loss"] for mean in means) == pytest.approx(0.0, abs=2e-6)


def test_every_episode_comes_once_an_epoch_in_another_order():
    rollouts, seen = batches(), []
    rollouts.follow(begin())
    for _ in range(8):
        seen.append(np.asarray(next(rollouts)["tokens"]))
    epochs = [np.concatenate(seen[at : at + 2]) for at in (0, 2, 4, 6)]
    rows = [list(map(tuple, epoch)) for epoch in epochs]
    assert rows[0] != rows[1] and sorted(rows[0]) == sorted(rows[1])
    assert rows[2] != rows[3] and sorted(rows[2]) == sorted(rows[3])
    assert sorted(rows[0]) != sorted(rows[2])


def test_training_raises_the_score_and_logs_every_metric(whole):
    directory, result = whole
    before, after = closeness(begin()), closeness(result.params)
    assert result.compiles_after_warmup == 0
    assert after["score"] > 2 * before["score"]
    rows = [row for row in read_metrics(directory / "metrics.jsonl") if "loss" in row]
    wanted = {"score", "kl", "rlhf_reward", "policy_entropy", "entropy", "clip_fraction", "ratio"}
    wanted |= {"approx_kl", "explained_variance", "eos_rate", "value_loss", "policy_loss", "beta"}
    assert wanted <= set(rows[0])
    assert [row["score"] for row in rows[:4]] == [rows[0]["score"]] * 4  # of one rollout
    assert rows[4]["score"] != rows[0]["score"]
    assert rows[0]["kl"] == 0.0 and rows[4]["kl"] != 0.0 and rows[-1]["kl"] > 0.5
    for row in rows:
        assert row["rlhf_reward"] == pytest.approx(row["score"] - 0.05 * row["kl"], abs=1e-5)


@pytest.mark.parametrize("dies_at", [1, 2])
def test_a_run_that_dies_in_the_middle_of_an_epoch_ends_with_the_same_bits(
    tmp_path, whole, dies_at
):
    calls = 0

    def dying(given):
        nonlocal calls
        calls += 1
        if calls > dies_at:
            raise KeyboardInterrupt
        return closeness(given)

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, evaluate=dying)
    assert_same(train(tmp_path), whole[1])
    ours, theirs = (
        [
            (r["step"], r["loss"], r["score"])
            for r in read_metrics(p / "metrics.jsonl")
            if "loss" in r
        ]
        for p in (tmp_path, whole[0])
    )
    assert ours == theirs


def raising(*_):
    raise ZeroDivisionError("no length")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (raising, r"reward 'mine' failed on rollout 1 \(ZeroDivisionError: no length\)"),
        (lambda p, r: [np.nan] * len(p), r"reward 'mine' is nan for episode 0 of rollout 1"),
        (lambda p, r: [[0.0]] * len(p), r"shape \(16, 1\) for 16 episodes of rollout 1"),
    ],
)
def test_a_bad_reward_is_named_and_the_steps_before_it_are_kept(tmp_path, whole, bad, message):
    calls = 0

    def reward(prompts, responses):
        nonlocal calls
        calls += len(prompts) == 16
        if calls == 2 and len(prompts) == 16:
            return bad(prompts, responses)
        return [10 * np.isin(r, [5, 6, 7]).mean(dtype=np.float32) for r in responses]

    with pytest.raises(DataError, match=message):
        train(tmp_path, batches(host_reward(reward, "mine")))
    assert (tmp_path / "checkpoints" / "4").is_dir()
    # The same command goes on from there, and the function on the host agrees with the device's.
    assert_same(train(tmp_path, batches(host_reward(reward, "mine"))), whole[1])


@pytest.mark.slow
def test_a_heavy_penalty_keeps_the_policy_at_the_reference(tmp_path):
    # Samples of 16 responses are noisy, which a smaller learning rate averages out.
    config, largest = dataclasses.replace(CONFIG, lr=1e-3), {}
    for beta in (0.05, 1000.0):
        settings, place = dataclasses.replace(SETTINGS, beta=beta), tmp_path / str(beta)
        train(place, batches(settings=settings), made=plan(settings, config))
        rows = [row for row in read_metrics(place / "metrics.jsonl") if "kl_k3" in row]
        largest[beta] = max(row["kl_k3"] for row in rows)
    assert largest[1000.0] < 0.05 < largest[0.05], largest


def test_training_stops_when_the_divergence_exceeds_its_budget(tmp_path, whole):
    stop = functools.partial(over_optimized, kl_budget=0.1)
    result = train(tmp_path, stop=stop)
    assert result.stopped.startswith("the KL of ") and result.steps < 60
    # A run that was stopped stays stopped.
    assert train(tmp_path, stop=stop).steps == result.steps


def test_a_policy_that_exploits_the_reward_is_stopped_and_its_best_is_kept(tmp_path):
    # What is wanted are these tokens, but not those of them that the reward likes best.
    bonus = np.where(WANTED, 10.0, 0.0) + np.where(np.arange(18) == 5, 40.0, 0.0)
    truth = np.where(np.arange(18) == 5, -10.0, WANTED * 10.0)

    def mean(values, given):
        episodes = task().write(given, np.arange(12), jax.random.key(7))
        return float(values[np.asarray(episodes.responses)].mean())

    def evaluate(given):
        measured = closeness(given)
        gold = mean(truth, given)
        return measured | {"score": mean(bonus, given), "gold": gold, "reward": gold}

    reward = host_reward(lambda p, r: [bonus[x].mean() for x in r], "planted")
    stop = functools.partial(over_optimized, patience=1)
    result = train(tmp_path, batches(reward), evaluate, stop)
    assert "the gold reward fell" in result.stopped and "rose" in result.stopped
    rows = [r for r in read_metrics(tmp_path / "metrics.jsonl") if "valid/gold" in r]
    golds = [row["valid/gold"] for row in rows]
    assert result.steps < 60 and result.metrics["gold"] == max(golds) > golds[-1]


def test_nothing_stops_while_gold_and_reward_agree():
    rows = [{"score": s, "gold": g, "kl": 1.0} for s, g in ((1, 1), (2, 3), (3, 2), (2, 1))]
    assert not any(over_optimized(rows[:end]) for end in (1, 2, 3, 4))  # the reward fell too
    assert "fell from 3.00 to 2.50 over 2 validations" in over_optimized(
        [*rows[:3], {"score": 4, "gold": 2.5, "kl": 1.0}]
    )


def test_progress_shows_score_divergence_and_its_budget():
    limited = dataclasses.replace(SETTINGS, kl_budget=6.0)
    for settings, end in ((SETTINGS, "KL 0.00"), (limited, "KL 0.00 of 6")):
        rollouts = batches(settings=settings)
        first(rollouts)
        values = rollouts.values()
        assert rollouts.note(values) == f"score {values['score']:.2f}  {end}"


def test_a_step_calls_nothing_on_the_host(whole):
    (compiled,) = plan().steps.values()
    assert "callback" not in compiled.as_text()


def test_later_rollouts_and_epochs_compile_nothing():
    rollouts = batches()
    for _ in range(4):
        first(rollouts)
    with CompileCounter() as counter:
        for _ in range(9):
            first(rollouts)
    assert counter.programs == []


def test_the_weight_of_the_divergence_adapts_between_rollouts_and_is_resumed():
    adaptive = dataclasses.replace(SETTINGS, kl_target=6.0, kl_horizon=100)
    rollouts = batches(settings=adaptive)
    first(rollouts)
    # The divergence of the first rollout is 0, so the weight falls by the most: a fifth.
    expected = 0.05 * (1 - 0.2 * 16 / 100)
    state = rollouts.get_state()
    assert state["beta"] == pytest.approx(expected)
    for _ in range(4):
        first(rollouts)
    assert rollouts.values()["beta"] == pytest.approx(expected)
    again = batches(settings=adaptive)
    again.set_state(state)
    for _ in range(4):
        ours = first(again)
    assert again.values() == rollouts.values()
    with pytest.raises(DataError, match="16 episodes, and rollouts have 8 episodes"):
        Rollouts(task(), batch_size=4, seed=1).set_state(state)
    del ours


def test_the_reference_of_a_lora_policy_is_its_base_without_the_branch():
    spec = ModelSpec("causal", MODEL.config)
    tuning = start(jax.random.key(0), spec.shapes(), BASE, TuneConfig(method="lora", rank=2))
    trainable = nn.meta.unbox(tuning.trainable)
    given = begin() | {"policy": variables(trainable, tuning.frozen)}
    moved = jax.tree.map(lambda x: x + 0.1, trainable)
    other = begin() | {"policy": variables(moved, tuning.frozen)}
    plain, same, changed = (
        task().write(v, np.arange(12), jax.random.key(3)) for v in (begin(), given, other)
    )
    np.testing.assert_array_equal(plain.tokens, same.tokens)
    np.testing.assert_allclose(same.kl, 0.0, atol=1e-5)
    assert np.abs(np.asarray(changed.kl)).max() > 0.01


@pytest.mark.slow
def test_a_lora_policy_learns_and_leaves_its_base_as_it_is(tmp_path):
    spec = ModelSpec("causal", MODEL.config)
    tuning = start(jax.random.key(0), spec.shapes(), BASE, TuneConfig(method="lora", rank=2))
    head = ACTOR.value_head()

    def join(trainable, frozen):
        policy = variables(trainable["policy"], frozen["policy"])
        return {"policy": policy, "value": trainable["value"]}

    shapes = jax.eval_shape(lambda: {"policy": tuning.trainable, "value": head})
    frozen = {"policy": tuning.frozen}
    given = join(nn.meta.unbox({"policy": tuning.trainable, "value": head}), frozen)
    made = make_plan(
        shapes, ppo_loss(ACTOR, SETTINGS), first(batches(), given), CONFIG, frozen=frozen, join=join
    )
    params = nn.meta.unbox({"policy": tuning.trainable, "value": head})
    result = fit(
        made,
        batches(),
        Validation(closeness, "reward"),
        tmp_path,
        start=Start(params=lambda: params, frozen=frozen),
    )
    for ours, theirs in zip(
        jax.tree.leaves(result.params["policy"]["params"]), jax.tree.leaves(BASE), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    rows = [row for row in read_metrics(tmp_path / "metrics.jsonl") if "loss" in row]
    assert rows[0]["kl"] == 0.0 and rows[4]["kl"] != 0.0


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {
                "actor": Actor(
                    model=CausalLM(
                        dataclasses.replace(MODEL.config, positions="learned", max_length=6)
                    ),
                    temperature=0.8,
                )
            },
            ConfigError,
            "prompt of 3 tokens and a response of ppo.response 4: 7 tokens, but .* end at "
            "model.max_length 6; shorten the prompts or lower ppo.response",
        ),
        ({"valid": VALID[:, ::-1]}, DataError, "prompt 1 does not end in the last column"),
        ({"prompts": PROMPTS + 5}, DataError, "the model 18 tokens"),
        ({"prompts": PROMPTS[0]}, DataError, r"must both be \[N, P\]"),
        (
            {"actor": Actor(model=MODEL)},
            ConfigError,
            "the temperature 1 and ppo.temperature is 0.8",
        ),
    ],
)
def test_a_task_that_cannot_run_is_refused_before_any_work(change, error, message):
    with pytest.raises(error, match=message):
        task(**change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"unended_score": -1.0, "unended_penalty": 1.0}, "set one of them"),
        ({"beta": 0.0, "kl_target": 6.0}, "start from a positive ppo.beta"),
        ({"temperature": 0.0}, "ppo.temperature must be above 0"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        PpoSettings(**change)
