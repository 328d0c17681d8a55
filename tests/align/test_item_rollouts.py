"""Groups of items: log-probabilities against full forward passes, rewards, legality, redraws."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.align import (
    GroupOptions,
    ItemGroup,
    ItemPrompts,
    beam_negatives,
    draw_negatives,
    item_log_probs,
    item_rewards,
    item_tokens,
    roll_items,
    total_reward,
)
from jaxrec.core import ConfigError
from jaxrec.testing.brute_force import level_logits, log_softmax, make_case


@pytest.fixture(scope="module")
def case():
    return make_case(0, sizes=(6, 10), share=0.5, users=4)


@pytest.fixture(scope="module")
def log_probs(case):
    return by_brute_force(case)


def by_brute_force(case, over_all=False):
    """One full forward pass per user and item, `[B, I, L]`; normalized over codes or all tokens."""
    levels = level_logits(case)
    result = np.zeros((4, case.items, len(levels)))
    for user in range(4):
        for item in range(case.items):
            for level, size in enumerate(case.vocabulary.sizes):
                start = int(case.vocabulary.offsets[level])
                row, first = levels[level][user, item], start
                if not over_all:
                    row, first = row[start : start + size], 0
                result[user, item, level] = log_softmax(row)[first + case.codes[item, level]]
    return result


def make_prompts(case, target, excluded=None):
    none = jnp.full((4, 1), -1, jnp.int32)
    return ItemPrompts(
        tokens=case.tokens,
        history=none,
        excluded=none if excluded is None else jnp.asarray(excluded, jnp.int32),
        target=jnp.asarray(target, jnp.int32),
    )


_roll = jax.jit(roll_items, static_argnames=("model", "rewards", "options"))
# Two tests share its program.
SAMPLED = GroupOptions(group=6, sampler="stochastic", keep_log_probs=True)


def roll(case, prompts, options, parts=((1.0, item_rewards.hit),), seed=0):
    given = (case.model, case.params, case.params, case.catalogue, prompts, jax.random.key(seed))
    return _roll(*given, rewards=tuple(parts), options=options)


def items_of(case, rollout):
    """The numbers of the items whose tokens a rollout holds; -1 in empty places."""
    known = {tuple(row): n for n, row in enumerate(case.vocabulary.tokens(case.codes).tolist())}
    rows = np.asarray(rollout.items).tolist()
    # A KeyError here would be an item that does not exist.
    return [[-1 if code[0] == 0 else known[tuple(code)] for code in row] for row in rows]


def test_log_probabilities_are_those_of_full_forward_passes():
    case = make_case(0, sizes=(3, 2, 2), share=0.8, users=4)
    items = np.stack([np.random.default_rng(user).permutation(case.items)[:6] for user in range(4)])
    items[1, 3] = -1
    tokens = item_tokens(case.catalogue, jnp.asarray(items))
    score = jax.jit(item_log_probs, static_argnames=("model", "vocabulary", "normalize"))
    ours = score(case.model, case.params, case.tokens, tokens, vocabulary=case.vocabulary)
    expected = np.take_along_axis(by_brute_force(case), np.maximum(items, 0)[..., None], axis=1)
    expected[1, 3] = 0.0
    assert np.allclose(ours, expected, atol=1e-5)
    over_all = score(
        case.model,
        case.params,
        case.tokens,
        tokens,
        vocabulary=case.vocabulary,
        normalize="vocabulary",
    )
    expected = np.take_along_axis(
        by_brute_force(case, over_all=True), np.maximum(items, 0)[..., None], axis=1
    )
    expected[1, 3] = 0.0
    assert np.allclose(over_all, expected, atol=1e-5)
    assert (np.asarray(over_all - ours)[items >= 0] < 0).all()


def test_a_group_of_beams_is_the_best_items_with_their_rewards_and_advantages(case, log_probs):
    total = log_probs.sum(-1)
    seen = np.array([[0, 1], [2, -1], [-1, -1], [3, 4]])
    for user, row in enumerate(seen):
        total[user, row[row >= 0]] = -np.inf
    order = np.argsort(-total, axis=1)
    target = order[np.arange(4), [0, 3, 29, 1]]
    # A width of all items makes the search exhaustive.
    options = GroupOptions(group=case.items)
    rollout = roll(case, make_prompts(case, target, seen), options)
    found = items_of(case, rollout)
    for user, left in enumerate((28, 29, 30, 28)):
        assert found[user] == [*order[user, :left], *[-1] * (case.items - left)]
    assert rollout.hit.tolist() == [True] * 4
    assert np.argmax(rollout.rewards, axis=1).tolist() == [0, 3, 29, 1]
    assert np.allclose(rollout.advantages.sum(axis=1), 0.0, atol=1e-4)
    assert (np.asarray(rollout.advantages)[np.asarray(found) < 0] == 0).all()
    expected = np.take_along_axis(log_probs, np.maximum(found, 0)[..., None], axis=1)
    expected[np.asarray(found) < 0] = 0.0
    assert np.allclose(rollout.reference, expected, atol=1e-5)
    assert rollout.old is None


def test_sampled_groups_are_legal_different_and_sorted_by_the_models_log_probability(
    case, log_probs
):
    barred = np.array([[0, 1], [2, 3], [4, 5], [6, 7]])
    seen = set()
    for seed in range(3):
        rollout = roll(case, make_prompts(case, [0] * 4, barred), SAMPLED, seed=seed)
        found = np.array(items_of(case, rollout))
        for user, row in enumerate(found):
            assert len(set(row)) == 6
            assert not set(row) & set(barred[user])
        totals = np.asarray(rollout.old).sum(-1)
        assert (np.diff(totals, axis=1) <= 0).all()
        expected = np.take_along_axis(log_probs, found[..., None], axis=1)
        assert np.allclose(rollout.old, expected, atol=1e-5)
        seen.add(found.tobytes())
    assert len(seen) == 3


def test_redraws_find_the_target_more_often_and_leave_groups_that_have_it(case, log_probs):
    target = np.argsort(-log_probs.sum(-1), axis=1)[:, 9]
    often = dataclasses.replace(SAMPLED, redraws=50)
    prompts = make_prompts(case, target, [[-1, -1]] * 4)
    first, last = (roll(case, prompts, options, seed=3) for options in (SAMPLED, often))
    assert not first.hit.all()
    assert last.hit.all()
    kept = np.asarray(first.hit)
    assert np.array_equal(np.asarray(first.items)[kept], np.asarray(last.items)[kept])


@pytest.fixture
def group():
    """A hit at the third rank, one at the first, none, and a short list."""
    return ItemGroup(
        items=jnp.array([[7, 5, 9, 2], [5, 7, 9, 2], [1, 2, 3, 4], [8, 5, -1, -1]]),
        target=jnp.array([9, 5, 9, 5]),
        history=jnp.full((4, 1), 3),
    )


def dcg(rank):
    return 1 / math.log2(rank + 2)


def test_the_rank_aware_reward_is_its_formula(group):
    whole, short = sum(map(dcg, range(4))), sum(map(dcg, range(2)))
    expected = [
        [-dcg(0) / whole, -dcg(1) / whole, dcg(2) / whole, 0],
        [dcg(0) / whole, 0, 0, 0],
        [0, 0, 0, 0],
        [-dcg(0) / short, dcg(1) / short, 0, 0],
    ]
    assert np.allclose(jax.jit(item_rewards.rank_aware)(group), expected, atol=1e-6)


def test_the_listwise_reward_is_the_ndcg_that_an_item_adds(group):
    def ndcg(row, target):
        return sum(dcg(rank) for rank, item in enumerate(row) if item == target)

    rows = [[item for item in row if item >= 0] for row in group.items.tolist()]
    targets = group.target.tolist()
    expected = np.zeros((4, 4))
    for user, (row, target) in enumerate(zip(rows, targets, strict=True)):
        for place in range(len(row)):
            without = row[:place] + row[place + 1 :]
            expected[user, place] = ndcg(row, target) - ndcg(without, target)
    assert np.allclose(jax.jit(item_rewards.listwise)(group), expected, atol=1e-6)


def test_penalties_and_other_recommenders_read_only_the_items_of_the_group(group):
    rng = np.random.default_rng(1)
    codes, counts = rng.integers(0, 2, (10, 3)), rng.integers(0, 9, 10)
    vectors, scores = rng.normal(size=(10, 4)), rng.normal(size=(4, 10))
    items = group.items.tolist()
    diverse, popular = np.zeros((4, 4)), np.zeros((4, 4))
    alike, asked = np.zeros((4, 4)), np.zeros((4, 4))
    for user, row in enumerate(items):
        real = [item for item in row if item >= 0]
        own = scores[user, real]
        for place, item in enumerate(real):
            shared = [
                next((n for n in range(3) if codes[item, n] != codes[other, n]), 3) / 3
                for other in real
                if other != item
            ]
            diverse[user, place] = -np.mean(shared)
            popular[user, place] = -math.log1p(counts[item]) / math.log1p(counts.max())
            target = vectors[group.target[user]]
            norms = np.linalg.norm(vectors[item]) * np.linalg.norm(target)
            alike[user, place] = vectors[item] @ target / norms
            asked[user, place] = (scores[user, item] - own.min()) / (own.max() - own.min())
    made = {
        "diversity": (item_rewards.diversity(jnp.asarray(codes)), diverse),
        "popularity": (item_rewards.popularity(jnp.asarray(counts)), popular),
        "similarity": (item_rewards.similarity(jnp.asarray(vectors, jnp.float32)), alike),
        "recommender": (
            item_rewards.recommender(lambda history: jnp.asarray(scores, jnp.float32)),
            asked,
        ),
    }

    @jax.jit
    def all_of(group):
        parts = {name: reward(group) for name, (reward, _) in made.items()}
        pairs = [(2.0, made["diversity"][0]), (0.5, made["popularity"][0])]
        return parts | {"sum": total_reward(group, pairs)}

    ours = all_of(group)
    for name, (_, expected) in made.items():
        assert np.allclose(ours[name], expected, atol=1e-5), name
    assert np.allclose(ours["sum"], 2 * diverse + 0.5 * popular, atol=1e-5)


def test_a_reward_of_another_shape_is_refused_before_any_work(case):
    def one_per_user(group):
        return group.target

    prompts, options = make_prompts(case, [0] * 4), GroupOptions(group=4)
    with pytest.raises(ConfigError, match=r"the reward one_per_user returned shape \(4,\)"):
        roll(case, prompts, options, parts=[(1.0, one_per_user)])

    def forgotten(group):
        pass

    with pytest.raises(ConfigError, match="the reward forgotten returned nothing"):
        roll(case, prompts, options, parts=[(1.0, forgotten)])


def test_negatives_are_different_and_never_barred():
    weights, drawn = np.array([0, 0, 90, 0, 5, 0]), []
    for seed in range(200):
        row = draw_negatives(np.random.default_rng(seed), 3, 6, np.array([0, -1, 5]), weights)
        assert len(set(row.tolist())) == 3
        assert not {0, 5} & set(row.tolist())
        drawn.append(row[0])
    # The first one is drawn by its count plus 1: 91 of 99 parts.
    assert 0.85 < np.mean(np.array(drawn) == 2) < 0.97
    few = draw_negatives(np.random.default_rng(0), 3, 4, np.array([0, 1]))
    assert sorted(few.tolist()) == [-1, 2, 3]


def test_negatives_of_the_beams_are_the_best_other_items(case, log_probs):
    order = np.argsort(-log_probs.sum(-1), axis=1)
    barred = jnp.asarray(order[:, [0, 2]], jnp.int32)
    given = (case.model, case.params, case.catalogue, case.prompts, barred)
    found = beam_negatives(*given, count=case.items)
    assert np.array_equal(np.asarray(found)[:, :3], order[:, [1, 3, 4]])
    assert (np.asarray(found)[:, -2:] == -1).all()


def test_groups_that_have_no_advantage_or_repeat_themselves_are_refused(case):
    with pytest.raises(ConfigError, match=r"align\.group must be at least 2, got 1"):
        GroupOptions(group=1)
    with pytest.raises(ConfigError, match="redraws 3 would search the same beams again"):
        GroupOptions(group=4, redraws=3)
    with pytest.raises(ConfigError, match="larger than the catalogue's 30 items"):
        roll(case, make_prompts(case, [0] * 4), GroupOptions(group=31))
