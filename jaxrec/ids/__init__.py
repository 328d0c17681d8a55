"""How items get their IDs: quantizers, collision repair, the ID vocabulary and the trie of all IDs.

    vectors = item_vectors(texts, train_sequences, num_items, dim=64)
    codes = repair(pq.fit(vectors, levels=4, size=64), vectors)
    index = ItemIndex.build(codes)

Schemes are modules that make `ItemCodes`: of vectors (`pq`, `rq`, `rqvae`), of interactions (`svd`,
`collaborative`), of texts (`semantic`, `textual`), of other IDs (`hybrid`), or made elsewhere
(`external`). `simple` holds the controls, `random`, `independent` and `sequential`. IDs may differ
in length; `closed` gives them one length, which the index and the models need.
"""

from jaxrec.ids import (
    collaborative,
    external,
    hybrid,
    pq,
    rq,
    rqvae,
    semantic,
    simple,
    svd,
    textual,
)
from jaxrec.ids.codes import ItemCodes
from jaxrec.ids.collisions import repair
from jaxrec.ids.index import ItemIndex
from jaxrec.ids.lengths import check_prefix_free, closed, opened
from jaxrec.ids.new_items import encode_items
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
    "check_prefix_free",
    "closed",
    "code_statistics",
    "collaborative",
    "collaborative_vectors",
    "encode_items",
    "external",
    "hybrid",
    "item_vectors",
    "opened",
    "pad_items",
    "pq",
    "reduced_vectors",
    "repair",
    "rq",
    "rqvae",
    "semantic",
    "simple",
    "svd",
    "text_vectors",
    "textual",
    "write_histories",
]
