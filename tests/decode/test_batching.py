"""A few long rows among many short ones."""

import numpy as np
import pytest

from jaxrec.decode import LengthGroup, length_groups


@pytest.mark.parametrize(
    "lengths",
    [
        [5] * 40,
        [*range(1, 400), 9600],
        [*[30] * 1000, 600, 1200, 4800, 9600, 9700],
        np.random.default_rng(0).geometric(0.01, 500),
        [0],
        [100_000, 0],
        [],
    ],
)
@pytest.mark.parametrize("multiple", [1, 4])
def test_every_row_is_in_one_group_that_it_fits_into(lengths, multiple):
    groups = length_groups(lengths, 16, multiple)
    rows = np.concatenate([group.rows for group in groups]) if groups else np.zeros(0, int)
    assert sorted(rows.tolist()) == list(range(len(lengths)))
    for group in groups:
        assert max(lengths[row] for row in group.rows) <= group.width
        assert group.batch_size % multiple == 0 and group.batch_size <= 16
        calls = list(group.batches())
        assert all(len(chosen) == group.batch_size for chosen, _ in calls)
        own = np.concatenate([chosen[:count] for chosen, count in calls])
        np.testing.assert_array_equal(own, group.rows)


def test_one_long_row_costs_its_own_cells_alone():
    def cells(groups: list[LengthGroup]) -> int:
        return sum(g.width * g.batch_size * len(list(g.batches())) for g in groups)

    short = np.random.default_rng(0).integers(5, 60, 1000)
    before, after = (length_groups(x, 128) for x in (short, [9600, *short[1:]]))
    assert len(before) == 1 and len(after) == 2
    assert cells(after) - cells(before) <= 16_384 + 128 * 64


def test_lengths_of_common_spread_stay_one_group():
    # MovieLens-100K: 5 to 737 items, a median of 64. A further group would be compiled.
    lengths = np.minimum(5 + np.random.default_rng(0).lognormal(4.2, 1.0, 943), 737).astype(int)
    assert len(length_groups(lengths, 128)) == 1
