"""Text metrics equal those of reference libraries on random texts."""

import math

import numpy as np
import pytest

from jaxrec.core import ConfigError, DataError
from jaxrec.eval import (
    bits_per_byte,
    corpus_score,
    exact_match,
    perplexity,
    summary_scores,
    token_f1,
    translation_signatures,
)

WORDS = (
    *("the", "a", "an", "cat", "cats", "sat", "sitting", "on", "mat", "Mat,", "very", "good;"),
    *("film", "it's", "1,000", "co-op", "!", ".", "é", "犬", "&", "-"),
)


def texts(rng, count, longest=12, breaks=False):
    """Random texts; some are empty, and some have several lines."""
    made = []
    for _ in range(count):
        words = rng.choice(WORDS, size=rng.integers(0, longest + 1)).tolist()
        if breaks and len(words) > 4:
            words.insert(3, "\n")
        made.append(" ".join(words))
    return made


@pytest.mark.parametrize("metric", ["bleu", "chrf", "ter"])
def test_corpus_scores_are_those_of_sacrebleu(metric):
    sacrebleu = pytest.importorskip("sacrebleu")
    theirs = getattr(sacrebleu, f"corpus_{metric}")
    for seed in range(200):
        rng = np.random.default_rng(seed)
        count, many = int(rng.integers(1, 4)), int(rng.integers(1, 4))
        ours, streams = texts(rng, count), [texts(rng, count) for _ in range(many)]
        # sacreBLEU takes a list for each reference, and we take one for each text.
        found = corpus_score(metric, ours, [list(row) for row in zip(*streams, strict=True)])
        assert found == pytest.approx(theirs(ours, streams).score, abs=1e-9), seed


def test_signatures_are_those_of_sacrebleu():
    metrics = pytest.importorskip("sacrebleu.metrics")
    metric = metrics.BLEU()
    metric.corpus_score(["a"], [["a"]])
    assert translation_signatures()["bleu"] == str(metric.get_signature())


@pytest.mark.parametrize("stem", [True, False])
def test_rouge_is_that_of_rouge_score(stem):
    scorer = pytest.importorskip("rouge_score.rouge_scorer")
    names = ["rouge1", "rouge2", "rougeL", "rougeLsum"]
    theirs = scorer.RougeScorer(names, use_stemmer=stem)
    for seed in range(200):
        rng = np.random.default_rng(seed)
        text, *references = texts(rng, int(rng.integers(2, 5)), breaks=True)
        expected = theirs.score_multi(references, text)
        found = summary_scores(text, references, stem=stem)
        assert found == pytest.approx({name: expected[name].fmeasure for name in names}), seed


def test_exact_match_and_f1_are_those_of_squad():
    squad = pytest.importorskip("torchmetrics.functional.text").squad
    for seed in range(200):
        rng = np.random.default_rng(seed)
        text, *references = texts(rng, int(rng.integers(2, 5)), longest=3)
        asked = {"prediction_text": text, "id": "1"}
        right = {"answers": {"text": references, "answer_start": [0] * len(references)}, "id": "1"}
        expected = squad([asked], [right])
        assert exact_match(text, references) == float(expected["exact_match"]) / 100, seed
        assert token_f1(text, references) == pytest.approx(float(expected["f1"]) / 100), seed


def test_perplexity_and_bits_are_those_of_lm_eval():
    metrics = pytest.importorskip("lm_eval.api.metrics")
    for seed in range(200):
        rng = np.random.default_rng(seed)
        count = int(rng.integers(1, 9))
        logprobs, sizes = -100 * rng.random(count), rng.integers(1, 50, count)
        items = list(zip(logprobs.tolist(), sizes.tolist(), strict=True))
        expected = metrics.weighted_perplexity(items)
        assert perplexity(logprobs, sizes) == pytest.approx(expected, rel=1e-12)
        expected = metrics.bits_per_byte(items)
        assert bits_per_byte(logprobs, sizes) == pytest.approx(expected, rel=1e-12)


def test_a_uniform_model_has_the_perplexity_of_its_vocabulary():
    sizes = np.array([3, 8, 1])
    assert perplexity(-sizes * math.log(49_152), sizes) == pytest.approx(49_152)
    assert perplexity(-1e6, 1) == math.inf


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: corpus_score("bleu", ["a"], []), "1 texts for 0 rows of references"),
        (lambda: corpus_score("ter", ["a"], ["a"]), "references must be a list of at least one"),
        (lambda: summary_scores("a", []), "references must be a list of at least one"),
        (lambda: exact_match("a", "a"), "references must be a list of texts, got one"),
        (lambda: token_f1("a", []), "an answer has no references"),
        (lambda: perplexity([-1.0], [1, 2]), "need as many numbers of units"),
        (lambda: perplexity([-1.0], [0]), "must have units, got 0 in all"),
        (lambda: bits_per_byte([math.nan], [1]), "a log-probability is nan"),
    ],
)
def test_what_cannot_be_measured_is_rejected(call, message):
    with pytest.raises(DataError, match=message):
        call()


def test_an_unknown_metric_is_named():
    with pytest.raises(ConfigError, match="no metric 'meteor'; expected one of bleu, chrf, ter"):
        corpus_score("meteor", ["a"], [["a"]])
