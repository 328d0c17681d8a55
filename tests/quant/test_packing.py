import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from jaxrec.quant.packing import pack, parts_of, unit_of, unpack


@settings(max_examples=15, deadline=None)
@given(
    bits=st.integers(1, 7),
    rows=st.sampled_from([1, 7, 31, 32, 33, 70]),
    stack=st.sampled_from([(), (2,)]),
    seed=st.integers(0, 2**31),
)
def test_unpacking_undoes_packing(bits, rows, stack, seed):
    codes = np.random.default_rng(seed).integers(0, 2**bits, (*stack, rows, 3))
    words = pack(jnp.asarray(codes), bits)
    count, size = unit_of(bits)
    assert words.dtype == jnp.uint32
    assert words.shape == (*stack, -(-rows // count), size, 3)
    np.testing.assert_array_equal(unpack(words, bits, rows), codes)


@pytest.mark.parametrize("bits", range(1, 8))
def test_a_code_costs_its_bits_and_no_more(bits):
    words = pack(jnp.zeros((96, 5), jnp.int32), bits)
    assert words.size * 32 == 96 * 5 * bits
    assert sum(parts_of(bits)) == bits


def test_lanes_lie_where_the_docstring_says():
    # Eight codes of four bits, the first in the lowest bits of the word.
    codes = jnp.arange(1, 9)[:, None]
    assert int(pack(codes, 4)[0, 0, 0]) == 0x87654321
    # Three bits: 32 lowest bits in one word, then the upper two, 16 codes a word.
    codes = jnp.asarray([0b101, 0b110, 0b011] + [0] * 28 + [0b111])[:, None]
    low, first, second = (int(word) for word in pack(codes, 3)[0, :, 0])
    assert low == 0b101 | 1 << 31
    assert first == 0b01_11_10
    assert second == 0b11 << 30
