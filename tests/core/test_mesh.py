"""Meshes, presets and rules, where parameters lie by them, and what is refused."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn
from jax.sharding import AbstractMesh, PartitionSpec

from jaxrec.cli.arguments import parse
from jaxrec.core import ConfigError
from jaxrec.core.mesh import (
    PRESETS,
    MeshConfig,
    ShardingRules,
    batch_sharding,
    describe_shardings,
    make_mesh,
    param_shardings,
)
from jaxrec.models import ModelSpec
from jaxrec.systems.generative.config import Config
from jaxrec.testing import tiny_model
from jaxrec.train import TrainConfig, check_batch

MESH = AbstractMesh((4, 2), ("data", "model"))


def box(names, *shape):
    return nn.Partitioned(jax.ShapeDtypeStruct(shape, jnp.float32), names=names)


def specs(rules, mesh=MESH):
    """Specs of some parameters of a tiny model, by the ends of their paths."""
    shapes = ModelSpec("causal", tiny_model(32, 2)).shapes()
    found = param_shardings(shapes, mesh, rules)["params"]
    block = found["decoder"]["blocks"]
    return {
        "table": found["embedding"]["table"].spec,
        "query": block["attention"]["query"]["kernel"].spec,
        "out": block["attention"]["out"]["kernel"].spec,
        "up": block["mlp"]["up"]["kernel"].spec,
        "norm": block["mlp_norm"]["scale"].spec,
    }


@pytest.mark.parametrize(
    ("preset", "table", "query", "out", "up", "norm"),
    [
        ("replicated", (None, None), (None,) * 4, (None,) * 4, (None,) * 3, (None,) * 2),
        (
            "fsdp",
            (None, "data"),
            (None, "data", None, None),
            (None, None, None, "data"),
            (None, "data", None),
            (None, "data"),
        ),
        (
            "tensor",
            ("model", None),
            (None, None, "model", None),
            (None, "model", None, None),
            (None, None, "model"),
            (None, None),
        ),
        (
            "fsdp_tensor",
            ("model", "data"),
            (None, "data", "model", None),
            (None, "model", None, "data"),
            (None, "data", "model"),
            (None, "data"),
        ),
        (
            "fsdp_sequence",
            (None, ("data", "model")),
            (None, ("data", "model"), None, None),
            (None, None, None, ("data", "model")),
            (None, ("data", "model"), None),
            (None, ("data", "model")),
        ),
    ],
)
def test_a_preset_places_every_parameter(preset, table, query, out, up, norm):
    expected = {"table": table, "query": query, "out": out, "up": up, "norm": norm}
    found = specs(ShardingRules(preset=preset))
    assert found == {name: PartitionSpec(*spec) for name, spec in expected.items()}


def test_a_rule_overrules_its_preset_and_none_keeps_an_axis_whole():
    found = specs(ShardingRules(preset="fsdp_tensor", vocab=None, mlp=("data",), embed=None))
    assert found["table"] == PartitionSpec(None, None)
    assert found["up"] == PartitionSpec(None, None, "data")
    assert found["query"] == PartitionSpec(None, None, "model", None)


def test_every_axis_of_every_kind_of_model_has_a_rule():
    config = dataclasses.replace(
        tiny_model(32, 2), positions="relative", qkv_bias=True, mlp_bias=True, qk_norm=True
    )
    learned = dataclasses.replace(config, positions="learned", token_types=2, pooler=True)
    for kind, shape in (
        ("causal", config),
        ("encoder_decoder", config),
        ("masked", learned),
        ("causal_classifier", config),
        ("encoder_classifier", learned),
    ):
        shapes = ModelSpec(kind, shape, 3 if kind.endswith("classifier") else 0).shapes()
        for preset in PRESETS:
            param_shardings(shapes, MESH, ShardingRules(preset=preset))


def test_the_batch_is_split_over_data_by_every_preset():
    for preset in PRESETS:
        assert batch_sharding(MESH, ShardingRules(preset=preset)).spec == PartitionSpec("data")


def test_presets_and_rules_are_options_of_the_command_line():
    words = "--mesh.data 4 --mesh.model 2 --sharding.preset fsdp_tensor --sharding.vocab None"
    words += " --sharding.embed data model"
    found = parse(Config, words.split(), prog="train", default=Config())
    assert found.mesh == MeshConfig(4, 2)
    assert found.sharding == ShardingRules(
        preset="fsdp_tensor", vocab=None, embed=("data", "model")
    )
    with pytest.raises(ConfigError, match="fdsp"):
        parse(Config, ["--sharding.preset", "fdsp"], prog="train", default=Config())


def test_a_description_names_shape_axes_spec_and_bytes_of_every_parameter():
    boxed = {
        "params": {
            "up": {"kernel": box(("layers", "embed", "mlp"), 6, 64, 128)},
            "norm": {"scale": box(("embed",), 64)},
        }
    }
    lines = describe_shardings(boxed, MESH, ShardingRules(preset="fsdp_tensor")).splitlines()
    rows = [re.split(r" {2,}", line) for line in lines[:3]]
    assert rows == [
        ["parameter", "shape", "axes", "spec", "on each device"],
        ["params/norm/scale", "64", "embed", "data", "64 B"],
        # 6 x 64 x 128 x 4 bytes, over 4 x 2 devices.
        ["params/up/kernel", "6 x 64 x 128", "layers, embed, mlp", "-, data, model", "24.0 KiB"],
    ]
    assert lines[3] == (
        "49,216 parameters: 192.2 KiB, 24.1 KiB on each of 8 devices (data 4 x model 2)"
    )


def test_an_axis_without_a_rule_is_refused_by_path_and_name():
    boxed = {"mlp": {"kernel": box(("embed", "colour"), 2, 3)}}
    with pytest.raises(ConfigError, match=r"no sharding rule .* axis 'colour' of mlp/kernel"):
        param_shardings(boxed, MESH, ShardingRules())


def test_a_parameter_without_axis_names_is_refused_by_path_and_shape():
    array = jax.ShapeDtypeStruct((2, 3), jnp.float32)
    with pytest.raises(ConfigError, match=r"no sharding rule matches mlp/kernel \(2, 3\)"):
        param_shardings({"mlp": {"kernel": array}}, MESH, ShardingRules())
    scalar, alone = jax.ShapeDtypeStruct((), jnp.float32), make_mesh(MeshConfig())
    assert param_shardings(scalar, MESH, ShardingRules()).spec == PartitionSpec()
    assert param_shardings(array, alone, ShardingRules()).spec == PartitionSpec()


def test_an_axis_that_its_devices_do_not_divide_is_refused_by_path_axis_size_and_mesh_axis():
    boxed = {"attention": {"key": {"kernel": box(("embed", "kv_heads", "head_size"), 8, 3, 4)}}}
    message = (
        r"axis 'kv_heads' of attention/key/kernel has size 3, which the 2 devices of mesh axis "
        r"'model' do not divide; change mesh.model, or set sharding.kv_heads to None"
    )
    with pytest.raises(ConfigError, match=message):
        param_shardings(boxed, MESH, ShardingRules(preset="tensor"))
    message = r"axis 'embed' .* has size 12, which the 8 devices of mesh axis 'data\+model'"
    with pytest.raises(ConfigError, match=message):
        param_shardings({"w": box(("embed",), 12)}, MESH, ShardingRules(preset="fsdp_sequence"))


def test_a_rule_for_an_axis_that_the_mesh_lacks_is_refused_by_field_and_value():
    boxed = {"kernel": box(("embed", "mlp"), 2, 3)}
    with pytest.raises(ConfigError, match=r"sharding\.mlp 'modle' .*use data, model or None"):
        param_shardings(boxed, MESH, ShardingRules(mlp="modle"))
    with pytest.raises(ConfigError, match=r"sharding\.batch \('data', 'x'\)"):
        batch_sharding(MESH, ShardingRules(batch=("data", "x")))


def test_two_axes_of_a_parameter_on_one_mesh_axis_are_refused():
    rules = ShardingRules(embed="data", mlp="data")
    with pytest.raises(ConfigError, match=r"w \('embed', 'mlp'\), on one mesh axis: \['data', 'da"):
        param_shardings({"w": box(("embed", "mlp"), 4, 8)}, MESH, rules)


def test_an_unknown_preset_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"no sharding\.preset 'fsdb', did you mean 'fsdp'"):
        ShardingRules(preset="fsdb")


def test_a_micro_batch_that_does_not_divide_over_the_devices_is_refused():
    config = TrainConfig(batch_size=12, accumulate=2)
    message = r"micro-batch of 6 sequences .* over 4 data-parallel devices"
    with pytest.raises(ConfigError, match=message):
        check_batch(config, MESH, ShardingRules())
    assert check_batch(config, MESH, ShardingRules(batch="model")) == 6
    with pytest.raises(ConfigError, match="over 8 data-parallel devices"):
        check_batch(config, MESH, ShardingRules(batch=("data", "model")))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (MeshConfig(data=7), r"mesh\.data 7 x mesh\.model 1 does not cover the 1 devices"),
        (MeshConfig(model=7), r"mesh\.model 7 does not divide the 1 devices"),
    ],
)
def test_meshes_that_do_not_fit_are_refused(config, message):
    with pytest.raises(ConfigError, match=message):
        make_mesh(config)


@pytest.mark.parametrize(("sizes", "least"), [({"model": 0}, 1), ({"data": -1}, 0)])
def test_meshes_that_cannot_be_are_refused(sizes, least):
    with pytest.raises(ConfigError, match=rf"--mesh\.(data|model) must be at least {least}"):
        MeshConfig(**sizes)
