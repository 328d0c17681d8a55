"""Whole models: transformers described by a frozen config, with parameters in plain dicts."""

from jaxrec.models.block import Block, PerLayer, Reach, Shared
from jaxrec.models.causal import CausalLM
from jaxrec.models.config import TransformerConfig
from jaxrec.models.encoder import Encoder, Pooling, pool
from jaxrec.models.encoder_decoder import EncoderDecoder
from jaxrec.models.heads import Classifier, MaskedLM, ScalarHead
from jaxrec.models.stack import Stack

__all__ = [
    "Block",
    "CausalLM",
    "Classifier",
    "Encoder",
    "EncoderDecoder",
    "MaskedLM",
    "PerLayer",
    "Pooling",
    "Reach",
    "ScalarHead",
    "Shared",
    "Stack",
    "TransformerConfig",
    "pool",
]
