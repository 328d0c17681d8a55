"""Baselines under one signature: `fit(train_sequences, num_items) -> params` and `scores`.

`scores(params, batch)` reads `batch["history"]`, int [B, H], padded on the left with -1, the newest
item last; the result is [B, I], higher is better, and does not leave out what the user has seen.
"""

from jaxrec.baselines import cooccurrence, item_knn, markov, popularity

__all__ = ["cooccurrence", "item_knn", "markov", "popularity"]
