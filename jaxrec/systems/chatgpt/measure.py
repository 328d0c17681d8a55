"""What a model answers to the questions of a study, measured beside conventional baselines.

Intervals are percentile bootstraps that resample users with all of their questions. Rankings of
candidates are called `hr@10|99`, after their number of other candidates, because they cannot be
compared with rankings of the whole catalogue.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxrec.baselines import biases, item_means
from jaxrec.data import review_text
from jaxrec.eval import (
    ParsedRatings,
    bootstrap_interval,
    list_metrics,
    ranking_metrics,
    slope_over_slots,
    tied_blocks,
)
from jaxrec.items import text as item_text
from jaxrec.prompting import LanguageModel
from jaxrec.runs import counting_scores
from jaxrec.systems.chatgpt.config import ChatGptConfig
from jaxrec.systems.chatgpt.study import AskedTask, Study
from jaxrec.systems.chatgpt.tasks import is_text
from jaxrec.texts import (
    AnswerOptions,
    AskedAnswerer,
    CatalogueItem,
    Choice,
    FreeText,
    Grounding,
    OneOfCandidates,
    Questions,
    Refined,
    candidate_metrics,
    factual_form,
    factual_shares,
    grounding_shares,
    rating_form,
    sentence_form,
)

# Tokens of an answer that is a number, and of one word of a text with its space.
_SHORT, _WORD_TOKENS = 8, 3
# Resamples of metrics that are no means, such as BLEU: each takes a measurement.
_COSTLY = 200
PROBE_METRIC = "ndcg@10"


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Row:
    """One row of a table.

    Attributes:
      metrics: by name.
      intervals: low and high of the metrics that have one.
      values: one value a question of the metrics that are means.
    """

    metrics: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    values: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The row as reports store it."""
        return {
            "metrics": dict(self.metrics),
            "intervals": {name: list(ends) for name, ends in self.intervals.items()},
        }


def open_grounding(config: ChatGptConfig, titles: Sequence[str]) -> Grounding:
    """The catalogue in which written titles are looked up.

    Raises:
      ConfigError: the encoder of the config does not exist.
    """
    setting = config.grounding.encoder
    vectors = None
    if setting:
        encoder = item_text.encoder_of(setting, "grounding.encoder")

        def vectors(texts: Sequence[str]) -> np.ndarray:
            return item_text.encode(texts, encoder)

    return Grounding(titles, config.grounding.threshold, vectors)


def room_of(config: ChatGptConfig, asked: AskedTask) -> int:
    """Most tokens of an answer to a task."""
    answer = asked.task.answer
    if isinstance(answer, CatalogueItem | OneOfCandidates):
        return config.list_tokens
    if is_text(asked.task):
        return _WORD_TOKENS * config.words
    return _SHORT


def measure_model(
    study: Study, name: str, model: LanguageModel, questions: Questions, grounding: Grounding
) -> tuple[Row, Refined[Any]]:
    """Ask the questions of a task, and measure the answers.

    Returns:
      Metrics with compliance, shares of grounded titles, among them those that the user has already
      met, which count as no recommendation, and tokens a question; and the answers with what they
      took.

    Raises:
      ServiceError: the service of a model fails; what it has answered is kept.
    """
    config, asked = study.config, study.asked[name]
    task, room = asked.task, room_of(study.config, asked)
    options = _options(config, room)
    answerer = AskedAnswerer(
        model=model,
        grounding=grounding,
        list_tokens=config.list_tokens,
        stop=config.stop,
        repair=config.repair,
        forms=_text_forms(study, name, questions),
        title=name,
    )
    answers = task.answer.answer(answerer, questions, options)
    if is_text(task):
        # References are lower-cased words with spaces between them.
        answers = [
            _comparable(text, fields)
            for text, fields in zip(answers, questions.fields, strict=True)
        ]
    row = measured(study, name, answers, questions)
    (refined,) = answerer.refined
    totals = refined.first + refined.more
    metrics = dict(row.metrics) | refined.compliance()
    if answerer.grounded:
        found = answerer.grounded[0]
        metrics |= grounding_shares(found)
        owners = [n for n, value in enumerate(refined.values) for _ in value or ()]
        met = [one.item in questions.seen[n] for one, n in zip(found, owners, strict=True)]
        metrics["already_met"] = float(np.mean(met)) if met else float("nan")
    if isinstance(task.answer, CatalogueItem | OneOfCandidates):
        metrics["listed"] = float((np.asarray(answers) >= 0).sum(axis=1).mean())
    facts, titles = study.data.facts, study.data.names.items
    if name == "explanation" and facts is not None:
        about = [datum.item for datum in questions.data]
        metrics |= factual_shares(
            [
                facts.judge(facts.mentioned(text, item, titles[item]), item)
                for text, item in zip(answers, about, strict=True)
            ]
        )
    metrics |= {
        "tokens": totals.tokens / len(questions),
        "cost": totals.usage.cost / len(questions),
    }
    # Shares of nothing, such as of titles where no answer lists one, are left out.
    metrics = {metric: value for metric, value in metrics.items() if np.isfinite(value)}
    return dataclasses.replace(row, metrics=metrics), refined


