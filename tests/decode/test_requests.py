"""What a request may ask for, against brute force or the plain way to the same thing."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.core import ConfigError
from jaxrec.decode import (
    Prompts,
    ReadOptions,
    Request,
    SearchOptions,
    TrieLevel,
    beam_search,
    beam_widths,
    extend_histories,
    read_histories,
    search_items,
)
from jaxrec.ids import ItemIndex
from jaxrec.models import EncoderDecoder
from jaxrec.testing.brute_force import KINDS, Case, level_logits, make_case, textbook_search

RELATIVE = {"positions": "relative", "relative_buckets": 6, "relative_distance": 9}


def _search(case: Case, beams, normalize="codes", segments=None, users=1, **wanted):
    found = beam_search(
        case.model,
        case.params,
        case.catalogue,
        dataclasses.replace(case.prompts, segments=segments),
        SearchOptions(beams=beams, normalize=normalize),
        Request(**wanted),
        ReadOptions(users=users),
    )
    return np.asarray(found.items), np.asarray(found.scores)


def _check(case, found, beams, normalize="codes", allowed=None):
    """Compare with the textbook search of every user."""
    logits, (items, scores) = level_logits(case), found
    for user in range(len(case.tokens)):
        mine = np.ones(case.items, bool) if allowed is None else allowed[user]
        expected = textbook_search(case, logits, user, mine, beams, normalize)
        count = len(expected)
        assert items[user][:count].tolist() == [item for _, item in expected]
        np.testing.assert_allclose(
            scores[user][:count], [score for score, _ in expected], atol=1e-4
        )
        assert (items[user][count:] == -1).all()
        assert np.isneginf(scores[user][count:]).all()


@pytest.mark.parametrize(
    ("kind", "normalize", "flavour"),
    [
        ("causal", "vocabulary", {}),
        ("causal", "codes", RELATIVE),
        ("causal", "codes", {"window": 3}),
        ("prefix", "codes", {}),
        ("prefix", "legal", RELATIVE),
        ("encoder-decoder", "codes", RELATIVE),
        ("encoder-decoder", "legal", {}),
        ("encoder-decoder", "vocabulary", {"num_heads": 4, "num_kv_heads": 2}),
    ],
)
@pytest.mark.variants(3)
def test_every_architecture_equals_a_textbook_beam_search(kind, normalize, flavour):
    case = make_case(0, (6, 5, 4), 0.5, kind=kind, **flavour)
    _check(case, _search(case, 6, normalize=normalize), 6, normalize)


def test_sparse_and_wide_levels_equal_a_textbook_beam_search():
    # One wide root, then nodes with few of 40 children, then nodes with many of 3.
    case = make_case(1, (40, 40, 3), 0.04)
    assert [TrieLevel(case.index, level).sparse for level in range(3)] == [False, True, False]
    for normalize in ("codes", "legal"):
        _check(case, _search(case, 9, normalize=normalize), 9, normalize)


@pytest.mark.parametrize("beams", [(2, 7, 4), (6, 3, 9)])
@pytest.mark.variants(1)
def test_every_level_may_have_a_beam_width_of_its_own(beams):
    case = make_case(2, (6, 5, 4), 0.6)
    items, scores = _search(case, beams)
    assert items.shape == (3, beams[-1])
    _check(case, (items, scores), beams)


def test_a_region_and_seen_items_narrow_a_request_together():
    case = make_case(3, (6, 5), 0.9)
    rng = np.random.default_rng(0)
    region = rng.random((3, case.items)) < 0.6
    seen = rng.integers(-1, case.items, (3, 8)).astype(np.int32)
    allowed = region.copy()
    for user, row in enumerate(seen):
        allowed[user, row[row >= 0]] = False
    masks = {"allowed": jnp.asarray(region), "excluded": jnp.asarray(seen)}
    _check(case, _search(case, case.items, **masks), case.items, allowed=allowed)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.variants(1)
def test_users_packed_into_a_row_get_what_they_get_alone(kind):
    case = make_case(4, (5, 4, 3), 0.7, users=6, kind=kind, **RELATIVE)
    items, scores = _search(case, 7)
    rows, segments = [], []
    for pair in np.asarray(case.tokens).reshape(2, 3, -1):
        own = [row[row != 0] for row in pair]
        rows.append(np.concatenate(own))
        segments.append(np.repeat(np.arange(3), [len(row) for row in own]))
    length = max(map(len, rows))
    padded = np.stack([np.pad(row, (0, length - len(row))) for row in rows])
    packed = dataclasses.replace(case, tokens=jnp.asarray(padded, jnp.int32))
    numbers = np.stack([np.pad(s, (0, length - len(s)), constant_values=9) for s in segments])
    found = _search(packed, 7, segments=jnp.asarray(numbers, jnp.int32), users=3)
    np.testing.assert_array_equal(found[0], items)
    np.testing.assert_allclose(found[1], scores, atol=1e-5)


def test_a_longer_history_reads_only_what_is_new():
    case = make_case(5, (5, 4), 0.8, users=4)
    options = SearchOptions(beams=6)
    rng = np.random.default_rng(0)
    ids = case.vocabulary.tokens(case.codes)[rng.integers(0, case.items, (4, 3))]
    new = ids.reshape(4, 6).astype(np.int32)
    new[1, :2], new[2] = 0, 0  # two items, and none
    history = read_histories(case.model, case.params, case.prompts, ReadOptions(room=8))
    history = extend_histories(case.model, case.params, history, jnp.asarray(new))
    found = search_items(case.model, case.params, case.catalogue, history, options)
    # The same histories at once, with the padding of both parts in front.
    whole = np.concatenate([np.asarray(case.tokens), new], axis=1)
    order = np.argsort(whole != 0, axis=1, kind="stable")
    prompts = Prompts(tokens=jnp.asarray(np.take_along_axis(whole, order, axis=1)))
    expected = beam_search(case.model, case.params, case.catalogue, prompts, options)
    np.testing.assert_array_equal(found.items, expected.items)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)


def test_an_int8_cache_is_a_search_over_its_rounded_keys_and_values():
    case = make_case(6, (5, 4, 3), 0.7)
    options = SearchOptions(beams=8)
    plain = read_histories(case.model, case.params, case.prompts)
    rounding = ReadOptions(cache_dtype="int8")
    small = read_histories(case.model, case.params, case.prompts, rounding)
    assert small.cache.key.dtype == small.cache.value.dtype == jnp.int8
    rounded = []
    for name, scale in zip(("key", "value"), small.scale, strict=True):
        exact = np.asarray(getattr(plain.cache, name))
        back = np.asarray(getattr(small.cache, name), np.float32) * np.asarray(scale)[..., None]
        # Half a step of 1/127 of a head's largest component.
        largest = np.abs(exact).max(-1, keepdims=True)
        assert (np.abs(back - exact) <= largest / 254 + 1e-7).all()
        rounded.append(jnp.asarray(back))
    cache = dataclasses.replace(plain.cache, key=rounded[0], value=rounded[1])
    referee = dataclasses.replace(plain, cache=cache)
    expected = search_items(case.model, case.params, case.catalogue, referee, options)
    found = search_items(case.model, case.params, case.catalogue, small, options)
    np.testing.assert_array_equal(found.items, expected.items)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)


def _forced_case(seed, kind="causal"):
    """IDs of four codes, all different in the first two: two levels are forced."""
    rng = np.random.default_rng(seed)
    pairs = rng.choice(42, 20, replace=False)
    rest = rng.integers(0, 4, (20, 2))
    codes = np.stack([pairs // 6, pairs % 6, *rest.T], axis=1).astype(np.int32)
    case = make_case(seed, (7, 6, 4, 4), 20 / 672, kind=kind, **RELATIVE)
    return dataclasses.replace(case, codes=codes, index=ItemIndex.build(codes, (7, 6, 4, 4)))


@pytest.mark.parametrize(
    ("kind", "normalize"),
    [("causal", "codes"), ("causal", "legal"), ("encoder-decoder", "vocabulary")],
)
def test_the_rest_of_forced_ids_is_scored_in_one_pass(kind, normalize):
    case, allowed, masks = _forced_case(7, kind), None, {}
    assert case.index.forced_level == 2
    if (kind, normalize) == ("causal", "codes"):
        _check(case, _search(case, 9, normalize=normalize), 9, normalize)
        # Below, together with masks that leave some users fewer items than beams.
        allowed = np.random.default_rng(0).random((3, case.items)) < 0.4
        assert allowed.sum(axis=1).min() < 9 <= allowed.sum(axis=1).max()
        masks = {"allowed": jnp.asarray(allowed)}
    # A hint that comes too early costs a branch and changes nothing: the pass comes after it.
    index = dataclasses.replace(case.index, forced_level=1)
    found = _search(dataclasses.replace(case, index=index), 9, normalize=normalize, **masks)
    _check(case, found, 9, normalize, allowed)


def test_ids_forced_from_the_first_code_on_take_one_pass_of_the_decoder():
    codes = np.array([[0, 1, 2], [1, 0, 0], [2, 2, 1], [3, 1, 1]], np.int32)
    case = make_case(8, (4, 3, 3), 0.1)
    case = dataclasses.replace(case, codes=codes, index=ItemIndex.build(codes, (4, 3, 3)))
    assert case.index.forced_level == 1
    _check(case, _search(case, 4), 4)
    # Without kernels, among which a branch chooses by the platform.
    options = SearchOptions(beams=4, implementation="xla")
    history = read_histories(case.model, case.params, case.prompts)

    def items(history):
        return search_items(case.model, case.params, case.catalogue, history, options).items

    text = str(jax.make_jaxpr(items)(history))
    # What cannot be otherwise needs no branch.
    assert "cond[" not in text


def test_settings_that_contradict_one_another_are_refused():
    case = make_case(10, (4, 3), 0.5)
    encoder = EncoderDecoder(case.model.config)
    with pytest.raises(ConfigError, match="one for each of 2 levels, got \\(1, 2, 3\\)"):
        beam_widths(case.index, (1, 2, 3))
    with pytest.raises(ConfigError, match="users = 2 a row and got no segments"):
        _search(case, 2, users=2)
    with pytest.raises(ConfigError, match="'best' reads no key"):
        _search(case, 2, key=jax.random.key(0))
    with pytest.raises(ConfigError, match=r"normalize must be one of .* got 'all'"):
        _search(case, 2, normalize="all")
    with pytest.raises(ConfigError, match="neither room nor prefix"):
        read_histories(encoder, case.params, case.prompts, ReadOptions(room=2))
    with pytest.raises(ConfigError, match="int8 cache needs a decoder"):
        read_histories(encoder, case.params, case.prompts, ReadOptions(cache_dtype="int8"))
    reading = ReadOptions(room=2, cache_dtype="int8")
    history = read_histories(case.model, case.params, case.prompts, reading)
    with pytest.raises(ConfigError, match="cache in the model's own dtype"):
        extend_histories(case.model, case.params, history, case.tokens[:, :2])
