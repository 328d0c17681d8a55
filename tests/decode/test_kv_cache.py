"""Reading token by token against one full forward pass, for every flavour of model."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import meta

from jaxrec.core import ConfigError
from jaxrec.decode import Prompts, last_states, prefill, step
from jaxrec.models import CausalLM, EncoderDecoder
from jaxrec.nn import RopeScaling
from jaxrec.testing import random_params, tiny_model

ROWS, PROMPT, NEW, VOCAB = 4, 6, 4, 18
LENGTHS = np.array([6, 4, 1, 3])
BASE = dataclasses.replace(tiny_model(VOCAB, depth=3), num_heads=4)
T5 = {"positions": "relative", "relative_buckets": 8, "relative_distance": 10, "query_scale": 1.0}
LOCAL = {"window": 3, "global_every": 2}
FLAVOURS = {
    "grouped heads, window": {"num_kv_heads": 2, "window": 3},
    "learned": {
        "positions": "learned",
        "position_offset": 2,
        "norm": "layer",
        "gated": False,
        "qkv_bias": True,
        "out_bias": True,
        "mlp_bias": True,
        "tie_embeddings": False,
    },
    "relative, window": {**T5, **LOCAL},
    "gemma": {
        **LOCAL,
        "local_theta": 100.0,
        "score_cap": 2.0,
        "logit_cap": 5.0,
        "qk_norm": True,
        "norm_order": "both",
        "embedding_scale": 4.0,
        "num_kv_heads": 2,
        "rope_scaling": RopeScaling(kind="linear", factor=8.0),
    },
    "post-norm, no positions, one key head": {
        "norm_order": "post",
        "norm": "layer",
        "positions": "none",
        "num_kv_heads": 1,
        "head_size": 6,
    },
    "hstu": {"block": "hstu", "mlp_width": None},
    "hstu, window": {"block": "hstu", "mlp_width": None, "positions": "learned", **LOCAL},
}


def _params(model):
    """Random parameters of either kind of model."""
    if isinstance(model, CausalLM):
        return random_params(model, scale=0.3)
    example = jnp.zeros((1, 2), jnp.int32)
    valid = example == 0
    shapes = jax.eval_shape(model.init, jax.random.key(0), example, valid, example, valid)
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda s: jnp.asarray(0.3 * rng.normal(size=s.shape), s.dtype), meta.unbox(shapes)
    )


def _tokens(length, seed=0):
    return np.random.default_rng(seed).integers(1, VOCAB, (ROWS, length)).astype(np.int32)


def _pad(tokens, side):
    """Keep LENGTHS of each prompt and pad on that side: tokens and validity."""
    place = np.arange(tokens.shape[1])[None]
    valid = place >= PROMPT - LENGTHS[:, None] if side == "left" else place < LENGTHS[:, None]
    return np.where(valid, tokens, 0), valid


@functools.partial(jax.jit, static_argnums=0)
def _compare(model, params, prompts, source, new, full, full_options):
    """Logits of the full pass; of the prompt; and of new tokens, read one by one.

    Everything in one program: compilation is what these tests take.
    """
    expected = model.apply(params, *full, **full_options)
    length = prompts.tokens.shape[1]
    hidden, cache = prefill(model, params, prompts, length + new.shape[1], source)

    def read(cache, tokens):
        hidden, cache = step(model, params, tokens, cache)
        return cache, hidden

    # [B, N] -> [N, B, 1], and [N, B, 1, D] -> [B, N, D]
    cache, states = jax.lax.scan(read, cache, new.T[:, :, None])
    both = jnp.concatenate([hidden, states[:, :, 0].swapaxes(0, 1)], axis=1)
    logits = model.apply(params, both, method="logits")
    return expected, logits[:, :length], logits[:, length:], cache.length


def _incremental(model, params, prompts, new, full, source=None, **full_options):
    found = _compare(model, params, prompts, source, new, full, full_options)
    expected, first, rest, length = map(np.asarray, found)
    assert length == prompts.tokens.shape[1] + new.shape[1]
    return expected, first, rest


def _without_padding(prompt, valid, new):
    """Rows of prompt and new tokens with all padding on the left; where new tokens begin: T."""
    tokens, present = np.zeros((ROWS, PROMPT + new.shape[1]), np.int32), []
    for row in range(ROWS):
        text = np.concatenate([prompt[row][valid[row]], new[row]])
        tokens[row, -len(text) :] = text
        present.append(np.arange(tokens.shape[1]) >= tokens.shape[1] - len(text))
    return tokens, np.stack(present)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.variants(4)
def test_one_token_at_a_time_equals_a_full_pass(flavour, side):
    model = CausalLM(dataclasses.replace(BASE, **FLAVOURS[flavour]))
    params = _params(model)
    prompt, valid = _pad(_tokens(PROMPT), side)
    new = _tokens(NEW, seed=1)
    full = _without_padding(prompt, valid, new)
    prompts = Prompts(tokens=prompt, valid=valid)
    expected, first, rest = _incremental(model, params, prompts, new, full)
    np.testing.assert_allclose(rest, expected[:, PROMPT:], atol=1e-5)
    for row in range(ROWS):
        wanted = expected[row, PROMPT - LENGTHS[row] : PROMPT]
        np.testing.assert_allclose(first[row][valid[row]], wanted, atol=1e-5)


def test_several_tokens_at_a_time_equal_a_full_pass_and_see_no_padding_among_them():
    model = CausalLM(dataclasses.replace(BASE, **FLAVOURS["relative, window"]))
    params = _params(model)
    prompt, valid = _pad(_tokens(PROMPT), "right")
    new = _tokens(NEW, seed=1)
    there = np.broadcast_to(np.arange(NEW + 1)[None] != 2, (ROWS, NEW + 1))

    @jax.jit
    def logits(params):
        expected = model.apply(params, *_without_padding(prompt, valid, new))
        prompts = Prompts(tokens=prompt, valid=valid)
        _, cache = prefill(model, params, prompts, PROMPT + NEW + 1)
        padded = np.insert(new, 2, 0, axis=1)
        hidden, _ = step(model, params, padded, cache, None, there)
        return expected, model.apply(params, hidden, method="logits")

    expected, found = map(np.asarray, logits(params))
    np.testing.assert_allclose(found[:, there[0]], expected[:, PROMPT:], atol=1e-5)


@pytest.mark.parametrize("flavour", ["learned", "gemma"])
def test_a_prefix_is_read_in_both_directions_and_what_follows_is_causal(flavour):
    model = CausalLM(dataclasses.replace(BASE, **FLAVOURS[flavour]))
    params = _params(model)
    prompt, valid = _pad(_tokens(PROMPT), "left")
    new = _tokens(NEW, seed=1)
    full = _without_padding(prompt, valid, new)
    prefix = valid & (np.arange(PROMPT) < 5)[None]
    whole = np.pad(prefix, ((0, 0), (0, NEW)))
    prompts = Prompts(tokens=prompt, valid=valid, prefix=prefix)
    expected, first, rest = _incremental(model, params, prompts, new, full, prefix=whole)
    np.testing.assert_allclose(rest, expected[:, PROMPT:], atol=1e-5)
    np.testing.assert_allclose(first[0], expected[0, :PROMPT], atol=1e-5)
    prompts = Prompts(tokens=prompt, valid=valid)
    causal, _, _ = _incremental(model, params, prompts, new, full)
    assert np.abs(expected - causal)[0].max() > 1e-3


SEGMENTS = np.array(
    [[0, 0, 0, 1, 1, 1], [7, 7, 3, 3, 3, 3], [0, 0, 0, 0, 0, 5], [0, 1, 2, 2, 3, 3]], np.int32
)


@pytest.mark.parametrize("flavour", ["learned", "relative, window"])
def test_a_new_token_goes_on_with_the_last_of_the_packed_sequences(flavour):
    model = CausalLM(dataclasses.replace(BASE, **FLAVOURS[flavour]))
    params = _params(model)
    prompt, new = _tokens(PROMPT), _tokens(NEW, seed=1)
    valid = np.ones(prompt.shape, bool)
    valid[3, 0] = False
    full = (
        np.concatenate([prompt, new], axis=1),
        np.pad(valid, ((0, 0), (0, NEW)), constant_values=True),
    )
    whole = np.concatenate([SEGMENTS, np.repeat(SEGMENTS[:, -1:], NEW, axis=1)], axis=1)
    # Padding on the right, with a number of its own, is not the last sequence.
    prompt = np.concatenate([prompt, prompt[:, :2]], axis=1)
    valid = np.pad(valid, ((0, 0), (0, 2)))
    segments = np.concatenate([SEGMENTS, np.full((ROWS, 2), 9, np.int32)], axis=1)
    prompts = Prompts(tokens=prompt, valid=valid, segments=segments)
    expected, first, rest = _incremental(model, params, prompts, new, full, segments=whole)
    np.testing.assert_allclose(rest, expected[:, PROMPT:], atol=1e-5)
    np.testing.assert_allclose(first[:, :PROMPT], expected[:, :PROMPT], atol=1e-5)


def test_a_new_token_may_begin_a_sequence_of_its_own():
    model = CausalLM(BASE)
    params = _params(model)
    prompt, new = _tokens(PROMPT), _tokens(5, seed=1)
    valid = np.ones(prompt.shape, bool)
    later = np.array([[8, 8, 9, 9, 9]] * ROWS, np.int32)

    @jax.jit
    def states(params):
        prompts = Prompts(tokens=prompt, valid=valid, segments=SEGMENTS)
        _, cache = prefill(model, params, prompts, PROMPT + 5)
        hidden = []
        for part in (slice(0, 1), slice(1, 5)):
            state, cache = step(model, params, new[:, part], cache, later[:, part])
            hidden.append(state)
        return model.apply(params, jnp.concatenate(hidden, axis=1), method="logits")

    expected = jax.jit(model.apply)(
        params,
        np.concatenate([prompt, new], axis=1),
        np.ones((ROWS, PROMPT + 5), bool),
        segments=np.concatenate([SEGMENTS, later], axis=1),
    )
    np.testing.assert_allclose(states(params), expected[:, PROMPT:], atol=1e-5)


ENCODER_DECODERS = {
    "t5": {**T5, "gated": False, "activation": "relu", "encoder_depth": 2},
    "bart": {**FLAVOURS["learned"], "norm_order": "post"},
}


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("flavour", ENCODER_DECODERS)
@pytest.mark.variants(2)
def test_a_decoder_with_an_encoder_equals_its_full_pass(flavour, side):
    model = EncoderDecoder(dataclasses.replace(BASE, **ENCODER_DECODERS[flavour]))
    params = _params(model)
    source, source_valid = _pad(_tokens(PROMPT), side)
    new = _tokens(NEW + 1, seed=1)
    full = source, source_valid, new, np.ones(new.shape, bool)
    begin = Prompts(tokens=new[:, :1], valid=np.ones((ROWS, 1), bool))
    read = Prompts(tokens=source, valid=source_valid)
    expected, first, rest = _incremental(model, params, begin, new[:, 1:], full, read)
    np.testing.assert_allclose(np.concatenate([first, rest], axis=1), expected, atol=1e-5)


def test_bfloat16_stays_close_to_the_full_pass_in_bfloat16():
    model = CausalLM(dataclasses.replace(BASE, dtype="bfloat16"))
    params = _params(model)
    prompt, valid = _pad(_tokens(PROMPT), "left")
    new = _tokens(NEW, seed=1)
    full = _without_padding(prompt, valid, new)
    prompts = Prompts(tokens=prompt, valid=valid)
    expected, _, rest = _incremental(model, params, prompts, new, full)
    expected = expected[:, PROMPT:]
    assert np.abs(rest - expected).max() < 0.03 * np.abs(expected).max()


def test_a_step_writes_the_cache_in_place_and_copies_it_nowhere():
    model = CausalLM(BASE)
    params = _params(model)
    prompt, valid = _pad(_tokens(PROMPT), "left")
    prompts = Prompts(tokens=prompt, valid=valid)
    _, cache = jax.eval_shape(lambda p: prefill(model, p, prompts, 37), params)

    def loop(params, token, cache):
        return jax.lax.fori_loop(0, 9, lambda _, c: step(model, params, token, c)[1], cache)

    compiled = jax.jit(loop, donate_argnums=2).lower(params, prompt[:, :1], cache).compile()
    slots = "f32[" + ",".join(map(str, cache.key.shape)) + "]"
    text = compiled.as_text()
    assert slots in text
    copies = [line for line in text.splitlines() if " copy(" in line and slots in line]
    assert not copies


def test_last_states_are_those_of_the_last_valid_tokens():
    hidden = jnp.arange(12.0).reshape(2, 3, 2)
    valid = jnp.array([[True, True, False], [False, True, True]])
    np.testing.assert_array_equal(last_states(hidden, valid)[:, 0, 0], [2.0, 10.0])


def test_what_does_not_fit_is_refused():
    model = CausalLM(BASE)
    params = _params(model)
    prompt, valid = _pad(_tokens(PROMPT), "left")
    prompts = Prompts(tokens=prompt, valid=valid)
    with pytest.raises(ConfigError, match=r"at least the prompt's 6 tokens, got 5"):
        prefill(model, params, prompts, 5)
    with pytest.raises(ConfigError, match="CausalLM has no encoder"):
        prefill(model, params, prompts, 6, prompts)
    with pytest.raises(ConfigError, match="needs a source"):
        prefill(EncoderDecoder(BASE), params, prompts, 6)
    shapes = jax.eval_shape(lambda p: prefill(model, p, prompts, PROMPT + 1)[1], params)
    cache = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    cache = dataclasses.replace(cache, length=jnp.int32(PROMPT))
    with pytest.raises(ConfigError, match="7 slots, 6 of them used: no room for 2"):
        step(model, params, prompt[:, :2], cache)
    with pytest.raises(ConfigError, match="segments to prefill too"):
        step(model, params, prompt[:, :1], cache, jnp.zeros((ROWS, 1), jnp.int32))
