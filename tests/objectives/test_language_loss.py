import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxrec.models import CausalLM, EncoderDecoder, TransformerConfig
from jaxrec.nn import SelfContext, attention_mask, positions_of
from jaxrec.objectives import language_loss
from jaxrec.testing import random_params

CONFIG = TransformerConfig(vocab_size=23, width=16, depth=2, num_heads=2)


def _batch(length=9):
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 23, (3, length)).astype(np.int32)
    valid = np.arange(length)[None] < np.array([[length], [5], [7]])
    weights = rng.uniform(0.5, 2.0, tokens.shape).astype(np.float32)
    weights[0, :4] = 0.0
    return {"tokens": tokens, "valid": valid, "weights": weights}


def _by_torch(torch, logits, batch):
    """Sum of weighted -log p, target by target."""
    total = 0.0
    for row, column in zip(*np.nonzero(batch["valid"]), strict=True):
        if column:
            scores = torch.tensor(np.asarray(logits[row, column - 1]))
            target = torch.tensor(int(batch["tokens"][row, column]))
            loss = torch.nn.functional.cross_entropy(scores, target)
            total += float(batch["weights"][row, column]) * float(loss)
    return total


def test_decoder_equals_torch_target_by_target():
    torch = pytest.importorskip("torch")
    model, batch = CausalLM(CONFIG), _batch()
    params = random_params(model)
    found = language_loss(model, params, jax.tree.map(jnp.asarray, batch), None)
    logits = model.apply(params, batch["tokens"], batch["valid"])
    np.testing.assert_allclose(found.total, _by_torch(torch, logits, batch), rtol=1e-5)
    weight = (batch["weights"] * batch["valid"])[:, 1:].sum()
    np.testing.assert_allclose(found.weight, weight, rtol=1e-6)


def test_encoder_decoder_equals_torch_target_by_target():
    torch = pytest.importorskip("torch")
    model = EncoderDecoder(dataclasses.replace(CONFIG, positions="relative"))
    batch = _batch()
    source = np.random.default_rng(1).integers(0, 23, (3, 6)).astype(np.int32)
    source_valid = np.arange(6)[None] < np.array([[6], [2], [4]])
    example = [jnp.asarray(source), jnp.asarray(source_valid)] * 2
    params = jax.tree.map(
        lambda x: x + 0.3 * jax.random.normal(jax.random.key(x.size), x.shape),
        jax.jit(lambda: model.init(jax.random.key(0), *example))(),
    )
    params = nn.meta.unbox(params)
    whole = batch | {"source": source, "source_valid": source_valid}
    found = language_loss(model, params, jax.tree.map(jnp.asarray, whole), None)
    logits = model.apply(params, source, source_valid, batch["tokens"], batch["valid"])
    np.testing.assert_allclose(found.total, _by_torch(torch, logits, batch), rtol=1e-5)


def test_packed_texts_have_the_loss_that_they_have_apart():
    model = CausalLM(CONFIG)
    params = random_params(model)
    rng = np.random.default_rng(2)
    texts = [rng.integers(0, 23, n).astype(np.int32) for n in (5, 3, 4)]
    apart = 0.0
    for text in texts:
        ones = np.ones((1, len(text)), np.float32)
        one = {"tokens": text[None], "valid": ones > 0, "weights": ones}
        apart += float(language_loss(model, params, jax.tree.map(jnp.asarray, one), None).total)
    packed = {
        "tokens": np.concatenate(texts)[None],
        "valid": np.ones((1, 12), bool),
        "weights": np.ones((1, 12), np.float32),
        "segments": np.repeat(np.arange(3), [5, 3, 4])[None].astype(np.int32),
    }
    found = language_loss(model, params, jax.tree.map(jnp.asarray, packed), None)
    np.testing.assert_allclose(found.total, apart, rtol=1e-5)
    assert float(found.weight) == 9.0


def test_tokens_above_the_vocabulary_are_no_targets():
    torch = pytest.importorskip("torch")
    model, batch = CausalLM(CONFIG), jax.tree.map(jnp.asarray, _batch())
    params = random_params(model)
    virtual = jnp.full((3, 2), 23, jnp.int32) + jnp.arange(2, dtype=jnp.int32)[None]
    longer = {
        "tokens": jnp.concatenate([virtual, batch["tokens"]], axis=1),
        "valid": jnp.concatenate([jnp.ones((3, 2), bool), batch["valid"]], axis=1),
        "weights": jnp.concatenate([jnp.ones((3, 2)), batch["weights"]], axis=1),
    }
    found = language_loss(model, params, longer, None)
    logits = model.apply(params, longer["tokens"], longer["valid"])
    real = jax.tree.map(np.array, longer)
    real["valid"][:, :2] = False
    np.testing.assert_allclose(found.total, _by_torch(torch, logits, real), rtol=1e-5)
    # The first real token follows a virtual one, so that it is a target now.
    np.testing.assert_allclose(
        found.weight, (batch["weights"] * batch["valid"].astype(jnp.float32)).sum(), rtol=1e-6
    )


def test_tokens_that_are_only_read_are_no_targets_and_get_no_probability():
    torch = pytest.importorskip("torch")
    model = CausalLM(dataclasses.replace(CONFIG, read_only=6))
    batch = _batch()
    assert (batch["tokens"] >= 17).any()
    params = random_params(model)
    found = language_loss(model, params, jax.tree.map(jnp.asarray, batch), None)
    # The same parameters without the restriction: the softmax is over the first 17 tokens alone.
    logits = CausalLM(CONFIG).apply(params, batch["tokens"], batch["valid"])[..., :17]
    written = batch | {"weights": batch["weights"] * (batch["tokens"] < 17)}
    written["tokens"] = np.minimum(batch["tokens"], 16)
    np.testing.assert_allclose(found.total, _by_torch(torch, logits, written), rtol=1e-5)
    weight = (written["weights"] * batch["valid"])[:, 1:].sum()
    np.testing.assert_allclose(found.weight, weight, rtol=1e-6)


def test_gradient_at_prompt_tokens_is_zero():
    model, batch = CausalLM(CONFIG), jax.tree.map(jnp.asarray, _batch())
    params = random_params(model)
    states = model.apply(params, batch["tokens"], batch["valid"], method=_states)

    def loss(hidden):
        targets, weights = batch["tokens"][:, 1:], batch["weights"][:, 1:]
        return model.apply(params, hidden[:, :-1], targets, weights, method="loss")

    gradient = jax.grad(loss)(states)
    assert np.all(np.asarray(gradient[0, :3]) == 0.0)
    assert np.any(np.asarray(gradient[0, 3:-1]) != 0.0)


def _states(model, tokens, valid):
    context = SelfContext(attention_mask(valid), causal=True)
    return model.hidden(tokens, positions_of(valid), context)[0]