def _comparable(text: str, fields: Mapping[str, str]) -> str:
    """A text as references are written; the hint is one word, even with a hyphen."""
    hint = fields.get("hint", "")
    words = review_text(text)
    return words.replace(review_text(hint), hint) if hint else words


def overall(config: ChatGptConfig, taken: Sequence[Refined[Any]]) -> Row:
    """Compliance and costs over all questions of a study."""
    columns = {
        "compliance_before": np.concatenate([one.obeyed for one in taken]),
        "compliance_rules": np.concatenate([one.ruled for one in taken]),
        "compliance": np.concatenate([one.legal for one in taken]),
        "rounds": np.concatenate([one.rounds for one in taken]),
        "failed": np.concatenate([one.failed for one in taken]),
    }
    return _row_of_values(
        {name: column.astype(np.float64) for name, column in columns.items()},
        config.eval.resamples,
    )


def _text_forms(study: Study, name: str, questions: Questions) -> list[Any]:
    """What written answers must look like; the parser of a task reads them once more."""
    task = study.asked[name].task
    if not isinstance(task.answer, FreeText):
        return []
    if not is_text(task):
        numbers = rating_form()
        return [dataclasses.replace(numbers, read=_as_text(numbers.read))] * len(questions)
    sentence = sentence_form(study.config.words)
    facts, titles = study.data.facts, study.data.names.items
    if name != "explanation" or not study.config.check_facts or facts is None:
        return [sentence] * len(questions)
    about = [datum.item for datum in questions.data]
    return [factual_form(sentence, facts, item, titles[item]) for item in about]


