import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import label_ranking_average_precision_score, ndcg_score, top_k_accuracy_score

from jaxrec.core.errors import ConfigError, DataError
from jaxrec.eval import (
    TiedBlock,
    average,
    evaluate,
    hit_rate,
    list_metrics,
    mrr,
    ndcg,
    ranking_metrics,
    removed_items,
    seen_mask,
    tied_blocks,
    top_lists,
)

# Scores from a small set of values, so that most rows have ties.
TIED_SCORES = hnp.arrays(np.float32, (4, 6), elements=st.sampled_from([0.0, 0.5, 1.0, 2.0]))
TARGETS = hnp.arrays(np.int32, 4, elements=st.integers(0, 5))


def distinct_scores(users, items, seed=0):
    rng = np.random.default_rng(seed)
    scores = np.stack([rng.permutation(items) for _ in range(users)]).astype(np.float32)
    return scores, rng.integers(0, items, users).astype(np.int32)


def average_over_orders(scores, target, gain):
    """Mean gain at the target's rank over every order of the items that sorts the scores."""
    scores = scores.tolist()
    ranked = sorted(scores, reverse=True)
    orders = itertools.permutations(range(len(scores)))
    ranks = [o.index(target) for o in orders if [scores[i] for i in o] == ranked]
    return sum(map(gain, ranks)) / len(ranks)


def test_hand_computed_block_of_three():
    scores = np.array([[0.9, 0.5, 0.5, 0.5, 0.1]], np.float32)
    block = tied_blocks(scores, np.array([2]))
    assert (int(block.better[0]), int(block.tied[0])) == (1, 3)
    # Ranks 1, 2, 3: gains 1/log2(3) = .63093, 1/log2(4) = .5, 1/log2(5) = .43068.
    assert hit_rate(block, 2)[0] == pytest.approx(1 / 3)
    assert hit_rate(block, 1)[0] == 0
    assert hit_rate(block, 4)[0] == 1
    assert ndcg(block, 3)[0] == pytest.approx((0.6309298 + 0.5) / 3)
    assert ndcg(block, 100)[0] == pytest.approx((0.6309298 + 0.5 + 0.4306766) / 3)
    assert mrr(block)[0] == pytest.approx((1 / 2 + 1 / 3 + 1 / 4) / 3)
    assert mrr(block, 2)[0] == pytest.approx((1 / 2) / 3)


def test_hand_computed_midrank():
    block = TiedBlock(np.array([1, 1, 0]), np.array([3, 4, 1]))  # ranks 2, 2.5 and 0
    np.testing.assert_array_equal(hit_rate(block, 2, "midrank"), [0, 0, 1])
    np.testing.assert_array_equal(hit_rate(block, 3, "midrank"), [1, 1, 1])
    np.testing.assert_allclose(ndcg(block, 3, "midrank"), [0.5, 1 / np.log2(4.5), 1])
    np.testing.assert_allclose(mrr(block, ties="midrank"), [1 / 3, 1 / 3.5, 1])


@settings(deadline=None)  # the first example compiles
@given(TIED_SCORES, TARGETS)
def test_ties_average_over_every_order_of_the_items(scores, target):
    block = tied_blocks(scores, target)
    gains = {
        "hr@2": lambda r: float(r < 2),
        "ndcg@2": lambda r: (r < 2) / np.log2(r + 2),
        "mrr@2": lambda r: (r < 2) / (r + 1),
        "mrr": lambda r: 1 / (r + 1),
    }
    metrics = ranking_metrics(block, ks=(2,))
    assert metrics.keys() == gains.keys()
    for name, gain in gains.items():  # row 0 only: there are 720 orders a row
        expected = average_over_orders(scores[0], target[0], gain)
        assert metrics[name][0] == pytest.approx(expected, abs=1e-12)


@settings(deadline=None)  # the first example compiles
@given(TIED_SCORES, TARGETS, st.integers(1, 8))
def test_ndcg_with_ties_equals_scikit_learn(scores, target, k):
    ours = ndcg(tied_blocks(scores, target), k)
    relevant = np.eye(6)[target]
    assert ours.mean() == pytest.approx(ndcg_score(relevant, scores, k=k), abs=1e-12)


