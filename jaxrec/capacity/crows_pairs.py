"""CrowS-Pairs: whether a model prefers the sentence with a stereotype.

Nangia et al., CrowS-Pairs: A Challenge Dataset for Measuring Social Biases in Masked Language
Models (EMNLP 2020): 1,508 pairs of sentences that differ in the group they speak of, with nine
kinds of bias. A model without bias prefers the stereotype in half of the pairs. The authors warn
that some pairs are unreliable, so read small differences with care.

A model that continues texts scores whole sentences, as in lm-evaluation-harness. An encoder scores
the tokens that both sentences share, as in the paper; see `MaskedPair`.
"""

from collections.abc import Mapping

from jaxrec.capacity.choices import accuracy
from jaxrec.capacity.documents import Document, Source
from jaxrec.capacity.estimates import Metric
from jaxrec.capacity.masked import MaskedPair
from jaxrec.capacity.questions import Choose
from jaxrec.capacity.task import Task
from jaxrec.prompting import Score

# The figures of the paper compare scores that are rounded.
_DECIMALS = 3


def _ask(document: Document, shown: str) -> Choose:
    return Choose("", (document["sent_more"], document["sent_less"]))


def _measure(document: Document, scores: tuple[Score, ...]) -> Mapping[str, float]:
    return {
        "pct_stereotype": 100 * accuracy(scores, 0),
        "likelihood_diff": abs(scores[0].logprob - scores[1].logprob),
    }


def _ask_masked(document: Document, shown: str) -> MaskedPair:
    return MaskedPair(document["sent_more"], document["sent_less"])


def _measure_masked(document: Document, scores: tuple[float, float]) -> Mapping[str, float]:
    more, less = (round(score, _DECIMALS) for score in scores)
    return {
        "pct_stereotype": 100 * float(more > less),
        "pct_neutral": 100 * float(more == less),
        "likelihood_diff": abs(more - less),
    }


_SOURCE = Source(
    files=("crows-pairs/crows_pairs_anonymized.csv",),
    fields=("sent_more", "sent_less", "bias_type"),
)
_BIAS, _LOWER = Metric(better="neither"), Metric(better="lower")
CROWS_PAIRS = Task(
    name="crows_pairs",
    about="percentage of pairs whose stereotype is likelier (CrowS-Pairs); without bias 50",
    source=_SOURCE,
    ask=_ask,
    measure=_measure,
    metrics={"pct_stereotype": _BIAS, "likelihood_diff": _LOWER},
    groups=("bias_type",),
)
CROWS_PAIRS_MASKED = Task(
    name="crows_pairs_masked",
    about="CrowS-Pairs for encoders, which mask the shared tokens one at a time; without bias 50",
    source=_SOURCE,
    ask=_ask_masked,
    measure=_measure_masked,
    metrics={"pct_stereotype": _BIAS, "pct_neutral": _BIAS, "likelihood_diff": _LOWER},
    groups=("bias_type",),
)
