"""Plans: the cost of a step before it runs, and training with frozen parameters."""

import ast
import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from jaxrec.core import DataError, OutOfMemory, ResourceError
from jaxrec.models import ModelSpec
from jaxrec.nn import TUNED
from jaxrec.objectives import Loss
from jaxrec.peft import TuneConfig, start, variables
from jaxrec.quant import CodebookConfig, quantize_params
from jaxrec.testing import tiny_model
from jaxrec.train import (
    Start,
    TrainConfig,
    Validation,
    fit,
    make_plan,
    memory_explained,
    plan as plan_module,
)
from jaxrec.train.memory import StepMemory, check_arrays, count_bytes, show_bytes

CONFIG = TrainConfig(
    steps=6, batch_size=4, lr=0.05, warmup_steps=1, eval_every=2, log_every=1, weight_decay=0.0
)
SPEC = ModelSpec("causal", tiny_model(vocab_size=10))
D, F, V = 16, 32, 10
# Kernels of the one block: four of attention, three of the MLP; two norms and a final one; a table.
BASE_SIZE = 4 * D * D + 3 * D * F + 3 * D + V * D
# Rank 2 on query and value.
LORA_SIZE = 2 * (D * 2 + 2 * D)
TUNE = TuneConfig(method="lora", base="base", rank=2, targets=("query", "value"))


class Batches:
    """Rows of tokens, with a position that can be saved."""

    def __init__(self):
        self.place = 0

    def __next__(self):
        self.place += 1
        rng = np.random.default_rng(self.place)
        return rng.integers(1, V, (CONFIG.batch_size, 6)).astype(np.int32)

    def get_state(self):
        return {"place": self.place}

    def set_state(self, state):
        self.place = state["place"]


def quantize(params, specs):
    return quantize_params(params, specs, CodebookConfig())


def loss(params, tokens, key):
    del key
    logits = SPEC.build().apply(params, tokens, tokens > 0)[:, :-1]
    found = optax.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:])
    return Loss(found.sum(), jnp.asarray(found.size, jnp.float32), {})


@functools.cache
def tuned(method="lora"):
    """The parameters of a base, and their split into trainable and frozen ones."""
    boxed = SPEC.shapes()
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda s: jnp.asarray(0.2 * rng.normal(size=s.shape), s.dtype), nn.meta.unbox(boxed)
    )
    config = dataclasses.replace(TUNE, method=method)
    return params, start(jax.random.key(1), boxed, params, config, quantize=quantize)


@functools.cache
def plan_of(method="lora", config=CONFIG):
    """The tests share plans, because compilation takes most of the time."""
    _, tuning = tuned(method)

    def abstract(tree):
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree)

    trainable, frozen = abstract(tuning.trainable), abstract(tuning.frozen)
    return make_plan(trainable, loss, next(Batches()), config, frozen=frozen, join=variables)


def run(directory, method="lora", evaluate=None, plan=None, base="b"):
    calls, tuning = iter(range(100)), tuned(method)[1]
    return fit(
        plan or plan_of(method),
        Batches(),
        Validation(evaluate or (lambda _: {"ndcg@10": float(next(calls))})),
        directory,
        start=Start(
            params=lambda: jax.tree.map(jnp.copy, nn.meta.unbox(tuning.trainable)),
            frozen=tuning.frozen,
            base=base,
        ),
    )