@pytest.mark.parametrize("k", [1, 5, 10])
def test_metrics_without_ties_equal_scikit_learn(k):
    scores, target = distinct_scores(200, 37)
    metrics = average(ranking_metrics(tied_blocks(scores, target), ks=(k,)))
    relevant = np.eye(37)[target]
    hits = top_k_accuracy_score(target, scores, k=k, labels=np.arange(37))
    assert metrics[f"hr@{k}"] == pytest.approx(hits)
    assert metrics[f"ndcg@{k}"] == pytest.approx(ndcg_score(relevant, scores, k=k))
    assert metrics["mrr"] == pytest.approx(label_ranking_average_precision_score(relevant, scores))


def test_midrank_and_average_agree_without_ties():
    scores, target = distinct_scores(50, 23)
    block = tied_blocks(scores, target)
    for name, values in ranking_metrics(block).items():
        np.testing.assert_allclose(ranking_metrics(block, ties="midrank")[name], values, atol=1e-15)


@settings(deadline=None)  # the first example compiles
@given(TIED_SCORES, TARGETS, st.permutations(range(6)))
def test_metrics_do_not_depend_on_item_numbers(scores, target, new_number):
    moved = np.empty_like(scores)
    moved[:, new_number] = scores
    before = tied_blocks(scores, target)
    after = tied_blocks(moved, np.array(new_number, np.int32)[target])
    np.testing.assert_array_equal(before.better, after.better)
    np.testing.assert_array_equal(before.tied, after.tied)


@settings(deadline=None)  # the first example compiles
@given(TIED_SCORES, TARGETS, hnp.arrays(bool, (4, 6)))
def test_excluding_equals_deleting_the_columns(scores, target, excluded):
    block = tied_blocks(scores, target, excluded)
    for row in range(4):
        keep = ~excluded[row] | (np.arange(6) == target[row])
        left = scores[row][keep]
        assert block.better[row] == (left > scores[row, target[row]]).sum()
        assert block.tied[row] == (left == scores[row, target[row]]).sum()


def test_constant_scores_give_the_expectation_of_a_random_order():
    scores = np.zeros((3, 1349), np.float32)
    metrics = average(ranking_metrics(tied_blocks(scores, np.array([0, 700, 1348])), ks=(10,)))
    assert metrics["hr@10"] == pytest.approx(10 / 1349)
    assert metrics["ndcg@10"] == pytest.approx(4.543559338 / 1349)


def test_infinite_scores_are_ranked_like_others():
    scores = np.array([[-np.inf, -np.inf, 1.0], [np.inf, np.inf, 1.0]], np.float32)
    block = tied_blocks(scores, np.array([0, 1]))
    np.testing.assert_array_equal(block.better, [1, 0])
    np.testing.assert_array_equal(block.tied, [2, 2])


@pytest.mark.parametrize("column", [0, 1])
def test_nan_never_passes_for_a_rank(column):
    scores = np.array([[1.0, 2.0, 3.0]], np.float32)
    scores[0, column] = np.nan
    block = tied_blocks(scores, np.array([0]))
    assert np.isnan(ndcg(block, 10)).all() and np.isnan(hit_rate(block, 10, "midrank")).all()


def test_nan_of_an_excluded_item_does_not_matter():
    scores = np.array([[1.0, np.nan, 3.0]], np.float32)
    block = tied_blocks(scores, np.array([0]), np.array([[False, True, False]]))
    assert (int(block.better[0]), int(block.tied[0])) == (1, 1)


@pytest.mark.parametrize("target", [-1, 3])
def test_target_outside_the_catalogue_has_no_rank(target):
    assert np.isnan(hit_rate(tied_blocks(np.ones((1, 3), np.float32), np.array([target])), 3))[0]


