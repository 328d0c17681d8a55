"""How items get their IDs: quantizers, collision repair, the ID vocabulary and the trie of all IDs.

    vectors = item_vectors(texts, train_sequences, num_items, dim=64)
    codes = repair(pq.fit(vectors, levels=4, size=64), vectors)
    index = ItemIndex.build(codes)

Schemes are modules with `fit(vectors, levels, size, seed=...) -> ItemCodes`: `pq`, `rq`. `simple`
holds the controls, `random` and `independent`.
"""

from jaxrec.ids import pq, rq, simple
from jaxrec.ids.codes import ItemCodes
from jaxrec.ids.collisions import repair
from jaxrec.ids.index import ItemIndex
from jaxrec.ids.sequences import pad_items, write_histories
from jaxrec.ids.statistics import code_statistics
from jaxrec.ids.vectors import (
    collaborative_vectors,
    item_vectors,
    reduced_vectors,
    text_vectors,
)
from jaxrec.ids.vocabulary import BOS, PAD, IdVocabulary

__all__ = [
    "BOS",
    "PAD",
    "IdVocabulary",
    "ItemCodes",
    "ItemIndex",
    "code_statistics",
    "collaborative_vectors",
    "item_vectors",
    "pad_items",
    "pq",
    "reduced_vectors",
    "repair",
    "rq",
    "simple",
    "text_vectors",
    "write_histories",
]