def _as_text(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """A reader that gives the text of a number back."""

    def again(text: str) -> Any:
        value = read(text)
        return f"{value:g}" if isinstance(value, float) else value

    return again


def measured(study: Study, name: str, answers: Any, questions: Questions) -> Row:
    """Metrics of answers with intervals over users."""
    config, task = study.config, study.asked[name].task
    options = _options(config, 1)
    mark = f"|{config.candidates - 1}" if isinstance(task.answer, OneOfCandidates) else ""
    if isinstance(task.answer, CatalogueItem | OneOfCandidates):
        found = list_metrics(answers, questions.targets, config.eval.ks)
        return _row_of_values(
            {metric + mark: value for metric, value in found.items()}, config.eval.resamples
        )
    metrics = task.metric.measure(answers, questions, options)
    intervals = user_intervals(
        lambda rows: task.metric.measure(_take(answers, rows), _part(questions, rows), options),
        questions.users,
        min(config.eval.resamples, _COSTLY),
    )
    values = {}
    if isinstance(task.answer, Choice):
        values["accuracy"] = (answers.argmax(axis=1) == questions.answers).astype(np.float64)
    return Row(metrics=metrics, intervals=intervals, values=values)


def measure_baselines(
    study: Study, name: str, questions: Questions, baselines: Sequence[str]
) -> dict[str, Row]:
    """Conventional baselines on the questions of a task, by name.

    Args:
      study: with the data that they are fitted on.
      name: of the task.
      questions: of the task.
      baselines: counting baselines for tasks that rank; other tasks have baselines of their own.
    """
    config, data, task = study.config, study.data, study.asked[name].task
    if isinstance(task.answer, CatalogueItem | OneOfCandidates):
        rows = {}
        for baseline in baselines:
            scores = counting_scores(baseline, data.dataset, questions.seen)
            rows[baseline] = _ranked(config, task.answer, scores, questions)
        return rows
    table, split = data.dataset.interactions, data.ratings
    if name == "rating":
        assert split is not None
        numbers = [datum.row for datum in questions.data]
        predicted = {
            "mean rating": np.full(len(numbers), questions.default),
            "item mean": item_means(table, split.train)[numbers],
            "user and item bias": biases(table, split.train)[numbers],
        }
        return {one: measured(study, name, values, questions) for one, values in predicted.items()}
    if name == "summary":
        texts = [" ".join(fields["review"].split()[: config.words]) for fields in questions.fields]
        return {"beginning of the review": measured(study, name, texts, questions)}
    if name == "explanation":
        texts = [fields["hint"] for fields in questions.fields]
        return {"the hint alone": measured(study, name, texts, questions)}
    return {}


def _ranked(config: ChatGptConfig, answer: Any, scores: np.ndarray, questions: Questions) -> Row:
    """Metrics of scores `[N, I]` with ties averaged: of the candidates, or of all unseen items."""
    if isinstance(answer, OneOfCandidates):
        offered = np.take_along_axis(scores, questions.candidates, axis=1)
        found = candidate_metrics(offered, questions.data, config.eval.ks)
        mark = f"|{config.candidates - 1}"
    else:
        seen = np.zeros(scores.shape, bool)
        for row, items in zip(seen, questions.seen, strict=True):
            row[items] = True
        block = tied_blocks(scores, questions.targets, seen)
        found, mark = ranking_metrics(block, config.eval.ks), ""
    found = {metric + mark: values for metric, values in found.items() if metric != "mrr"}
    return _row_of_values(found, config.eval.resamples)


def probe(
    study: Study, model: LanguageModel, grounding: Grounding
) -> tuple[Row, list[Refined[Any]]]:
    """Measure the probed task with the truth in each slot, and the slope over the slots.

    Returns:
      "slope" of NDCG@10 with its interval, "first" and "last", its means with the truth in the
      first and in the last slot; and the answers with what they took.
    """
    config, columns, taken = study.config, [], []
    for asked in study.probe.values():
        questions = asked.prompted(model, room_of(config, asked))
        row, refined = measure_model(study, asked.task.name, model, questions, grounding)
        columns.append(row.values[f"{PROBE_METRIC}|{config.candidates - 1}"])
        taken.append(refined)
    bias = slope_over_slots(
        np.stack(columns, axis=1),
        np.array(list(study.probe)),
        candidates=config.candidates,
        resamples=config.eval.resamples,
    )
    ends = _row_of_values({"first": columns[0], "last": columns[-1]}, config.eval.resamples)
    row = Row(
        metrics={"slope": bias.slope, **ends.metrics},
        intervals={"slope": (bias.low, bias.high), **ends.intervals},
    )
    return row, taken


def _row_of_values(values: Mapping[str, np.ndarray], resamples: int) -> Row:
    found = {name: bootstrap_interval(v, resamples=resamples) for name, v in values.items()}
    return Row(
        metrics={name: one.mean for name, one in found.items()},
        intervals={name: (one.low, one.high) for name, one in found.items()},
        values=values,
    )


def user_intervals(
    measure: Callable[[np.ndarray], Mapping[str, float]],
    users: np.ndarray,
    resamples: int,
    level: float = 0.95,
) -> dict[str, tuple[float, float]]:
    """Percentile intervals of any metrics, by resampling users with all of their rows.

    Args:
      measure: from the numbers of rows, some of them several times, to metrics by name.
      users: `[N]` the user of each row.
      resamples: number of resamples.
      level: confidence level.
    """
    groups = [np.flatnonzero(users == user) for user in np.unique(users)]
    rng = np.random.default_rng(0)
    drawn: dict[str, list[float]] = {}
    for _ in range(resamples):
        chosen = rng.integers(0, len(groups), len(groups))
        for name, value in measure(np.concatenate([groups[n] for n in chosen])).items():
            drawn.setdefault(name, []).append(value)
    tails = [(1 - level) / 2, (1 + level) / 2]
    # A resample in which all questions have one answer has no AUC.
    return {
        name: tuple(np.quantile(finite, tails).tolist())
        for name, values in drawn.items()
        if len(finite := np.array(values)[np.isfinite(values)])
    }


def _take(answers: Any, rows: np.ndarray) -> Any:
    if isinstance(answers, ParsedRatings):
        return ParsedRatings(*(column[rows] for column in answers))
    if isinstance(answers, list):
        return [answers[row] for row in rows.tolist()]
    return answers[rows]


def _part(questions: Questions, rows: np.ndarray) -> Questions:
    data, prompts, fields = (
        [column[row] for row in rows.tolist()]
        for column in (questions.data, questions.prompts, questions.fields)
    )
    return Questions(data=data, prompts=prompts, fields=fields, default=questions.default)


def _options(config: ChatGptConfig, room: int) -> AnswerOptions:
    return AnswerOptions(beams=config.top, filter_seen=True, max_tokens=room, ks=config.eval.ks)
