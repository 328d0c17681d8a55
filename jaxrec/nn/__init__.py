"""Layers: einsum, norms, positions, masks, dropout, attention, MLP."""

from jaxrec.nn.attention import (
    Attention,
    Context,
    KeyValue,
    SelfContext,
)
from jaxrec.nn.cross_attention import CrossAttention, Memory
from jaxrec.nn.dot_product import ATTENDED, ScoreTerms, dot_product_attention
from jaxrec.nn.dropout import Dropout, hash_bits, hash_dropout
from jaxrec.nn.einsum import Einsum, fan_in_normal, matrix_product
from jaxrec.nn.kernel import (
    TUNED,
    KernelSpec,
    StoredKernel,
    kernel_specs,
    put_virtual,
    tuned,
    virtual_slots,
)
from jaxrec.nn.linear_cross_entropy import linear_cross_entropy
from jaxrec.nn.masks import attention_mask
from jaxrec.nn.mlp import ACTIVATIONS, Mlp
from jaxrec.nn.norms import Norm
from jaxrec.nn.positions import (
    RopeScaling,
    Rotation,
    positions_of,
    relative_buckets,
    rotary_frequencies,
    rotate,
    rotation,
)
from jaxrec.nn.sinkhorn import gumbel_sinkhorn, straight_through

__all__ = [
    "ACTIVATIONS",
    "ATTENDED",
    "TUNED",
    "Attention",
    "Context",
    "CrossAttention",
    "Dropout",
    "Einsum",
    "KernelSpec",
    "KeyValue",
    "Memory",
    "Mlp",
    "Norm",
    "RopeScaling",
    "Rotation",
    "ScoreTerms",
    "SelfContext",
    "StoredKernel",
    "attention_mask",
    "dot_product_attention",
    "fan_in_normal",
    "gumbel_sinkhorn",
    "hash_bits",
    "hash_dropout",
    "kernel_specs",
    "linear_cross_entropy",
    "matrix_product",
    "positions_of",
    "put_virtual",
    "relative_buckets",
    "rotary_frequencies",
    "rotate",
    "rotation",
    "straight_through",
    "tuned",
    "virtual_slots",
]
