"""Optimizers, schedules, and the parameters to which weight decay applies."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxrec.core import ConfigError
from jaxrec.core.mesh import MeshConfig, make_mesh
from jaxrec.peft import Adapter, Lora
from jaxrec.train import TrainConfig, make_optimizer
from jaxrec.train.optimizer import make_schedule, state_shapes

CONFIG = TrainConfig(steps=10, lr=0.5, warmup_steps=4, final_fraction=0.1, clip_norm=0.0)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [0.0, 0.25, 0.5, 0.5, 0.5]),
        # .5 down to .05 over the six steps after the warm-up.
        ("linear", [0.0, 0.25, 0.5, 0.5 - 0.45 / 2, 0.05]),
        ("cosine", [0.0, 0.25, 0.5, 0.05 + 0.45 * (1 + math.cos(math.pi / 2)) / 2, 0.05]),
    ],
)
def test_a_schedule_warms_up_and_goes_where_it_should(schedule, expected):
    rate = make_schedule(dataclasses.replace(CONFIG, schedule=schedule))
    np.testing.assert_allclose([rate(n) for n in (0, 2, 4, 7, 10)], expected, rtol=1e-6)


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_without_warm_up_the_first_step_has_the_whole_rate(schedule):
    config = dataclasses.replace(CONFIG, schedule=schedule, warmup_steps=0)
    assert float(make_schedule(config)(0)) == pytest.approx(0.5)


def test_adafactor_is_that_of_optax_without_parameter_scaling():
    config = dataclasses.replace(
        CONFIG, optimizer="adafactor", schedule="constant", warmup_steps=0, weight_decay=0.0, lr=0.3
    )
    rng = np.random.default_rng(0)
    # The first is factored into rows and columns, the second is too small for it.
    shapes = {"factored": (130, 150), "whole": (20, 8)}
    params = {
        name: jnp.asarray(rng.normal(size=shape), jnp.float32) for name, shape in shapes.items()
    }
    ours, theirs = make_optimizer(config), optax.adafactor(0.3, multiply_by_parameter_scale=False)
    states, found = [ours.init(params), theirs.init(params)], [params, params]
    assert sum(leaf.size for leaf in jax.tree.leaves(states[0])) < 130 + 150 + 20 * 8 + 20
    for _ in range(3):
        gradient = jax.tree.map(lambda p: jnp.asarray(rng.normal(size=p.shape), p.dtype), params)
        for n, optimizer in enumerate((ours, theirs)):
            with jax.numpy_dtype_promotion("standard"):
                updates, states[n] = optimizer.update(gradient, states[n], found[n])
            found[n] = optax.apply_updates(found[n], updates)
    for name in shapes:
        np.testing.assert_allclose(found[0][name], found[1][name], rtol=1e-6)
        assert np.abs(found[0][name] - params[name]).max() > 0.1


def walk(optimizer, start, gradients):
    """The parameters after each step."""
    params, state, places = start, optimizer.init(start), []
    for gradient in gradients:
        with jax.numpy_dtype_promotion("standard"):
            updates, state = jax.jit(optimizer.update)(gradient, state, params)
        params = optax.apply_updates(params, updates)
        places.append(np.asarray(params["kernel"]))
    return places


# Gradients about as large as the epsilon, where its place matters.
GRADIENTS = [
    {"kernel": jnp.asarray(1e-3 * np.random.default_rng(n).normal(size=(3, 4)), jnp.float32)}
    for n in range(12)
]
START = {"kernel": jnp.ones((3, 4))}
ADAM = dataclasses.replace(
    CONFIG, lr=0.1, schedule="constant", warmup_steps=0, weight_decay=0.0, eps=1e-3, beta2=0.999
)


def test_adam_of_tensorflow_adds_epsilon_outside_of_the_bias_correction():
    ours = walk(make_optimizer(dataclasses.replace(ADAM, adam="tensorflow")), START, GRADIENTS)
    w, m, v = np.ones((3, 4)), np.zeros((3, 4)), np.zeros((3, 4))
    for t, (gradient, place) in enumerate(zip(GRADIENTS, ours, strict=True), start=1):
        g = np.asarray(gradient["kernel"], np.float64)
        # `ApplyAdam` of TensorFlow 1.
        m += (g - m) * (1 - 0.9)
        v += (g**2 - v) * (1 - 0.999)
        w -= 0.1 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t) * m / (np.sqrt(v) + 1e-3)
        np.testing.assert_allclose(place, w, atol=1e-6)
    plain = walk(make_optimizer(ADAM), START, GRADIENTS)
    # Early steps are much shorter than those of Optax, and later ones less so.
    lengths = [
        [np.abs(places[n] - places[n - 1]).max() for n in (1, 11)] for places in (ours, plain)
    ]
    assert np.abs(ours[0] - 1).max() < 0.1 * np.abs(plain[0] - 1).max()
    assert lengths[0][0] / lengths[1][0] < lengths[0][1] / lengths[1][1] < 1


def test_the_usual_adam_is_that_of_optax():
    for decay in (0.0, 0.3):
        config = dataclasses.replace(ADAM, weight_decay=decay)
        expected = walk(optax.adamw(0.1, b2=0.999, eps=1e-3, weight_decay=decay), START, GRADIENTS)
        np.testing.assert_allclose(
            walk(make_optimizer(config), START, GRADIENTS), expected, rtol=1e-6
        )


def test_a_form_of_adam_is_refused_for_another_optimizer():
    with pytest.raises(ConfigError, match="tensorflow is a form of AdamW, and"):
        dataclasses.replace(ADAM, adam="tensorflow", optimizer="adafactor")


@pytest.mark.parametrize("optimizer", ["adamw", "adafactor"])
def test_matrices_of_tuning_decay_and_its_biases_do_not(optimizer):
    ones = jnp.ones((2, 2))
    params = {
        "update": Lora(a=ones, b=ones),
        "adapter": Adapter(down=ones, down_bias=jnp.ones(2), up=ones, up_bias=jnp.ones(2)),
        "norm": {"scale": jnp.ones(2)},
    }
    config = dataclasses.replace(CONFIG, optimizer=optimizer, weight_decay=0.2, warmup_steps=0)
    made = make_optimizer(config)
    zeros = jax.tree.map(jnp.zeros_like, params)
    with jax.numpy_dtype_promotion("standard"):
        updates, _ = made.update(zeros, made.init(params), params)
    # Times the learning rate.
    for leaf in (updates["update"].a, updates["update"].b, updates["adapter"].up):
        np.testing.assert_allclose(leaf, -0.1 * ones, rtol=1e-6)
    for leaf in (
        updates["adapter"].up_bias,
        updates["adapter"].down_bias,
        updates["norm"]["scale"],
    ):
        np.testing.assert_array_equal(leaf, 0 * leaf)


@pytest.mark.parametrize(
    ("optimizer", "adam"), [("adamw", "optax"), ("adamw", "tensorflow"), ("adafactor", "optax")]
)
def test_a_moment_lies_where_its_parameter_does(optimizer, adam):
    mesh = make_mesh(MeshConfig())
    place = NamedSharding(mesh, PartitionSpec("data"))
    kernel = jax.ShapeDtypeStruct((4, 4), jnp.float32, sharding=place)
    made = make_optimizer(dataclasses.replace(CONFIG, optimizer=optimizer, adam=adam))
    params = {"update": Lora(a=kernel, b=kernel)}
    found = state_shapes(made, params, mesh)
    assert jax.tree.structure(found) == jax.tree.structure(jax.eval_shape(made.init, params))
    by_spec = {}
    for leaf in jax.tree.leaves(found):
        by_spec.setdefault(leaf.sharding.spec, []).append(leaf.shape)
    assert set(by_spec[PartitionSpec("data")]) == {(4, 4)}
    assert len(by_spec[PartitionSpec("data")]) == (4 if optimizer == "adamw" else 2)
    assert (4, 4) not in by_spec[PartitionSpec()]
