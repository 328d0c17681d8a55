"""Baselines under one signature: `scores(params, batch)`.

It reads `batch["history"]`, int [B, H], padded on the left with -1, the newest item last, or, of
the baselines that know users by their numbers, `batch["user"]`, int [B]. The result is [B, I],
higher is better, and does not leave out what the user has seen.

Those that count or solve have `fit(train_sequences, num_items) -> params`. Those that are trained
are a Flax module and its settings: `fit_sequential` trains the sequential ones, `fit_pairwise`
those over pairs of a user and an item, and `fit_clicks` the sequential ones to tell likes from
dislikes.
"""

from jaxrec.baselines import cooccurrence, item_knn, markov, mf_als, popularity
from jaxrec.baselines.bert4rec import Bert4RecConfig
from jaxrec.baselines.caser import CaserConfig
from jaxrec.baselines.clicks import Clicks, click_scores, fit_clicks
from jaxrec.baselines.dros import dros
from jaxrec.baselines.gru4rec import Gru4RecConfig
from jaxrec.baselines.mf_bpr import BprConfig
from jaxrec.baselines.ncf import NeuMfConfig
from jaxrec.baselines.pairwise import PairwiseConfig, fit_pairwise
from jaxrec.baselines.sasrec import SasrecConfig
from jaxrec.baselines.sequential import fit_sequential
from jaxrec.baselines.sequential_config import SequentialConfig

__all__ = [
    "Bert4RecConfig",
    "BprConfig",
    "CaserConfig",
    "Clicks",
    "Gru4RecConfig",
    "NeuMfConfig",
    "PairwiseConfig",
    "SasrecConfig",
    "SequentialConfig",
    "click_scores",
    "cooccurrence",
    "dros",
    "fit_clicks",
    "fit_pairwise",
    "fit_sequential",
    "item_knn",
    "markov",
    "mf_als",
    "popularity",
]