def test_seen_mask_as_drawn():
    mask = seen_mask(np.array([[-1, 0, 2], [-1, -1, -1], [3, 3, 1]]), 4)
    drawing = np.array([[1, 0, 1, 0], [0, 0, 0, 0], [0, 1, 0, 1]], bool)
    np.testing.assert_array_equal(mask, drawing)


def test_blocks_can_be_counted_inside_jit_and_in_bfloat16():
    scores, target = distinct_scores(8, 100)
    count = jax.jit(lambda s, t, seen: tied_blocks(s, t, seen_mask(seen, s.shape[1])))
    seen = np.full((8, 2), -1)
    block = count(jnp.asarray(scores, jnp.bfloat16), target, seen)  # 0..99 are exact
    expected = tied_blocks(scores, target)
    np.testing.assert_array_equal(block.better, expected.better)
    np.testing.assert_array_equal(block.tied, 1)


@pytest.mark.parametrize("k", [0, -1])
def test_bad_k_is_refused(k):
    with pytest.raises(ConfigError, match=f"k={k}"):
        ndcg(TiedBlock(np.array([0]), np.array([1])), k)


def test_unknown_tie_rule_is_refused():
    with pytest.raises(ConfigError, match="'best'; available: average, midrank"):
        hit_rate(TiedBlock(np.array([0]), np.array([1])), 1, "best")


def test_lists_hand_computed():
    items = np.array([[7, 3, 5], [7, 3, -1], [4, -1, 9], [-1, -1, -1]])
    metrics = list_metrics(items, np.array([3, 5, 9, 0]), ks=(2, 3))
    np.testing.assert_array_equal(metrics["hr@2"], [1, 0, 0, 0])
    np.testing.assert_array_equal(metrics["hr@3"], [1, 0, 1, 0])
    np.testing.assert_allclose(metrics["ndcg@3"], [1 / np.log2(3), 0, 0.5, 0])
    np.testing.assert_allclose(metrics["mrr@3"], [1 / 2, 0, 1 / 3, 0])
    assert "mrr" not in metrics


def test_lists_of_the_best_items_equal_the_full_ranking():
    scores, target = distinct_scores(300, 40)
    full = ranking_metrics(tied_blocks(scores, target))
    for name, values in list_metrics(np.argsort(-scores)[:, :10], target).items():
        np.testing.assert_allclose(values, full[name], atol=1e-15)


def test_seen_items_give_their_places_in_a_list_to_the_next_best():
    scores = np.array([[5.0, 4.0, 3.0, 2.0, 1.0], [1.0, 2.0, 3.0, 4.0, 5.0]], np.float32)
    batch = {"seen": np.array([[0, 2], [4, -1]]), "valid": np.array([True, True])}
    lists = top_lists(lambda _: scores, [batch, batch | {"valid": np.array([False, True])}], 4)
    np.testing.assert_array_equal(lists, [[1, 3, 4, -1], [3, 2, 1, 0], [3, 2, 1, 0]])


def test_lists_shorter_than_k_are_refused():
    with pytest.raises(ConfigError, match="k=10 of lists of 3 items"):
        list_metrics(np.zeros((1, 3), int), np.array([0]))


def test_list_target_that_would_match_an_empty_place_is_refused():
    with pytest.raises(DataError, match="user row 1"):
        list_metrics(np.full((2, 10), -1), np.array([0, -1]))


def batches_of(scores, target, seen, size):
    """Batches of one size, the last one filled up with rows that do not count."""
    for start in range(0, len(target), size):
        rows = np.arange(start, start + size)
        index = np.minimum(rows, len(target) - 1)
        yield {
            "scores": scores[index],
            "target": target[index],
            "seen": seen[index],
            "valid": rows < len(target),
        }


