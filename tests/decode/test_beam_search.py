"""Constrained beam search against brute force."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from jaxrec.core import ConfigError
from jaxrec.decode import (
    BeamCache,
    BeamContext,
    Catalogue,
    Prompts,
    Request,
    SearchOptions,
    beam_search,
    beam_widths,
    check_beams,
    log_probabilities,
)
from jaxrec.ids import IdVocabulary, ItemIndex
from jaxrec.models import CausalLM
from jaxrec.nn import SelfContext, attention_mask, positions_of
from jaxrec.testing import random_params, tiny_model
from jaxrec.testing.brute_force import level_logits, make_case, score_of, textbook_search


def _check_marks(items, scores, real):
    """The first `real` places hold different items, best first; the others are marked empty."""
    assert (items[:real] >= 0).all()
    assert len(set(items[:real].tolist())) == real
    assert (items[real:] == -1).all()
    assert np.isneginf(scores[real:]).all()
    assert np.isfinite(scores[:real]).all()
    assert (np.diff(scores[:real]) <= 0).all()


def _masks(case, how, seed):
    """Allowed items `[B, I]`, and the fields of the `Request` that say so."""
    rng = np.random.default_rng(seed)
    users = case.tokens.shape[0]
    allowed = np.ones((users, case.items), bool)
    if how == "none":
        return allowed, {}
    allowed = rng.random((users, case.items)) < 0.5
    allowed[-1] = False  # a user to whom nothing may be recommended
    if how == "allowed":
        return allowed, {"allowed": jnp.asarray(allowed)}
    excluded = np.full((users, case.items + 2), -1, np.int32)
    for user, row in enumerate(allowed):
        out = np.flatnonzero(~row)
        excluded[user, : len(out)] = rng.permutation(out)
        if len(out):
            excluded[user, -1] = out[0]  # listed twice
    return allowed, {"excluded": jnp.asarray(excluded)}


def _search(case, beams, normalize, **masks):
    found = beam_search(
        case.model,
        case.params,
        case.catalogue,
        case.prompts,
        SearchOptions(beams=beams, normalize=normalize),
        Request(**masks),
    )
    return np.asarray(found.items), np.asarray(found.scores)


_CASES = st.tuples(
    st.integers(0, 10_000),
    st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple),
    st.floats(0.2, 1.0),
)
_HOW = st.sampled_from(["none", "allowed", "excluded"])
_NORMALIZE = st.sampled_from(["codes", "legal"])


def _check_whole_catalogue(case, how, normalize, seed):
    allowed, masks = _masks(case, how, seed)
    items, scores = _search(case, case.items, normalize, **masks)
    assert items.shape == scores.shape == (len(case.tokens), case.items)
    logits = level_logits(case)
    for user in range(len(case.tokens)):
        legal = np.flatnonzero(allowed[user])
        _check_marks(items[user], scores[user], len(legal))
        assert set(items[user][: len(legal)].tolist()) == set(legal.tolist())
        expected = [
            score_of(case, logits, user, allowed[user], item, normalize)
            for item in items[user][: len(legal)]
        ]
        np.testing.assert_allclose(scores[user][: len(legal)], expected, atol=1e-4)
    return scores


@settings(max_examples=3, deadline=None)
@given(_CASES, _HOW, _NORMALIZE)
def test_beams_as_wide_as_the_catalogue_rank_it_like_brute_force(shape, how, normalize):
    _check_whole_catalogue(make_case(*shape), how, normalize, shape[0])


@pytest.mark.parametrize("normalize", ["codes", "legal"])
@pytest.mark.parametrize("how", ["none", "allowed", "excluded"])
@pytest.mark.variants(2)
def test_a_catalogue_with_wide_nodes_is_ranked_like_brute_force(how, normalize):
    # More than 32 codes: two words of a bitmask a node; ragged levels.
    case = make_case(0, (40, 3, 2), 0.25, num_kv_heads=1)
    scores = _check_whole_catalogue(case, how, normalize, 0)
    if how == "none":
        # Among legal codes the items share the whole probability, among all codes only a part.
        total = np.exp(scores).sum(axis=1)
        if normalize == "legal":
            np.testing.assert_allclose(total, 1.0, atol=1e-5)
        else:
            assert (total < 0.999).all()


@settings(max_examples=3, deadline=None)
@given(_CASES, _HOW, _NORMALIZE, st.integers(1, 6))
def test_narrower_beams_equal_a_textbook_beam_search(shape, how, normalize, beams):
    case = make_case(*shape)
    beams = min(beams, case.items)
    allowed, masks = _masks(case, how, shape[0])
    items, scores = _search(case, beams, normalize, **masks)
    logits = level_logits(case)
    for user in range(len(case.tokens)):
        expected = textbook_search(case, logits, user, allowed[user], beams, normalize)
        _check_marks(items[user], scores[user], len(expected))
        assert items[user][: len(expected)].tolist() == [item for _, item in expected]
        np.testing.assert_allclose(
            scores[user][: len(expected)], [score for score, _ in expected], atol=1e-4
        )


@pytest.mark.parametrize("normalize", ["codes", "legal"])
def test_a_narrow_beam_in_a_large_catalogue_equals_a_textbook_beam_search(normalize):
    case = make_case(1, (6, 5, 4), 0.8)
    allowed, masks = _masks(case, "allowed", 1)
    items, scores = _search(case, 5, normalize, **masks)
    logits = level_logits(case)
    for user in range(len(case.tokens)):
        expected = textbook_search(case, logits, user, allowed[user], 5, normalize)
        _check_marks(items[user], scores[user], len(expected))
        assert items[user][: len(expected)].tolist() == [item for _, item in expected]
        np.testing.assert_allclose(
            scores[user][: len(expected)], [score for score, _ in expected], atol=1e-4
        )


@functools.partial(jax.jit, static_argnums=0)
def _forward(model, params, tokens):
    return model.apply(params, tokens, tokens != 0)


FLAVOURS = {
    "rope, grouped heads": {"num_heads": 4, "num_kv_heads": 2, "depth": 2},
    "learned positions": {"norm": "layer", "positions": "learned", "gated": False, "depth": 2},
    "window in some blocks": {"window": 3, "global_every": 2, "local_theta": 50.0, "depth": 4},
    "relative": {"positions": "relative", "relative_buckets": 6, "relative_distance": 9},
    "caps": {"score_cap": 1.0, "logit_cap": 2.0, "qk_norm": True, "norm_order": "both"},
    "hstu": {"block": "hstu", "mlp_width": None, "window": 5, "depth": 2},
}


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.variants(2)
def test_a_prefill_and_steps_over_the_cache_equal_full_forward_passes(flavour):
    case = make_case(3, (5, 4, 3), 0.5, users=4, **FLAVOURS[flavour])
    model, params, tokens = case.model, case.params, case.tokens
    rng = np.random.default_rng(0)
    valid = tokens != 0
    positions = positions_of(valid)
    context = SelfContext(attention_mask(valid), causal=True)

    @jax.jit
    def read(params):
        hidden, cached = model.apply(params, tokens, positions, context, method="hidden")
        return model.apply(params, hidden[:, -1], method="logits"), cached

    last, (key, value) = read(params)
    full = _forward(model, params, tokens)
    np.testing.assert_allclose(last, full[:, -1], atol=1e-5)

    # Three steps; each beam picks any beam of the step before as its parent, some two the same.
    cache = BeamCache.of_history(key, value)
    users = len(tokens)
    paths = np.zeros((users, 1, 0), np.int32)
    ancestors = np.zeros((users, 1, 0), np.int32)
    for step, width in enumerate((3, 5, 4)):
        parent = rng.integers(0, paths.shape[1], (users, width))
        new = rng.integers(2, case.vocabulary.size, (users, width, 1)).astype(np.int32)
        follow = parent[:, :, None]
        paths = np.concatenate([np.take_along_axis(paths, follow, 1), new], axis=2)
        if step:
            older = np.take_along_axis(ancestors, follow, 1)
            ancestors = np.concatenate([older, follow.astype(np.int32)], axis=2)
        else:
            ancestors = np.zeros((users, width, 0), np.int32)
        where = jnp.broadcast_to(positions[:, -1:] + step + 1, (users, width))
        context = BeamContext(
            history_valid=valid, history_positions=positions, ancestors=jnp.asarray(ancestors)
        )
        token = jnp.asarray(new[:, :, 0])

        # Called at once, so that it sees this step's arrays.
        @jax.jit
        def extend(params, token=token, where=where, context=context, cache=cache):
            states, more = model.apply(params, token, where, context, cache, method="hidden")
            return model.apply(params, states, method="logits"), cache.extend(more)

        found, cache = extend(params)
        rows = np.concatenate(
            [np.repeat(np.asarray(tokens), width, 0), paths.reshape(users * width, -1)], axis=1
        )
        expected = _forward(model, params, jnp.asarray(rows))[:, -1]
        np.testing.assert_allclose(found.reshape(expected.shape), expected, atol=2e-5)


def test_results_depend_neither_on_the_batch_size_nor_on_the_place_in_the_batch():
    case = make_case(4, (6, 5), 0.8, users=6)
    allowed, _ = _masks(case, "allowed", 0)
    items, scores = _search(case, 8, "codes", allowed=jnp.asarray(allowed))
    order = np.array([4, 0, 5, 2, 1, 3])
    for rows in (order, order[:2], *np.arange(6)[:, None]):
        part = dataclasses.replace(case, tokens=case.tokens[rows])
        found = _search(part, 8, "codes", allowed=jnp.asarray(allowed[rows]))
        np.testing.assert_array_equal(found[0], items[rows])
        np.testing.assert_allclose(found[1], scores[rows], atol=1e-5)


def test_results_do_not_depend_on_how_far_a_history_is_padded():
    # The case and the first program of the test before.
    case = make_case(4, (6, 5), 0.8, users=6)
    masks = _masks(case, "allowed", 0)[1]
    items, scores = _search(case, 8, "codes", **masks)
    wider = dataclasses.replace(case, tokens=jnp.pad(case.tokens, ((0, 0), (5, 0))))
    found = _search(wider, 8, "codes", **masks)
    np.testing.assert_array_equal(found[0], items)
    np.testing.assert_allclose(found[1], scores, atol=1e-5)


def test_bfloat16_gives_valid_different_items_and_float32_scores():
    case = make_case(6, (6, 5), 0.8, dtype="bfloat16")
    items, scores = _search(case, 8, "codes")
    assert scores.dtype == np.float32
    for user in range(len(items)):
        _check_marks(items[user], scores[user], 8)


def test_the_program_calls_no_host():
    case = make_case(7, (4, 3), 0.5)

    def run(params, prompts, request):
        options = SearchOptions(beams=4)
        return beam_search(case.model, params, case.catalogue, prompts, options, request)

    request = Request(excluded=jnp.full((3, 4), -1, jnp.int32))
    arguments = (case.params, case.prompts, request)
    assert "callback" not in str(jax.make_jaxpr(run)(*arguments))
    assert "callback" not in jax.jit(run).lower(*arguments).as_text()
    # The word to look for is the right one.
    telltale = jax.jit(lambda x: jax.debug.print("{}", x)).lower(1.0).as_text()
    assert "callback" in telltale


def test_beams_are_no_wider_than_a_level_has_nodes():
    codes = np.array([[0, 0], [0, 1], [0, 2], [1, 0]], np.int32)
    index = ItemIndex.build(codes, (2, 3))
    assert beam_widths(index, 1) == (1, 1)
    assert beam_widths(index, 3) == (2, 3)
    assert beam_widths(index, 9) == (2, 4)


@pytest.mark.parametrize("beams", [0, -1, 31])
def test_a_beam_width_that_the_catalogue_cannot_fill_is_refused(beams):
    with pytest.raises(ConfigError, match=rf"decode.beams.*30 items, got {beams}"):
        check_beams(30, beams)


@pytest.mark.parametrize("beams", [1, 30])
def test_beam_widths_up_to_the_catalogue_are_fine(beams):
    check_beams(30, beams)


@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_log_probabilities_equal_torch(scale):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    logits = (scale * rng.normal(size=(5, 7))).astype(np.float32)
    legal = rng.random((5, 7)) < 0.5
    legal[0], legal[1] = True, False
    raw = torch.tensor(logits)
    over_codes = torch.log_softmax(raw, -1).numpy()
    over_legal = torch.log_softmax(raw.masked_fill(~torch.tensor(legal), -torch.inf), -1).numpy()
    for normalize, expected in (("codes", over_codes), ("legal", over_legal)):
        found = log_probabilities(jnp.asarray(logits), jnp.asarray(legal), normalize)
        np.testing.assert_allclose(np.asarray(found)[legal], expected[legal], rtol=1e-5, atol=1e-5)
        # Also in the row without any legal code: no NaN.
        assert np.isneginf(np.asarray(found)[~legal]).all()


@pytest.mark.parametrize(
    ("num_special", "end", "normalize"), [(2, 7, "vocabulary"), (0, 0, "codes")]
)
def test_end_codes_cost_nothing_after_the_first_one(num_special, end, normalize):
    fill = end - num_special
    codes = np.array([[1, fill, fill], [2, 3, fill], [2, 4, 1], [3, fill, fill]], np.int32)
    vocabulary = IdVocabulary(sizes=(6, 6, 6), num_special=num_special, shared=True, end=end)
    model = CausalLM(tiny_model(vocabulary.size + 1))
    params, history = random_params(model), np.array([[num_special + 1, num_special + 2]])
    prompts = Prompts(tokens=jnp.asarray(history, jnp.int32), valid=jnp.ones((1, 2), bool))
    found = beam_search(
        model,
        params,
        Catalogue(ItemIndex.build(codes, (6, 6, 6)), vocabulary),
        prompts,
        SearchOptions(beams=4, normalize=normalize),
    )
    tokens = np.concatenate([np.repeat(history, 4, axis=0), codes + num_special], axis=1)
    logits = model.apply(params, jnp.asarray(tokens), jnp.ones(tokens.shape, bool))[:, 1:-1]
    first = num_special if normalize == "codes" else 0
    logs = jax.nn.log_softmax(logits[..., first : vocabulary.size + (normalize == "vocabulary")])
    expected = []
    for item in range(4):
        ends = np.flatnonzero(codes[item] == fill)
        written = range(ends[0] + 1 if len(ends) else 3)
        columns = codes[item] + num_special - first
        expected.append(sum(float(logs[item, place, columns[place]]) for place in written))
    order = np.argsort(-np.array(expected))
    assert found.items[0].tolist() == order.tolist()
    np.testing.assert_allclose(found.scores[0], np.array(expected)[order], atol=1e-4)


def test_an_end_token_that_no_code_has_is_refused():
    with pytest.raises(ConfigError, match=r"end token 8 must be the token of a code, in 2\.\.7"):
        IdVocabulary(sizes=(6, 6), shared=True, end=8)
