"""Baselines that share one signature: `scores(params, batch)`.

A baseline reads `batch["history"]`, int [B, H], padded on the left with -1, newest item last.
Baselines that know users by number read `batch["user"]`, int [B], instead. The result is [B, I];
higher is better, and items that the user has already met are not left out.

Baselines that count or solve have `fit(train_sequences, num_items) -> params`. Baselines that are
trained consist of a Flax module and its settings: `fit_sequential` trains the sequential ones,
`fit_pairwise` those over pairs of a user and an item, and `fit_clicks` trains sequential ones to
tell likes from dislikes.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.baselines import (
        cooccurrence as cooccurrence,
        item_knn as item_knn,
        markov as markov,
        mf_als as mf_als,
        mf_ratings as mf_ratings,
        ncf_ratings as ncf_ratings,
        pairwise as pairwise,
        popularity as popularity,
        sequential as sequential,
    )
    from jaxrec.baselines.bert4rec import Bert4RecConfig as Bert4RecConfig
    from jaxrec.baselines.caser import CaserConfig as CaserConfig
    from jaxrec.baselines.clicks import (
        Clicks as Clicks,
        click_scores as click_scores,
        fit_clicks as fit_clicks,
    )
    from jaxrec.baselines.code_table import matched as matched, take_codes as take_codes
    from jaxrec.baselines.dros_config import dros as dros
    from jaxrec.baselines.fitting import (
        Problem as Problem,
        load_baseline as load_baseline,
        plan_baseline as plan_baseline,
        train_baseline as train_baseline,
    )
    from jaxrec.baselines.gru4rec import Gru4RecConfig as Gru4RecConfig
    from jaxrec.baselines.history_negatives import add_to_read as add_to_read
    from jaxrec.baselines.hstu import HstuConfig as HstuConfig
    from jaxrec.baselines.item_table import history_tokens as history_tokens
    from jaxrec.baselines.mf_bpr import BprConfig as BprConfig
    from jaxrec.baselines.ncf import NeuMfConfig as NeuMfConfig
    from jaxrec.baselines.pairwise import (
        PairwiseConfig as PairwiseConfig,
        fit_pairwise as fit_pairwise,
    )
    from jaxrec.baselines.rating import biases as biases, item_means as item_means
    from jaxrec.baselines.sasrec import SasrecConfig as SasrecConfig
    from jaxrec.baselines.sequential import (
        fit_sequential as fit_sequential,
        make_model as make_model,
    )
    from jaxrec.baselines.sequential_config import (
        Objective as Objective,
        SequentialConfig as SequentialConfig,
    )
    from jaxrec.baselines.sequential_loss import (
        prediction_losses as prediction_losses,
        sequence_loss as sequence_loss,
    )
    from jaxrec.baselines.transformer import (
        TransformerBody as TransformerBody,
        transformer_config as transformer_config,
    )
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
