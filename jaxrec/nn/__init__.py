"""Layers: einsum, norms, positions, masks, dropout, attention, MLP."""

from jaxrec.nn.attention import Attention, Context, SelfContext, dot_product_attention
from jaxrec.nn.dropout import Dropout, hash_bits
from jaxrec.nn.einsum import Einsum, fan_in_normal
from jaxrec.nn.masks import causal_mask
from jaxrec.nn.mlp import ACTIVATIONS, Mlp
from jaxrec.nn.norms import Norm
from jaxrec.nn.positions import positions_of, rotate

__all__ = [
    "ACTIVATIONS",
    "Attention",
    "Context",
    "Dropout",
    "Einsum",
    "Mlp",
    "Norm",
    "SelfContext",
    "causal_mask",
    "dot_product_attention",
    "fan_in_normal",
    "hash_bits",
    "positions_of",
    "rotate",
]
