"""Whole models: transformers described by a frozen config, with parameters in plain dicts."""

from jaxrec.models.causal import Block, CausalLM
from jaxrec.models.config import TransformerConfig

__all__ = ["Block", "CausalLM", "TransformerConfig"]
