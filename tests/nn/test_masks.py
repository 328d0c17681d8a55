import jax.numpy as jnp
import numpy as np

from jaxrec.nn import causal_mask


def test_mask_is_the_drawing_in_its_docstring():
    drawing = """
        1 0 0 0
        0 1 0 0
        0 1 1 0
        0 1 1 1
    """
    lines = [line.split()[:4] for line in causal_mask.__doc__.splitlines()]
    documented = [line for line in lines if len(line) == 4 and set(line) <= {"0", "1"}]
    assert documented == [line.split() for line in drawing.split("\n") if line.strip()]
    found = causal_mask(jnp.array([[0, 1, 1, 1]], bool))
    assert found.dtype == bool
    np.testing.assert_array_equal(found[0].astype(int), np.array(documented, int))


def test_rows_of_a_batch_have_their_own_padding():
    valid = np.array([[1, 1, 1], [0, 0, 1], [0, 0, 0]], bool)
    found = np.asarray(causal_mask(jnp.asarray(valid)))
    for b in range(3):
        for t in range(3):
            for s in range(3):
                assert found[b, t, s] == (s == t or (s < t and valid[b, s]))
