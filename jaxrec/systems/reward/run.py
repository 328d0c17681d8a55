"""Reward models: a text model learns which of several answers people prefer.

feedback -> comparisons by prompt -> text model with a scalar head -> loss -> normalized rewards

(Ziegler et al. 2019, arXiv:1909.08593; Stiennon et al. 2020, arXiv:2009.01325; Ouyang et al. 2022,
arXiv:2203.02155.) The reward is the scalar at the last real token of a prompt with an answer. All
answers to a prompt are in one element of a batch. With `data.gold`, a second model learns from
prompts of its own. It stands for the true preference where a policy is trained against the first
model: what the first one overrates, the second one was not taught.
"""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

import jax
import numpy as np

from jaxrec.align import RewardModel, check_rewards, normalization, rescale, reward_of, score_rows
from jaxrec.core import (
    DataError,
    batch_shard,
    batch_sharding,
    is_writer,
    on_writer,
    read_json,
    to_json,
    write_text,
)
from jaxrec.data import epoch_batches
from jaxrec.data.corpora import left_out
from jaxrec.eval import RunParts, SystemFacts, bootstrap_interval
from jaxrec.peft import Tuning, size_of
from jaxrec.runs import (
    MODEL,
    Options,
    check_run,
    create_run,
    is_run,
    read_parts,
    read_training,
    run_identity,
    write_summary,
)
from jaxrec.systems.reward.config import RewardModelConfig
from jaxrec.systems.reward.data import Encoded, encode_parts, load_preferences
from jaxrec.systems.reward.measure import pair_facts, part_values, score_part
from jaxrec.systems.reward.network import make_loss, open_network
from jaxrec.texts import ScoredText
from jaxrec.train import Start, Validation, fit

# Checkpoints are ranked by the highest value, and a loss is best if it is low.
METRIC = "minus_loss"
GOLD = "gold"
# Rows beside the models: what the length of an answer tells, and the utility of a simulation.
LONGER, PLANTED = "longer answer", "planted utility"
_FILE = "reward.json"

CONFIG = RewardModelConfig
FACTS = SystemFacts(
    name="Reward model",
    summary="A text model that gives one number to an answer, trained on preferences.",
    metric=METRIC,
    has_ids=False,
    recommends=False,
    variants=(GOLD, LONGER, PLANTED),
)
INSTEAD = {
    "rank": "a reward model compares answers to prompts; see jaxrec eval",
    "recommend": "a reward model compares answers to prompts and knows no items",
    "fit_ids": "a reward model knows no items",
    "open_model": "no other library has its normalized scalar head; use open_reward",
    "open_adapter": "no other library has its normalized scalar head; use open_reward",
}


class _Scale(TypedDict):
    """The normalization of a model, as `reward.json` holds it."""

    gain: float
    bias: float


def train(config: RewardModelConfig, directory: Path, options: Options) -> None:
    """See `System`."""
    preferences = load_preferences(config)
    print(preferences)
    new = not is_run(directory)
    if not new:
        check_run(config, preferences, directory)
    texts = [text for row in preferences.parts["train"].rows for text in (row.prompt, *row.answers)]
    network = open_network(config, directory, texts)
    parts, rejected = encode_parts(config, network.text.tokenizer, preferences)
    if rejected:
        print(left_out(rejected))
    print(
        f"{len(network.text.tokenizer):,} tokens in the vocabulary; "
        f"{parts['train'].tokens.shape[1]} answers of at most {parts['train'].tokens.shape[2]} "
        "tokens a prompt"
    )
    example = parts["train"].take(np.zeros(config.train.batch_size, int))
    plan = network.plan(make_loss(network.head, config), example, config.train)
    print(plan)
    plan.memory.check()
    if options.dry:
        return
    if new:
        on_writer(lambda: network.text.save(directory))
        on_writer(lambda: create_run(config, preferences, None, directory))
    score = jax.jit(functools.partial(reward_of, network.head))
    shard = batch_shard(batch_sharding(plan.mesh, plan.rules))
    owner, seed = run_identity(directory), config.train.seed

    def validate(params: Any) -> dict[str, float]:
        rewards = score_part(config, score, params, parts["valid"])
        values = part_values(config, rewards, parts["valid"])
        means = {name: float(value.mean()) for name, value in values.items()}
        return {METRIC: -means["loss"]} | means

    scales: dict[str, _Scale] = {}
    # The gold model first: the summary of a run is that of its last training.
    for name, part in ((GOLD, GOLD), (MODEL, "train")):
        if part not in parts:
            continue
        # The models differ in their prompts, their order and their head.
        own = 2 * seed + (name == GOLD)
        encoded = parts[part]
        stream = epoch_batches(
            len(encoded), encoded.take, batch_size=config.train.batch_size, seed=own, shard=shard
        )
        result = fit(
            plan,
            iter(stream),
            Validation(validate, METRIC),
            _place(directory, name),
            start=Start(
                params=network.begin(own),
                frozen=network.text.frozen,
                base=network.text.base,
                run=owner,
            ),
            title=name,
            profile=options.profile,
        )
        scales[name] = _scale(config, score, result.params, parts[part])
    if is_writer():
        write_text(directory / _FILE, to_json(scales))
        write_summary(directory, result, trained_parameters=plan.size.trainable)


def _place(directory: Path, name: str) -> Path:
    return directory / GOLD if name == GOLD else directory


