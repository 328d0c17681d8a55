"""Tuned models read token by token, search for items and write text as full passes say."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.core import ConfigError
from jaxrec.decode import Prompts, TextOptions, beam_generate, generate, prefill, step
from jaxrec.decode.generation import check_prompts
from jaxrec.decode.kv_cache import written_tokens
from jaxrec.peft import prepend, virtual_of
from jaxrec.testing.tuned import BATCH, METHODS, SPECS, VOCAB, tuned_case

# A program runs once: compiling faster is worth more than running faster.
QUICK = {"xla_backend_optimization_level": 0}

# Each model and each method once in every run, the rest in long ones.
FIRST = {
    ("gpt2", "prefix"),
    ("llama", "lora"),
    ("prefix", "prompt"),
    ("encoder-decoder", "prefix"),
    ("encoder-decoder", "adapter"),
}
EVERY = [
    pytest.param(*pair, marks=() if pair in FIRST else pytest.mark.slow)
    for pair in itertools.product([name for name in SPECS if name != "encoder"], METHODS)
]


@pytest.mark.parametrize(("name", "method"), EVERY)
@pytest.mark.variants(2)
def test_decoding_step_by_step_equals_one_pass_over_all(name, method):
    case = tuned_case(name)
    params = case.variables(METHODS[method], 0.1)
    new = jnp.asarray(np.random.default_rng(5).integers(0, VOCAB, (BATCH, 3)), jnp.int32)
    writes = case.spec.kind == "encoder_decoder"

    @functools.partial(jax.jit, compiler_options=QUICK)
    def both(params):
        virtual = virtual_of(params)
        read = prepend(case.tokens, case.valid, VOCAB, virtual.read)
        if writes:
            written = jnp.tile(written_tokens(case.model, virtual, 0)[None], (BATCH, 1))
            first = Prompts(tokens=written, valid=jnp.ones(written.shape, bool))
            source = Prompts(tokens=read.tokens, valid=read.valid)
        else:
            prefix = None if case.prefix is None else read.widen(case.prefix)
            first = Prompts(tokens=read.tokens, valid=read.valid, prefix=prefix)
            source = None
        capacity = first.tokens.shape[1] + 3
        hidden, cache = prefill(case.model, params, first, capacity, source)
        states = [hidden[:, -1]]
        for i in range(3):
            hidden, cache = step(case.model, params, new[:, i : i + 1], cache)
            states.append(hidden[:, 0])
        found = case.model.apply(params, jnp.stack(states, axis=1), method="logits")
        if writes:
            whole = dataclasses.replace(case, targets=jnp.pad(new, ((0, 0), (1, 0))))
            return found, whole.logits(params)
        whole = dataclasses.replace(
            case,
            tokens=jnp.concatenate([case.tokens, new], axis=1),
            valid=jnp.pad(case.valid, ((0, 0), (0, 3)), constant_values=True),
        )
        return found, whole.logits(params)[:, -4:]

    found, expected = both(params)
    np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize(
    ("name", "method"), [("gpt2", "prompt"), ("prefix", "prompt"), ("encoder-decoder", "prefix")]
)
@pytest.mark.variants(1)
def test_text_is_what_full_passes_write_token_by_token(name, method):
    case = tuned_case(name)
    params = case.variables(METHODS[method], 0.3)
    prompts = Prompts(tokens=case.tokens, valid=case.valid, prefix=case.prefix)
    options = TextOptions(max_tokens=3)
    found = generate(case.model, params, prompts, options)
    if method == "prefix":
        best = beam_generate(case.model, params, prompts, options, beams=1)
        np.testing.assert_array_equal(best.tokens[:, 0], found.tokens)
    # One pass over what was written: each token is the best after those before it.
    if case.spec.kind == "encoder_decoder":
        whole = dataclasses.replace(case, targets=jnp.pad(found.tokens, ((0, 0), (1, 0))))
    else:
        whole = dataclasses.replace(
            case,
            tokens=jnp.concatenate([case.tokens, found.tokens], axis=1),
            valid=jnp.pad(case.valid, ((0, 0), (0, 3)), constant_values=True),
        )
    logits = jax.jit(whole.logits, compiler_options=QUICK)(params)
    np.testing.assert_array_equal(logits[:, -4:-1].argmax(-1), found.tokens)
    expected = jax.nn.log_softmax(logits[:, -4:-1]).max(-1)
    np.testing.assert_allclose(found.logprobs, expected, atol=1e-5)


def test_prompts_that_leave_no_room_for_virtual_tokens_are_refused():
    case = tuned_case("gpt2", max_length=12)
    prompts = Prompts(tokens=case.tokens, valid=case.valid)
    check_prompts(case.model, case.params, prompts, max_tokens=7)
    params = case.variables(METHODS["prompt"])
    with pytest.raises(ConfigError, match=r"15 tokens.*max_length 12; shorten the prompt"):
        generate(case.model, params, prompts, TextOptions(max_tokens=7))
