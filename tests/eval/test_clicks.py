import itertools

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from jaxrec.core import DataError
from jaxrec.eval.clicks import (
    auc_by_user,
    auc_interval,
    click_metrics,
    paired_auc,
    pooled_auc,
    pooled_auc_by_user,
    share_by_user,
    within_user_auc,
)
from jaxrec.eval.significance import bootstrap_interval, paired_bootstrap


def drawn(seed=0):
    users = np.repeat(np.arange(4), 25)
    rng = np.random.default_rng(seed)
    return users, rng.random(100) < np.repeat([0.2, 0.4, 0.6, 0.8], 25), rng.random(100)


def test_within_user_auc_ignores_differences_between_users():
    users, labels, scores = drawn()
    by_user = users.astype(float)
    assert pooled_auc(labels, by_user) > 0.6
    assert within_user_auc(labels, by_user, users) == 0.5
    brute = []
    for user in range(4):
        mine = users == user
        up, down = scores[mine & labels], scores[mine & ~labels]
        brute.append(np.mean([[a > b for b in down] for a in up]))
    np.testing.assert_allclose(within_user_auc(labels, scores, users), np.mean(brute))
    # What tells users apart alone has the same AUC within every one of them.
    assert click_metrics(labels, by_user, users).within_user == (0.5, 0.5, 0.5)
    with pytest.raises(DataError, match="both labels 0 and 1"):
        pooled_auc(np.ones(3), np.ones(3))


def test_a_tie_counts_half_whatever_the_order_of_the_rows():
    labels, scores = np.array([1, 0, 1, 0, 0]), np.array([2.0, 2.0, 1.0, 1.0, 0.0])
    # Of the six pairs of a liked and a disliked row three are in order, two tie, one is not.
    assert pooled_auc(labels, scores) == pytest.approx((3 + 2 / 2) / 6)
    assert pooled_auc(labels[::-1], scores[::-1]) == pooled_auc(labels, scores)
    assert pooled_auc(labels, np.zeros(5)) == 0.5


def every_resample(users):
    """Rows of all 4^4 equally likely resamples of four users."""
    for chosen in itertools.product(range(4), repeat=4):
        yield np.concatenate([np.flatnonzero(users == user) for user in chosen])


def test_intervals_are_quantiles_over_all_resamples_of_the_users():
    users, labels, scores = drawn()
    pooled = [pooled_auc(labels[rows], scores[rows]) for rows in every_resample(users)]
    one = [pooled_auc(labels[users == user], scores[users == user]) for user in range(4)]
    within = [np.mean([one[user] for user in users[rows][::25]]) for rows in every_resample(users)]
    found = click_metrics(labels, scores, users, level=0.8, resamples=1000)
    for interval, exact in ((found.auc, pooled), (found.within_user, within)):
        np.testing.assert_allclose(interval[1:], np.quantile(exact, [0.1, 0.9]), atol=0.02)
    assert found.auc.mean == pooled_auc(labels, scores)
    assert found.within_user.mean == pytest.approx(np.mean(one))


def test_the_paired_test_is_that_over_all_resamples_of_the_users():
    users, labels, scores = drawn()
    others = np.random.default_rng(5).random(100)

    def difference(rows):
        return pooled_auc(labels[rows], scores[rows]) - pooled_auc(labels[rows], others[rows])

    whole = difference(np.arange(100))
    exact = np.array([difference(rows) for rows in every_resample(users)])
    found = paired_auc(labels, scores, others, users, level=0.8, resamples=1000)
    assert found.difference == pytest.approx(whole)
    np.testing.assert_allclose(found[1:3], np.quantile(exact, [0.1, 0.9]), atol=0.02)
    assert found.p == pytest.approx(np.mean(np.abs(exact - whole) >= abs(whole)), abs=0.05)


def test_a_user_with_one_kind_of_label_does_not_count_within_users():
    labels, users = np.array([1, 1, 0, 1]), np.array([0, 0, 1, 1])
    scores = np.array([0.0, 0.0, 1.0, 2.0])
    assert within_user_auc(labels, scores, users) == 1.0
    with pytest.raises(DataError, match="no user has both"):
        within_user_auc(labels[:2], scores[:2], users[:2])


def test_paired_test_finds_a_difference_and_none_where_there_is_none():
    users, labels, noise = drawn()
    good = labels + 0.5 * noise
    found = paired_auc(labels, good, noise, users, resamples=300)
    np.testing.assert_allclose(
        found.difference, pooled_auc(labels, good) - pooled_auc(labels, noise)
    )
    assert found.low > 0.2
    assert found.p < 0.01
    same = paired_auc(labels, noise, 2 * noise, users, resamples=300)
    assert (same.difference, same.low, same.high, same.p) == (0.0, 0.0, 0.0, 1.0)


