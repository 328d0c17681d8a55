"""Prompts against the tokens whose embeddings they hold, and what they start from."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxrec.core import ConfigError
from jaxrec.nn import SelfContext, attention_mask, positions_of
from jaxrec.peft import TuneConfig, prepend, prompt, start, variables
from jaxrec.testing.tuned import SPECS, VOCAB, tuned_case

TEXT = jnp.array([4, 9, 2], jnp.int32)
P = len(TEXT)


def _told(case):
    """Variables of a prompt that holds the embeddings of the text."""
    vectors = prompt.vectors(jax.random.key(0), case.spec, case.params, P, TEXT, random=False)
    config = TuneConfig(method="prompt", virtual_tokens=P, prompt_init="text", prompt_text="words")
    tuning = start(jax.random.key(0), case.spec.shapes(), case.params, config, prompt_start=vectors)
    assert tuning.virtual == P
    return variables(nn.meta.unbox(tuning.trainable), tuning.frozen)


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.variants(2)
def test_embeddings_of_real_tokens_are_these_tokens(name):
    case = tuned_case(name)
    found = case.outputs(_told(case))
    whole = case.after(TEXT.tolist()).logits_of(case.params)
    expected = whole if case.spec.kind == "encoder_decoder" else whole[:, P:]
    np.testing.assert_allclose(found, expected[case.counted], atol=1e-5)


@pytest.mark.parametrize("name", ["gpt2", "encoder"])
@pytest.mark.variants(1)
def test_each_sequence_packed_into_a_row_reads_the_prompt_for_itself(name):
    """Rows of two sequences against each alone; token types and positions go with their tokens."""
    case = tuned_case(name)
    params = _told(case)
    tokens = jnp.array([[5, 6, 7, 8, 3, 0], [1, 2, 3, 4, 5, 6]], jnp.int32)
    segments = jnp.array([[0, 0, 0, 1, 1, 1], [0, 1, 1, 1, 1, 1]], jnp.int32)
    valid = tokens > 0
    read = prepend(tokens, valid, VOCAB, P, segments, sequences=2)
    wide = read.widen(segments)
    base, tuned = case.params["params"], params["tuned"]
    if name == "encoder":
        model = dataclasses.replace(case.spec, kind="encoder").build()
        inner = {"params": base["backbone"], "tuned": tuned["backbone"]}
        run = jax.jit(lambda v: model.apply(v, read.tokens, read.valid, segments=wide))
        found = run(inner)
    else:
        context = SelfContext(attention_mask(read.valid, True, None, wide), causal=True)
        positions = positions_of(read.valid, wide)
        run = jax.jit(
            lambda v: case.model.apply(v, read.tokens, positions, context, method="hidden")[0]
        )
        found = run(params)

    @jax.jit
    def alone(params, whole):
        there = whole > 0
        if name == "encoder":
            return model.apply({"params": params["params"]["backbone"]}, whole, there)
        context = SelfContext(attention_mask(there))
        positions = positions_of(there)
        return case.model.apply(params, whole, positions, context, method="hidden")[0]

    found = read.drop(found)
    for row in range(2):
        for segment in range(2):
            mine = np.asarray(valid[row] & (segments[row] == segment))
            # All of one length, as each length is a program.
            own = np.asarray(tokens[row])[mine]
            whole = jnp.asarray([[*TEXT.tolist(), *own, *[0] * (6 - len(own))]], jnp.int32)
            expected = alone(case.params, whole)[0, P : P + len(own)]
            np.testing.assert_allclose(found[row][mine], expected, atol=1e-5)


def _vectors(case, count, tokens, random):
    return np.asarray(
        prompt.vectors(jax.random.key(0), case.spec, case.params, count, tokens, random)
    )


def test_a_text_is_cut_or_repeated():
    case = tuned_case("llama")
    table = 2.0 * np.asarray(case.params["params"]["embedding"]["table"])
    np.testing.assert_array_equal(_vectors(case, 2, TEXT, False), table[[4, 9]])
    np.testing.assert_array_equal(_vectors(case, 7, TEXT, False), table[[4, 9, 2, 4, 9, 2, 4]])


def test_frequent_tokens_are_drawn_once_each():
    case = tuned_case("encoder")
    table = np.asarray(case.params["params"]["backbone"]["embedding"]["table"])
    frequent = jnp.array([3, 5, 8, 13, 1], jnp.int32)
    found = _vectors(case, 4, frequent, True)
    chosen = [int(np.flatnonzero((table == row).all(1))[0]) for row in found]
    assert len(set(chosen)) == 4
    assert set(chosen) < set(frequent.tolist())
    other = prompt.vectors(jax.random.key(1), case.spec, case.params, 4, frequent, True)
    assert not np.array_equal(found, other)


def test_random_ones_are_uniform_between_a_half_and_its_negative():
    case = tuned_case("gpt2", width=64)
    made = nn.meta.unbox(prompt.init(jax.random.key(0), case.spec.shapes(), 100))
    found = made["embedding"]["prompt"]
    assert found.shape == (100, 64)
    assert 0.49 < found.max() <= 0.5
    assert -0.5 <= found.min() < -0.49
    assert np.std(found) == pytest.approx(12**-0.5, rel=0.02)


def test_a_prompt_needs_words_to_start_from():
    case = tuned_case("llama")
    with pytest.raises(
        ConfigError, match="virtual_tokens 4 cannot start from 3 tokens; provide more"
    ):
        _vectors(case, 4, TEXT, True)
    with pytest.raises(ConfigError, match=r"cannot start from 0 tokens.*longer tune\.prompt_text"):
        _vectors(case, 4, TEXT[:0], False)
    key, boxed = jax.random.key(0), case.spec.shapes()
    for init in ("vocabulary", "text"):
        config = TuneConfig(method="prompt", prompt_init=init, prompt_text="x" * (init == "text"))
        with pytest.raises(ConfigError, match=f"prompt_init {init} needs prompt_start"):
            start(key, boxed, case.params, config)
    config = TuneConfig(method="prompt", prompt_init="random")
    with pytest.raises(ConfigError, match="prompt_init random cannot use prompt_start"):
        start(key, boxed, case.params, config, prompt_start=jnp.zeros((20, 16)))
