"""GIRL's parts against scikit-learn, SciPy and brute force: predictors, judges, grounding."""

import dataclasses
import json
import math
from collections import Counter

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss as sklearn_log_loss, roc_auc_score

from jaxrec.capacity import Comparison, compare_answers, model_judge, score_judge
from jaxrec.core import ConfigError, DataError
from jaxrec.prompting import ScriptedModel
from jaxrec.systems.girl import MatchConfig
from jaxrec.systems.girl.grounding import (
    Catalogue,
    as_resume,
    grounded_scores,
    known_skills,
    word_counter,
)
from jaxrec.systems.girl.predictors import Rows, Scorer, Vectors, fit_scorer, raw_dot, score_rows
from jaxrec.systems.girl.recommendation import (
    calibrated,
    log_loss_of,
    measure_rows,
    paired_gain,
)
from jaxrec.systems.girl.vectors import LatentSemantics
from jaxrec.systems.girl.writing import copy_rate, distinct

RNG = np.random.default_rng(0)
WIDTH = 6


def planted(people=60, jobs=40, rows=900, seed=0):
    """People who match jobs near a taste that only the written vectors tell."""
    rng = np.random.default_rng(seed)
    taste, job = rng.normal(size=(people, WIDTH)), rng.normal(size=(jobs, WIDTH))
    vectors = Vectors(
        people=rng.normal(size=(people, WIDTH)).astype(np.float32),
        jobs=job.astype(np.float32),
        written=taste.astype(np.float32),
    )
    p, j = rng.integers(people, size=rows), rng.integers(jobs, size=rows)
    logits = 2 * (taste[p] * job[j]).sum(axis=1) / math.sqrt(WIDTH)
    label = rng.random(rows) < 1 / (1 + np.exp(-logits))
    cells = [
        Rows(p[part], j[part], label[part].astype(np.float32))
        for part in (slice(0, 600), slice(600, 700), slice(700, None))
    ]
    return vectors, cells


def test_a_predictor_learns_what_descriptions_tell_and_not_without_them():
    vectors, (train, valid, test) = planted()
    config = MatchConfig(hidden=32, dropout=0.0, epochs=40, batch_size=50, lr=1e-2, seeds=2)
    scorer = Scorer(kind="dot", hidden=32, dropout=0.0)
    params = fit_scorer(scorer, config, vectors, train, valid, seed=0)
    logits = score_rows(scorer, params, vectors, test)
    assert logits.shape == (2, len(test))
    # Seeds differ, and each of them comes near the planted logit.
    assert not np.allclose(logits[0], logits[1])
    truth = raw_dot(Vectors(people=vectors.written, jobs=vectors.jobs), test)
    best = roc_auc_score(test.label, truth)
    for own in logits:
        assert best - 0.08 < roc_auc_score(test.label, own)
    shuffled = dataclasses.replace(vectors, written=np.roll(vectors.written, 1, axis=0))
    params = fit_scorer(scorer, config, shuffled, train, valid, seed=0)
    worse = score_rows(scorer, params, shuffled, test)
    # People are known in training, so a little can be learned of each by heart.
    assert roc_auc_score(test.label, worse.mean(axis=0)) < best - 0.05


def test_the_scores_of_both_kinds_are_those_of_numpy():
    vectors, (train, *_) = planted(rows=750)
    given = [jnp.asarray(x) for x in (vectors.people[train.person], vectors.jobs[train.job],
                                      vectors.written[train.person])]  # fmt: skip

    def gelu(x):
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))

    for kind, inputs in (("mlp", (0, 1, 2)), ("dot", (0, 2))):
        scorer = Scorer(kind=kind, hidden=4, dropout=0.5)
        params = scorer.init({"params": jnp.array([0, 1], jnp.uint32)}, *given)
        layers = {
            n: {k: np.asarray(v) for k, v in own.items()} for n, own in params["params"].items()
        }
        x = np.concatenate([np.asarray(given[n]) for n in inputs], axis=1)
        hidden = gelu(x @ layers["hidden"]["kernel"] + layers["hidden"]["bias"])
        out = hidden @ layers["out"]["kernel"] + layers["out"]["bias"]
        wanted = (
            out[:, 0] if kind == "mlp" else (out * np.asarray(given[1])).sum(1) / math.sqrt(WIDTH)
        )
        np.testing.assert_allclose(np.asarray(scorer.apply(params, *given)), wanted, atol=1e-4)


