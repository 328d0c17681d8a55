"""Controls and baselines for models that say whether a user will like an item."""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

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
from jaxrec.eval import (
    auc_by_user,
    auc_interval,
    click_metrics,
    holm,
    paired_auc,
    pooled_auc,
    pooled_auc_by_user,
)
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
    # These read vectors of the titles. They are tied, so that the vectors also score titles without
    # a training example.
    "gru4rec_text": Gru4RecConfig(**_SIZES, tied=True),
    "dros_text": dros(_SASREC, alpha=0.1),
}
# Weight of one liked title beside an item's share of likes, in the sum of the two controls.
_LIKED_WEIGHT = 0.05
# Below this many training windows, baselines train for a fixed number of steps: the validation
# windows would outnumber those that they learn from.
_FEW = 1000


class Labelled(Protocol):
    """Questions with their answers."""

    @property
    def label(self) -> np.ndarray:
        """`[N]` bool."""

    @property
    def user(self) -> np.ndarray:
        """`[N]` user numbers."""


def both_labels(labels: np.ndarray, users: np.ndarray) -> bool:
    """Whether some user has examples of both labels, so that an AUC within users is defined.

    Args:
      labels: `[N]` bool.
      users: `[N]`.

    Example:
      >>> import numpy as np
      >>> from jaxrec.texts import clicks
      >>> clicks.both_labels(np.array([True, False]), np.array([0, 1]))
      False
    """
    pairs = np.unique(np.stack([users, labels.astype(users.dtype)]), axis=1)
    return pairs.shape[1] > len(np.unique(users))


def check(name: str) -> None:
    """Reject an unknown baseline.

    Raises:
      ConfigError: no such baseline; the message names the nearest one.

    Example:
      >>> from jaxrec.texts import clicks
      >>> clicks.check("gru4rec")
    """
    if name not in BASELINES:
        raise ConfigError(
            f"no click baseline {name!r}{nearest(name, BASELINES)}; known: {', '.join(BASELINES)}"
        )


def spread(windows: ClickWindows, count: int) -> ClickWindows:
    """Take `count` windows, spread evenly over all users; 0 takes all.

    Example:
      >>> from jaxrec.data import click_windows
      >>> from jaxrec.testing import tiny_interactions
      >>> from jaxrec.texts import clicks
      >>> len(clicks.spread(click_windows(tiny_interactions(), history=3), 10))
      10
    """
    if not count or count >= len(windows):
        return windows
    return windows.take(np.linspace(0, len(windows) - 1, count).astype(int))


def controls(train: ClickWindows, test: ClickWindows) -> dict[str, np.ndarray]:
    """Score the test windows without reading which items the history holds: `[N]` each.

    "liked titles" counts the liked items of the prompt. "item mean" is the share of likes among the
    training windows with the same target; a target without any gets the overall share. The third
    control is their sum, in which each liked title counts a twentieth.

    Items are told apart by their numbers, so two items with one title have a mean each.

    Example:
      >>> from jaxrec.data import click_windows, split_users
      >>> from jaxrec.testing import tiny_interactions
      >>> from jaxrec.texts import clicks
      >>> train, _, test = split_users(click_windows(tiny_interactions(), history=3))
      >>> list(clicks.controls(train, test))
      ['liked titles', 'item mean', 'item mean + liked titles']
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
      name: one of `BASELINES`.
      train: windows to learn from. With fewer than 1,000 of them, the parameters of the last step
        are measured.
      valid: windows that choose the checkpoint otherwise.
      test: windows to score.
      titles: of all items; baselines that read texts encode them with an installed sentence
        encoder, or with TF-IDF.
      seed: seed of the training.
      directory: of the run; the baseline is trained below it.
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


def table(systems: Mapping[str, np.ndarray], test: Labelled, resamples: int) -> dict[str, Any]:
    """Compute the AUC of every system, and the first one's difference to the others: JSON-able.

    "values" has one value per user of the first system, by metric; see `eval.auc_by_user`.

    Args:
      systems: scores `[N]` by name; the first is the model.
      test: the windows, or other questions with labels and users. If no user has both labels, the
        table has the AUC over all questions alone.
      resamples: number of resamples of the bootstrap over users.

    Example:
      >>> from jaxrec.data import click_windows
      >>> from jaxrec.testing import tiny_interactions
      >>> from jaxrec.texts import clicks
      >>> windows = click_windows(tiny_interactions(), history=3).take(slice(40))
      >>> report = clicks.table({"model": windows.label.astype(float)}, windows, resamples=5)
      >>> report["rows"]["model"]["metrics"]["auc"]
      1.0
    """
    rows = {}
    within = both_labels(test.label, test.user)
    for name, scores in systems.items():
        if within:
            both = click_metrics(test.label, scores, test.user, resamples=resamples)
            metrics = {"auc": both.auc, "within_user_auc": both.within_user}
        else:
            metrics = {"auc": auc_interval(test.label, scores, test.user, resamples=resamples)}
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
            "difference": paired.difference,
            "interval": [paired.low, paired.high],
            "p": paired.p,
            "p_holm": float(p),
        }
        for name, paired, p in zip(others, tests, holm([t.p for t in tests]), strict=True)
    ]
    values = {"auc": pooled_auc_by_user(test.label, systems[model], test.user).tolist()}
    if within:
        own = auc_by_user(test.label, systems[model], test.user)
        values["within_user_auc"] = own.within_user.tolist()
    return {"rows": rows, "comparisons": comparisons, "values": values}