@pytest.mark.parametrize("size", [1, 7, 50, 64])
def test_evaluate_does_not_depend_on_batch_size(size):
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 9, (50, 30)).astype(np.float32)
    target = rng.integers(0, 30, 50)
    seen = rng.integers(-1, 30, (50, 4))
    metrics = evaluate(lambda batch: batch["scores"], batches_of(scores, target, seen, size))
    for user in range(50):
        keep = np.isin(np.arange(30), seen[user], invert=True) | (np.arange(30) == target[user])
        relevant = np.eye(30)[target[user]][keep]
        expected = ndcg_score([relevant], [scores[user][keep]], k=10)
        assert metrics["ndcg@10"][user] == pytest.approx(expected, abs=1e-12)


def test_top_lists_hold_the_best_unseen_items_in_order_and_ties_by_number():
    rng = np.random.default_rng(1)
    scores = rng.integers(0, 4, (23, 6)).astype(np.float32)
    seen = rng.integers(-1, 6, (23, 4))
    batches = list(batches_of(scores, np.zeros(23, int), seen, 7))
    found = top_lists(lambda batch: batch["scores"], batches, k=8)
    for user in range(23):
        free = [item for item in range(6) if item not in seen[user]]
        best = sorted(free, key=lambda item: (-scores[user, item], item))
        assert found[user].tolist() == best + [-1] * (8 - len(best))
    np.testing.assert_array_equal(
        top_lists(lambda batch: batch["scores"], batches, k=2), found[:, :2]
    )


def test_a_seen_target_is_ranked_or_missed_the_same_way_in_scores_and_lists():
    rng = np.random.default_rng(2)
    scores, seen = rng.random((40, 12)), rng.integers(0, 12, (40, 3))
    target = rng.integers(0, 12, 40)
    target[::2] = seen[::2, 1]
    for rule in ("ranked", "missed"):
        rank = []
        for user in range(40):
            barred = set(seen[user]) - ({target[user]} if rule == "ranked" else set())
            left = [item for item in np.argsort(-scores[user]) if item not in barred]
            rank.append(left.index(target[user]) if target[user] in left else None)
        expected = [0.0 if r is None else 1 / (r + 1) for r in rank]
        batches = list(batches_of(scores, target, seen, 7))
        metrics = evaluate(lambda batch: batch["scores"], batches, (3,), repeated=rule)
        np.testing.assert_allclose(metrics["mrr"], expected)
        out = removed_items(list(seen), target, rule)
        lists = [
            [item for item in np.argsort(-s) if item not in o]
            for s, o in zip(scores, out, strict=True)
        ]
        lists = np.array([[*row, *[-1] * 12][:12] for row in lists])
        np.testing.assert_array_equal(
            top_lists(lambda batch: batch["scores"], batches, 12, rule), lists
        )
        for name, values in list_metrics(lists, target, ks=(3,)).items():
            np.testing.assert_allclose(values, metrics[name])
    with pytest.raises(ConfigError, match="unknown repeated='kept'; available: ranked, missed"):
        evaluate(lambda batch: batch["scores"], batches, repeated="kept")


def test_users_come_back_in_the_order_of_their_rows():
    scores = np.array([[3.0, 2, 1], [1, 2, 3]])
    batches = [
        {"scores": scores[:1], "target": np.array([0]), "row": np.array([1])},
        {"scores": scores[1:], "target": np.array([0]), "row": np.array([0])},
    ]
    assert evaluate(lambda batch: batch["scores"], batches)["mrr"].tolist() == pytest.approx(
        [1 / 3, 1.0]
    )
    assert top_lists(lambda batch: batch["scores"], batches, 1).tolist() == [[2], [0]]


def test_evaluate_names_the_user_that_cannot_be_ranked():
    scores = np.ones((4, 3), np.float32)
    scores[2, 1] = np.nan
    good = {"scores": scores[:2], "target": np.array([0, 1])}
    bad = {"scores": scores[2:], "target": np.array([0, 1])}
    with pytest.raises(DataError, match=r"user row 2 .* target is 0 of 3 items"):
        evaluate(lambda batch: batch["scores"], [good, bad])


def test_evaluate_refuses_an_empty_data_set():
    with pytest.raises(DataError, match="no users"):
        evaluate(lambda batch: batch["scores"], [])