def test_a_residual_predictor_begins_as_a_logistic_regression_and_adds_its_network():
    vectors, (train, valid, _) = planted(rows=750)
    given = [vectors.people[train.person], vectors.jobs[train.job], vectors.written[train.person]]
    person, job, written = (np.asarray(x, np.float64) for x in given)
    products = np.stack([(person * job).sum(1), (written * job).sum(1)], 1) / math.sqrt(WIDTH)
    fit = LogisticRegression(C=np.inf).fit(products, train.label > 0)
    key = {"params": jnp.array([0, 1], jnp.uint32)}
    for kind in ("mlp", "dot"):
        # With any network and weights, the products are added to what the network says.
        network = Scorer(kind=kind, hidden=4, dropout=0.5)
        params = network.init(key, *given)["params"]
        weights = {"kernel": jnp.array([[0.3], [-2.0]]), "bias": jnp.array([0.7])}
        scorer = Scorer(kind=kind, hidden=4, dropout=0.5, residual=True)
        found = scorer.apply({"params": params | {"products": weights}}, *given)
        said = np.asarray(network.apply({"params": params}, *given))
        wanted = said + products @ [0.3, -2.0] + 0.7
        np.testing.assert_allclose(np.asarray(found), wanted, atol=1e-4)
        # Blocks have a product and a weight each: of the person first, then of the description.
        parts = [
            (x[:, at] * job[:, at]).sum(1) / math.sqrt(at.stop - at.start)
            for x in (person, written)
            for at in (slice(0, 2), slice(2, WIDTH))
        ]
        weights = {"kernel": jnp.array([[0.3], [-2.0], [1.0], [0.5]]), "bias": jnp.array([0.7])}
        several = dataclasses.replace(scorer, blocks=(2, WIDTH - 2))
        found = several.apply({"params": params | {"products": weights}}, *given)
        wanted = said + np.stack(parts, 1) @ [0.3, -2.0, 1.0, 0.5] + 0.7
        np.testing.assert_allclose(np.asarray(found), wanted, atol=1e-4)
    # An epoch without any change is the beginning, which has no network yet.
    config = MatchConfig(hidden=4, epochs=1, batch_size=50, lr=1e-12, seeds=1)
    params = fit_scorer(scorer, config, vectors, train, valid, seed=0)
    scores = score_rows(scorer, params, vectors, train)[0]
    np.testing.assert_allclose(scores, fit.decision_function(products), atol=1e-3)
    # A training that makes the validation worse is not kept.
    wild = dataclasses.replace(config, lr=1.0, epochs=3)
    wilder = fit_scorer(scorer, wild, vectors, train, valid, seed=0)
    kept = score_rows(scorer, wilder, vectors, valid)
    begun = score_rows(scorer, params, vectors, valid)
    assert log_loss_of(kept[0], valid.label) <= log_loss_of(begun[0], valid.label) + 1e-6


def test_latent_semantic_vectors_have_the_products_of_the_best_approximation():
    words = ["bread", "cakes", "oven", "nurse", "ward", "pain"]
    texts = [" ".join(RNG.choice(words, 4)) for _ in range(30)]
    found = LatentSemantics.fit(texts, 3).encode(texts)
    cells = np.asarray(word_counter().fit_transform(texts).todense())
    left, values, right = np.linalg.svd(cells, full_matrices=False)
    best = (left[:, :3] * values[:3]) @ right[:3]
    np.testing.assert_allclose(found @ found.T, best @ best.T, atol=1e-4)
    for few, width in ((texts, 7), (texts[:2], 3)):
        with pytest.raises(DataError, match=f"--match.lsa {width} needs as many texts and"):
            LatentSemantics.fit(few, width)
    with pytest.raises(ConfigError, match="are two encoders"):
        MatchConfig(lsa=3, encoder="somewhere")


def test_metrics_are_those_of_scikit_learn_and_the_calibration_is_its_fit():
    _, (_, _, rows) = planted()
    scores = RNG.normal(size=(3, len(rows)))
    found = measure_rows({"mlp base": scores}, rows, resamples=20)["mlp base"]
    chances = 1 / (1 + np.exp(-scores))
    for seed in range(3):
        assert found["auc_by_seed"][seed] == pytest.approx(roc_auc_score(rows.label, scores[seed]))
        assert found["log_loss_by_seed"][seed] == pytest.approx(
            sklearn_log_loss(rows.label, chances[seed])
        )
    assert found["auc"] == pytest.approx(np.mean(found["auc_by_seed"]))
    # A fit without regularization: its gradient is 0, so the mean probability is the share.
    others = calibrated(scores[0], rows.label, scores[0])
    assert (1 / (1 + np.exp(-others))).mean() == pytest.approx(rows.label.mean(), abs=1e-4)
    best = log_loss_of(others, rows.label)
    a, b = np.polyfit(scores[0], others, 1)
    for da, db in ((0.1, 0), (-0.1, 0), (0, 0.1), (0, -0.1)):
        assert best < log_loss_of((a + da) * scores[0] + b + db, rows.label)
    weak = LogisticRegression(C=1e6).fit(scores[0][:, None], rows.label)
    assert a == pytest.approx(weak.coef_[0, 0], abs=1e-3)


