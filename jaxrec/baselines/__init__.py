"""Baselines under one signature: `fit(train_sequences, num_items) -> params`, `scores(params, batch)`.

`batch["history"]` is int [B, H], padded on the left with -1, the most recent item last; the scores
are [B, I], higher is better, and do not leave out what the user has seen.
"""

from jaxrec.baselines import cooccurrence, item_knn, markov, popularity

__all__ = ["cooccurrence", "item_knn", "markov", "popularity"]
