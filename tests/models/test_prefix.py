"""The prefix decoder: which tokens a change can reach, and the loss of a model that knows nothing.

A mask must hold in every layer, so the models have two.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.models import CausalLM, TransformerConfig
from jaxrec.objectives import language_loss

PREFIX, LENGTH = 4, 9


def test_a_change_reaches_all_of_the_prefix_and_later_tokens_only():
    model = CausalLM(TransformerConfig(vocab_size=32, width=16, depth=2))
    tokens = jnp.asarray(np.random.default_rng(0).integers(1, 32, (1, LENGTH)))
    prefix = jnp.arange(LENGTH)[None] < PREFIX
    params = jax.jit(model.init)(jax.random.key(0), tokens, tokens > 0)
    logits = jax.jit(lambda t: model.apply(params, t, t >= 0, prefix=prefix))
    before = np.asarray(logits(tokens))[0]
    for place in range(LENGTH):
        after = np.asarray(logits(tokens.at[0, place].set(0)))[0]
        changed = (before != after).any(axis=-1)
        reached = 0 if place < PREFIX else place
        # Bit for bit: what a token does not see has no rounding either.
        assert not changed[:reached].any()
        assert changed[reached:].all()


def test_a_uniform_model_loses_the_logarithm_of_the_vocabulary():
    model = CausalLM(TransformerConfig(vocab_size=37, width=4, depth=1))
    tokens = jnp.arange(1, 9).reshape(1, 8)
    params = jax.eval_shape(model.init, jax.random.key(0), tokens, tokens > 0)
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), params)
    batch = {
        "tokens": tokens,
        "valid": tokens > 0,
        "weights": jnp.ones((1, 8), jnp.float32),
        "prefix": jnp.arange(8)[None] < 3,
    }
    loss = language_loss(model, zeros, batch, None)
    assert float(loss.weight) == 7
    np.testing.assert_allclose(float(loss.total / loss.weight), math.log(37), rtol=1e-6)
