"""Generative decoding: cache, constrained beam search, batched recommendation."""

from jaxrec.decode.beam import (
    Recommendations,
    beam_search,
    beam_widths,
    check_beams,
    log_probabilities,
)
from jaxrec.decode.cache import BeamCache, BeamContext
from jaxrec.decode.recommend import Recommender

__all__ = [
    "BeamCache",
    "BeamContext",
    "Recommendations",
    "Recommender",
    "beam_search",
    "beam_widths",
    "check_beams",
    "log_probabilities",
]
