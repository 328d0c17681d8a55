"""Collectives read from the text of HLO: by hand, and of programs whose traffic is known."""

import pytest

from jaxrec.core import DataError
from jaxrec.core.collective_counts import collectives
from jaxrec.testing import run_on_devices

# ruff: noqa: E501
HLO = """
HloModule jit_step, is_scheduled=true, num_partitions=8

%add (x: f32[], y: f32[]) -> f32[] {
  %x = f32[] parameter(0)
  %y = f32[] parameter(1)
  ROOT %sum = f32[] add(%x, %y)
}

%part (whole: f32[64,32], at: s32[]) -> f32[8,32] {
  %whole = f32[64,32]{1,0} parameter(0)
  %at = s32[] parameter(1)
  %turned = f32[64,32]{1,0} bitcast(%whole)
  %zero = s32[] constant(0)
  ROOT %own = f32[8,32]{1,0} dynamic-slice(%turned, %at, %zero), dynamic_slice_sizes={8,32}
}

%body (carry: (s32[], f32[8,32])) -> (s32[], f32[8,32]) {
  %carry = (s32[], f32[8,32]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%carry), index=0
  %shard = f32[8,32]{1,0} get-tuple-element(%carry), index=1
  %narrow = bf16[8,32]{1,0} convert(%shard)
  %kernel = bf16[64,32]{1,0:T(8,128)(2,1)} all-gather(%narrow), channel_id=1, replica_groups=[1,8]<=[8], dimensions={0}, metadata={op_name="jit(step)/kernel"}
  %wide = f32[64,32]{1,0} convert(%kernel)
  %both = (f32[64,32]{1,0}, f32[32]{0}) all-reduce(%wide, %bias), channel_id=2, replica_groups={{0,1,2,3},{4,5,6,7}}, to_apply=%add
  %first = f32[64,32]{1,0} get-tuple-element(%both), index=0
  %second = f32[32]{0} get-tuple-element(%both), index=1
  %own.1 = f32[16,32]{1,0} dynamic-slice(%first, %i, %i), dynamic_slice_sizes={16,32}
  ROOT %next = (s32[], f32[8,32]{1,0}) tuple(%i, %own.1)
}

%condition (carry: (s32[], f32[8,32])) -> pred[] {
  %carry.1 = (s32[], f32[8,32]{1,0}) parameter(0)
  %bound = s32[] constant(6)
  %i.1 = s32[] get-tuple-element(%carry.1), index=0
  ROOT %less = pred[] compare(%i.1, %bound), direction=LT
}

ENTRY %main (p: f32[8,32]) -> f32[8,32] {
  %p = f32[8,32]{1,0} parameter(0)
  %start = (s32[], f32[8,32]{1,0}) tuple(%zero.1, %p)
  %loop = (s32[], f32[8,32]{1,0}) while(%start), condition=%condition, body=%body
  %gradient = f32[64,32]{1,0} all-reduce(%dot), channel_id=3, replica_groups=mesh['x'=2,'y'=4] {'x','y'}, to_apply=%add
  %mine = f32[8,32]{1,0} fusion(%gradient, %id), kind=kLoop, calls=%part
  %swapped = (s8[4]{0}, s8[4]{0}) all-to-all(%a, %b), replica_groups={{0,1},{2,3},{4,5},{6,7}}
  %begun = (f32[4]{0}, f32[32]{0}) all-gather-start(%q), replica_groups=mesh['x'=8] {'x':(2)4}, dimensions={0}
  %ended = f32[32]{0} all-gather-done(%begun)
  %turned.1 = f32[5]{0} collective-permute(%r), source_target_pairs={{0,1},{1,0}}
  ROOT %result = f32[8,32]{1,0} add(%mine, %mine)
}
"""


def test_kinds_sizes_groups_and_rounds_of_a_program_written_by_hand():
    found = [(x.kind, x.array, x.size, x.devices, x.times) for x in collectives(HLO)]
    assert found == [
        ("all-gather", "bf16[64,32]", 4096, 8, 6),
        # Only a quarter of it is read: a reduction that scatters.
        ("reduce-scatter", "f32[64,32]", 8192, 4, 6),
        ("all-reduce", "f32[32]", 128, 4, 6),
        # The slice is inside a fusion.
        ("reduce-scatter", "f32[64,32]", 8192, 8, 1),
        ("all-to-all", "2 x s8[4]", 8, 2, 1),
        ("all-gather", "f32[32]", 128, 4, 1),
        ("collective-permute", "f32[5]", 20, 8, 1),
    ]
    assert collectives(HLO)[0].source == "jit(step)/kernel"


def test_bytes_that_a_device_sends_are_those_of_a_ring():
    sent = [x.sent for x in collectives(HLO)]
    assert sent == [
        6 * 4096 * 7 // 8,
        6 * 8192 * 3 // 4,
        6 * 2 * 128 * 3 // 4,
        8192 * 7 // 8,
        8 // 2,
        128 * 3 // 4,
        20,
    ]


def test_a_result_that_is_also_read_whole_is_no_scatter():
    whole = HLO.replace("ROOT %result", "%norm = f32[64,32]{1,0} negate(%gradient)\n  ROOT %result")
    kinds = [x.kind for x in collectives(whole)]
    assert kinds[3] == "all-reduce"


def test_what_the_compiler_noted_of_a_loop_goes_before_its_condition():
    noted = HLO.replace(
        "body=%body", 'body=%body, backend_config={"known_trip_count":{"n":"11"},"x":1}'
    )
    assert collectives(noted)[0].times == 11


def test_a_loop_of_unknown_length_around_a_collective_is_refused():
    unknown = HLO.replace("%bound = s32[] constant(6)", "%bound = s32[] negate(%x)")
    with pytest.raises(DataError, match="how often the loop loop runs"):
        collectives(unknown)


def test_text_that_is_no_hlo_is_refused():
    with pytest.raises(DataError, match="no ENTRY"):
        collectives("module @jit_step {}")


SCRIPT = """
import dataclasses, json
import jax, jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from jaxrec.core.collective_counts import collectives

mesh = jax.make_mesh((2, 4), ("a", "b"), axis_types=(AxisType.Auto,) * 2)

def f(x, w):
    def layer(x, w):
        return jnp.tanh(jax.lax.psum(x @ w, "b")), None
    return jax.lax.scan(layer, x, w)[0]

split = jax.shard_map(f, mesh=mesh, in_specs=(P("a", None), P(None)), out_specs=P("a", None))
x, w = jnp.ones((8, 16)), jnp.ones((7, 16, 16))
compiled = jax.jit(split).lower(x, w).compile()
print(json.dumps([dataclasses.asdict(x) for x in collectives(compiled.as_text())]))
"""


def test_a_sum_in_a_loop_of_a_real_program_is_found(tmp_path):
    script = tmp_path / "loop.py"
    script.write_text(SCRIPT)
    (found,) = run_on_devices(8, script)
    assert (found["kind"], found["array"]) == ("all-reduce", "f32[4,16]")
    assert (found["devices"], found["times"]) == (4, 7)
