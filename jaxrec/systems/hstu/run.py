"""HSTU: gated attention over the items that a user has met, with positions and time gaps.

histories and times -> item vectors -> gated attention without a softmax -> cosine / temperature

(Zhai et al., ICML 2024, arXiv:2402.17152.) A layer weighs items by `silu(q k + bias) / N`, so that
an item that occurs three times weighs three times as much, and its bias tells how far back an item
lies, in items and in time. The same model is also a baseline of other systems.

The times of the interactions are read in measurements, and wherever a user of the run is asked for.
A list of items from elsewhere has no times, and then gaps have no bias.

The same layer is also a block of generative models, `--model.block hstu`, which read tokens without
times and have no bias for gaps.
"""

from pathlib import Path

from jaxrec.eval import RunParts, SystemFacts
from jaxrec.runs import read_parts, sequential_run
from jaxrec.systems.hstu.config import HstuRunConfig

CONFIG = HstuRunConfig
FACTS = SystemFacts(
    name="HSTU",
    summary=(
        "Gated attention without a softmax reads a user's history as item vectors, with biases for "
        "positions and times, and scores every item of the catalogue as the next one."
    ),
    tags=("sequential-recommendation",),
    has_ids=False,
)
_EXPORT = (
    "no class of transformers scores items by these vectors; to export a model of this kind, train "
    "a generative config with ids.scheme independent, which gives every item one token"
)
INSTEAD = {
    "fit_ids": "HSTU numbers the items and fits no IDs",
    "open_model": _EXPORT,
    "open_adapter": _EXPORT,
    "add_items": "HSTU has a vector for each item of its training and none for others",
}


train = sequential_run.train
evaluate = sequential_run.evaluate
rank = sequential_run.rank
recommend = sequential_run.recommend
open_ranker = sequential_run.open_ranker


def report(config: HstuRunConfig, directory: Path) -> RunParts:
    """See `System`."""
    return read_parts(config, directory, FACTS)
