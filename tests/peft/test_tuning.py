"""Settings, names, counts, and the split of a model in two trees."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxrec.core import ConfigError
from jaxrec.nn import StoredKernel
from jaxrec.peft import TuneConfig, Tuning, size_of, start, variables
from jaxrec.peft.names import find
from jaxrec.testing.tuned import METHODS, SPECS, tuned_case


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Halves(StoredKernel):
    """Kernels in float16: the simplest that is no array."""

    values: jax.Array

    @property
    def shape(self):
        return self.values.shape

    def product(self, x):
        return x @ self.dense(x.dtype)

    def dense(self, dtype=jnp.float32):
        return self.values.astype(dtype)

    def boxed(self, axes):
        return Halves(nn.Partitioned(self.values, axes))


def _start(case, config, **options):
    return start(jax.random.key(0), case.spec.shapes(), case.params, config, **options)


@pytest.mark.parametrize("name", SPECS)
def test_full_tuning_trains_everything_as_the_model_was(name):
    case = tuned_case(name)
    tuning = _start(case, TuneConfig())
    assert tuning.frozen == {"params": {}}
    assert jax.tree.structure(tuning.trainable) == jax.tree.structure(case.spec.shapes())
    joined = variables(nn.meta.unbox(tuning.trainable), tuning.frozen)
    jax.tree.map(np.testing.assert_array_equal, joined, case.params)
    size = size_of(tuning)
    assert size.trainable == size.total == sum(x.size for x in jax.tree.leaves(case.params))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["gpt2", "encoder-decoder", "encoder"])
@pytest.mark.variants(4)
def test_the_trees_are_disjoint_and_joined_they_are_the_model(name, method):
    case = tuned_case(name)
    config = METHODS[method]
    if method == "lora":
        config = dataclasses.replace(config, targets=("query",), also=("norm", "embedding"))
    tuning = _start(case, config)
    trainable = nn.meta.unbox(tuning.trainable)
    mine, rest = (
        set(flatten_dict(tree.get("params", {}), sep="/")) for tree in (trainable, tuning.frozen)
    )
    everything = set(flatten_dict(case.params["params"], sep="/"))
    assert not mine & rest
    assert mine | rest == everything
    joined = variables(trainable, tuning.frozen)
    jax.tree.map(np.testing.assert_array_equal, joined["params"], case.params["params"])
    # What is frozen is what was given, not a copy.
    old = flatten_dict(case.params["params"], sep="/")
    for path, leaf in flatten_dict(tuning.frozen["params"], sep="/").items():
        assert leaf is old[path]
    if method == "lora":
        assert mine == {p for p in everything if "norm/" in p or "embedding/" in p}


@pytest.mark.parametrize("method", METHODS)
def test_shapes_and_axes_need_no_values(method):
    case = tuned_case("llama")
    real = _start(case, METHODS[method])
    boxed = case.spec.shapes()
    shapes = jax.eval_shape(
        lambda key, params: start(key, boxed, params, METHODS[method]),
        jax.random.key(0),
        case.params,
    )
    assert isinstance(shapes, Tuning)
    assert jax.tree.structure(shapes) == jax.tree.structure(real)
    assert jax.tree.map(lambda x: x.shape, shapes) == jax.tree.map(lambda x: x.shape, real)
    assert size_of(shapes) == size_of(real)
    for leaf in jax.tree.leaves(
        real.trainable, is_leaf=lambda leaf: isinstance(leaf, nn.Partitioned)
    ):
        assert isinstance(leaf, nn.Partitioned)
        assert len(leaf.names) == leaf.value.ndim


def test_sizes_count_what_a_quantized_kernel_stands_for_and_the_bytes_it_takes():
    case = tuned_case("llama")
    kernels = 5 * (16 * 16 * 2 + 16 * 8 * 2 + 16 * 32 * 3)
    total = sum(x.size for x in jax.tree.leaves(case.params))

    def quantize(params, specs):
        assert len(specs) == 7
        leaves = flatten_dict(params, sep="/")
        for path, spec in specs.items():
            matrix = spec.matrix(leaves[f"{path}/kernel"])
            leaves[f"{path}/kernel"] = Halves(matrix.astype(jnp.float16))
        return unflatten_dict(leaves, sep="/")

    config = TuneConfig(method="qlora", rank=2)
    tuning = _start(case, config, quantize=quantize)
    size = size_of(tuning)
    added = 5 * 2 * (16 + 16 + 16 + 8)
    assert (size.trainable, size.total) == (added, total + added)
    assert size.trainable_bytes == 4 * added
    assert size.total_bytes == 4 * (total - kernels) + 2 * kernels + 4 * added
    assert str(size).startswith(f"{added:,} of {total + added:,} parameters trainable (")
    # A base that is quantized already is taken as it is.
    stored = dataclasses.replace(case, params=tuning.frozen)
    again = _start(stored, config)
    assert jax.tree.structure(again) == jax.tree.structure(tuning)
    with pytest.raises(ConfigError, match=r"query/kernel is quantized.*leave it out of tune\.also"):
        _start(stored, dataclasses.replace(config, targets=("value",), also=("query",)))
    with pytest.raises(ConfigError, match="qlora needs a quantized base, or `quantize`"):
        _start(case, config)


PATHS = (
    "decoder/blocks/attention/out/kernel",
    "decoder/blocks/attention_norm/scale",
    "decoder/final_norm/scale",
    "embedding/table",
    "out/kernel",
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("norm", {PATHS[1], PATHS[2]}),
        ("final_norm", {PATHS[2]}),
        ("embedding", {PATHS[3]}),
        ("scale", {PATHS[1], PATHS[2]}),
        ("attention/out", {PATHS[0]}),
        ("decoder", set(PATHS[:3])),
        # A whole path comes before the ends of others.
        ("out", {PATHS[4]}),
        ("attention", {PATHS[0]}),
    ],
)
def test_names_are_whole_paths_or_ends_of_paths(name, expected):
    assert find(PATHS, (name,)) == expected


def test_several_names_add_up():
    assert find(PATHS, ("out", "embedding/table")) == {PATHS[3], PATHS[4]}
    assert find(PATHS, ()) == set()


def test_a_name_that_fits_nothing_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"no parameter 'embeding'.*did you mean 'embedding'"):
        find(PATHS, ("embeding",))
    with pytest.raises(ConfigError, match="tied to the embedding is trained as part of it"):
        _start(tuned_case("llama"), TuneConfig(method="lora", also=("head",)))


def test_a_kernel_that_is_trained_needs_no_update():
    config = TuneConfig(method="lora", targets=("query",), also=("attention",))
    with pytest.raises(ConfigError, match=r"query/kernel is named by tune\.also.*tune\.targets"):
        _start(tuned_case("llama"), config)
    with pytest.raises(ConfigError, match="embedding/table is named by tune"):
        _start(
            tuned_case("llama"), TuneConfig(method="lora", targets=("embedding",), also=("table",))
        )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "lore"}, r"tune\.method must be one of full.*got 'lore', did you mean 'lora'"),
        ({"placement": "houlsbi"}, r"tune\.placement must be one of.*did you mean 'houlsby'"),
        ({"prompt_init": "words"}, r"tune\.prompt_init must be one of random, vocabulary, text"),
        ({"bottleneck": 0}, r"tune\.bottleneck must be at least 1, got 0"),
        ({"virtual_tokens": 0}, r"--tune\.virtual-tokens must be at least 1, got 0"),
        ({"prefix_hidden": -1}, r"--tune\.prefix-hidden must be at least 0, got -1"),
        ({"also": ("norm",)}, r"tune\.also \('norm',\) .*trains everything; remove tune\.also"),
        ({"method": "qlora", "rank": 0}, "--tune.rank must be at least 1"),
        ({"method": "prompt", "prompt_init": "text"}, "contradict each other; give a text"),
        ({"method": "prompt", "prompt_text": "a"}, "contradict each other; give a text"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        TuneConfig(**settings)
