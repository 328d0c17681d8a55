import dataclasses
import json

import numpy as np
import pytest

from jaxrec.core.errors import DataError, ResourceError
from jaxrec.ids import ItemCodes, pq


def fitted():
    return pq.fit(np.random.default_rng(0).normal(size=(60, 8)), 2, 8)


def test_saved_codes_come_back_equal(tmp_path):
    codes = fitted()
    codes.save(tmp_path / "ids")
    again = ItemCodes.load(tmp_path / "ids")
    np.testing.assert_array_equal(again.codes, codes.codes)
    assert again.codes.dtype == np.int32
    assert (again.sizes, again.scheme, again.metadata) == (codes.sizes, "pq", codes.metadata)
    for name, array in codes.codebooks.items():
        np.testing.assert_array_equal(again.codebooks[name], array)
    assert sorted(p.name for p in (tmp_path / "ids").iterdir()) == ["codes.json", "codes.npz"]
    assert json.loads((tmp_path / "ids" / "codes.json").read_text())["items"] == 60


def test_damaged_and_missing_files_are_refused_in_one_line(tmp_path):
    with pytest.raises(DataError, match="no item codes at"):
        ItemCodes.load(tmp_path)
    fitted().save(tmp_path)
    file = tmp_path / "codes.npz"
    good = file.read_bytes()
    for bad in (
        b"",
        b"no archive",
        good[: len(good) // 2],
        good.replace(b"item codes", b"item index"),
    ):
        file.write_bytes(bad)
        with pytest.raises(DataError) as caught:
            ItemCodes.load(tmp_path)
        assert "\n" not in str(caught.value)


def test_a_failed_save_leaves_the_old_file_whole(tmp_path, monkeypatch):
    codes = fitted()
    codes.save(tmp_path)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ResourceError, match="No space left"):
        dataclasses.replace(codes, codes=codes.codes[:5]).save(tmp_path)
    assert ItemCodes.load(tmp_path).num_items == 60
    assert sorted(p.name for p in tmp_path.iterdir()) == ["codes.json", "codes.npz"]


def test_codes_outside_their_level_are_named():
    with pytest.raises(DataError, match=r"item 1 has code 3 at level 0; codes there are 0\.\.2"):
        ItemCodes(codes=np.array([[0], [3]]), sizes=(3,), scheme="random")
    with pytest.raises(DataError, match="shape"):
        ItemCodes(codes=np.array([0, 3]), sizes=(3,), scheme="random")
