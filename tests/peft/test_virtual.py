"""Where virtual tokens go, against loops over lists."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from jaxrec.core import ConfigError
from jaxrec.peft import Virtual, prepend, virtual_of
from jaxrec.testing.tuned import METHODS, tuned_case

V = 30


def test_a_padded_row_as_drawn():
    tokens = jnp.array([[0, 0, 1, 8, 9], [8, 9, 0, 0, 0], [0, 0, 0, 0, 0]], jnp.int32)
    read = prepend(tokens, tokens > 0, V, 2)
    expected = [[0, 0, 30, 31, 1, 8, 9], [30, 31, 8, 9, 0, 0, 0], [0] * 7]
    np.testing.assert_array_equal(read.tokens, expected)
    np.testing.assert_array_equal(read.valid, np.array(expected) > 0)
    assert read.tokens.dtype == jnp.int32


def test_a_packed_row_as_drawn():
    tokens = jnp.array([[8, 9, 5, 6, 0]], jnp.int32)
    segments = jnp.array([[0, 0, 1, 1, 1]], jnp.int32)
    read = prepend(tokens, tokens > 0, V, 2, segments, sequences=2)
    np.testing.assert_array_equal(read.tokens, [[30, 31, 8, 9, 30, 31, 5, 6, 0]])
    np.testing.assert_array_equal(read.widen(segments), [[0, 0, 0, 0, 1, 1, 1, 1, 1]])


@st.composite
def _batches(draw):
    """Rows of sequences with padding anywhere, and how many virtual tokens each gets."""
    # Few shapes, as each is compiled.
    rows, length = draw(st.sampled_from([(2, 6), (1, 1)]))
    pick = lambda values: draw(  # noqa: E731
        st.lists(st.lists(values, min_size=length, max_size=length), min_size=rows, max_size=rows)
    )
    tokens = np.array(pick(st.integers(0, V - 1)), np.int32)
    valid = np.array(pick(st.booleans()))
    segments = np.sort(np.array(pick(st.integers(0, 2)), np.int32), axis=1)
    return tokens, valid, segments, draw(st.sampled_from([0, 1, 3])), draw(st.booleans())


@functools.partial(jax.jit, static_argnames=("count", "most"))
def _read(tokens, valid, numbers, segments, count, most):
    """Tokens, validity, widened numbers, and what is left of the places after `drop`."""
    read = prepend(tokens, valid, V, count, segments, most)
    states = jnp.arange(read.tokens.shape[1], dtype=jnp.float32)[None, :, None]
    states = jnp.broadcast_to(states, (*read.tokens.shape, 1))
    return read.tokens, read.valid, read.widen(numbers), read.drop(states)


@settings(max_examples=60, deadline=None)
@given(_batches())
def test_rows_equal_those_of_a_loop(batch):
    tokens, valid, segments, count, packed = batch
    most = 3 if packed else 1
    read, there_too, widened, dropped = map(
        np.asarray, _read(tokens, valid, segments, segments if packed else None, count, most)
    )
    size = tokens.shape[1] + count * most
    for row in range(len(tokens)):
        expected, seen, place = [], set(), []
        for token, there, segment in zip(tokens[row], valid[row], segments[row], strict=True):
            number = segment if packed else 0
            if there and number not in seen:
                seen.add(number)
                expected += [(V + i, True, number) for i in range(count)]
            place.append(len(expected))
            expected.append((token, there, number))
        free = size - len(expected) if count else 0
        width = len(expected)
        expected += [(0, False, None)] * free
        np.testing.assert_array_equal(read[row], [token for token, _, _ in expected])
        np.testing.assert_array_equal(there_too[row], [there for _, there, _ in expected])
        wide = widened[row][:width]
        if packed:
            np.testing.assert_array_equal(wide, [number for _, _, number in expected[:width]])
        np.testing.assert_array_equal(dropped[row, :, 0], place)


def test_without_virtual_tokens_nothing_is_touched():
    tokens = jnp.array([[0, 4]], jnp.int32)
    valid = tokens > 0
    read = prepend(tokens, valid, V, 0)
    assert read.tokens is tokens
    assert read.valid is valid
    assert read.widen(tokens) is tokens
    assert read.drop(tokens) is tokens


def test_more_sequences_than_there_is_room_for_are_refused():
    tokens = jnp.array([[4, 5, 6]], jnp.int32)
    with pytest.raises(ConfigError, match="packs 3 sequences, more than sequences=2"):
        prepend(tokens, tokens > 0, V, 1, jnp.array([[0, 1, 2]], jnp.int32), 2)


@pytest.mark.parametrize(
    ("name", "method", "expected"),
    [
        ("gpt2", "lora", Virtual(0, 0)),
        ("gpt2", "prompt", Virtual(3, 0)),
        ("llama", "prefix", Virtual(3, 0)),
        ("encoder", "prefix", Virtual(3, 0)),
        ("encoder-decoder", "prompt", Virtual(3, 0)),
        ("encoder-decoder", "prefix", Virtual(0, 3)),
    ],
)
@pytest.mark.variants(2)
def test_a_models_variables_say_how_many_it_expects(name, method, expected):
    case = tuned_case(name)
    params = case.variables(METHODS[method])
    assert virtual_of(params) == expected
    shapes = jax.eval_shape(lambda: params)
    assert virtual_of(shapes) == expected
    assert virtual_of(case.params) == virtual_of(None) == Virtual()
