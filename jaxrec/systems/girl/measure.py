"""What is measured of a run: descriptions, rewards, judges, recommendation and grounding."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxrec.capacity import Comparison, Judge, compare_answers, score_judge
from jaxrec.eval import bootstrap_interval, pooled_auc
from jaxrec.systems.girl.data import GirlData
from jaxrec.systems.girl.descriptions import GIRL_TEXTS, SFT_TEXTS, Descriptions
from jaxrec.systems.girl.grounding import Catalogue, grounded_scores
from jaxrec.systems.girl.models import GOLD, REWARD, Models
from jaxrec.systems.girl.predictors import Rows
from jaxrec.systems.girl.recommendation import log_loss_of, measure_rows, paired_gain
from jaxrec.systems.girl.writing import distinct, form_values, grams

# Names of rows and metrics.
PLANTED, RULE = "planted utility", "shared words"
UTILITY = "utility"
# Jobs that a list has.
_TOP = 5


def description_values(data: GirlData, found: Descriptions) -> dict[str, dict[str, np.ndarray]]:
    """What the first description of each person is like, `[U]` by source and metric."""
    resumes = [data.resumes[n] for n in found.people.tolist()]
    values = {}
    for source, (lot, *_) in found.written.items():
        utility = data.utilities(found.people.tolist(), lot.texts)
        values[source] = {UTILITY: utility, **lot.values, **form_values(lot, resumes)}
    return values


def description_row(
    values: Mapping[str, np.ndarray], texts: Sequence[str], resamples: int
) -> dict[str, Any]:
    """Means with intervals over people, and how varied all descriptions are together."""
    intervals = {name: bootstrap_interval(v, resamples=resamples) for name, v in values.items()}
    metrics = {name: interval.mean for name, interval in intervals.items()}
    metrics |= {"distinct-1": distinct(texts, 1), "distinct-2": distinct(texts, 2)}
    return {
        "metrics": metrics,
        "intervals": {name: [i.low, i.high] for name, i in intervals.items()},
    }


def gold_gain(values: Mapping[str, Mapping[str, np.ndarray]]) -> float:
    """By how many standard deviations of the generator's descriptions PPO raised the gold reward.

    Example:
      >>> sft, girl = np.array([0.0, 2.0]), np.array([2.0, 3.0])
      >>> gold_gain({"sft": {"gold": sft}, "girl": {"gold": girl}})
      1.5
    """
    before, after = values[SFT_TEXTS]["gold"], values[GIRL_TEXTS]["gold"]
    return float((after.mean() - before.mean()) / max(before.std(), 1e-9))


def shared_words(resume: str, description: str) -> float:
    """The Dice coefficient of the words of two texts: rich, relevant and concise ones score high.

    Example:
      >>> shared_words("a baker of bread", "a baker")
      0.6666666666666666
    """
    one, other = ({gram[0].strip(".,:;") for gram in grams(t, 1)} for t in (resume, description))
    return 2 * len(one & other) / max(len(one) + len(other), 1)


def judges_of(models: Models, data: GirlData, found: Descriptions) -> dict[str, Judge]:
    """The judges without a language model: the planted utility, the gold reward, and a rule.

    Requests are prompts. Scores are computed for all descriptions at once, and looked up. The gold
    reward is that of the written tokens: their text may have more tokens than a description may.
    """
    people = found.people.tolist()
    prompts = models.writer.texts([data.resumes[n] for n in people])
    utility: dict[tuple[str, str], float] = {}
    reward: dict[tuple[str, str], float] = {}
    for lot, *_ in found.written.values():
        keys = list(zip(prompts, lot.texts, strict=True))
        utility |= zip(keys, data.utilities(people, lot.texts).tolist(), strict=True)
        reward |= zip(keys, lot.values[GOLD].tolist(), strict=True)
    return {
        PLANTED: score_judge(lambda request, answer: utility[request, answer]),
        "gold reward": score_judge(lambda request, answer: reward[request, answer]),
        RULE: score_judge(shared_words),
    }


def judged(
    judges: Mapping[str, Judge], models: Models, data: GirlData, found: Descriptions
) -> dict[str, dict[str, float]]:
    """Wins of the policy's first descriptions over the generator's, by judge, in both orders.

    Args:
      judges: see `capacity.model_judge` for one that asks a language model.
      models: of the run.
      data: of the run.
      found: the descriptions.
    """
    prompts = models.writer.texts([data.resumes[n] for n in found.people.tolist()])
    ours, theirs = (found.written[source][0].texts for source in (GIRL_TEXTS, SFT_TEXTS))
    comparisons = [
        Comparison(request=prompt, answer=a, opponent=b)
        for prompt, a, b in zip(prompts, ours, theirs, strict=True)
    ]
    rows = {}
    for name, judge in judges.items():
        wins = compare_answers(judge, comparisons).wins
        rows[name] = {key: float(getattr(wins, key)) for key in ("win", "tie", "lose", "advantage")}
    return rows


def reward_rows(models: Models, data: GirlData) -> dict[str, dict[str, float]]:
    """The accuracy on held-out pairs of both reward models, the planted utility and the length."""
    pairs = data.pairs["test"]
    prompts = models.writer.texts([data.resumes[pair.person] for pair in pairs])
    sides = {
        side: [data.jobs[getattr(pair, side)] for pair in pairs] for side in ("better", "worse")
    }
    scores = {
        name: np.stack(
            [models.reward_model(name).rewards(prompts, jobs) for jobs in sides.values()], axis=1
        )
        for name in (REWARD, GOLD)
    }
    scores[PLANTED] = data.pair_utilities(pairs)
    scores["longer description"] = np.array(
        [[len(job.split()) for job in both] for both in zip(*sides.values(), strict=True)]
    )
    return {
        name: {"accuracy": float((np.sign(both[:, 0] - both[:, 1]) + 1).mean() / 2)}
        for name, both in scores.items()
    }


def recommendation_rows(
    logits: Mapping[str, np.ndarray], data: GirlData, part: str, resamples: int
) -> dict[str, dict[str, Any]]:
    """AUC and log loss of each predictor, its gain over its base, and the p-value over seeds.

    The base of "mlp ..." is "mlp base"; "dot ..." is compared with "dot base", the raw product, and
    with "dot base mlp", which has a network of the resume alone.

    Args:
      logits: `[S, N]` by row.
      data: of the run.
      part: "warm" or "cold".
      resamples: of the bootstrap over people.
    """
    rows: Rows = data.rows[part]
    found = measure_rows(logits, rows, resamples)
    table: dict[str, dict[str, Any]] = {}
    for name, own in found.items():
        metrics = {"auc": own["auc"], "log_loss": own["log_loss"]}
        opponents = {"mlp": {"": "mlp base"}, "dot": {"": "dot base", "_mlp": "dot base mlp"}}
        for suffix, base in opponents[name.partition(" ")[0]].items():
            if name != base:
                gain, p = paired_gain(own["auc_by_seed"], found[base]["auc_by_seed"])
                metrics |= {f"gain{suffix}": gain, f"p{suffix}": p}
        if "girl" in name or "shuffled" in name:
            sft = found[f"{name.partition(' ')[0]} sft"]
            gain, p = paired_gain(own["auc_by_seed"], sft["auc_by_seed"])
            metrics |= {"gain_sft": gain, "p_sft": p}
        table[name] = {
            "metrics": {key: v for key, v in metrics.items() if np.isfinite(v)},
            "intervals": {"auc": own["interval"]},
        }
    truth = data.row_utilities(rows)
    table[PLANTED] = {
        "metrics": {
            "auc": pooled_auc(rows.label, truth),
            "log_loss": log_loss_of(truth, rows.label),
        }
    }
    return table


def grounding_rows(
    models: Models, data: GirlData, found: Descriptions
) -> dict[str, dict[str, float]]:
    """The mean planted utility of the five best jobs, by how jobs are ranked.

    Some jobs of the recommendation are ranked for its first people, see `GirlEvalConfig`.

    Args:
      models: of the run.
      data: of the run.
      found: the descriptions.
    """
    settings, kappa = models.config.eval, models.config.grounding.similarity
    rng = np.random.default_rng(0)
    jobs = np.sort(rng.permutation(data.recommended)[: settings.grounded_jobs])
    texts = [data.jobs[n] for n in jobs.tolist()]
    catalogue = Catalogue([str(n) for n in jobs.tolist()], texts)
    reward = models.reward_model(REWARD)
    people = found.people[: settings.grounded_people].tolist()
    prompts = models.writer.texts([data.resumes[n] for n in people])
    sums: dict[str, list[float]] = {}
    for number, (person, prompt) in enumerate(zip(people, prompts, strict=True)):
        utility = data.row_utilities(
            Rows(np.full(len(jobs), person, np.int32), jobs.astype(np.int32), np.zeros(len(jobs)))
        )
        rewards = reward.rewards([prompt] * len(jobs), texts)
        near = {
            source: catalogue.similarities([lot.texts[number] for lot in lots])
            for source, lots in found.written.items()
        }
        scores = {
            "any job": np.zeros(len(jobs)),
            "reward alone": rewards,
            "resume alone": catalogue.similarities([data.resumes[person]]),
            "sft descriptions alone": near[SFT_TEXTS],
            "girl descriptions alone": near[GIRL_TEXTS],
            "reward and girl descriptions": grounded_scores(rewards, near[GIRL_TEXTS], kappa),
            PLANTED: utility,
        }
        for name, score in scores.items():
            best = np.argsort(-score, kind="stable")[:_TOP]
            value = utility.mean() if name == "any job" else utility[best].mean()
            sums.setdefault(name, []).append(float(value))
    return {name: {UTILITY: float(np.mean(values))} for name, values in sums.items()}
