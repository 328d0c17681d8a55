"""Open a trained run for recommendations, whatever its system."""

import os
from pathlib import Path

from jaxrec.runs import check_files, load_run, offered, open_kept, read_changes
from jaxrec.serve.names import ItemNames
from jaxrec.serve.recommender import OpenRecommender


def open_recommender(path: str | os.PathLike[str]) -> OpenRecommender:
    """Open a trained run by its directory alone; the data that it was trained on are not read.

    `jaxrec.open` is this function.

    Args:
      path: directory of a run.

    Returns:
      The run, ready to recommend.

    Raises:
      ConfigError: a run of a system that does not rank the items of a catalogue.
      DataError: no run there, not trained yet, or damaged; or a run of an earlier version, which
        keeps no catalogue, whose data cannot be read.

    Example:
      >>> open_recommender("nowhere")  # doctest: +ELLIPSIS
      Traceback (most recent call last):
      jaxrec.core.errors.DataError: nowhere is no run directory (no such directory); ...
    """
    directory = Path(path)
    config = load_run(directory)
    begin = offered(config, "open_ranker")
    check_files(directory)
    kept = open_kept(config, directory)
    changes = read_changes(directory)
    names = ItemNames.of(kept.items, kept.name).more(
        [row["item"] for row in changes.added], [row["label"] for row in changes.added]
    )
    ranker = begin(config, directory, kept)
    return OpenRecommender(
        directory=directory, ranker=ranker, names=names, kept=kept, config=config, changes=changes
    )
