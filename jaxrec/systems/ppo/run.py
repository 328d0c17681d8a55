"""PPO on text: a language model learns from a reward, and pays for leaving its start.

corpus -> (pre-training) -> policy -> rollouts -> reward - beta * KL -> advantages -> clipped losses

(Schulman et al. 2017, arXiv:1707.06347; on text Ziegler et al. 2019, arXiv:1909.08593.) A policy
writes a response to each prompt of a rollout. The response is scored as a whole, and every token
costs what it adds to the divergence from the policy that training began with. Then the policy
learns from the rollout for a few epochs, and writes the next one.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxrec.align import POLICY, PpoTask, Rollouts, over_optimized
from jaxrec.core import ConfigError, DataError, is_writer
from jaxrec.data import TokenRows, instruction_batches
from jaxrec.data.corpora import left_out
from jaxrec.eval import RunParts, SystemFacts, bootstrap_interval
from jaxrec.models import CausalLM, Opened
from jaxrec.objectives import language_loss
from jaxrec.peft import Tuning, size_of
from jaxrec.runs import (
    Options,
    check_run,
    create_run,
    is_run,
    open_any,
    read_parts,
    run_identity,
    write_summary,
)
from jaxrec.systems.ppo.config import PpoConfig
from jaxrec.systems.ppo.rewards import Rewards, Scored, check_models
from jaxrec.systems.ppo.texts import Corpus, cut_prompts, load_corpus, tokenize, windows
from jaxrec.texts import Policy, TextModel, open_tuned, tuned as tuned_text
from jaxrec.train import Plan, Start, Validation, fit

CONFIG = PpoConfig
FACTS = SystemFacts(
    name="PPO on text",
    summary=(
        "A language model learns from a reward of the texts that it writes, and pays for leaving "
        "the model that it started from."
    ),
    tags=("reinforcement-learning",),
    metric="reward",
    has_ids=False,
    recommends=False,
    variants=("start",),
    score="score",
)
INSTEAD = {
    "rank": "PPO is measured by the reward of what its policy writes; see jaxrec eval",
    "fit_ids": "PPO writes text, and items have no IDs here",
    "recommend": "its policy continues prompts and knows no items",
}
_PRETRAIN = "pretrain"
# Texts on which a pre-training is validated.
_VALIDATED = 256
_SHOWN = 3


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Data:
    """The corpus of a run as tokens.

    Attributes:
      corpus: the documents.
      train: tokens of the documents to train on.
      held: tokens of the held-out documents.
    """

    corpus: Corpus
    train: np.ndarray
    held: np.ndarray


def train(config: PpoConfig, directory: Path, options: Options) -> None:
    """See `System`."""
    corpus = load_corpus(config.data)
    new = not is_run(directory)
    if not new:
        check_run(config, corpus, directory)
    text = _open(config, directory, corpus)
    data = _read(corpus, text)
    print(
        f"{corpus.name}: {len(corpus.train):,} documents of {len(data.train):,} tokens to train "
        f"on, {len(corpus.held):,} held out"
    )
    if corpus.rejected:
        print(left_out(corpus.rejected))
    policy = _policy(config, text)
    # Everything that can be wrong with prompts, reward and text is found before any training.
    prompts = {part: _prompts(config, data, part) for part in ("train", "valid", "test")}
    rewards = Rewards.of(config, text, np.concatenate([*prompts.values()]))
    if not new:
        check_models(config, rewards, directory)
    tasks = {part: _task(config, policy, rewards, given) for part, given in prompts.items()}
    gold, text_batches = rewards.gold, _text_batches(config, data)
    plans = _plans(config, policy, data)
    for name, plan in plans.items():
        print(f"{name}:\n{plan}")
        plan.memory.check()
    if options.dry:
        return
    if new:
        text.save(directory)
        create_run(config, Scored(corpus, rewards.checksums), None, directory)
    owner = run_identity(directory)
    if _PRETRAIN in plans:
        _pretrain(config, policy, data, plans[_PRETRAIN], directory)
    plan = plans["ppo"]
    start = _start(config, policy, directory)
    reference = policy.reference(start, plan)
    rollouts = Rollouts(
        dataclasses.replace(tasks["train"], reference=reference),
        batch_size=config.train.batch_size,
        seed=config.train.seed,
        text=text_batches,
    )
    valid = dataclasses.replace(tasks["valid"], reference=reference)

    def measure(variables: Any) -> dict[str, float]:
        key = jax.random.key(config.train.seed)
        measured = valid.measure(variables, key, gold)
        return {name: float(values.mean()) for name, values in measured.items()}

    stop = functools.partial(
        over_optimized, kl_budget=config.ppo.kl_budget, patience=config.patience
    )
    result = fit(
        plan,
        rollouts,
        Validation(measure, "gold" if config.has_gold else "reward"),
        directory,
        start=Start(
            params=lambda: policy.begin(start), frozen=policy.frozen, base=text.base, run=owner
        ),
        title="ppo",
        profile=options.profile,
        stop=stop,
    )
    if is_writer():
        if result.stopped:
            print(f"stopped at step {result.steps}: {result.stopped}")
        write_summary(
            directory, result, stopped=result.stopped, trained_parameters=plan.size.trainable
        )


def evaluate(config: PpoConfig, directory: Path, *, baselines: Sequence[str]) -> dict[str, Any]:
    """See `System`: reward and divergence on held-out prompts, beside the policy at the start."""
    corpus = load_corpus(config.data)
    check_run(config, corpus, directory)
    text = TextModel.load(config.tune, config.model, directory, config.pretrain.seed)
    data, policy = _read(corpus, text), _policy(config, text)
    plan = _plans(config, policy, data)["ppo"]
    start = _start(config, policy, directory)
    prompts = _prompts(config, data, "test")
    rewards = Rewards.of(config, text, prompts)
    check_models(config, rewards, directory)
    task = dataclasses.replace(
        _task(config, policy, rewards, prompts), reference=policy.reference(start, plan)
    )
    trained = policy.trained(directory, _batch(config, policy), run_identity(directory))
    key = jax.random.key(config.train.seed)
    measured = {
        "model": task.measure(trained, key, rewards.gold),
        "start": task.measure(policy.variables(policy.begin(start)), key, rewards.gold),
    }
    rows = {name: _row(values, config.eval.resamples) for name, values in measured.items()}
    rows["model"]["parameters"] = size_of(Tuning(text.trainable, text.frozen)).total
    _add_start(rows["model"], rows["start"])
    own = measured["model"]
    return {
        "heading": (
            f"{corpus.name}: {config.eval.test_prompts} held-out prompts of {config.prompt} "
            f"tokens, responses of at most {config.ppo.response} tokens, reward "
            f"{rewards.reward.name}"
        ),
        "protocol": dict(corpus.describe()) | {"reward": rewards.reward.name},
        "rows": rows,
        "comparisons": [],
        "values": {name: own[name].tolist() for name in ("score", "kl", "reward")},
        "lines": _samples(config, task, trained, text),
    }


def open_model(config: PpoConfig, directory: Path) -> Opened:
    """See `System`: the policy, without its value network. The corpus is not needed."""
    text = TextModel.load(config.tune, config.model, directory, config.pretrain.seed)
    policy = _policy(config, text)
    trained = policy.trained(directory, _batch(config, policy), run_identity(directory))
    base = open_any(Path(config.tune.base)) if config.tune.base else None
    return open_tuned(config.tune, text, trained[POLICY], base)


def report(config: PpoConfig, directory: Path) -> RunParts:
    """See `System`."""
    metric = "gold" if config.has_gold else FACTS.metric
    facts = dataclasses.replace(FACTS, metric=metric, kl_budget=config.ppo.kl_budget)
    return read_parts(config, directory, facts)


def _row(values: Mapping[str, np.ndarray], resamples: int) -> dict[str, Any]:
    intervals = {name: bootstrap_interval(v, resamples=resamples) for name, v in values.items()}
    return {
        "metrics": {name: interval.mean for name, interval in intervals.items()},
        "intervals": {name: [i.low, i.high] for name, i in intervals.items()},
    }


def _add_start(row: dict[str, Any], start: Mapping[str, Any]) -> None:
    """Put the score at the start beside the score of the trained policy."""
    for part in ("metrics", "intervals"):
        row[part]["start_score"] = start[part]["score"]


def _samples(config: PpoConfig, task: PpoTask, variables: Any, text: TextModel) -> list[str]:
    """Some prompts with the responses to them."""
    episodes = task.write(variables, np.arange(_SHOWN), jax.random.key(config.train.seed))
    tokens, valid = np.asarray(episodes.tokens), np.asarray(episodes.valid)
    lines = ["prompt | response"]
    for row, there in zip(tokens, valid, strict=True):
        parts = (row[: config.prompt], row[config.prompt :][there[config.prompt :]])
        lines.append(" | ".join(repr(text.tokenizer.decode(part.tolist())) for part in parts))
    return lines


def _open(config: PpoConfig, directory: Path, corpus: Corpus) -> TextModel:
    """Open the model of an existing run, or make the one that a new run begins with."""
    seed = config.pretrain.seed
    if is_run(directory):
        return TextModel.load(config.tune, config.model, directory, seed)
    if config.tune.base:
        return tuned_text.from_base(config.tune, seed)
    return tuned_text.from_scratch(config.model, corpus.train, config.vocab_size, (), seed)


def _policy(config: PpoConfig, text: TextModel) -> Policy:
    return Policy.of(text, config.ppo, config.train, separate=config.value == "separate")


def _batch(config: PpoConfig, policy: Policy) -> Any:
    return policy.batch(config.prompt, config.window)


def _read(corpus: Corpus, text: TextModel) -> Data:
    train, held = (tokenize(text.tokenizer, part) for part in (corpus.train, corpus.held))
    return Data(corpus=corpus, train=train, held=held)


def _plans(config: PpoConfig, policy: Policy, data: Data) -> dict[str, Plan]:
    """Plan the stages of a run; a model from scratch is pre-trained first."""
    text, plans = policy.text, {}
    if not config.tune.base or config.ppo.pretraining_weight:
        text.model.config.check_length(
            config.window, "a pre-training text", "lower window or raise model.max_length"
        )
    if not config.tune.base:
        texts, _ = (windows(tokens, config.window) for tokens in (data.train, data.held))
        example = texts.take(np.zeros(config.pretrain.batch_size, int))
        loss = functools.partial(language_loss, text.model)
        plans[_PRETRAIN] = text.plan(loss, example, config.pretrain)
    return plans | {"ppo": policy.plan(_batch(config, policy))}


def _pretrain(config: PpoConfig, policy: Policy, data: Data, plan: Plan, directory: Path) -> None:
    """Train a model from scratch on the corpus, or resume that."""
    rows, held = (windows(tokens, config.window) for tokens in (data.train, data.held))
    held_rows = held.take(slice(_VALIDATED))
    measure = jax.jit(functools.partial(_token_loss, policy.text.model))
    settings = config.pretrain

    def evaluate(params: Any) -> dict[str, float]:
        return {"log_likelihood": -float(measure(params, held_rows))}

    fit(
        plan,
        iter(instruction_batches(rows, batch_size=settings.batch_size, seed=settings.seed)),
        Validation(evaluate, "log_likelihood"),
        directory / _PRETRAIN,
        start=Start(params=policy.text.start, run=run_identity(directory)),
        title=_PRETRAIN,
    )


def _token_loss(model: CausalLM, params: Any, rows: Mapping[str, jax.Array]) -> jax.Array:
    loss = language_loss(model, params, rows, None)
    return loss.total / loss.weight


def _start(config: PpoConfig, policy: Policy, directory: Path) -> Callable[[], Any]:
    """What makes the parameters that PPO begins with."""
    if config.tune.base:
        return policy.text.start
    owner = run_identity(directory)
    place = directory / _PRETRAIN
    return functools.partial(policy.text.trained, place, config.pretrain, owner)


def _prompts(config: PpoConfig, data: Data, part: str) -> np.ndarray:
    """The prompts of one part: `[N, P]` tokens."""
    counts = {
        "train": config.prompts,
        "valid": config.eval.valid_prompts,
        "test": config.eval.test_prompts,
    }
    tokens = data.train if part == "train" else data.held
    # Validation and test draw with seeds of their own from the same documents.
    seed = [*counts].index(part)
    return cut_prompts(tokens, counts[part], config.prompt, seed)


def _task(config: PpoConfig, policy: Policy, rewards: Rewards, prompts: np.ndarray) -> PpoTask:
    """Prompts with the policy and the reward; there is no reference yet."""
    return PpoTask(
        actor=policy.actor,
        reference=None,
        prompts=prompts,
        valid=np.ones(prompts.shape, bool),
        reward=rewards.reward,
        settings=config.ppo,
        ends=_ends(config.end, policy.text.tokenizer),
        pad=policy.text.tokenizer.pad_token_id or 0,
    )


def _ends(end: str, tokenizer: Any) -> tuple[int, ...]:
    if not end:
        return ()
    tokens = tokenizer(end, add_special_tokens=False)["input_ids"]
    if len(tokens) != 1:
        raise ConfigError(
            f"end {end!r} is {len(tokens)} tokens of the tokenizer; give a text of one token, or "
            '"" for responses of a fixed length'
        )
    return tuple(tokens)


def _text_batches(config: PpoConfig, data: Data) -> Any:
    """Pre-training text for PPO-ptx, with as many rows as a minibatch; None without it."""
    if not config.ppo.pretraining_weight:
        return None
    rows: TokenRows = windows(data.train, config.window)
    if len(rows) < config.train.batch_size:
        raise DataError(
            f"the corpus has {len(rows)} windows, fewer than train.batch_size "
            f"{config.train.batch_size}; give more text, or a smaller window"
        )
    batches = instruction_batches(rows, batch_size=config.train.batch_size, seed=config.train.seed)
    return iter(batches)
