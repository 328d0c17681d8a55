"""Histories that are kept in a pool and read on equal the same histories read from the start."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.decode import (
    HistoryPool,
    Prompts,
    SearchOptions,
    beam_search,
    extend_from_pool,
    read_for_pool,
    search_items,
    store_in_pool,
)
from jaxrec.testing.brute_force import make_case

SLOTS = 12


def left(rows):
    return jnp.asarray([[0] * (SLOTS - len(row)) + row for row in rows], jnp.int32)


@pytest.mark.parametrize(
    "flavour", [{}, {"block": "hstu", "mlp_width": None}], ids=["llama", "hstu"]
)
@pytest.mark.variants(1)
def test_pieces_equal_the_whole_and_rows_do_not_mix(flavour):
    case = make_case(5, (5, 4), 0.8, users=4, **flavour)
    given = (case.model, case.params)
    rng = np.random.default_rng(0)
    table = case.vocabulary.tokens(case.codes)
    # BOS and the tokens of four items each, of which a part is read at first.
    whole = [[1, *map(int, table[rng.integers(0, case.items, 4)].ravel())] for _ in range(4)]
    pool, rows = HistoryPool.empty(*given, rows=6, slots=SLOTS), np.array([4, 0, 5, 2])
    first = read_for_pool(
        *given, left([row[:n] for row, n in zip(whole, (1, 5, 7, 9), strict=True)])
    )
    pool = store_in_pool(pool, jnp.asarray(rows, jnp.int32), first.slots, first.new)
    have = [1, 5, 7, 8]  # of the last one, whose history is not longer, a token is read again
    for step in (2, 4):
        new = [row[n:][: step + 1] or row[-1:] for row, n in zip(whole, have, strict=True)]
        have = [min(n, len(row) - 1) for row, n in zip(whole, have, strict=True)]
        padded = jnp.asarray([part + [0] * (5 - len(part)) for part in new], jnp.int32)
        turn = np.array([2, 0, 3, 1])  # users come in any order
        order = jnp.asarray(turn)
        read = extend_from_pool(
            *given,
            pool,
            jnp.asarray(rows, jnp.int32)[order],
            jnp.asarray(have)[order],
            padded[order],
            SLOTS,
        )
        pool = store_in_pool(pool, jnp.asarray(rows, jnp.int32)[order], read.slots, read.new)
        total = [n + len(part) for n, part in zip(have, new, strict=True)]
        prompts = Prompts(
            tokens=left([row[:n] for row, n in zip(whole, total, strict=True)])[order]
        )
        options = SearchOptions(beams=6)
        expected = beam_search(*given, case.catalogue, prompts, options)
        found = search_items(*given, case.catalogue, read.history, options)
        np.testing.assert_array_equal(found.items, expected.items)
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
        have = total
    assert total == [len(row) for row in whole]
    # Nothing was written into rows of nobody.
    assert not np.asarray(pool.key)[[1, 3]].any()
    assert HistoryPool.bytes_of_row(*given, SLOTS) * 6 == pool.key.nbytes + pool.value.nbytes
