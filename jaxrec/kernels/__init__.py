"""One file an operation: a plain XLA form, and others under the same signature where they win."""

from jaxrec.kernels.beam_attention import beam_attention

__all__ = ["beam_attention"]
