"""One file an operation: a plain XLA form, and others under the same signature where they win."""

from jaxrec.kernels.beam_attention import beam_attention
from jaxrec.kernels.topk import grouped_top_k
from jaxrec.kernels.trie_topk import trie_topk

__all__ = ["beam_attention", "grouped_top_k", "trie_topk"]
