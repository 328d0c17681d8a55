"""Ranking metrics, significance and leak checks: one protocol for every system."""

from jaxrec.eval.beyond_accuracy import Catalogue, list_quality, thirds
from jaxrec.eval.leaks import last_plus_one_rate, max_plus_one_rate
from jaxrec.eval.ranking import (
    TiedBlock,
    Ties,
    average,
    evaluate,
    hit_rate,
    list_metrics,
    mrr,
    ndcg,
    ranking_metrics,
    seen_mask,
    tied_blocks,
    top_lists,
)
from jaxrec.eval.rating import ParsedRatings, parse_ratings, rating_errors
from jaxrec.eval.significance import (
    Interval,
    PairedTest,
    bootstrap_interval,
    crossed_interval,
    crossed_test,
    holm,
    paired_bootstrap,
)
from jaxrec.eval.text import bleu, rouge, says

__all__ = [
    "Catalogue",
    "Interval",
    "PairedTest",
    "ParsedRatings",
    "TiedBlock",
    "Ties",
    "average",
    "bleu",
    "bootstrap_interval",
    "crossed_interval",
    "crossed_test",
    "evaluate",
    "hit_rate",
    "holm",
    "last_plus_one_rate",
    "list_metrics",
    "list_quality",
    "max_plus_one_rate",
    "mrr",
    "ndcg",
    "paired_bootstrap",
    "parse_ratings",
    "ranking_metrics",
    "rating_errors",
    "rouge",
    "says",
    "seen_mask",
    "thirds",
    "tied_blocks",
    "top_lists",
]
