"""Baselines of a run in use: counted from what the run keeps, or trained beside it.

    jaxrec.open("runs/a", baseline="item_knn")

They know the training interactions, as the baselines that `jaxrec eval` measures beside the run.
"""

from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse

from jaxrec.baselines import pairwise, sequential
from jaxrec.core import Bound, ConfigError, DataError, nearest, quoted
from jaxrec.decode import bucket
from jaxrec.items import text as item_text
from jaxrec.runs.baselines import COUNTED
from jaxrec.runs.config import COUNTING, TEXTUAL, TRAINED
from jaxrec.runs.directory import run_identity
from jaxrec.runs.kept import Kept
from jaxrec.runs.scoring_ranker import ScoringRanker
from jaxrec.train import Start

# Newest items that a counting baseline reads; the others read whole histories.
_READ = {"popularity": 1, "markov": 1, "cooccurrence": 10}
# Most users times items of their histories in one call.
_CELLS = 1 << 16


def open_baseline(name: str, config: Any, directory: Path, kept: Kept) -> ScoringRanker:
    """Open a baseline of a run.

    Args:
      name: from `COUNTING`, which are counted now, or from `TRAINED`, which `jaxrec eval` trained
        beside the run.
      config: of the run.
      directory: of the run.
      kept: its items and users.

    Raises:
      ConfigError: no such baseline, or one without settings in the config.
      DataError: a trained baseline that is not trained yet, or damaged.

    Example:
      >>> from jaxrec.systems.sasrec import SasrecRunConfig
      >>> from jaxrec.runs import Asked
      >>> from jaxrec.testing import four_films
      >>> kept = four_films().kept
      >>> ranker = open_baseline("popularity", SasrecRunConfig(), Path("unused"), kept)
      >>> ranker.best(Asked(histories=[np.array([0])]), top=2)[1].tolist()
      [[1.0, 1.0]]
    """
    known = COUNTING + TRAINED
    if name not in known:
        raise ConfigError(f"no baseline {name!r}{nearest(name, known)}; known: {', '.join(known)}")
    if name in COUNTING:
        return _counted(name, kept)
    settings = getattr(config, name, None)
    if settings is None:
        raise ConfigError(
            f"the settings of {name} belong to a config, and a {type(config).__name__} does not "
            f"have them; baselines of this run: {', '.join(COUNTING)}"
        )
    place = directory / "baselines" / name
    if not (place / "checkpoints").exists():
        raise DataError(
            f"{directory} has no trained {name}; train it by jaxrec eval {quoted(directory)} "
            f"--baselines {name}"
        )
    start, count = Start(run=run_identity(directory)), len(kept.items)
    if isinstance(settings, pairwise.PairwiseConfig):
        users = kept.num_users
        return ScoringRanker(
            score=Bound.of(pairwise.scores, config=settings, num_users=users, num_items=count),
            variables=pairwise.load_pairwise(settings, users, count, place, start=start),
            num_items=count,
            max_items=1,
            find_users=kept.find,
        )
    text = None
    if name in TEXTUAL:
        text = item_text.wide(config.ids, kept.dataset(), directory / "baselines")
    return ScoringRanker(
        score=Bound.of(sequential.scores, config=settings, num_items=count),
        variables=sequential.load_sequential(settings, count, place, text=text, start=start),
        num_items=count,
        max_items=settings.max_items,
        reads_times=settings.reads_times,
    )


def _counted(name: str, kept: Kept) -> ScoringRanker:
    """Count a baseline from the training interactions."""
    dataset, module = kept.dataset(), COUNTED[name]
    params = module.fit(dataset.split.train.sequences(), dataset.num_items)
    sizes = np.bincount(dataset.interactions.user)
    longest = _READ.get(name) or bucket(int(sizes.max()))
    return ScoringRanker(
        score=module.scores,
        variables=params,
        num_items=dataset.num_items,
        max_items=longest,
        batch_size=max(1, min(256, _CELLS // longest)),
        # A sparse table, of a large catalogue, is read on the host.
        on_host=any(scipy.sparse.issparse(value) for value in params.values()),
    )