def _scale(config: RewardModelConfig, score: Any, params: Any, encoded: Encoded) -> _Scale:
    """The normalization over answers of the part that a model learned from."""
    tokens, valid = encoded.flat()
    if config.samples and config.samples < len(tokens):
        rng = np.random.default_rng(config.train.seed)
        chosen = rng.choice(len(tokens), config.samples, replace=False)
        tokens, valid = tokens[chosen], valid[chosen]
    rewards = score_rows(score, params, tokens, valid, config.eval.batch_size)
    check_rewards(rewards)
    gain, bias = normalization(rewards, config.normalize)
    return {"gain": gain, "bias": bias}


def evaluate(
    config: RewardModelConfig, directory: Path, *, baselines: Sequence[str]
) -> dict[str, Any]:
    """See `System`; a reward model has no baselines beside the length of the answers.

    Intervals resample test prompts. The loss is that of the rewards before normalization.
    """
    del baselines  # the config has no setting for them, so there are none
    preferences = load_preferences(config)
    check_run(config, preferences, directory)
    network = open_network(config, directory, [])
    parts, _ = encode_parts(config, network.text.tokenizer, preferences)
    test, score = parts["test"], jax.jit(functools.partial(reward_of, network.head))
    found: dict[str, np.ndarray] = {}
    for name in (MODEL, GOLD) if GOLD in parts else (MODEL,):
        params = _trained(config, directory, network, name)
        found[name] = score_part(config, score, params, test)
    values = {name: part_values(config, rewards, test) for name, rewards in found.items()}
    others = {LONGER: _by_row(test, lambda answers: np.array([len(a) for a in answers]))}
    if preferences.planted is not None:
        others[PLANTED] = _by_row(test, preferences.planted.utilities)
    values |= {
        name: part_values(config, rewards, test, loss=name == PLANTED and config.learn == "pairs")
        for name, rewards in others.items()
    }
    rows = {}
    for name, metrics in values.items():
        intervals = {
            metric: bootstrap_interval(value, resamples=config.eval.resamples)
            for metric, value in metrics.items()
        }
        rows[name] = {
            "metrics": {metric: interval.mean for metric, interval in intervals.items()},
            "intervals": {metric: [i.low, i.high] for metric, i in intervals.items()},
        }
        if name in found:
            rows[name] |= pair_facts(config, found[name], test)
    size = size_of(Tuning(network.shapes(), network.text.frozen)).total
    rows[MODEL] |= {"parameters": size, "fit_seconds": read_training(directory)["seconds"]}
    facts = preferences.describe()
    return {
        "rows": rows,
        "comparisons": [],
        "protocol": dict(facts),
        "heading": (
            f"{facts['dataset']}, learning {config.learn}: {facts['train']:,} prompts trained on; "
            f"test: {len(test):,} prompts, {int((test.wins > 0).sum()):,} pairs"
        ),
        "lines": _lines(rows, found, test),
        "values": {name: value.tolist() for name, value in values[MODEL].items()},
    }


def _by_row(test: Encoded, measure: Any) -> np.ndarray:
    """What a function says about the answers of each prompt, `[P, K]`."""
    rewards = np.zeros(test.present.shape, np.float64)
    rewards[test.present] = np.concatenate([measure(row.answers) for row in test.rows])
    return rewards.astype(np.float32)


def _lines(rows: Any, found: dict[str, np.ndarray], test: Encoded) -> list[str]:
    lines = []
    if "auc" in rows[MODEL]:
        lines.append(
            f"AUC over all prompts {rows[MODEL]['auc']:.4f}; calibration error "
            f"{rows[MODEL]['calibration_error']:.4f}"
        )
        lines += [
            f"  pairs with a difference of {part['low']:.2f} to {part['high']:.2f}: expected "
            f"accuracy {part['confidence']:.3f}, accuracy {part['accuracy']:.3f} ({part['pairs']})"
            for part in rows[MODEL]["calibration"]
        ]
    if GOLD in found:
        gaps = [r[:, :, None] - r[:, None, :] for r in (found[MODEL], found[GOLD])]
        pairs = np.triu(test.present[:, :, None] & test.present[:, None, :], 1)
        if pairs.any():
            agree = (np.sign(gaps[0]) == np.sign(gaps[1]))[pairs].mean()
            lines.append(f"the gold model orders {agree:.1%} of the test pairs alike")
    return lines


def report(config: RewardModelConfig, directory: Path) -> RunParts:
    """See `System`."""
    return read_parts(config, directory, FACTS)


def open_reward(config: RewardModelConfig, directory: Path, *, gold: bool = False) -> RewardModel:
    """See `System`; the feedback is not needed."""
    network = open_network(config, directory, [])
    name = GOLD if gold else MODEL
    scales = read_json(directory / _FILE, dict[str, _Scale])
    if name not in scales:
        raise DataError(f"{directory} has no gold model; train it with --data.gold above 0")
    params = _trained(config, directory, network, name)
    out = rescale(params["params"]["out"], scales[name]["gain"], scales[name]["bias"])
    return RewardModel(
        head=network.head,
        params=params | {"params": params["params"] | {"out": out}},
        tokenizer=network.text.tokenizer,
        max_length=config.max_length,
        batch_size=config.eval.batch_size,
    )


def _trained(config: RewardModelConfig, directory: Path, network: ScoredText, name: str) -> Any:
    """The variables of the best checkpoint of a model, before normalization.

    Raises:
      DataError: not trained yet, or damaged.
    """
    read_training(directory)
    return network.trained(_place(directory, name), config.train, run_identity(directory))
