"""Shared prefixes and scores of continuations, against whole forward passes of each row."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.core import ConfigError
from jaxrec.decode import (
    Continuations,
    Prompts,
    Sampling,
    TextOptions,
    first_tokens,
    generate,
    prefix_groups,
    read_prefix,
    score_continuations,
)
from jaxrec.models import CausalLM, EncoderDecoder
from jaxrec.peft import virtual_of
from jaxrec.testing import random_params, tiny_model

BASE = dataclasses.replace(tiny_model(40, depth=2), num_kv_heads=1)
FLAVOURS = {
    "rope": BASE,
    "learned": dataclasses.replace(BASE, positions="learned", norm="layer"),
    "relative": dataclasses.replace(BASE, positions="relative", relative_buckets=8),
    "window": dataclasses.replace(BASE, window=5, score_cap=3.0),
    "local and global": dataclasses.replace(BASE, window=6, global_every=2),
    "hstu": dataclasses.replace(BASE, block="hstu", mlp_width=None, num_kv_heads=None),
}
PREFIX = [3, 9, 4, 12, 7, 30, 22]
ROWS = [[5, 6, 8, 1], [2], [11, 19]]


def case(flavour):
    model = CausalLM(FLAVOURS[flavour])
    return model, random_params(model)


def padded(rows, width, left=True):
    tokens = np.zeros((len(rows), width), np.int32)
    valid = np.zeros(tokens.shape, bool)
    for place, row in enumerate(rows):
        columns = slice(width - len(row), width) if left else slice(len(row))
        tokens[place, columns], valid[place, columns] = row, True
    return jnp.asarray(tokens), jnp.asarray(valid)


def prefix_of(model, params, tokens, capacity=16, before=None):
    row, valid = padded([tokens], 8, left=False)
    return read_prefix(model, params, row[0], valid[0], capacity, before)


@functools.partial(jax.jit, static_argnames="model")
def forward(model, params, tokens, valid):
    return model.apply(params, tokens, valid)


def logits_of(model, params, row):
    # One shape for all rows; no token sees the padding behind it.
    return np.asarray(forward(model, params, *padded([row], 16, left=False))[0, : len(row)])


@pytest.mark.variants(2)
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_rows_behind_a_prefix_continue_as_whole_rows(flavour):
    model, params = case(flavour)
    options = TextOptions(max_tokens=5)
    tokens, valid = padded([PREFIX + row for row in ROWS], 12)
    whole = generate(model, params, Prompts(tokens=tokens, valid=valid), options)
    tokens, valid = padded(ROWS, 6)
    shared = prefix_of(model, params, PREFIX)
    made = generate(model, params, Prompts(tokens=tokens, valid=valid), options, shared=shared)
    assert made.tokens.tolist() == whole.tokens.tolist()
    np.testing.assert_allclose(made.logprobs, whole.logprobs, atol=1e-5)


@pytest.mark.variants(2)
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_continuations_behind_a_prefix_score_as_whole_rows(flavour):
    model, params = case(flavour)
    parts = [[[4, 5], [6]], [[7, 8, 9]], [[1], [2, 3], [4, 4, 4]]]
    rows = jax.tree.map(jnp.asarray, Continuations.build(ROWS, parts, rows=4))
    for shared, before in ((prefix_of(model, params, PREFIX), PREFIX), (None, [])):
        logprobs, greedy = score_continuations(model, params, rows, shared)
        for place, (row, continuations) in enumerate(zip(ROWS, parts, strict=True)):
            column = 0
            for part in continuations:
                logits = logits_of(model, params, [*before, *row, *part])
                start = len(before) + len(row) - 1
                after = logits[start : start + len(part)]
                expected = after[np.arange(len(part)), part] - np.logaddexp.reduce(after, axis=1)
                own = slice(column, column + len(part))
                np.testing.assert_allclose(logprobs[place, own], expected, atol=2e-5)
                assert greedy[place, own].tolist() == (after.argmax(1) == part).tolist()
                column += len(part)


def test_a_prefix_that_continues_another_equals_one_that_is_read_at_once():
    model, params = case("rope")
    whole = prefix_of(model, params, PREFIX)
    grown = prefix_of(model, params, PREFIX[4:], before=prefix_of(model, params, PREFIX[:4], 8))
    cut = prefix_of(
        model,
        params,
        PREFIX[3:],
        before=first_tokens(prefix_of(model, params, [*PREFIX[:3], 1, 1]), 3, 8),
    )
    for prefix in (grown, cut):
        assert int(prefix.length) == len(PREFIX)
        for name in ("key", "value"):
            ours, theirs = (np.asarray(getattr(p, name))[:, :, :7] for p in (prefix, whole))
            np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_virtual_tokens_stand_at_the_beginning_of_a_prefix():
    model, params = case("rope")
    prompt = jnp.asarray(np.random.default_rng(0).normal(size=(3, 16)), jnp.float32)
    params = {**params, "tuned": {"embedding": {"prompt": prompt}}}
    assert virtual_of(params).read == 3
    options = TextOptions(max_tokens=4)
    rows = padded([PREFIX + row for row in ROWS], 12)
    whole = generate(model, params, Prompts(tokens=rows[0], valid=rows[1]), options)
    tokens, valid = padded(ROWS, 6)
    shared = prefix_of(model, params, PREFIX)
    assert int(shared.length) == 3 + len(PREFIX)
    assert int(prefix_of(model, params, []).length) == 3
    made = generate(model, params, Prompts(tokens=tokens, valid=valid), options, shared=shared)
    assert made.tokens.tolist() == whole.tokens.tolist()


@pytest.mark.slow
def test_samples_of_a_prompt_are_those_of_repeated_prompts():
    model, params = case("rope")
    keys = jax.random.split(jax.random.key(3), 6)
    options, sampling = TextOptions(max_tokens=6), Sampling(1.3)
    tokens, valid = padded(ROWS, 6)
    made = generate(
        model,
        params,
        Prompts(tokens=tokens, valid=valid),
        options,
        sampling=sampling,
        key=jax.random.split(jax.random.key(3), 9),
        samples=3,
    )
    assert made.tokens.shape == (9, 6)
    again = generate(
        model,
        params,
        Prompts(tokens=jnp.repeat(tokens[1:], 3, axis=0), valid=jnp.repeat(valid[1:], 3, axis=0)),
        options,
        sampling=sampling,
        key=jax.random.split(jax.random.key(3), 9)[3:],
    )
    assert made.tokens[3:].tolist() == again.tokens.tolist()
    assert len({tuple(row) for row in made.tokens.tolist()}) == 9
    with pytest.raises(ConfigError, match="9 keys for as many continuations"):
        generate(
            model,
            params,
            Prompts(tokens=tokens, valid=valid),
            options,
            sampling=sampling,
            key=keys,
            samples=3,
        )


def test_a_limit_ends_rows_like_max_tokens():
    model, params = case("rope")
    tokens, valid = padded(ROWS, 6)
    prompts = Prompts(tokens=tokens, valid=valid)
    short = generate(model, params, prompts, TextOptions(max_tokens=3))
    limited = generate(model, params, prompts, TextOptions(max_tokens=8), limit=3)
    assert limited.tokens[:, :3].tolist() == short.tokens.tolist()
    assert limited.lengths.tolist() == [3, 3, 3] and not limited.tokens[:, 3:].any()
    with pytest.raises(ConfigError, match="limit must lie between 1 and max_tokens 8"):
        generate(model, params, prompts, TextOptions(max_tokens=8), limit=9)


def read_tokens_of(rows, groups):
    """Tokens that are read if each group reads its prefix once."""
    return sum(
        group.length + sum(len(rows[row]) - group.length for row in group.rows) for group in groups
    )


def test_groups_cover_all_rows_and_never_share_a_rows_last_token():
    rng = np.random.default_rng(0)
    for _ in range(30):
        starts = [rng.integers(0, 3, rng.integers(1, 60)).tolist() for _ in range(4)]
        rows = [
            [*starts[rng.integers(4)], *rng.integers(0, 3, rng.integers(1, 5)).tolist()]
            for _ in range(12)
        ]
        groups = prefix_groups(rows, least=4, call=10)
        assert sorted(row for group in groups for row in group.rows) == list(range(12))
        for group in groups:
            assert group.length == 0 or group.length >= 4
            assert len({tuple(rows[row][: group.length]) for row in group.rows}) == 1
            assert all(len(rows[row]) > group.length for row in group.rows)
        together = prefix_groups(rows, least=4, call=10**6)
        assert len(together) == 1
        cost = read_tokens_of(rows, groups) + 10 * len(groups)
        assert cost <= read_tokens_of(rows, together) + 10


def test_many_nested_prompts_make_no_deep_recursion():
    rows = [[1] * length for length in range(1, 1500)]
    assert sum(len(group.rows) for group in prefix_groups(rows)) == len(rows)
    assert prefix_groups([]) == []


def test_prefixes_of_other_models_and_prompts_are_errors():
    model, params = case("rope")
    row = jnp.asarray(PREFIX, jnp.int32)
    with pytest.raises(ConfigError, match="capacity 4 is less than the 7 tokens"):
        read_prefix(model, params, row, row > 0, 4)
    other = EncoderDecoder(tiny_model(40))
    with pytest.raises(ConfigError, match="has no causal prefix"):
        read_prefix(other, random_params(other), row, row > 0, 8)
    shared = prefix_of(model, params, PREFIX)
    tokens, valid = padded(ROWS, 6)
    prompts = Prompts(tokens=tokens, valid=valid, prefix=valid)
    with pytest.raises(ConfigError, match="drop prefix and segments"):
        generate(model, params, prompts, TextOptions(max_tokens=2), shared=shared)
    model, params = case("learned")
    wide = dataclasses.replace(FLAVOURS["learned"], max_length=12)
    shared = prefix_of(model, params, PREFIX)
    with pytest.raises(ConfigError, match="learned positions end at"):
        generate(
            CausalLM(wide),
            params,
            Prompts(tokens=tokens, valid=valid),
            TextOptions(max_tokens=5),
            shared=shared,
        )
