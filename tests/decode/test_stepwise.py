"""Generation in chunks gives what `generate` gives, and each row keeps its own settings."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.decode import (
    GREEDY,
    Prompts,
    RowSetting,
    RowSettings,
    Sampling,
    StepOptions,
    TextOptions,
    advance_rows,
    filter_logits,
    filter_rows,
    generate,
    score_prompts,
    start_rows,
)
from jaxrec.models import CausalLM
from jaxrec.testing import random_params, tiny_model

VOCAB, WIDTH, MOST = 23, 6, 9


@pytest.fixture(scope="module")
def case():
    model = CausalLM(tiny_model(VOCAB))
    tokens = np.random.default_rng(0).integers(1, VOCAB, (4, WIDTH)).astype(np.int32)
    valid = np.arange(WIDTH)[None] >= np.array([0, 2, 5, WIDTH])[:, None]
    return (
        model,
        random_params(model),
        Prompts(tokens=jnp.asarray(tokens), valid=jnp.asarray(valid)),
    )


def run(case, settings, chunk=4, ends=(), ended=None):
    """All tokens and scores of each row, read chunk by chunk."""
    model, params, prompts = case
    options = StepOptions(capacity=MOST, chunk=chunk, ends=ends)
    settings = RowSettings.build(settings, 4)
    state, made = start_rows(model, params, prompts, settings, options=options)
    rows = [[] for _ in range(4)]
    stopped = np.zeros(4, bool)
    for number in range(MOST + 1):
        for row, found in enumerate(rows):
            count = int(made.lengths[row])
            places = zip(made.tokens[row, :count], made.logprobs[row, :count], strict=True)
            found += [(int(token), float(score)) for token, score in places]
        if ended is not None and number == ended[0]:
            stopped[ended[1]] = True
        if bool(made.done.all()):
            return rows
        state, made = advance_rows(model, params, state, stopped, options=options)
    raise AssertionError("the rows never ended")


KINDS = [
    GREEDY,
    Sampling(0.7),
    Sampling(1.3, top_p=0.8),
    Sampling(0.9, top_k=5, top_p=0.9),
]


def settings_of(sampling, row, limit=MOST):
    return RowSetting(
        key=(7, row),
        limit=limit,
        temperature=sampling.temperature,
        top_k=sampling.top_k or 0,
        top_p=1.0 if sampling.top_p is None else sampling.top_p,
    )


@functools.cache
def peer(sampling, limit):
    """What `generate` writes with one sampling for all rows: the referee."""
    model = CausalLM(tiny_model(VOCAB))
    tokens = np.random.default_rng(0).integers(1, VOCAB, (4, WIDTH)).astype(np.int32)
    valid = np.arange(WIDTH)[None] >= np.array([0, 2, 5, WIDTH])[:, None]
    keys = jnp.asarray([[7, row] for row in range(4)], jnp.uint32)
    made = generate(
        model,
        random_params(model),
        Prompts(tokens=jnp.asarray(tokens), valid=jnp.asarray(valid)),
        TextOptions(max_tokens=MOST, eos=(3,)),
        sampling=sampling,
        key=jax.random.wrap_key_data(keys, impl="threefry2x32"),
        limit=limit,
    )
    return jax.device_get(made)


def test_rows_with_settings_of_their_own_write_what_generate_writes(case):
    settings = [settings_of(kind, row, limit=9 - row) for row, kind in enumerate(KINDS)]
    rows = run(case, settings, ends=(3,))
    assert rows[3] == []  # a row without a prompt
    for row, kind in enumerate(KINDS[:3]):
        made = peer(kind, 9 - row)
        count = made.lengths[row]
        assert [token for token, _ in rows[row]] == made.tokens[row, :count].tolist()
        scores = [score for _, score in rows[row]]
        np.testing.assert_allclose(scores, made.logprobs[row, :count], atol=1e-5)


def test_top_k_and_top_p_together_draw_what_generate_draws(case):
    rows = run(case, [settings_of(KINDS[3], row) for row in range(4)], ends=(3,))
    made = peer(KINDS[3], MOST)
    for row in range(3):
        assert [t for t, _ in rows[row]] == made.tokens[row, : made.lengths[row]].tolist()


def test_a_row_that_the_caller_ends_leaves_the_others_alone(case):
    settings = [settings_of(KINDS[1], row) for row in range(4)]
    whole, cut = run(case, settings), run(case, settings, ended=(1, 0))
    assert [len(row) for row in whole] == [9, 9, 9, 0]
    assert cut[0] == whole[0][:5] and cut[1:] == whole[1:]


def test_each_row_is_filtered_like_its_own_sampling():
    logits = jax.random.normal(jax.random.key(1), (6, 50)).at[:, 7].set(1.0).at[:, 9].set(1.0)
    kinds = [(0, 1.0), (3, 1.0), (0, 0.5), (10, 0.7), (1, 1.0), (0, 1e-6)]
    found = filter_rows(
        logits, jnp.array([k for k, _ in kinds]), jnp.array([p for _, p in kinds], jnp.float32)
    )
    for row, (top_k, top_p) in enumerate(kinds):
        sampling = Sampling(top_k=top_k or None, top_p=None if top_p == 1 else top_p)
        np.testing.assert_array_equal(found[row], filter_logits(logits[row], sampling))


def test_penalties_are_those_of_openai(case):
    """mu[j] - c[j] * frequency - (c[j] > 0) * presence, by a full forward pass each step."""
    model, params, prompts = case
    settings = [RowSetting(limit=MOST, presence_penalty=0.4, frequency_penalty=0.9)] * 4
    rows = run(case, settings)
    plain = jax.jit(lambda tokens: model.apply(params, tokens, jnp.ones(tokens.shape, bool)))
    prompt = np.asarray(prompts.tokens)[0].tolist()
    written = []
    for token, _ in rows[0]:
        padded = np.zeros((1, WIDTH + MOST), np.int32)
        padded[0, : WIDTH + len(written)] = prompt + written
        logits = np.asarray(plain(padded))[0, WIDTH + len(written) - 1]
        counts = np.bincount(written, minlength=VOCAB)
        assert token == int(np.argmax(logits - 0.9 * counts - 0.4 * (counts > 0)))
        written.append(token)
    assert len(set(written)) > 1


def test_prompts_are_scored_like_a_plain_forward_pass(case):
    model, params, prompts = case
    settings = RowSettings.build([RowSetting(limit=1, alternatives=2)] * 4, 4)
    options = StepOptions(capacity=1)
    read, new = jax.device_get(score_prompts(model, params, prompts, settings, options=options))
    assert new.lengths.tolist() == [1, 1, 1, 1] and read.lengths.tolist() == [6, 4, 1, 0]
    plain = jax.jit(lambda tokens: model.apply(params, tokens, jnp.ones(tokens.shape, bool)))
    for row, length in enumerate(read.lengths[:3]):
        own = np.asarray(prompts.tokens)[row, WIDTH - length :]
        padded = np.zeros((1, WIDTH), np.int32)
        padded[0, :length] = own
        logprobs = np.asarray(jax.nn.log_softmax(plain(padded)[0]))
        for place in range(1, length):
            column, scores = WIDTH - length + place, logprobs[place - 1]
            assert read.logprobs[row, column] == pytest.approx(scores[own[place]], abs=1e-5)
            assert read.best[row, column, :2].tolist() == np.argsort(-scores)[:2].tolist()
        last = logprobs[length - 1]
        assert new.tokens[row, 0] == last.argmax()
        assert new.logprobs[row, 0] == pytest.approx(last.max(), abs=1e-5)
        assert new.best_logprobs[row, 0, 0] == new.logprobs[row, 0]
