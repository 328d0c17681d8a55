"""Scalar heads and pooling, against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import meta

from jaxrec.models import CausalLM, Encoder, ScalarHead, pool
from jaxrec.nn import SelfContext, attention_mask, positions_of
from jaxrec.testing import random_params, tiny_model

TOKENS = jnp.asarray([[0, 0, 4, 9, 2], [5, 1, 7, 3, 8]], jnp.int32)
VALID = TOKENS > 0


@pytest.mark.parametrize("backbone", [CausalLM, Encoder])
def test_a_scalar_is_a_linear_function_of_the_last_state(backbone):
    model = ScalarHead(backbone(tiny_model()))
    params = random_params(model)
    found = model.apply(params, TOKENS, VALID)
    assert found.dtype == jnp.float32
    own = {"params": params["params"]["backbone"]}
    if backbone is Encoder:
        states = backbone(tiny_model()).apply(own, TOKENS, VALID)
    else:
        context = SelfContext(attention_mask(VALID))
        states, _ = backbone(tiny_model()).apply(
            own, TOKENS, positions_of(VALID), context, method="hidden"
        )
    out = params["params"]["out"]
    expected = np.asarray(states, np.float64) @ np.asarray(out["kernel"])[:, 0]
    np.testing.assert_allclose(found, expected + np.asarray(out["bias"]), atol=1e-5)


def test_scalars_are_zero_before_training():
    model = ScalarHead(CausalLM(tiny_model()))
    variables = jax.jit(lambda key: meta.unbox(model.init(key, TOKENS, VALID)))(jax.random.key(0))
    np.testing.assert_array_equal(model.apply(variables, TOKENS, VALID), np.zeros((2, 5)))


def test_a_summed_head_adds_up_what_tokens_say_and_its_bias_once():
    model = ScalarHead(CausalLM(tiny_model()), summed=True)
    params = random_params(model)
    plain = ScalarHead(CausalLM(tiny_model())).apply(params, TOKENS, VALID)
    bias = float(params["params"]["out"]["bias"][0])
    expected = np.full(plain.shape, bias)
    for row, there in enumerate(np.asarray(VALID)):
        for end in range(len(there)):
            own = [float(plain[row, k]) - bias for k in range(end + 1) if there[k]]
            expected[row, end] += sum(own) / np.sqrt(max(len(own), 1))
    np.testing.assert_allclose(model.apply(params, TOKENS, VALID), expected, atol=1e-5)


@pytest.mark.parametrize("how", ["mean", "first", "last"])
def test_pooling_reads_valid_tokens_alone(how):
    rng = np.random.default_rng(0)
    states = rng.normal(size=(4, 5, 3)).astype(np.float32)
    # Padding on the right, on the left, on both sides, and none.
    valid = np.array([[1, 1, 0, 0, 0], [0, 0, 0, 1, 1], [0, 1, 1, 1, 0], [1, 1, 1, 1, 1]], bool)
    choose = {"mean": lambda rows: rows.mean(0), "first": lambda rows: rows[0]}
    choose["last"] = lambda rows: rows[-1]
    expected = [choose[how](row[mask]) for row, mask in zip(states, valid, strict=True)]
    found = pool(jnp.asarray(states), jnp.asarray(valid), how)
    np.testing.assert_allclose(found, expected, atol=1e-6)