def test_gains_are_tested_as_scipy_does_and_one_value_stands_for_all_seeds():
    ours, theirs = [0.7, 0.72, 0.69, 0.71], [0.66, 0.69, 0.68, 0.66]
    gain, p = paired_gain(ours, theirs)
    assert gain == pytest.approx(np.mean(ours) - np.mean(theirs))
    assert p == pytest.approx(scipy.stats.ttest_rel(ours, theirs).pvalue)
    assert paired_gain(ours, [0.7])[1] == pytest.approx(scipy.stats.ttest_1samp(ours, 0.7).pvalue)
    assert math.isnan(paired_gain([0.7], [0.6])[1])
    gain, p = paired_gain([0.1 + 0.2, 0.4, 0.5], [0.2, 0.3, 0.4])
    assert (gain, math.isnan(p)) == (pytest.approx(0.1), True)
    with pytest.raises(DataError, match="the same seeds, got 4 and 3"):
        paired_gain(ours, theirs[:3])


def test_rows_of_one_label_are_rejected():
    rows = Rows(np.zeros(3, int), np.zeros(3, int), np.ones(3, np.float32))
    with pytest.raises(DataError, match=r"have 3 rows and the labels \[1.0\]"):
        measure_rows({"mlp base": np.zeros((1, 3))}, rows, resamples=5)


def test_grounding_is_that_of_brute_force():
    jobs = ["bakes bread in an oven", "cares for patients", "bakes cakes", "repairs an oven"]
    catalogue = Catalogue(["a", "b", "c", "d"], jobs)
    texts = ["bread and cakes", "patients"]
    stop = {"in", "an", "for", "and"}
    words = [[w for w in job.split() if w not in stop] for job in jobs]
    count = Counter(w for own in words for w in set(own))
    idf = {w: math.log((1 + len(jobs)) / (1 + n)) + 1 for w, n in count.items()}

    def vector(text):
        own = {w: idf[w] for w in text.split() if w in idf}
        norm = math.sqrt(sum(v * v for v in own.values()))
        return {w: v / norm for w, v in own.items()}

    wanted = [
        np.mean([sum(vector(t).get(w, 0) * v for w, v in vector(job).items()) for t in texts])
        for job in jobs
    ]
    np.testing.assert_allclose(catalogue.similarities(texts), wanted, atol=1e-9)
    rewards = np.array([0.0, 1.0, 2.0, 5.0])
    for kappa in (0.0, 0.5, 3.0):
        scores = scipy.stats.zscore(rewards) + kappa * scipy.stats.zscore(wanted)
        np.testing.assert_allclose(grounded_scores(rewards, np.array(wanted), kappa), scores)
    assert catalogue.shared(0, "an oven with bread") == ["bread", "oven"]


def test_equal_rewards_say_nothing():
    near = np.array([0.1, 0.4, 0.2])
    found = grounded_scores(np.full(3, 0.1 + 0.2), near, 1.0)
    assert found.argsort().tolist() == near.argsort().tolist()
    assert np.isfinite(found).all()


def test_skills_of_a_resume_are_found_word_by_word():
    skills = ["data analysis", "analysis", "C++", "sewing"]
    assert known_skills("Data-analysis; C++ and data analysis!", skills)[-2:] == [
        "C++",
        "data analysis",
    ]
    read = as_resume("I like sewing. " * 500 + "C++", skills, most=8)
    assert read == "Profile: Sewing.\nExperience: C++."
    with pytest.raises(DataError, match="the resume is empty"):
        as_resume(" \n", skills, most=8)
    with pytest.raises(DataError, match="names none of the 4 skills"):
        as_resume("I fly.", skills, most=8)


def test_a_judge_that_prefers_the_first_place_decides_nothing():
    pairs = [Comparison(request="r", answer=f"a{n}", opponent=f"b{n}") for n in range(4)]
    biased = compare_answers(model_judge(ScriptedModel(lambda prompt, n: "[[A]]")), pairs).wins
    assert (biased.win, biased.tie, biased.lose) == (0.0, 1.0, 0.0)
    fair = compare_answers(score_judge(lambda r, text: float(text[0] == "a")), pairs).wins
    assert (fair.win, fair.advantage) == (1.0, 1.0)


def test_repetition_and_copies_are_counted_by_hand():
    texts = ["bake bread bake bread", "bake cakes"]
    assert distinct(texts, 1) == 3 / 6
    assert distinct(texts, 2) == 3 / 4
    assert copy_rate("we bake bread now", "they bake bread now") == 1 / 2
    assert copy_rate("two words", "two words") == 0.0
    with pytest.raises(DataError, match="none of 1 texts has 3 words"):
        distinct(["two words"], 3)
    assert json.dumps(copy_rate("a b c", "a b c")) == "1.0"
