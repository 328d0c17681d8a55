"""Item IDs: quantizers, collision repair, the ID vocabulary and the trie of all IDs.

    vectors = item_vectors(texts, train_sequences, num_items, dim=64)
    codes = repair(pq.fit(vectors, levels=4, size=64), vectors)
    index = ItemIndex.build(codes)

Each scheme is a module that makes `ItemCodes`: from vectors (`pq`, `rq`, `rqvae`), from
interactions (`svd`, `collaborative`), from texts (`semantic`, `textual`), from other IDs (`hybrid`)
or from a file (`external`). `simple` holds the controls: random, independent and sequential IDs.
IDs may differ in length; `closed` gives them one length, which the index and the models need.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.ids import (
        collaborative as collaborative,
        collisions as collisions,
        cooccurrence as cooccurrence,
        external as external,
        hybrid as hybrid,
        kmeans as kmeans,
        pq as pq,
        rq as rq,
        rqvae as rqvae,
        semantic as semantic,
        simple as simple,
        svd as svd,
        textual as textual,
    )
    from jaxrec.ids.codes import ItemCodes as ItemCodes, groups as groups, sort_order as sort_order
    from jaxrec.ids.collisions import repair as repair
    from jaxrec.ids.index import ItemIndex as ItemIndex
    from jaxrec.ids.lengths import (
        check_prefix_free as check_prefix_free,
        closed as closed,
        opened as opened,
    )
    from jaxrec.ids.new_items import encode_items as encode_items
    from jaxrec.ids.rqvae import RqVaeConfig as RqVaeConfig
    from jaxrec.ids.sequences import pad_items as pad_items, write_histories as write_histories
    from jaxrec.ids.statistics import (
        code_statistics as code_statistics,
        collapse_warning as collapse_warning,
    )
    from jaxrec.ids.vectors import (
        collaborative_vectors as collaborative_vectors,
        item_vectors as item_vectors,
        reduced_vectors as reduced_vectors,
        text_vectors as text_vectors,
    )
    from jaxrec.ids.vocabulary import BOS as BOS, PAD as PAD, IdVocabulary as IdVocabulary
    from jaxrec.ids.whitening import whitened_vectors as whitened_vectors
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