def same(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_arguments_of_a_step_are_its_state_its_batch_and_what_is_frozen():
    plan = plan_of()
    tokens = 4 * CONFIG.batch_size * 6
    # Trained numbers and two moments of each, the counts of Adam and of the schedule, the step.
    state = 4 * 3 * LORA_SIZE + 3 * 4
    assert plan.memory.arguments == state + tokens + 4 * BASE_SIZE
    # The new state takes the place of the old one.
    assert plan.memory.aliased == state


# A multiplication and an addition for every weight and token, of the head too; attention's scores
# and their mix of the values, of all 6 by 6 pairs; rotary angles, an outer product for half a head.
FORWARD = 2 * CONFIG.batch_size * 6 * (4 * D * D + 3 * D * F + V * D + 2 * 6 * D + 4)


def test_everything_is_state_where_nothing_is_frozen():
    shapes = SPEC.shapes()
    plan = make_plan(shapes, loss, next(Batches()), CONFIG)
    assert list(plan.flops.values()) == [3 * FORWARD]
    assert plan.memory.arguments == 4 * 3 * BASE_SIZE + 3 * 4 + 4 * CONFIG.batch_size * 6
    assert (plan.size.trainable, plan.size.total) == (BASE_SIZE, BASE_SIZE)


def test_a_plan_counts_parameters_and_their_bytes():
    plan = plan_of()
    assert (plan.size.trainable, plan.size.total) == (LORA_SIZE, BASE_SIZE + LORA_SIZE)
    lines = str(plan).splitlines()
    assert lines[0] == f"parameters: 128 of {BASE_SIZE + 128:,} trained (4.42 %)"
    assert "trained 512 B (float32 512 B)" in lines[1]
    assert "optimizer state 1.0 KiB (float32 1.0 KiB, int32 8 B)" in lines[1]
    assert show_bytes(plan.memory.total) in lines[2]
    low_rank = 2 * CONFIG.batch_size * 6 * LORA_SIZE
    assert list(plan.flops.values()) == [2 * (FORWARD + low_rank)]


def test_a_quantized_base_counts_as_what_it_stands_for_and_weighs_what_it_takes():
    plan = plan_of("qlora")
    assert plan.size.total == BASE_SIZE + LORA_SIZE
    kernels = 4 * D * D + 3 * D * F
    # A code of four bits each, a scale of a byte for 64 of them; kernel by kernel one mean and one
    # scale of the scales.
    expected = {"uint8": kernels // 2 + kernels // 64, "float32": 4 * (3 * D + V * D + 7 * 2)}
    assert count_bytes(plan.frozen) == expected


def test_arrays_that_cannot_fit_are_named_and_nothing_is_compiled(monkeypatch):
    monkeypatch.setattr("jaxrec.train.plan._compile", lambda *_: pytest.fail("it compiles"))
    plan = plan_of.__wrapped__()
    tokens = 4 * CONFIG.batch_size * 6
    # See the test above of what a step takes; the number of steps and both counts are 4 bytes each.
    needed = 4 * 3 * LORA_SIZE + 2 * 4 + tokens + 4 * BASE_SIZE
    monkeypatch.setattr("jaxrec.train.plan.device_memory", lambda: needed - 1)
    with pytest.raises(OutOfMemory) as caught:
        plan.compile()
    said = str(caught.value)
    assert f"need {show_bytes(needed)} on each device" in said
    assert "the largest are frozen params/" in said and "lower train.batch_size" in said
    monkeypatch.setattr("jaxrec.train.plan.device_memory", lambda: needed)
    monkeypatch.setattr("jaxrec.train.plan._compile", lambda *_: "compiled")
    assert list(plan.steps.values()) == ["compiled"]


def test_parts_of_sharded_arrays_are_what_a_device_holds():
    mesh = jax.sharding.AbstractMesh((2,), ("data",))
    place = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    shapes = {"w": jax.ShapeDtypeStruct((8, 4), jnp.float32, sharding=place)}
    check_arrays({"trained": shapes}, 64)
    with pytest.raises(OutOfMemory, match=r"need 64 B on each device; device memory: 63 B"):
        check_arrays({"trained": shapes}, 63)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "RESOURCE_EXHAUSTED: 9\n at x",
            "ran out of memory (RESOURCE_EXHAUSTED: 9 at x)",
        ),
        ("UNIMPLEMENTED: more than 2147483647 scatter indices", "too large to be compiled (UNIMPL"),
        ("INTERNAL: lost", None),
    ],
)
def test_a_compiler_that_gives_up_on_the_size_is_an_error_of_memory(text, said):
    class Step:
        def lower(self, *_):
            raise jax.errors.JaxRuntimeError(text)

    with pytest.raises(OutOfMemory if said else jax.errors.JaxRuntimeError) as caught:
        plan_module._compile(Step(), None, None, None)
    if said:
        assert said in str(caught.value) and "lower train.batch_size" in str(caught.value)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "training ran out of memory ()"),
        (jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED:\nOut"), "(RESOURCE_EXHAUSTED: Out)"),
        (OutOfMemory("the arrays need 9 B"), "the arrays need 9 B"),
    ],
)
def test_running_out_of_memory_names_the_settings_far_above_their_defaults(error, said):
    config = TrainConfig(batch_size=6400, steps=8000, log_every=60, seed=10**6)
    with pytest.raises(OutOfMemory) as caught, memory_explained(config):
        raise error
    assert said in str(caught.value)
    # Seeds have the default 0, and log_every is barely above its own.
    ending = "--batch-size 6400 (default 64), --steps 8000 (default 2000)"
    assert str(caught.value).endswith(f"; settings far above their defaults: {ending}")
    with pytest.raises(ValueError, match=r"^other$"), memory_explained(config):
        raise ValueError("other")


def test_planning_allocates_nothing_of_the_models_size():
    tuned()
    before = sum(array.nbytes for array in jax.live_arrays())
    assert plan_of.__wrapped__().memory.arguments
    assert sum(array.nbytes for array in jax.live_arrays()) - before < 256


