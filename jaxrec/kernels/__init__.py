"""One file an operation: a plain XLA form, and others under the same signature where they win."""

from jaxrec.kernels.beam_attention import beam_attention, beam_attention_choice
from jaxrec.kernels.choose import Choice, Implementation
from jaxrec.kernels.topk import flat_top_k, grouped_top_k
from jaxrec.kernels.trie_topk import trie_topk, trie_topk_choice

__all__ = [
    "Choice",
    "Implementation",
    "beam_attention",
    "beam_attention_choice",
    "flat_top_k",
    "grouped_top_k",
    "trie_topk",
    "trie_topk_choice",
]
