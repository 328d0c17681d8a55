"""Kernels: one file for each operation, with a plain XLA form and faster forms where they exist."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.kernels.beam_attention_op import (
        beam_attention as beam_attention,
        beam_attention_choice as beam_attention_choice,
        history_attention as history_attention,
        merge_parts as merge_parts,
    )
    from jaxrec.kernels.beam_attention_xla import Part as Part, SharedHistory as SharedHistory
    from jaxrec.kernels.choose import Choice as Choice, Implementation as Implementation
    from jaxrec.kernels.topk import flat_top_k as flat_top_k, grouped_top_k as grouped_top_k
    from jaxrec.kernels.trie_topk_op import (
        trie_topk as trie_topk,
        trie_topk_choice as trie_topk_choice,
    )
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
