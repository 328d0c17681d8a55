import jax
import jax.numpy as jnp

from jaxrec.core.compiles import CompileCounter


def test_first_calls_are_counted_and_repeated_calls_are_not():
    double = jax.jit(lambda x: 2 * x)
    small, large = jnp.ones(3), jnp.ones(4)
    with CompileCounter() as counter:
        double(small)
        assert counter.count == 1
        double(small)
        assert counter.count == 1
        double(large)
        assert counter.count == 2
    assert counter.seconds > 0
    jax.jit(lambda x: 3 * x)(small)
    assert counter.count == 2
