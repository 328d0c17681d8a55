"""DPO on text: a language model learns from preferred and rejected answers.

preferences -> comparisons by prompt -> log-probabilities of answers -> loss against the reference

(Rafailov et al. 2023, arXiv:2305.18290; with several rejected answers Chen et al. 2024,
arXiv:2406.09215.) The reference is the model that training starts from. Its log-probabilities do
not change, so they are computed once, before the first step, and the reference takes no memory
during training. At the start every pair costs ln 2.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxrec.align import answer_log_probs
from jaxrec.core import ConfigError, batch_shard, batch_sharding, is_writer, on_writer, replicated
from jaxrec.data import Instruction, epoch_batches
from jaxrec.data.corpora import left_out
from jaxrec.decode import TextOptions, complete
from jaxrec.eval import RunParts, SystemFacts, bootstrap_interval, holm, paired_bootstrap
from jaxrec.models import Opened
from jaxrec.peft import TuneConfig, Tuning, size_of
from jaxrec.runs import (
    MODEL,
    Options,
    check_run,
    create_run,
    is_run,
    open_any,
    read_parts,
    read_training,
    run_identity,
    write_summary,
)
from jaxrec.systems.dpo.config import DpoConfig
from jaxrec.systems.dpo.data import Examples, encode_parts, load_preferences
from jaxrec.systems.dpo.measure import (
    implicit_values,
    likelihood_values,
    log_probs,
    longer_values,
    make_loss,
)
from jaxrec.texts import (
    TextModel,
    answer_ends,
    open_tuned,
    open_tuned_adapter,
    prompt_of,
    tuned as tuned_text,
)
from jaxrec.train import Plan, Start, Validation, fit

# Checkpoints are ranked by the highest value, and a loss is best if it is low.
METRIC = "minus_loss"
START, LONGER = "start", "longer answer"

CONFIG = DpoConfig
FACTS = SystemFacts(
    name="DPO on text",
    summary="A language model that was trained on preferred and rejected answers to prompts.",
    tags=("dpo", "preference-tuning"),
    metric=METRIC,
    has_ids=False,
    recommends=False,
    variants=(START, LONGER),
)
INSTEAD = {
    "rank": "DPO is measured by the answers that its policy finds likely; see jaxrec eval",
    "recommend": "its policy answers prompts and knows no items",
    "fit_ids": "DPO compares answers to prompts, and items have no IDs here",
    "open_reward": "its reward is that of its policy against a base; train a reward config",
}


def train(config: DpoConfig, directory: Path, options: Options) -> None:
    """See `System`."""
    preferences = load_preferences(config.data)
    print(preferences)
    new = not is_run(directory)
    if not new:
        check_run(config, preferences, directory)
    text = _open(config)
    parts, rejected = encode_parts(config, text.tokenizer, preferences)
    if rejected:
        print(left_out(rejected))
    _, answers, length = parts["train"].tokens.shape
    print(
        f"{len(parts['train']):,} examples of {answers} answers to train on, at most {length} "
        "tokens each"
    )
    loss = make_loss(text.model, config)
    plan = text.plan(
        loss, parts["train"].take(np.zeros(config.train.batch_size, int)), config.train
    )
    print(plan)
    plan.memory.check()
    if options.dry:
        return
    score = jax.jit(functools.partial(answer_log_probs, text.model))
    parts = _referenced(config, text, score, plan, parts)
    if new:
        on_writer(lambda: create_run(config, preferences, None, directory))
    shard = batch_shard(batch_sharding(plan.mesh, plan.rules))
    settings = config.train
    stream = epoch_batches(
        len(parts["train"]),
        parts["train"].take,
        batch_size=settings.batch_size,
        seed=settings.seed,
        shard=shard,
    )

    def validate(params: Any) -> dict[str, float]:
        policy = log_probs(score, params, parts["valid"], config.eval.batch_size)
        values = implicit_values(config, policy, parts["valid"])
        means = {name: float(value.mean()) for name, value in values.items()}
        return {METRIC: -means["loss"]} | means

    result = fit(
        plan,
        iter(stream),
        Validation(validate, METRIC),
        directory,
        start=Start(
            params=text.start, frozen=text.frozen, base=text.base, run=run_identity(directory)
        ),
        title="dpo",
        profile=options.profile,
    )
    if is_writer():
        write_summary(directory, result, trained_parameters=plan.size.trainable)


def _open(config: DpoConfig) -> TextModel:
    """Open the base with what its tuning trains.

    Raises:
      ConfigError: there is no base, it is no causal model, or it does not read `max_length` tokens.
      DataError: the base cannot be read.
    """
    if not config.tune.base:
        raise ConfigError(
            "tune.base is empty, and DPO starts from a text model that can answer; give the "
            "directory of a run or of a model as --tune.base"
        )
    text = tuned_text.from_base(config.tune, config.train.seed)
    text.model.config.check_length(
        config.max_length, "--max-length", "lower it, or take another base"
    )
    return text


def _referenced(
    config: DpoConfig, text: TextModel, score: Any, plan: Plan, parts: Mapping[str, Examples]
) -> dict[str, Examples]:
    """The parts with the log-probabilities of the reference: the base without its tuned branch."""
    params = jax.device_put(
        {"params": text.variables(text.start())["params"]}, replicated(plan.mesh)
    )
    size = config.eval.batch_size
    return {
        name: dataclasses.replace(part, reference=log_probs(score, params, part, size))
        for name, part in parts.items()
    }


def evaluate(config: DpoConfig, directory: Path, *, baselines: Sequence[str]) -> dict[str, Any]:
    """See `System`: implicit rewards and likelihoods on held-out prompts, beside the start.

    The start is the reference, so it has no implicit rewards of its own. "longer answer" is what
    preferring the answer of more tokens gets right.
    """
    del baselines  # the config has no setting for them, so there are none
    preferences = load_preferences(config.data)
    check_run(config, preferences, directory)
    text = _open(config)
    parts, _ = encode_parts(config, text.tokenizer, preferences)
    score = jax.jit(functools.partial(answer_log_probs, text.model))
    start = {"params": text.variables(text.start())["params"]}
    trained, size = _trained(config, text, directory), config.eval.batch_size
    reference = log_probs(score, start, parts["test"], size)
    test = dataclasses.replace(parts["test"], reference=reference)
    policy = log_probs(score, trained, test, size)
    values = {
        MODEL: implicit_values(config, policy, test) | likelihood_values(policy, test),
        START: likelihood_values(reference, test),
        LONGER: longer_values(test),
    }
    rows: dict[str, dict[str, Any]] = {}
    for name, metrics in values.items():
        intervals = {
            metric: bootstrap_interval(value, resamples=config.eval.resamples)
            for metric, value in metrics.items()
        }
        rows[name] = {
            "metrics": {metric: interval.mean for metric, interval in intervals.items()},
            "intervals": {metric: [i.low, i.high] for metric, i in intervals.items()},
        }
    rows[MODEL] |= {
        "parameters": size_of(Tuning(text.trainable, text.frozen)).total,
        "fit_seconds": read_training(directory)["seconds"],
    }
    facts = preferences.describe()
    return {
        "rows": rows,
        "comparisons": _comparisons(values, config.eval.resamples),
        "protocol": dict(facts),
        "heading": (
            f"{facts['dataset']}, {config.loss} with beta {config.beta:g}: "
            f"{len(parts['train'].rows):,} prompts trained on; test: {len(test.rows):,} prompts, "
            f"{len(test):,} examples"
        ),
        "lines": _samples(config, text, {START: start, MODEL: trained}, test),
        "values": {name: value.tolist() for name, value in values[MODEL].items()},
    }


def _comparisons(values: Mapping[str, Mapping[str, np.ndarray]], resamples: int) -> list[Any]:
    """Test the likelihoods of the model against those of the start."""
    metrics = ("likelier", "likelier_per_token")
    tests = [
        paired_bootstrap(values[MODEL][metric], values[START][metric], resamples=resamples)
        for metric in metrics
    ]
    return [
        {
            "baseline": START,
            "metric": metric,
            "difference": test.difference,
            "interval": [test.low, test.high],
            "p": test.p,
            "p_holm": float(p),
        }
        for metric, test, p in zip(metrics, tests, holm([t.p for t in tests]), strict=True)
    ]


def _samples(
    config: DpoConfig, text: TextModel, models: Mapping[str, Any], test: Examples
) -> list[str]:
    """Some test prompts with the likeliest answer of each model."""
    prompts = [row.prompt for row in test.rows[: config.eval.shown]]
    if not prompts:
        return []
    frame, tokenizer = config.frame, text.tokenizer
    records = [Instruction(prompt, "", "") for prompt in prompts]
    asked, ends = prompts, answer_ends(tokenizer, records, "plain")
    if frame != "none":
        asked = [prompt_of(tokenizer, record, frame) for record in records]
        ends = answer_ends(tokenizer, records, frame)
    options = TextOptions(max_tokens=config.eval.max_tokens, eos=ends)
    answers = [
        complete(text.model, model, tokenizer, asked, options, batch_size=config.eval.batch_size)
        for model in models.values()
    ]
    lines = [" | ".join(("prompt", *models))]
    lines += [" | ".join(map(repr, row)) for row in zip(prompts, *answers, strict=True)]
    return lines


def report(config: DpoConfig, directory: Path) -> RunParts:
    """See `System`."""
    return read_parts(config, directory, FACTS)


def open_model(config: DpoConfig, directory: Path) -> Opened:
    """See `System`; the preferences are not needed."""
    return open_tuned(config.tune, *_load(config, directory))


def open_adapter(config: DpoConfig, directory: Path) -> tuple[Opened, dict[str, Any], TuneConfig]:
    """See `System`; the preferences are not needed."""
    return open_tuned_adapter(config.tune, *_load(config, directory))


def _load(config: DpoConfig, directory: Path) -> tuple[TextModel, Any, Opened | None]:
    """Return the text model of a trained run, its variables, and the base."""
    text = _open(config)
    return text, _trained(config, text, directory), open_any(Path(config.tune.base))


def _trained(config: DpoConfig, text: TextModel, directory: Path) -> Any:
    """The variables of the best checkpoint.

    Raises:
      DataError: not trained yet or damaged, or the base has changed since.
    """
    read_training(directory)
    return text.variables(text.trained(directory, config.train, run_identity(directory)))