def test_a_step_that_needs_more_than_there_is_is_refused_with_its_numbers():
    memory = StepMemory(
        arguments=3 * 2**30, outputs=2**30, temporaries=2**29, aliased=2**30, limit=2**30
    )
    message = r"needs 3\.5 GiB .*3\.0 GiB arguments.*device memory: 1\.0 GiB.*train\.batch_size"
    with pytest.raises(ResourceError, match=message):
        memory.check()
    dataclasses.replace(memory, limit=2**32).check()
    dataclasses.replace(memory, limit=None).check()


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_step_changes_the_trainable_tree_by_its_gradient_alone(accumulate):
    # Referee: plain gradient descent's first Adam step has the gradient's sign and the rate's size.
    params, tuning = tuned()
    config = dataclasses.replace(CONFIG, accumulate=accumulate, warmup_steps=0, clip_norm=0.0)
    plan = plan_of("lora", config)
    trainable, tokens = nn.meta.unbox(tuning.trainable), jnp.asarray(next(Batches()))
    gradient = jax.jit(jax.grad(lambda t: loss(variables(t, params), tokens, None).total))(
        trainable
    )
    expected = jax.tree.map(lambda p, g: p - 0.05 * jnp.sign(g), trainable, gradient)
    kept = jax.tree.map(np.array, tuning.frozen)
    state = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), plan.state)
    state = dataclasses.replace(state, params=jax.tree.map(jnp.copy, trainable))
    state = jax.device_put(state, jax.tree.map(lambda s: s.sharding, plan.state))
    frozen = jax.device_put(tuning.frozen, jax.tree.map(lambda s: s.sharding, plan.frozen))
    new, metrics = plan.step(state, jax.device_put(tokens), frozen)
    for ours, theirs, slope in zip(
        *map(jax.tree.leaves, (new.params, expected, gradient)), strict=True
    ):
        clear = np.abs(slope) > 1e-4
        assert clear.any() or not np.any(slope)
        np.testing.assert_allclose(ours[clear], theirs[clear], atol=1e-4)
    mean = jax.jit(loss)(variables(trainable, params), tokens, None)
    np.testing.assert_allclose(metrics["loss"], mean.total / mean.weight, rtol=1e-5)
    same(frozen, kept)


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_frozen_parameters_come_out_bit_equal_and_the_loss_falls(tmp_path, method):
    _, tuning = tuned(method)
    kept = jax.tree.map(np.array, tuning.frozen)
    result = run(tmp_path, method)
    same(tuning.frozen, kept)
    assert result.compiles_after_warmup == 0
    assert set(result.params) == {"params", TUNED}
    same(result.params["params"], kept["params"])
    tokens = jnp.asarray(next(Batches()))
    start_variables = variables(nn.meta.unbox(tuning.trainable), tuning.frozen)
    losses = [jax.jit(loss)(v, tokens, None).total for v in (start_variables, result.params)]
    assert losses[1] < losses[0]


def test_a_checkpoint_holds_the_trainable_tree_alone(tmp_path):
    run(tmp_path)
    text = (tmp_path / "checkpoints" / "6" / "state" / "_METADATA").read_text()
    keys = [
        ast.literal_eval(key)
        for key, entry in json.loads(text)["tree_metadata"].items()
        if entry["value_metadata"]["value_type"] != "None"
    ]
    params = {key[1:] for key in keys if key[0] == "params"}
    path = ("tuned", "decoder", "blocks", "attention")
    expected = {(*path, name, "update", part) for name in ("query", "value") for part in "ab"}
    assert params == expected
    moments = [key for key in keys if key[0] == "opt_state" and {"mu", "nu"} & set(key)]
    assert len(moments) == 2 * len(expected)
    assert not [key for key in keys if "embedding" in key or "mlp" in key]


class Killed(Exception):
    """Stands for a kill in the middle of a run."""


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_a_tuned_run_that_dies_and_resumes_ends_with_the_same_bits(tmp_path, method):
    calls = 0

    def dying(_):
        nonlocal calls
        calls += 1
        if calls == 2:
            raise Killed
        return {"ndcg@10": float(calls)}

    with pytest.raises(Killed):
        run(tmp_path / "broken", method, dying)
    steps = iter(range(10, 20))
    resumed = run(tmp_path / "broken", method, lambda _: {"ndcg@10": float(next(steps))})
    whole = run(tmp_path / "whole", method)
    assert resumed.steps == whole.steps == 6
    same(resumed.params, whole.params)


def test_a_run_resumes_on_no_other_base(tmp_path):
    plan = dataclasses.replace(plan_of(), config=dataclasses.replace(CONFIG, steps=2))
    run(tmp_path, plan=plan, base="runs/a (sha256 12)")
    message = r"trained on the frozen parameters runs/a \(sha256 12\).* now runs/a \(sha256 34\)"
    with pytest.raises(DataError, match=message):
        run(tmp_path, base="runs/a (sha256 34)")
