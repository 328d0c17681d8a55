import logging

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


def test_what_was_compiled_is_named_with_its_shapes():
    def trebled(x, y):
        return {"out": 3 * x["in"], "other": y}

    x, y = {"in": jnp.ones((2, 5))}, jnp.ones(5)
    shown = []
    root, handler = logging.getLogger(), logging.Handler()
    handler.emit = shown.append
    root.addHandler(handler)
    try:
        with CompileCounter() as counter:
            jax.jit(trebled)(x, y)
    finally:
        root.removeHandler(handler)
    assert not shown
    assert len(counter.programs) == 1
    assert "trebled" in counter.programs[0]
    assert "[2,5]" in counter.programs[0] and "[5]" in counter.programs[0]
