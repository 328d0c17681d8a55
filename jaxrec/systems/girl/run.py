"""GIRL as the commands run it: a generator of job descriptions that recommends jobs.

resume -> generated description -> PPO on a reward of matches -> description as a third input

(Zheng et al., Generative Job Recommendations with Large Language Model, arXiv:2307.02157.) A
language model learns to write the job descriptions that people matched with. A reward model learns
from their applications which of two jobs suits a person better, and PPO teaches the generator to
write what the reward model prefers. A predictor of matches then reads the resume, a job, and the
mean vector of generated descriptions. A generated description also leads to real jobs: they are
ranked by the reward and by their similarity to it. With little data, the reward compares facts that
both texts name instead of being a network, and the generator reads short forms of resumes.

The data are a planted world, in which the true logit of a match is known for every text. People
and jobs are divided so that nothing that is predicted has been learned by a generator; see
`jaxrec.systems.girl.data`. A second reward model, of other people, says when PPO overdoes it.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.align import POLICY, RewardModel
from jaxrec.core import ConfigError, DivergedError, is_writer, read_arrays, write_arrays
from jaxrec.eval import RunParts, SystemFacts
from jaxrec.models import Opened
from jaxrec.peft import TuneConfig, Tuning, size_of
from jaxrec.runs import (
    MODEL,
    Options,
    TextRecommendations,
    check_run,
    create_run,
    is_run,
    open_any,
    read_parts,
    read_training,
    write_summary,
)
from jaxrec.systems.girl import measure
from jaxrec.systems.girl.config import GirlConfig
from jaxrec.systems.girl.data import GirlData, load_data
from jaxrec.systems.girl.descriptions import (
    FILE,
    GIRL_TEXTS,
    SFT_TEXTS,
    Descriptions,
    encode_all,
    write_descriptions,
)
from jaxrec.systems.girl.models import GOLD, REWARD, Models
from jaxrec.systems.girl.recommendation import fit_predictors, logits_of
from jaxrec.systems.girl.requests import answer_text
from jaxrec.systems.girl.stages import POLICY_METRIC, Stages
from jaxrec.systems.girl.vectors import open_encoder
from jaxrec.texts import open_tuned

START = "start"
CONFIG = GirlConfig
FACTS = SystemFacts(
    name="GIRL",
    summary=(
        "A language model writes a job description for a resume, learns from a reward of matches "
        "by PPO, and its descriptions improve the recommendation of jobs."
    ),
    tags=("reinforcement-learning", "job-recommendation"),
    metric=POLICY_METRIC,
    has_ids=False,
    unit="people",
    variants=(START,),
    score="score",
)
INSTEAD = {
    "rank": "GIRL is measured by its predictions of matches; see jaxrec eval",
    "fit_ids": "GIRL calls jobs by their descriptions",
    "recommend": "GIRL reads resumes; give one by jaxrec recommend RUN --resume FILE",
}
_PREDICTORS, _KIND = "predictors.npz", "predictors of matches"
_SHOWN = 2


def train(config: GirlConfig, directory: Path, options: Options) -> None:
    """See `System`."""
    data = load_data(config.data)
    print(data)
    new = not is_run(directory)
    if not new:
        check_run(config, data, directory)
    models = Models.open(config, directory, data)
    stages = Stages.of(models, data)
    print(
        f"{len(models.text.tokenizer):,} tokens in the vocabulary; prompts of at most "
        f"{stages.prompts['train'][0].shape[1]} tokens, with descriptions of at most "
        f"{stages.targets['train']['tokens'].shape[1]}"
    )
    plans = stages.plans()
    for name, plan in plans.items():
        print(f"{name}:\n{plan}")
        plan.memory.check()
    if options.dry:
        return
    if new:
        models.text.save(directory)
        create_run(config, data, None, directory)
    result = stages.train(plans, options)
    _finish(models, data, stages.prompts["train"][0].shape[1])
    if is_writer():
        if result.stopped:
            print(f"stopped at step {result.steps}: {result.stopped}")
        write_summary(
            directory,
            result,
            stopped=result.stopped,
            trained_parameters=plans["ppo"].size.trainable,
        )


def _finish(models: Models, data: GirlData, prompt: int) -> None:
    """Write the descriptions, and train the predictors that read them, unless that is done."""
    config, path = models.config, models.directory / _PREDICTORS
    if path.exists():
        return
    if (models.directory / FILE).exists():
        found = Descriptions.load(models)
    else:
        found = write_descriptions(models, data, prompt)
        if is_writer():
            found.save(models)
    encoded = encode_all(open_encoder(models, data), data, found, config.eval.batch_size)
    params = fit_predictors(config.match, encoded, data.rows, config.train.seed)
    flat = {
        "/".join((name, *path)): np.asarray(leaf)
        for name, tree in params.items()
        for path, leaf in _leaves(tree["params"])
    }
    if is_writer():
        write_arrays(path, flat, {"kind": _KIND})


def _leaves(tree: Mapping[str, Any]) -> list[tuple[tuple[str, str], Any]]:
    return [((layer, part), leaf) for layer, own in tree.items() for part, leaf in own.items()]


def _read_predictors(directory: Path) -> dict[str, Any]:
    """The parameters of every predictor, by the name of its row."""
    arrays, _ = read_arrays(directory / _PREDICTORS, _KIND, "jaxrec train")
    params: dict[str, Any] = {}
    for path, leaf in arrays.items():
        if not np.isfinite(leaf).all():
            raise DivergedError(
                f"{directory / _PREDICTORS} holds infinities or NaN in {path}; train the run again "
                "in another directory"
            )
        name, layer, part = path.split("/")
        params.setdefault(name, {"params": {}})["params"].setdefault(layer, {})[part] = leaf
    return params


def evaluate(config: GirlConfig, directory: Path, *, baselines: Sequence[str]) -> dict[str, Any]:
    """See `System`; intervals are over people.

    The rows are the policy and the generator that it started from, by their first descriptions. The
    tables are "reward" (accuracy of the reward models), "judges" (wins over the generator's
    descriptions), "warm" and "cold" (recommendation) and "grounding".
    """
    del baselines  # the config has no setting for them, so there are none
    data = load_data(config.data)
    check_run(config, data, directory)
    training = read_training(directory)
    models = Models.open(config, directory, None)
    found, resamples = Descriptions.load(models), config.eval.resamples
    values = measure.description_values(data, found)
    rows = {
        name: measure.description_row(values[source], found.written[source][0].texts, resamples)
        for name, source in ((MODEL, GIRL_TEXTS), (START, SFT_TEXTS))
    }
    rows[MODEL]["metrics"]["gold_gain_sd"] = measure.gold_gain(values)
    rows[MODEL] |= {
        "parameters": size_of(Tuning(models.text.trainable, None)).total,
        "fit_seconds": training["seconds"],
    }
    encoded = encode_all(open_encoder(models, data), data, found, config.eval.batch_size)
    params = _read_predictors(directory)
    tables: dict[str, Any] = {
        "reward": measure.reward_rows(models, data),
        "judges": measure.judged(measure.judges_of(models, data, found), models, data, found),
    }
    for part in ("warm", "cold"):
        logits = logits_of(config.match, encoded, params, data.rows["train"], data.rows[part])
        tables[part] = {"rows": measure.recommendation_rows(logits, data, part, resamples)}
    tables["grounding"] = measure.grounding_rows(models, data, found)
    facts = data.describe()
    own = values[GIRL_TEXTS]
    return {
        "heading": (
            f"{facts['dataset']} (synthetic): descriptions for {len(found.people):,} people whom "
            f"no generator has seen; {facts['warm_rows']:,} warm and {facts['cold_rows']:,} cold "
            f"test rows, {config.match.seeds} seeds of each predictor"
        ),
        "protocol": dict(facts),
        "rows": rows,
        "comparisons": [],
        "tables": tables,
        "values": {name: own[name].tolist() for name in (measure.UTILITY, "score", "gold", "kl")},
        "lines": _samples(data, found),
    }


def _samples(data: GirlData, found: Descriptions) -> list[str]:
    """Some resumes with the descriptions that were written to them."""
    lines = []
    for place, person in enumerate(found.people[:_SHOWN].tolist()):
        lines.append(f"resume: {' / '.join(data.resumes[person].splitlines())}")
        for source in (SFT_TEXTS, GIRL_TEXTS):
            text = found.written[source][0].texts[place]
            lines.append(f"  {source}: {' / '.join(text.splitlines())}")
    return lines


def report(config: GirlConfig, directory: Path) -> RunParts:
    """See `System`."""
    facts = dataclasses.replace(FACTS, kl_budget=config.ppo.kl_budget)
    return read_parts(config, directory, facts)


def open_model(config: GirlConfig, directory: Path) -> Opened:
    """See `System`: the policy, without its value network."""
    read_training(directory)
    models = Models.open(config, directory, None)
    tune = TuneConfig(method="full", base=config.base)
    base = open_any(Path(config.base)) if config.base else None
    # The parameters do not depend on the length of prompts.
    return open_tuned(tune, models.text, models.trained_policy(config.max_prompt)[POLICY], base)


def open_reward(config: GirlConfig, directory: Path, *, gold: bool = False) -> RewardModel:
    """See `System`: the reward of a prompt with a description."""
    read_training(directory)
    model = Models.open(config, directory, None).reward_model(GOLD if gold else REWARD)
    if not isinstance(model, RewardModel):
        raise ConfigError(
            f"the reward of {directory} compares facts and is no network, so nothing else can be "
            "trained on it; give a run with --reward-head last or sum"
        )
    return model


def recommend_text(config: GirlConfig, directory: Path, text: str, top: int) -> TextRecommendations:
    """See `System`: jobs for a resume, with what the policy wrote on the way to them."""
    read_training(directory)
    return answer_text(Models.open(config, directory, None), load_data(config.data), text, top)
