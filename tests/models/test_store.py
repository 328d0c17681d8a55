"""What the checksum of parameters covers; round trips stand in `test_convert.py`."""

import numpy as np
import pytest

from jaxrec.models import checksum

PARAMS = {"a": {"b": np.arange(6, dtype=np.float32).reshape(2, 3)}, "c": np.ones(2, np.int32)}


def test_equal_parameters_have_one_checksum_in_any_order_and_layout():
    column_major = np.asfortranarray(PARAMS["a"]["b"])
    assert checksum({"c": PARAMS["c"], "a": {"b": column_major}}) == checksum(PARAMS)


@pytest.mark.parametrize(
    "changed",
    [
        {**PARAMS, "c": np.array([1, 2], np.int32)},
        {**PARAMS, "c": np.ones(2, np.uint32)},
        {**PARAMS, "a": {"b": PARAMS["a"]["b"].reshape(3, 2)}},
        {**PARAMS, "a": {"d": PARAMS["a"]["b"]}},
        {"a": PARAMS["a"]},
    ],
    ids=["value", "dtype", "shape", "name", "missing"],
)
def test_every_change_changes_the_checksum(changed):
    assert checksum(changed) != checksum(PARAMS)
