"""Layers of a transformer: products, norms, positions, masks, dropout, attention and MLP."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.nn.attention import (
        Attention as Attention,
        Context as Context,
        KeyValue as KeyValue,
        SelfContext as SelfContext,
    )
    from jaxrec.nn.code_mean import mean_of_codes as mean_of_codes
    from jaxrec.nn.cross_attention import CrossAttention as CrossAttention, Memory as Memory
    from jaxrec.nn.dot_product import (
        ATTENDED as ATTENDED,
        ScoreTerms as ScoreTerms,
        dot_product_attention as dot_product_attention,
    )
    from jaxrec.nn.dropout import (
        Dropout as Dropout,
        hash_bits as hash_bits,
        hash_dropout as hash_dropout,
    )
    from jaxrec.nn.einsum import (
        Einsum as Einsum,
        fan_in_normal as fan_in_normal,
        matrix_product as matrix_product,
    )
    from jaxrec.nn.fused_cross_entropy import linear_cross_entropy as linear_cross_entropy
    from jaxrec.nn.hstu import HstuLayer as HstuLayer, time_buckets as time_buckets
    from jaxrec.nn.kernel import (
        TUNED as TUNED,
        KernelSpec as KernelSpec,
        StoredKernel as StoredKernel,
        kernel_specs as kernel_specs,
        put_virtual as put_virtual,
        tuned as tuned,
        virtual_slots as virtual_slots,
    )
    from jaxrec.nn.lstm import (
        Dense as Dense,
        LstmDirection as LstmDirection,
        init_dense as init_dense,
        init_lstm_direction as init_lstm_direction,
    )
    from jaxrec.nn.masks import attention_mask as attention_mask
    from jaxrec.nn.mlp import ACTIVATIONS as ACTIVATIONS, Mlp as Mlp
    from jaxrec.nn.norms import Norm as Norm
    from jaxrec.nn.positions import (
        RopeScaling as RopeScaling,
        Rotation as Rotation,
        positions_of as positions_of,
        relative_buckets as relative_buckets,
        rotary_frequencies as rotary_frequencies,
        rotate as rotate,
        rotation as rotation,
    )
    from jaxrec.nn.sinkhorn import (
        gumbel_sinkhorn as gumbel_sinkhorn,
        straight_through as straight_through,
    )
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
