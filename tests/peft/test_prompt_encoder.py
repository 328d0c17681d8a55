"""P-tuning's network against PEFT's, and what is left of it after training."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from jaxrec.core import ConfigError
from jaxrec.models import ModelSpec, Pretrained
from jaxrec.peft import (
    PromptNetwork,
    TuneConfig,
    load_peft,
    prompt_encoder,
    save_peft,
    start,
    variables,
    virtual_of,
    without_networks,
)
from jaxrec.testing import random_params, tiny_model
from jaxrec.testing.tuned import tuned_case

P, D, E = 5, 16, 6


def _config(kind, **settings):
    settings = {"prompt_init": "random", "prompt_hidden": E, **settings}
    return TuneConfig(method="prompt", virtual_tokens=P, prompt_encoder=kind, **settings)


def _network(kind, noise=0.3):
    case = tuned_case("llama")
    trainable, frozen = case.tuning(_config(kind), noise)
    return case, trainable, frozen, trainable["tuned"]["embedding"]["prompt"]


@pytest.mark.parametrize("kind", ["lstm", "mlp"])
def test_the_network_is_that_of_peft(kind):
    torch, peft = pytest.importorskip("torch"), pytest.importorskip("peft")
    *_, network = _network(kind)
    settings = peft.PromptEncoderConfig(
        num_virtual_tokens=P, token_dim=D, encoder_hidden_size=E, num_transformer_submodules=1,
        encoder_reparameterization_type=kind.upper(),
    )  # fmt: skip
    theirs = peft.PromptEncoder(settings)

    def put(target, values):
        assert target.shape == values.shape
        target.copy_(torch.tensor(np.array(values)))

    with torch.no_grad():
        put(theirs.embedding.weight, network.embedding)
        for number, layer in enumerate(network.lstm):
            for direction, end in zip(layer, ("", "_reverse"), strict=True):
                weights = {"weight_ih": direction.read.T, "weight_hh": direction.state.T}
                # PyTorch adds two biases.
                biases = {"bias_ih": 0.25 * direction.bias, "bias_hh": 0.75 * direction.bias}
                for name, values in (weights | biases).items():
                    put(getattr(theirs.lstm_head, f"{name}_l{number}{end}"), values)
        maps = [layer for layer in theirs.mlp_head if isinstance(layer, torch.nn.Linear)]
        for layer, ours in zip(maps, network.mlp, strict=True):
            put(layer.weight, ours.kernel.T)
            put(layer.bias, ours.bias)
        expected = theirs(torch.arange(P)[None])[0].numpy()
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(network.table(), expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["lstm", "mlp"])
def test_widths_of_the_paper_and_initial_values(kind):
    case = tuned_case("llama", width=64)
    boxed = case.spec.shapes()
    made = nn.meta.unbox(prompt_encoder.init(jax.random.key(0), boxed, 50, kind))
    network = made["embedding"]["prompt"]
    assert np.std(network.embedding) == pytest.approx(1.0, rel=0.05)
    assert [layer.kernel.shape for layer in network.mlp] == [(64, 64)] * (2 + (kind == "mlp"))
    for layer in network.mlp:
        # torch.nn.Linear of 64 inputs: uniform in +-1/8.
        assert 0.12 < np.abs(layer.kernel).max() <= 0.125
        assert 0.10 < np.abs(layer.bias).max() <= 0.125
    for direction in (part for layer in network.lstm for part in layer):
        assert direction.state.shape == (32, 4 * 32)
        # torch.nn.LSTM of 32 states: uniform in +-1/sqrt(32).
        assert 0.17 < np.abs(direction.read).max() <= 32**-0.5
    assert len(network.lstm) == 2 * (kind == "lstm")


def test_a_prompt_may_begin_with_words():
    case = tuned_case("llama")
    words = jnp.arange(P * D, dtype=jnp.float32).reshape(P, D)
    config = _config("mlp", prompt_init="vocabulary")
    args = jax.random.key(0), case.spec.shapes(), case.params, config
    tuning = start(*args, prompt_start=words)
    network = nn.meta.unbox(tuning.trainable)["tuned"]["embedding"]["prompt"]
    np.testing.assert_array_equal(network.embedding, words)
    with pytest.raises(ConfigError, match="prompt_init vocabulary needs prompt_start"):
        start(*args)


@pytest.mark.parametrize("kind", ["lstm", "mlp"])
def test_training_reaches_every_part_and_leaves_an_ordinary_prompt(kind):
    case, trainable, frozen, before = _network(kind)
    assert isinstance(before, PromptNetwork)
    assert virtual_of(trainable | {"params": {}}).read == P

    @jax.jit
    def descend(trainable):
        def loss(tree):
            return jnp.mean(case.logits(variables(tree, frozen)) ** 2)

        value, gradient = jax.value_and_grad(loss)(trainable)
        updates, _ = optax.sgd(0.05).update(gradient, optax.sgd(0.05).init(trainable))
        return optax.apply_updates(trainable, updates), gradient, value

    losses = []
    for _ in range(5):
        trainable, gradient, value = descend(trainable)
        losses.append(float(value))
    assert losses[-1] < losses[0]
    assert all(np.any(np.asarray(leaf) != 0) for leaf in jax.tree.leaves(gradient))
    kept = without_networks(trainable["tuned"])
    prompt = kept["embedding"]["prompt"]
    assert prompt.shape == (P, D)
    through = case.outputs(variables(trainable, frozen))
    np.testing.assert_allclose(case.outputs({**frozen, "tuned": kept}), through, atol=1e-6)


def test_what_is_exchanged_is_the_prompt_alone(tmp_path):
    spec = ModelSpec("causal", tiny_model())
    model = Pretrained(spec=spec, params=random_params(spec.build()), family="llama")
    made = prompt_encoder.init(jax.random.key(0), spec.shapes(), P, "mlp")
    network = nn.meta.unbox(made)
    save_peft(model, {"tuned": without_networks(network)}, tmp_path / "prompt")
    loaded = load_peft(model, tmp_path / "prompt")["tuned"]["embedding"]["prompt"]
    np.testing.assert_array_equal(loaded, network["embedding"]["prompt"].table())
    with pytest.raises(ConfigError, match="without the network"):
        save_peft(model, {"tuned": network}, tmp_path / "network")


def test_a_network_belongs_to_a_prompt():
    with pytest.raises(ConfigError, match=r"prompt_encoder lstm .* tune\.method is lora"):
        TuneConfig(method="lora", prompt_encoder="lstm")
    with pytest.raises(ConfigError, match=r"prompt_encoder must be one of none, lstm, mlp.*lstm"):
        TuneConfig(method="prompt", prompt_encoder="lstn")
