"""SASRec: self-attention over the vectors of the items that a user has met.

histories -> item vectors -> blocks -> product with the item vectors

(Kang and McAuley 2018, arXiv:1808.09781.) The same model is also a baseline of other systems. As a
system of its own it can be compared with any of them by `jaxrec compare`.
"""

from pathlib import Path

from jaxrec.eval import RunParts, SystemFacts
from jaxrec.runs import read_parts, sequential_run
from jaxrec.systems.sasrec.config import SasrecRunConfig

CONFIG = SasrecRunConfig
FACTS = SystemFacts(
    name="SASRec",
    summary=(
        "Causal self-attention reads a user's history as item vectors and scores every item of the "
        "catalogue as the next one."
    ),
    tags=("sequential-recommendation",),
    has_ids=False,
)
_EXPORT = (
    "no class of transformers scores items by these vectors; to export a model of this kind, train "
    "a generative config with ids.scheme independent, which gives every item one token"
)
INSTEAD = {
    "fit_ids": "SASRec numbers the items and fits no IDs",
    "open_model": _EXPORT,
    "open_adapter": _EXPORT,
    "add_items": "SASRec has a vector for each item of its training and none for others",
}


train = sequential_run.train
evaluate = sequential_run.evaluate
rank = sequential_run.rank
recommend = sequential_run.recommend
open_ranker = sequential_run.open_ranker


def report(config: SasrecRunConfig, directory: Path) -> RunParts:
    """See `System`."""
    return read_parts(config, directory, FACTS)
