import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings, strategies as st

from jaxrec.nn import attention_mask


def _drawings():
    """The matrices drawn in the docstring, in order."""
    lines = [line.split()[:4] for line in attention_mask.__doc__.splitlines()]
    rows = [line for line in lines if len(line) == 4 and set(line) <= {"0", "1"}]
    return np.array(rows, int).reshape(-1, 4, 4)


def test_masks_are_the_drawings_in_the_docstring():
    causal, prefixed, packed = _drawings()
    ones = jnp.ones((1, 4), bool)
    found = attention_mask(jnp.array([[0, 1, 1, 1]], bool))
    assert found.dtype == bool
    np.testing.assert_array_equal(found[0].astype(int), causal)
    found = attention_mask(ones, prefix=jnp.array([[1, 1, 0, 0]], bool))
    np.testing.assert_array_equal(found[0].astype(int), prefixed)
    found = attention_mask(ones, segments=jnp.array([[0, 0, 1, 1]], jnp.int32))
    np.testing.assert_array_equal(found[0].astype(int), packed)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.booleans(), st.booleans(), st.booleans())
def test_every_entry_follows_the_rule(seed, causal, with_prefix, with_segments):
    rng = np.random.default_rng(seed)
    batch, length = 2, int(rng.integers(1, 7))
    valid = rng.random((batch, length)) < 0.8
    prefix = rng.random((batch, length)) < 0.4
    segments = np.cumsum(rng.random((batch, length)) < 0.4, axis=1).astype(np.int32)
    found = np.asarray(
        attention_mask(
            jnp.asarray(valid),
            causal,
            jnp.asarray(prefix) if with_prefix else None,
            jnp.asarray(segments) if with_segments else None,
        )
    )
    for b, t, s in np.ndindex(batch, length, length):
        ahead = not causal or s <= t or (with_prefix and prefix[b, s])
        together = not with_segments or segments[b, t] == segments[b, s]
        assert found[b, t, s] == (s == t or (valid[b, s] and ahead and together))


def test_rows_of_a_batch_have_their_own_padding():
    valid = np.array([[1, 1, 1], [0, 0, 1], [0, 0, 0]], bool)
    found = np.asarray(attention_mask(jnp.asarray(valid)))
    for b in range(3):
        for t in range(3):
            for s in range(3):
                assert found[b, t, s] == (s == t or (s < t and valid[b, s]))
