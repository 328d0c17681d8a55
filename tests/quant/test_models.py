"""Models with stored kernels: outputs, text and items beside those of dense models."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from jaxrec.decode import (
    Catalogue,
    Prompts,
    SearchOptions,
    TextOptions,
    beam_generate,
    beam_search,
    generate,
)
from jaxrec.ids import IdVocabulary, ItemIndex, simple, write_histories
from jaxrec.models import ModelSpec
from jaxrec.nn import StoredKernel, kernel_specs
from jaxrec.quant import UniformConfig, quantize_params
from jaxrec.testing import random_params, tiny_model

pytestmark = pytest.mark.slow


def _tokens(kind="causal"):
    rng = np.random.default_rng(0)
    valid = np.arange(7)[None] >= np.array([0, 4, 6, 2])[:, None]
    tokens = np.where(valid, rng.integers(3, 30, valid.shape), 0)
    found = jnp.asarray(tokens, jnp.int32), jnp.asarray(valid)
    return found * 2 if kind == "encoder_decoder" else found


SLOW = pytest.mark.slow
# A stack of more than four layers is a loop, a shallower one is unrolled.
KINDS = [
    ("causal", 5),
    ("encoder_decoder", 5),
    pytest.param("causal", 2, marks=SLOW),
    pytest.param("encoder_decoder", 2, marks=SLOW),
]


@pytest.mark.parametrize(("kind", "depth"), KINDS)
@pytest.mark.variants(1)
def test_weights_alone_give_the_outputs_of_the_dense_model(quantized, kind, depth):
    spec, stored, dense = quantized("weights", kind, depth)
    apply = jax.jit(spec.build().apply)
    found, expected = (np.asarray(apply(own, *_tokens(kind))) for own in (stored, dense))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    plain = apply(random_params(spec.build(), scale=0.5), *_tokens(kind))
    assert np.abs(found - plain).max() > 0.1


@pytest.mark.parametrize("depth", [pytest.param(2, marks=SLOW), 5])
def test_rounded_inputs_stay_near_the_dense_model(quantized, depth):
    spec, stored, dense = quantized("inputs", depth=depth)
    apply = jax.jit(spec.build().apply)
    found, expected = (np.asarray(apply(own, *_tokens()))[_tokens()[1]] for own in (stored, dense))
    assert 1e-4 < np.linalg.norm(found - expected) / np.linalg.norm(expected) < 0.05


@pytest.mark.parametrize("mixture", [pytest.param("weights", marks=SLOW), "inputs"])
def test_bfloat16_models_compute_in_it(quantized, mixture):
    spec, stored, dense = quantized(mixture, depth=5, dtype="bfloat16")
    apply = jax.jit(spec.build().apply)
    found, expected = (np.asarray(apply(own, *_tokens()))[_tokens()[1]] for own in (stored, dense))
    assert np.linalg.norm(found - expected) < 0.06 * np.linalg.norm(expected)


def _prompts():
    tokens, valid = _tokens()
    return Prompts(tokens=tokens, valid=valid)


TEXTS = [("causal", 5), pytest.param("encoder_decoder", 2, marks=SLOW)]


@pytest.mark.parametrize(("kind", "depth"), TEXTS)
def test_text_is_that_of_the_dense_model(quantized, kind, depth):
    spec, stored, dense = quantized("weights", kind, depth)
    prompts, options = _prompts(), TextOptions(max_tokens=6, eos=(7,))
    found, expected = (generate(spec.build(), own, prompts, options) for own in (stored, dense))
    np.testing.assert_array_equal(found.tokens, expected.tokens)
    np.testing.assert_allclose(found.logprobs, expected.logprobs, atol=1e-4)


@SLOW
@pytest.mark.parametrize(("kind", "depth"), TEXTS)
def test_beams_are_those_of_the_dense_model(quantized, kind, depth):
    spec, stored, dense = quantized("weights", kind, depth)
    beams = functools.partial(beam_generate, beams=3)
    prompts, options = _prompts(), TextOptions(max_tokens=6)
    found, expected = (beams(spec.build(), own, prompts, options) for own in (stored, dense))
    np.testing.assert_array_equal(found.tokens, expected.tokens)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)


def test_text_with_rounded_inputs_is_the_best_of_full_passes():
    # A scale a token makes a row's product independent of what else is computed with it, which
    # outliers of a batch do not.
    spec = ModelSpec("causal", tiny_model(30, 5))
    params = random_params(spec.build(), scale=0.5)["params"]
    scheme = UniformConfig(bits=4, per="group", group=8, activations="token")
    stored = {"params": quantize_params(params, kernel_specs(spec.shapes()), scheme)}
    tokens, valid = (x[:1] for x in _tokens())
    prompts = Prompts(tokens=tokens, valid=valid)
    found = generate(spec.build(), stored, prompts, TextOptions(max_tokens=6))
    text = np.concatenate([np.asarray(tokens), np.asarray(found.tokens)], axis=1)
    logits = jax.jit(spec.build().apply)(stored, text, np.ones(text.shape, bool))
    np.testing.assert_array_equal(logits[0, 6:-1].argmax(-1), found.tokens[0])


@pytest.mark.parametrize(
    ("kind", "depth"), [("causal", 2), pytest.param("encoder_decoder", 5, marks=SLOW)]
)
def test_items_are_those_of_the_dense_model(quantized, kind, depth):
    codes = simple.random(24, 2, 6, seed=0)
    vocabulary = IdVocabulary(sizes=codes.sizes)
    spec, stored, dense = quantized("weights", kind, depth, vocabulary.size)
    index = ItemIndex.build(codes)
    histories = [np.arange(length, dtype=np.int32) for length in (3, 1, 2)]
    tokens = jnp.asarray(write_histories(histories, vocabulary.tokens(codes.codes), 3))
    ask = (Catalogue(index, vocabulary), Prompts(tokens=tokens), SearchOptions(beams=5))
    found, expected = (beam_search(spec.build(), own, *ask) for own in (stored, dense))
    np.testing.assert_array_equal(found.items, expected.items)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
    assert (np.asarray(found.items) >= 0).all()


def test_every_kernel_of_the_mixtures_is_stored(quantized):
    spec, stored, _ = quantized("weights", "encoder_decoder", 5)
    leaves = flatten_dict(
        stored["params"], sep="/", is_leaf=lambda _, leaf: isinstance(leaf, StoredKernel)
    )
    quantized_paths = {path for path, leaf in leaves.items() if isinstance(leaf, StoredKernel)}
    assert quantized_paths == {f"{path}/kernel" for path in kernel_specs(spec.shapes())}
