"""Open a trained run, an export of one, or an export on the Hub for recommendations."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.core import ConfigError, DataError, path_of, shown_value
from jaxrec.data import ItemTable
from jaxrec.runs import (
    Changes,
    check_files,
    is_run,
    load_run,
    offered,
    open_baseline,
    open_kept,
    read_changes,
)
from jaxrec.serve.names import ItemNames
from jaxrec.serve.recommender import OpenRecommender

# How the name of a repository on the Hub of Hugging Face begins.
HUB = "hf://"


def open_recommender(path: str | os.PathLike[str], *, baseline: str = "") -> OpenRecommender:
    """Open a trained run by its directory alone; the data that it was trained on are not read.

    `jaxrec.open` is this function.

    Args:
      path: directory of a run, or of what `jaxrec export RUN --to hf` made of one; or
        "hf://owner/name" for such an export on the Hub of Hugging Face.
      baseline: open this baseline beside the run in place of its model: "popularity", "item_knn",
        "markov", "cooccurrence" or "als" of any run, which are counted from its training
        interactions now; or one that `jaxrec eval` trained beside the run, such as "gru4rec".

    Returns:
      The run, ready to recommend. An export knows no users, so it recommends after histories.

    Raises:
      ConfigError: a run of a system that does not rank the items of a catalogue, no such baseline,
        or a path that is none.
      DataError: no run there, not trained yet, or damaged; a run of an earlier version, which
        keeps no catalogue, whose data cannot be read; or a repository that cannot be fetched.

    Example:
      >>> open_recommender("nowhere")  # doctest: +ELLIPSIS
      Traceback (most recent call last):
      jaxrec.core.errors.DataError: nowhere is no run directory (no such directory); ...
    """
    path_of(path, "the path of the run")
    if not isinstance(baseline, str):
        raise ConfigError(f"baseline must be a name, got {shown_value(baseline)}; give a text")
    name = os.fspath(path)
    directory = _fetched(name.removeprefix(HUB)) if name.startswith(HUB) else Path(name)
    if not is_run(directory) and (directory / "recommender.json").exists():
        if baseline:
            raise ConfigError(
                f"{directory} is an export, which has no baseline {baseline!r}; open the run"
            )
        return _opened_export(directory)
    config = load_run(directory)
    if baseline:
        return _opened_baseline(config, directory, baseline)
    begin = offered(config, "open_ranker")
    check_files(directory)
    kept = open_kept(config, directory)
    changes = read_changes(directory)
    names = ItemNames.of(kept.items, kept.name).more(
        [row["item"] for row in changes.added], [row["label"] for row in changes.added]
    )
    ranker = begin(config, directory, kept)
    return OpenRecommender(
        directory=directory,
        ranker=ranker,
        names=names,
        kept=kept,
        config=config,
        changes=changes,
        saved=changes,
    )


def _opened_baseline(config: Any, directory: Path, baseline: str) -> OpenRecommender:
    kept = open_kept(config, directory)
    names = ItemNames.of(kept.items, kept.name)
    changes, known = read_changes(directory), set(names.ids.tolist())
    return OpenRecommender(
        directory=directory,
        ranker=open_baseline(baseline, config, directory, kept),
        names=names,
        kept=kept,
        config=config,
        # Items that were added to the run are none of the baseline.
        changes=Changes(removed=tuple(item for item in changes.removed if item in known)),
        baseline=baseline,
    )


def _opened_export(directory: Path) -> OpenRecommender:
    # Imported here, because runs of other systems need nothing of it.
    from jaxrec.systems.generative import open_export

    ranker, rows = open_export(directory)
    labels = np.array([row["label"] for row in rows], object)
    table = ItemTable(np.array([row["item"] for row in rows]), {"title": labels})
    return OpenRecommender(
        directory=directory, ranker=ranker, names=ItemNames.of(table, str(directory))
    )


def _fetched(repository: str) -> Path:
    """Return a local copy of a repository of the Hub, fetched unless it is in the cache."""
    import huggingface_hub  # slow to import

    try:
        return Path(huggingface_hub.snapshot_download(repository))
    # Its errors share no base: no network, no such repository, a name that is none.
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(
            f"{HUB}{repository} cannot be fetched ({reason}); check the name and the network, or "
            "give the directory of a run or of an export"
        ) from error
