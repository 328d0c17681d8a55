"""Statistics of inputs, taken layer by layer, against whole models run with recording kernels."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxrec.core import ConfigError, DataError
from jaxrec.models import ModelSpec, TransformerConfig
from jaxrec.nn import TUNED, StoredKernel, kernel_specs
from jaxrec.peft import lora
from jaxrec.quant import (
    UniformConfig,
    input_ranges,
    quantize_params,
    stacked_targets,
    with_static_activations,
)
from jaxrec.quant.calibration import GRAM
from jaxrec.quant.layers import walk

pytestmark = pytest.mark.slow

SMALL = {"vocab_size": 30, "width": 16, "depth": 2, "num_heads": 2, "mlp_width": 24}
SPECS = {
    "gemma": ModelSpec(
        "causal", TransformerConfig(**SMALL, window=3, global_every=2, norm_order="both")
    ),
    "t5": ModelSpec(
        "encoder_decoder",
        TransformerConfig(**SMALL, encoder_depth=1, positions="relative", gated=False),
    ),
    "bert": ModelSpec(
        "masked",
        TransformerConfig(
            **SMALL, norm="layer", norm_order="post", positions="learned", gated=False
        ),
    ),
}


def make_variables(spec, seed=0):
    shapes = nn.meta.unbox(spec.shapes())
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda s: jnp.asarray(0.4 * rng.normal(size=s.shape), s.dtype), shapes)


def make_batches(spec, count=2, seed=1):
    rng = np.random.default_rng(seed)

    def padded(length):
        valid = np.arange(length)[None] < np.array([length, length - 2, 1])[:, None]
        tokens = np.where(valid, rng.integers(1, spec.config.vocab_size, valid.shape), 0)
        return jnp.asarray(tokens, jnp.int32), jnp.asarray(valid)

    batches = []
    for _ in range(count):
        batch = dict(zip(("tokens", "valid"), padded(7), strict=True))
        if spec.kind == "encoder_decoder":
            batch |= zip(("targets", "targets_valid"), padded(5), strict=True)
        batches.append(batch)
    return batches


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Recorder(StoredKernel):
    """A kernel that calls back with its layer and what it is multiplied by."""

    matrix: jax.Array
    layer: jax.Array
    note: Callable = dataclasses.field(metadata={"static": True})
    kernel_shape: tuple = dataclasses.field(metadata={"static": True})

    @property
    def shape(self):
        return (*self.matrix.shape[:-2], *self.kernel_shape)

    def dense(self, dtype=jnp.float32):
        return self.matrix.astype(dtype)

    def boxed(self, axes):
        raise NotImplementedError

    def product(self, x):
        jax.debug.callback(self.note, self.layer, x)
        return x @ self.matrix


def recorded_inputs(spec, variables, batches):
    """Inputs `[M, I]` of every kernel and layer in whole runs of the model; valid rows alone."""
    found = {}
    leaves = flatten_dict(variables["params"], sep="/")
    for path, kernel in kernel_specs(spec.shapes()).items():
        if kernel.layers is None:
            continue

        def note(layer, x, path=path):
            found.setdefault((path, int(layer)), []).append(np.asarray(x))

        matrix = kernel.matrix(leaves[f"{path}/kernel"])
        leaves[f"{path}/kernel"] = Recorder(
            matrix=matrix, layer=jnp.arange(kernel.layers), note=note, kernel_shape=kernel.shape
        )
    whole = {**variables, "params": unflatten_dict(leaves, sep="/")}
    run = jax.jit(lambda variables, batch: spec.build().apply(variables, **batch))
    rows = {}
    for batch in batches:
        found.clear()
        jax.block_until_ready(run(whole, batch))
        jax.effects_barrier()
        for (path, layer), (x,) in found.items():
            is_target = spec.kind == "encoder_decoder" and path.startswith("decoder/blocks")
            valid = np.asarray(batch["targets_valid" if is_target else "valid"]).reshape(-1)
            rows.setdefault((path, layer), []).append(x[valid])
    return {key: np.concatenate(parts) for key, parts in rows.items()}


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.variants(1)
def test_statistics_are_those_of_the_inputs_in_a_run_of_the_whole_model(name):
    spec = SPECS[name]
    variables, batches = make_variables(spec), make_batches(spec)
    expected = recorded_inputs(spec, variables, batches)
    kernels = {path: found for path, found in kernel_specs(spec.shapes()).items() if found.layers}
    assert {path for path, _ in expected} == set(kernels)

    seen = set()

    def visit(layer):
        names = [name for group in layer.groups() for name in group]
        grams = layer.gather(layer.params, GRAM, tuple(names))
        for name in names:
            x = expected[f"{layer.path}/{name}", layer.index].astype(np.float64)
            gram, count = grams[name]
            assert count == len(x)
            np.testing.assert_allclose(gram, x.T @ x, rtol=1e-4, atol=1e-4)
            seen.add((f"{layer.path}/{name}", layer.index))
        return layer.params

    params = walk(spec, variables, batches, visit)
    assert seen == set(expected)
    jax.tree.map(np.testing.assert_array_equal, params, variables["params"])

    ranges = input_ranges(spec, variables, batches)
    assert set(ranges) == set(kernels)
    for path, found in ranges.items():
        for layer in range(kernels[path].layers):
            most = np.abs(expected[path, layer]).max(axis=0)
            np.testing.assert_allclose(found[layer], most, rtol=1e-5, atol=1e-6)


def _groups(spec):
    found = {}

    def visit(layer):
        found[layer.path] = layer.groups()
        return layer.params

    walk(spec, make_variables(spec), make_batches(spec, 1), visit)
    return found


def test_kernels_of_one_input_are_grouped_in_the_order_of_their_use():
    attention = (("attention/query", "attention/key", "attention/value"), ("attention/out",))
    assert _groups(SPECS["gemma"]) == {
        "decoder/blocks": (*attention, ("mlp/gate", "mlp/up"), ("mlp/down",))
    }
    mlp = (("mlp/up",), ("mlp/down",))
    found = _groups(SPECS["t5"])
    assert list(found.items()) == [
        ("encoder/blocks", (*attention, *mlp)),
        ("decoder/memory_projection", (("cross/key", "cross/value"),)),
        ("decoder/blocks", (*attention, ("cross/query",), ("cross/out",), *mlp)),
    ]


@pytest.mark.parametrize(("teacher", "scale"), [(False, 2.0), (True, 1.0)])
@pytest.mark.parametrize("name", ["gemma", "t5"])
def test_layers_are_fed_by_the_changed_ones_or_by_the_originals(name, teacher, scale):
    spec = SPECS[name]
    variables, batches = make_variables(spec), make_batches(spec)

    def double(layer):
        return jax.tree.map(lambda leaf: 2.0 * leaf, layer.params)

    def doubled(params):
        leaves = flatten_dict(params, sep="/")
        inside = ("blocks", "memory_projection")
        for path in leaves:
            leaves[path] *= scale if any(part in path for part in inside) else 1.0
        return unflatten_dict(leaves, sep="/")

    expected = recorded_inputs(spec, {"params": doubled(variables["params"])}, batches)
    checked = 0

    def visit(layer):
        nonlocal checked
        (first, *_), *_ = layer.groups()
        # What enters a layer does not pass through the layer itself, apart from its norm's scale.
        params = double(layer) if not teacher else layer.params
        found = layer.gather(params, GRAM, (first,))[first][0]
        x = expected[f"{layer.path}/{first}", layer.index].astype(np.float64)
        np.testing.assert_allclose(found, x.T @ x, rtol=1e-4, atol=1e-3)
        checked += 1
        return double(layer)

    walk(spec, variables, batches, visit, teacher=teacher)
    assert checked == {"gemma": 2, "t5": 1 + 2 + 2}[name]


def test_adapters_beside_the_layers_take_part():
    spec = SPECS["gemma"]
    variables, batches = make_variables(spec), make_batches(spec)
    config = lora.LoraConfig(rank=2, targets=("query", "up"))
    made = nn.meta.unbox(lora.init(jax.random.key(0), spec.shapes(), config))
    made = jax.tree.map(lambda leaf: leaf + 0.3, made)
    merged = {"params": lora.merge(variables["params"], made, spec)}
    beside = input_ranges(spec, {**variables, TUNED: made}, batches)
    for path, expected in input_ranges(spec, merged, batches).items():
        np.testing.assert_allclose(beside[path], expected, rtol=1e-4)


def test_a_prefix_seen_in_both_directions_changes_what_is_seen():
    spec = SPECS["gemma"]
    variables, batches = make_variables(spec), make_batches(spec)
    prefix = jnp.asarray(np.arange(7)[None] < np.array([4, 3, 1])[:, None])
    batches = [{**batch, "prefix": prefix} for batch in batches]
    expected = recorded_inputs(spec, variables, batches)
    found = input_ranges(spec, variables, batches)["decoder/blocks/mlp/down"]
    for layer in range(2):
        most = np.abs(expected["decoder/blocks/mlp/down", layer]).max(axis=0)
        np.testing.assert_allclose(found[layer], most, rtol=1e-5)


def test_static_scales_clip_at_the_largest_calibrated_input():
    spec = SPECS["gemma"]
    variables, batches = make_variables(spec), make_batches(spec)
    specs = kernel_specs(spec.shapes())
    ranges = input_ranges(spec, variables, batches)
    config = UniformConfig(activations="token")
    params = quantize_params(variables["params"], specs, config)
    params = with_static_activations(params, ranges)
    node = params["decoder"]["blocks"]["mlp"]["down"]["kernel"]
    most = np.asarray(ranges["decoder/blocks/mlp/down"]).max(axis=1)
    assert node.activations == "static"
    np.testing.assert_allclose(node.x_scale[:, 0, 0], most / 127, rtol=1e-6)
    # Nothing that was calibrated on is clipped, so that 8 bits are near the original.
    run = jax.jit(lambda variables, batch: spec.build().apply(variables, **batch))
    for batch in batches:
        exact, found = run(variables, batch), run({"params": params}, batch)
        error = jnp.where(batch["valid"][..., None], found - exact, 0.0)
        assert jnp.sqrt(jnp.mean(error**2)) < 0.05 * jnp.std(exact)
    with pytest.raises(
        ConfigError, match="no range was calibrated for the inputs of decoder/blocks"
    ):
        with_static_activations(params, {})


def test_mistakes_name_themselves():
    spec = SPECS["bert"]
    variables = make_variables(spec)
    with pytest.raises(DataError, match="at least one batch"):
        input_ranges(spec, variables, [])
    with pytest.raises(ConfigError, match="not head/dense"):
        stacked_targets(spec, variables["params"], ("dense",))
    with pytest.raises(ConfigError, match="no kernel 'qery' to quantize, did you mean 'query'"):
        stacked_targets(spec, variables["params"], ("qery",))
    stored = quantize_params(
        variables["params"], kernel_specs(spec.shapes()), UniformConfig(), ("mlp/up",)
    )
    with pytest.raises(ConfigError, match="mlp/up is already stored as UniformKernel"):
        stacked_targets(spec, stored)
    assert "backbone/encoder/blocks/attention/out" in stacked_targets(spec, stored, ("out",))
