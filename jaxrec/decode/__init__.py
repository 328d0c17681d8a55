"""Decoding: items by constrained beam search, text by sampling or beams, their caches."""

from jaxrec.decode.beam import (
    Recommendations,
    beam_search,
    beam_widths,
    check_beams,
    log_probabilities,
)
from jaxrec.decode.cache import BeamCache, BeamContext
from jaxrec.decode.generate import Generated, complete, generate
from jaxrec.decode.kv_cache import CacheContext, KVCache, LanguageModel, last_states, prefill, step
from jaxrec.decode.recommend import Recommender
from jaxrec.decode.sampling import GREEDY, Sampling, filter_logits, sample
from jaxrec.decode.stop import StopStrings, stop_table, token_bytes
from jaxrec.decode.text_beam import TextBeams, beam_generate

__all__ = [
    "GREEDY",
    "BeamCache",
    "BeamContext",
    "CacheContext",
    "Generated",
    "KVCache",
    "LanguageModel",
    "Recommendations",
    "Recommender",
    "Sampling",
    "StopStrings",
    "TextBeams",
    "beam_generate",
    "beam_search",
    "beam_widths",
    "check_beams",
    "complete",
    "filter_logits",
    "generate",
    "last_states",
    "log_probabilities",
    "prefill",
    "sample",
    "step",
    "stop_table",
    "token_bytes",
]
