"""Whole models: transformers described by a frozen config, with parameters in plain dicts."""

from jaxrec.models.block import Block, PerLayer, Reach, Shared
from jaxrec.models.causal import CausalLM
from jaxrec.models.config import TransformerConfig
from jaxrec.models.convert import (
    Pretrained,
    describe_checkpoint,
    export_model,
    import_model,
)
from jaxrec.models.encoder import Encoder, Pooling, pool
from jaxrec.models.encoder_decoder import EncoderDecoder
from jaxrec.models.heads import Classifier, MaskedLM, ScalarHead
from jaxrec.models.sentences import SentenceEncoder, find_sentence_encoder
from jaxrec.models.spec import Kind, ModelSpec
from jaxrec.models.stack import MemoryBlock, Stack
from jaxrec.models.store import describe_model, load_model, save_model
from jaxrec.models.vocabulary import extend_vocabulary, untie
from jaxrec.models.words import WORDS, word_kinds, word_numbers

__all__ = [
    "WORDS",
    "Block",
    "CausalLM",
    "Classifier",
    "Encoder",
    "EncoderDecoder",
    "Kind",
    "MaskedLM",
    "MemoryBlock",
    "ModelSpec",
    "PerLayer",
    "Pooling",
    "Pretrained",
    "Reach",
    "ScalarHead",
    "SentenceEncoder",
    "Shared",
    "Stack",
    "TransformerConfig",
    "describe_checkpoint",
    "describe_model",
    "export_model",
    "extend_vocabulary",
    "find_sentence_encoder",
    "import_model",
    "load_model",
    "pool",
    "save_model",
    "untie",
    "word_kinds",
    "word_numbers",
]
