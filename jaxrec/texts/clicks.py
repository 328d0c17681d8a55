"""What stands beside a model that says whether a user will like an item: controls and baselines."""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxrec.baselines import (
    CaserConfig,
    Clicks,
    Gru4RecConfig,
    SasrecConfig,
    click_scores,
    dros,
    fit_clicks,
)
from jaxrec.core import ConfigError, nearest
from jaxrec.data import ClickWindows
from jaxrec.eval import click_metrics, holm, paired_auc, pooled_auc
from jaxrec.items import encode
from jaxrec.models import find_sentence_encoder
from jaxrec.train import TrainConfig, Validation

_SIZES: dict[str, Any] = {"max_items": 10, "dropout": 0.2}
_SASREC = SasrecConfig(**_SIZES, depth=1, num_heads=1)
_TEXT = "_text"
BASELINES: dict[str, Any] = {
    "gru4rec": Gru4RecConfig(**_SIZES),
    "caser": CaserConfig(**_SIZES),
    "sasrec": _SASREC,
    "dros": dros(_SASREC, alpha=0.1),
    # They read vectors of the titles. Tied, so that a title without an example is scored by them.
    "gru4rec_text": Gru4RecConfig(**_SIZES, tied=True),
    "dros_text": dros(_SASREC, alpha=0.1),
}
# Of the sum of the two controls: how much one more liked title of ten counts beside a mean rating.
_LIKED_WEIGHT = 0.05
# Few-shot baselines have a fixed number of steps: their validation is larger than what they learn.
_FEW = 1000


def check(name: str) -> None:
    """Reject an unknown baseline.

    Raises:
      ConfigError: naming the nearest one.
    """
    if name not in BASELINES:
        raise ConfigError(
            f"no click baseline {name!r}{nearest(name, BASELINES)}; known: {', '.join(BASELINES)}"
        )


def spread(windows: ClickWindows, count: int) -> ClickWindows:
    """So many windows, evenly spread so that all users are among them; all for 0."""
    if not count or count >= len(windows):
        return windows
    return windows.take(np.linspace(0, len(windows) - 1, count).astype(int))


def controls(train: ClickWindows, test: ClickWindows) -> dict[str, np.ndarray]:
    """Scores that read no item of the history, or no history: `[N]` each.

    "liked titles" counts the liked items of the prompt, "item mean" is the share of likes among the
    training windows with this target (their overall share for a target without any), and the third
    is their sum, a twentieth for each liked title.
    """
    size = int(max(train.target.max(), test.target.max())) + 1
    likes = np.bincount(train.target, train.label, minlength=size)
    counts = np.bincount(train.target, minlength=size)
    mean = np.where(counts > 0, likes / np.maximum(counts, 1), train.label.mean())[test.target]
    liked = test.liked.sum(1).astype(float)
    return {
        "liked titles": liked,
        "item mean": mean,
        "item mean + liked titles": mean + _LIKED_WEIGHT * liked,
    }


def baseline(
    name: str,
    train: ClickWindows,
    valid: ClickWindows,
    test: ClickWindows,
    titles: list[str],
    seed: int,
    directory: Path,
) -> np.ndarray:
    """Train a sequential baseline in click mode and score the test windows: `[N]`.

    Args:
      name: of `BASELINES`.
      train: windows to learn; of fewer than 1,000 the last step's parameters are measured.
      valid: windows that choose the checkpoint otherwise.
      test: windows to score.
      titles: of all items; a baseline of texts reads them by the sentence encoder at hand, or by
        TF-IDF.
      seed: of the training.
      directory: of the run.
    """
    few, num_items = len(train) < _FEW, len(titles)
    text = encode(titles, find_sentence_encoder()) if name.endswith(_TEXT) else None
    settings = TrainConfig(
        steps=200 if few else 1500,
        batch_size=min(256, len(train)),
        lr=1e-3,
        weight_decay=1e-2,
        eval_every=200 if few else 100,
        patience=5,
        seed=seed,
    )
    config = dataclasses.replace(BASELINES[name], train=settings)
    score = jax.jit(functools.partial(click_scores, config=config, num_items=num_items))

    def scores(params: Any, windows: ClickWindows) -> np.ndarray:
        return np.asarray(score(params, Clicks.of(windows).take(np.arange(len(windows)))))

    def evaluate(params: Any) -> dict[str, float]:
        return {"auc": pooled_auc(valid.label, scores(params, valid))}

    place = directory / "baselines" / name
    validation = Validation(evaluate, "auc")
    result = fit_clicks(config, Clicks.of(train), num_items, validation, place, text=text)
    return scores(result.params, test)


def table(systems: Mapping[str, np.ndarray], test: ClickWindows, resamples: int) -> dict[str, Any]:
    """AUC of every scoring, and the first one's difference to the others: JSON-able.

    Args:
      systems: scores `[N]` by name; the first is the model.
      test: the windows.
      resamples: of the bootstrap over users.
    """
    rows = {}
    for name, scores in systems.items():
        found = click_metrics(test.label, scores, test.user, resamples=resamples)
        metrics = {"auc": found.auc, "within_user_auc": found.within_user}
        rows[name] = {
            "metrics": {metric: value.mean for metric, value in metrics.items()},
            "intervals": {metric: [value.low, value.high] for metric, value in metrics.items()},
        }
    model, *others = systems
    tests = [
        paired_auc(test.label, systems[model], systems[name], test.user, resamples=resamples)
        for name in others
    ]
    comparisons = [
        {
            "baseline": name,
            "metric": "auc",
            "difference": found.difference,
            "interval": [found.low, found.high],
            "p": found.p,
            "p_holm": float(p),
        }
        for name, found, p in zip(others, tests, holm([t.p for t in tests]), strict=True)
    ]
    return {"rows": rows, "comparisons": comparisons}
