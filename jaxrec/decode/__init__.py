"""Decoding: items by constrained beam search, text by sampling or beams, their caches."""

from jaxrec.decode.answer_sets import Answers, choose_answers, score_answers, write_answers
from jaxrec.decode.beam import (
    beam_search,
    beam_widths,
    check_beams,
    search_items,
)
from jaxrec.decode.cache import BeamCache, BeamContext
from jaxrec.decode.generate import Generated, complete, generate
from jaxrec.decode.history import History, extend_histories, read_histories
from jaxrec.decode.kv_cache import CacheContext, KVCache, LanguageModel, last_states, prefill, step
from jaxrec.decode.levels import Recommendations
from jaxrec.decode.next_k import next_items
from jaxrec.decode.recommend import ListStrategy, Recommender
from jaxrec.decode.sampled import Draws, sample_items
from jaxrec.decode.sampling import GREEDY, Sampling, filter_logits, sample
from jaxrec.decode.search import Step, log_probabilities, search_step
from jaxrec.decode.stop import StopStrings, stop_table, token_bytes
from jaxrec.decode.strategies import BEST, Strategy
from jaxrec.decode.text_beam import TextBeams, beam_generate

__all__ = [
    "BEST",
    "GREEDY",
    "Answers",
    "BeamCache",
    "BeamContext",
    "CacheContext",
    "Draws",
    "Generated",
    "History",
    "KVCache",
    "LanguageModel",
    "ListStrategy",
    "Recommendations",
    "Recommender",
    "Sampling",
    "Step",
    "StopStrings",
    "Strategy",
    "TextBeams",
    "beam_generate",
    "beam_search",
    "beam_widths",
    "check_beams",
    "choose_answers",
    "complete",
    "extend_histories",
    "filter_logits",
    "generate",
    "last_states",
    "log_probabilities",
    "next_items",
    "prefill",
    "read_histories",
    "sample",
    "sample_items",
    "score_answers",
    "search_items",
    "search_step",
    "step",
    "stop_table",
    "token_bytes",
    "write_answers",
]
