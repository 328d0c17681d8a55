"""Strict scores of a tagger's spans, for validation and for the test."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jaxrec.data import Span, TaggedText
from jaxrec.eval import SpanMatches, bootstrap_interval, match_spans
from jaxrec.systems.skills.config import SkillsConfig
from jaxrec.systems.skills.data import spans_of_numbers
from jaxrec.systems.skills.network import Tagger
from jaxrec.systems.skills.rows import Rows
from jaxrec.systems.skills.tagging import compiled_predict, predict_rows

METRIC = "f1"


def span_matches(
    kinds: Sequence[str], texts: Sequence[TaggedText], predicted: Sequence[Sequence[Span]]
) -> dict[str, SpanMatches]:
    """Matches of all kinds together as "", and of each kind by its name.

    Args:
      kinds: of spans.
      texts: with their gold spans.
      predicted: spans of each text.
    """
    found = {"": match_spans([text.spans for text in texts], predicted)}
    for kind in kinds:
        own = [[span for span in spans if span.kind == kind] for spans in predicted]
        found[kind] = match_spans([text.of_kind(kind) for text in texts], own)
    return found


def span_values(
    kinds: Sequence[str], texts: Sequence[TaggedText], predicted: Sequence[Sequence[Span]]
) -> dict[str, np.ndarray]:
    """One value per text of each metric: "f1", "precision", "recall", and "f1_KIND".

    The mean of the values is the metric; see `SpanMatches.values`.

    Args:
      kinds: of spans.
      texts: with their gold spans.
      predicted: spans of each text.
    """
    matches = span_matches(kinds, texts, predicted)
    both = matches[""].values()
    found = {METRIC: both[METRIC]}
    found |= {f"{METRIC}_{kind}": matches[kind].values()["f1"] for kind in kinds}
    return found | {name: both[name] for name in ("precision", "recall")}


def predicted_spans(
    config: SkillsConfig, tagger: Tagger, compute: Any, variables: Any, rows: Rows
) -> tuple[list[tuple[Span, ...]], int]:
    """The spans of each text, and how many tags were repaired.

    Args:
      config: of the run.
      tagger: the module.
      compute: `compiled_predict` of the tagger.
      variables: of the tagger.
      rows: the texts.
    """
    tags = predict_rows(tagger, compute, variables, rows, config.eval.batch_size)
    found, repaired = [], 0
    for numbers in rows.words.collect(tags):
        spans: list[Span] = []
        for layer, kind in enumerate(config.data.kinds):
            own, changed = spans_of_numbers(numbers[:, layer], kind)
            spans += own
            repaired += changed
        found.append(tuple(spans))
    return found, repaired


def make_validation(
    config: SkillsConfig, tagger: Tagger, rows: Rows, texts: Sequence[TaggedText]
) -> Callable[[Any], dict[str, float]]:
    """Return the measurement of a checkpoint: strict scores by gold spans.

    Args:
      config: of the run.
      tagger: the module.
      rows: of the validation texts.
      texts: these texts.
    """
    compute = compiled_predict(tagger)

    def measure(variables: Any) -> dict[str, float]:
        predicted, _ = predicted_spans(config, tagger, compute, variables, rows)
        values = span_values(config.data.kinds, texts, predicted)
        return {name: float(value.mean()) for name, value in values.items()}

    return measure


def row_of(values: dict[str, np.ndarray], resamples: int) -> dict[str, Any]:
    """Metrics with intervals by a bootstrap over texts, as a row of a report."""
    intervals = {
        name: bootstrap_interval(value, resamples=resamples) for name, value in values.items()
    }
    return {
        "metrics": {name: interval.mean for name, interval in intervals.items()},
        "intervals": {name: [i.low, i.high] for name, i in intervals.items()},
    }