def uneven(count=60, seed=1):
    """Users with 3 to 12 examples, many ties, and one user who likes everything."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(3, 13, count)
    users = np.repeat(rng.permutation(count), sizes)
    labels = rng.random(len(users)) < 0.5
    labels[users == 7] = True
    return users, labels, np.round(rng.normal(size=len(users)) + 0.5 * labels, 1)


def test_values_of_users_have_the_auc_as_their_mean_and_are_what_leaving_a_user_out_changes():
    users, labels, scores = uneven()
    values, count = auc_by_user(labels, scores, users), 60
    assert values.auc.mean() == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    within = within_user_auc(labels, scores, users)
    assert values.within_user.mean() == pytest.approx(within, abs=1e-12)
    assert values.within_user[7] == pytest.approx(within)
    # Tukey's pseudo-values of the jackknife differ from a linearization by terms of order 1 / U.
    rest = [users != user for user in range(count)]
    for mine, left_out in (
        (values.auc, [roc_auc_score(labels[r], scores[r]) for r in rest]),
        (values.within_user, [within_user_auc(labels[r], scores[r], users[r]) for r in rest]),
    ):
        pseudo = count * mine.mean() - (count - 1) * np.array(left_out)
        assert mine.std() > 0.2
        np.testing.assert_allclose(mine, pseudo, atol=0.1 * mine.std())


def test_a_test_of_the_values_is_the_paired_bootstrap_of_the_auc_itself():
    users, labels, scores = uneven()
    others = scores + np.random.default_rng(2).normal(size=len(scores))
    exact = paired_auc(labels, scores, others, users, resamples=2000)
    both = [auc_by_user(labels, each, users).auc for each in (scores, others)]
    found = paired_bootstrap(*both, resamples=2000)
    assert found.difference == pytest.approx(exact.difference)
    np.testing.assert_allclose([found.low, found.high], [exact.low, exact.high], atol=0.01)


def test_values_of_users_have_the_pooled_auc_and_the_accuracy_as_their_means():
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, 300)
    scores = np.round(labels * 0.4 + rng.normal(size=300), 1)  # with ties
    users = rng.integers(0, 25, 300) * 3
    values = pooled_auc_by_user(labels, scores, users)
    assert len(values) == len(np.unique(users))
    assert values.mean() == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    np.testing.assert_allclose(values, auc_by_user(labels, scores, users).auc)
    right = (scores > 0) == labels
    assert share_by_user(right, users).mean() == pytest.approx(right.mean(), abs=1e-12)
    # With equally many examples of each user, the values are the users' own shares.
    even = np.repeat(np.arange(25), 12)
    shares = [right[even == user].mean() for user in range(25)]
    np.testing.assert_allclose(share_by_user(right, even), shares)
    with pytest.raises(DataError, match="give the user of each answer"):
        share_by_user(right, users[:-1])
    with pytest.raises(DataError, match="AUC needs both labels"):
        pooled_auc_by_user(np.ones(300), scores, users)


def test_an_interval_over_users_covers_what_a_bootstrap_over_users_says():
    rng = np.random.default_rng(5)
    users = np.repeat(np.arange(80), rng.integers(1, 9, 80))
    taste = rng.normal(size=80)[users]
    labels = (taste + rng.normal(size=len(users)) > 0).astype(int)
    scores = taste + rng.normal(size=len(users))
    found = bootstrap_interval(pooled_auc_by_user(labels, scores, users))
    wanted = click_metrics(labels, scores, users, resamples=400).auc
    assert found.mean == pytest.approx(wanted.mean)
    assert found.high - found.low == pytest.approx(wanted.high - wanted.low, rel=0.2)


def test_resamples_by_ranks_are_those_of_repeated_rows_by_scikit_learn():
    users, labels, scores = uneven(count=12)
    others = np.round(scores + np.random.default_rng(5).normal(size=len(scores)), 1)
    names, rng = np.unique(users), np.random.default_rng(4)
    drawn = []
    for _ in range(50):
        chosen = rng.integers(0, len(names), len(names))
        drawn.append(np.concatenate([np.flatnonzero(users == names[n]) for n in chosen]))
    mine, theirs = (
        np.array([roc_auc_score(labels[rows], each[rows]) for rows in drawn])
        for each in (scores, others)
    )
    options = {"resamples": 50, "seed": 4}
    for found in (
        auc_interval(labels, scores, users, **options),
        click_metrics(labels, scores, users, **options).auc,
    ):
        ends = np.quantile(mine, [0.025, 0.975])
        np.testing.assert_allclose([found.low, found.high], ends, rtol=0, atol=1e-12)
    paired = paired_auc(labels, scores, others, users, **options)
    ends = np.quantile(mine - theirs, [0.025, 0.975])
    np.testing.assert_allclose([paired.low, paired.high], ends, rtol=0, atol=1e-12)
    extreme = np.abs(mine - theirs - paired.difference) >= abs(paired.difference)
    assert paired.p == (1 + extreme.sum()) / 51
