import numpy as np
import pytest

from jaxrec.core.errors import DataError
from jaxrec.eval import last_plus_one_rate, max_plus_one_rate


def test_rates_hand_computed():
    histories = [np.array(h) for h in ([5, 2], [2, 5], [1, 9, 3], [4])]
    targets = np.array([6, 6, 4, 4])
    assert max_plus_one_rate(histories, targets) == 2 / 4  # 5 -> 6, 5 -> 6
    assert last_plus_one_rate(histories, targets) == 2 / 4  # 5 -> 6, 3 -> 4


def test_empty_history_is_never_a_hit():
    histories = [np.array([], int), np.array([0])]
    assert max_plus_one_rate(histories, np.array([0, 1])) == 0.5
    assert last_plus_one_rate(histories, np.array([0, 1])) == 0.5


def test_order_by_item_number_shows_and_relabelling_hides_it():
    rng = np.random.default_rng(0)
    starts = rng.integers(0, 480, 2000)
    histories = [np.arange(s, s + 5) for s in starts]
    targets = starts + 5
    assert max_plus_one_rate(histories, targets) == last_plus_one_rate(histories, targets) == 1
    label = rng.permutation(500)
    relabelled = [label[h] for h in histories]
    assert max_plus_one_rate(relabelled, label[targets]) < 0.02
    assert last_plus_one_rate(relabelled, label[targets]) < 0.02


@pytest.mark.parametrize("rate", [max_plus_one_rate, last_plus_one_rate])
def test_mismatch_is_refused(rate):
    with pytest.raises(DataError, match="1 histories for 2 targets"):
        rate([np.array([1])], np.array([1, 2]))
    with pytest.raises(DataError, match="0 histories"):
        rate([], np.array([]))
