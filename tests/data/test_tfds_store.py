import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from jaxrec.core.errors import DataError, ResourceError
from jaxrec.data import (
    Interactions,
    item_sequences,
    load,
    open_data_source,
    prepare,
    read_prepared,
    training_sequences,
)

text = st.text(st.characters(codec="utf-8"), max_size=6)
ids = st.text("ab\u00e9\u4e2d01 :,\t", min_size=1, max_size=4)


def same(a: Interactions, b: Interactions) -> None:
    assert a.fingerprint() == b.fingerprint()
    for column in ("user", "item", "rating", "time", "row"):
        left, right = getattr(a, column), getattr(b, column)
        assert left.dtype == right.dtype
        np.testing.assert_array_equal(left, right)
    assert a.user_ids.tolist() == b.user_ids.tolist()
    assert a.items.ids.tolist() == b.items.ids.tolist()
    assert {k: v.tolist() for k, v in a.items.fields.items()} == {
        k: v.tolist() for k, v in b.items.fields.items()
    }
    assert (a.name, a.source, a.time_unit) == (b.name, b.source, b.time_unit)


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.tuples(ids, ids, st.integers(-(2**62), 2**62), st.floats(width=32)),
        min_size=1,
        max_size=12,
    ),
    st.data(),
)
def test_a_round_trip_is_exact(tmp_path, rows, data):
    user, item, time, rating = zip(*rows, strict=True)
    texts = {key: {"title": data.draw(text), "item": data.draw(text)} for key in set(item)}
    whole = Interactions.from_columns(user, item, time, rating, texts, "any name / at all")
    same(read_prepared(prepare(whole, tmp_path)), whole)


def test_users_without_a_row_and_user_fields_survive(small, tmp_path):
    part = small.select(small.user != 1)
    found = read_prepared(prepare(part, tmp_path))
    same(found, part)
    assert found.user_fields["age"].tolist() == ["30", "", ""]
    assert len(found.history(1)) == 0


def test_movielens_survives(real_data, tmp_path):
    whole = load("ml-100k", from_file=real_data("ml-100k"))
    same(read_prepared(prepare(whole, tmp_path)), whole)


def test_preparing_twice_writes_once_and_other_data_go_elsewhere(small, tmp_path):
    first = prepare(small, tmp_path)
    stamp = (first / "interactions.json").stat().st_mtime_ns
    assert prepare(small, tmp_path) == first
    assert (first / "interactions.json").stat().st_mtime_ns == stamp
    other = prepare(small.select(small.user > 0), tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([first, other])


def test_the_data_source_has_a_record_a_user_and_an_item(small, tmp_path):
    path = prepare(small, tmp_path)
    users, items = open_data_source(path), open_data_source(path, "items")
    assert (len(users), len(items)) == (3, 4)
    assert users[1]["user_id"] == b"b"
    np.testing.assert_array_equal(users[1]["item"], small.history(1))
    assert items[0]["field/title"] == b"Two"
    for user, history in enumerate(small.sequences()):
        np.testing.assert_array_equal(item_sequences(path)[user], history)


def test_training_reads_a_prepared_data_set_as_it_reads_a_list(small, tmp_path):
    source = item_sequences(prepare(small, tmp_path))
    a, b = (
        next(iter(training_sequences(s, length=2, batch_size=8, seed=1)))
        for s in (source, small.sequences())
    )
    np.testing.assert_array_equal(a["items"], b["items"])


def test_a_failed_preparation_leaves_nothing(small, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("jaxrec.data.tfds_store._publish", full)
    with pytest.raises(ResourceError, match=r"No space left on device.*free space"):
        prepare(small, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_a_resource_error_and_leaves_nothing(tmp_path):
    # A limit on the size of files makes writes fail as on a full disk; it needs its own process.
    code = f"""
import resource
import jaxrec.data as data
from jaxrec.core.errors import ResourceError
x = data.Interactions.from_columns([1, 1, 2], [1, 2, 3])
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
try:
    data.prepare(x, {str(tmp_path)!r})
except ResourceError as error:
    assert "free space" in str(error) and "\\n" not in str(error)
else:
    raise SystemExit("it went well")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_damaged_files_ask_to_prepare_again(small, tmp_path):
    with pytest.raises(DataError, match="run prepare first"):
        read_prepared(tmp_path)
    path = prepare(small, tmp_path)
    (meta,) = path.glob("*.json")
    good = meta.read_bytes()
    meta.write_text("[" * 100_000)  # deeper than Python reads
    with pytest.raises(DataError, match="delete this directory and prepare again"):
        read_prepared(path)
    meta.write_bytes(good)
    [record_file] = path.glob("**/users/**/*.array_record*")
    raw = record_file.read_bytes()
    record_file.write_bytes(raw[: len(raw) // 2])
    with pytest.raises(DataError, match="delete this directory and prepare again"):
        read_prepared(path)


def test_nothing_imports_tensorflow_and_importing_the_room_is_light(tmp_path):
    code = f"""
import sys, jaxrec.data as data
heavy = {{"jax", "grain", "pyarrow", "tensorflow_datasets"}} & set(sys.modules)
assert not heavy, heavy
x = data.Interactions.from_columns([1, 1, 2], [1, 2, 3])
data.read_prepared(data.prepare(x, {str(tmp_path)!r}))
assert "tensorflow" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
