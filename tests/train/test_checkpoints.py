"""Checkpoints: retention, all kinds of damage, and arrays that change while they are written."""

import dataclasses
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from jaxrec.core import DataError, DivergedError
from jaxrec.train import Checkpoints
from jaxrec.train.checksums import check


def state_of(number):
    rng = np.random.default_rng(number)
    return {
        "table": jnp.asarray(rng.normal(size=(30, 40)), jnp.float32),
        "half": jnp.asarray(rng.normal(size=(7,)), jnp.bfloat16),
        "zeros": jnp.zeros((9,)),
        "count": jnp.int32(number),
    }


def same(ours, theirs):
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A directory with steps 1 and 2, 2 the newest and the best."""
    directory = tmp_path_factory.mktemp("saved") / "checkpoints"
    with Checkpoints(directory) as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, state_of(step), {"at": step}, float(step))
    return directory


def steps_in(directory):
    return sorted(int(path.name) for path in directory.iterdir() if path.name.isdigit())


def test_the_newest_and_the_best_are_kept_measured_or_not(tmp_path):
    scores = {1: 0.9, 2: 0.1, 3: None, 4: 0.9, 5: None, 6: 0.3, 7: None}
    kept = {}
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        for step, score in scores.items():
            checkpoints.save(step, state_of(step), {"at": step}, score)
            checkpoints.wait()
            kept[step] = steps_in(tmp_path)
        assert checkpoints.best == 4  # the last of equals
    assert kept == {
        1: [1],
        2: [1, 2],
        3: [1, 2, 3],
        4: [3, 4],
        5: [4, 5],
        6: [4, 5, 6],
        7: [4, 6, 7],
    }
    with Checkpoints(tmp_path, keep=2) as reopened:
        assert (reopened.best, reopened.steps) == (4, [4, 6, 7])
        state, record = reopened.restore(4, state_of(0))
    same(state, state_of(4))
    assert record == {"at": 4}


def test_unmeasured_checkpoints_alone_have_no_best(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state_of(1), {})
        assert checkpoints.best is None
        with pytest.raises(DataError, match="no checkpoint with a validation score is left"):
            checkpoints.restore_best(state_of(0))


def test_arrays_that_are_donated_while_they_are_written_are_saved_as_they_were(tmp_path):
    def add(tree):
        return jax.tree.map(lambda x: x + jnp.ones((), x.dtype), tree)

    step = jax.jit(add, donate_argnums=0)
    first = {"x": jnp.arange(1 << 20, dtype=jnp.float32).reshape(1 << 10, -1)}
    state = jax.tree.map(jnp.copy, first)
    with Checkpoints(tmp_path, keep=9) as checkpoints:
        for number in range(4):
            checkpoints.save(number, state, {})
            for _ in range(20):
                state = step(state)
        checkpoints.wait()
        for number in range(4):
            found, _ = checkpoints.restore(number, first)
            np.testing.assert_array_equal(found["x"], np.asarray(first["x"]) + 20 * number)


def damages(path):
    """Possible contents of a damaged file: truncated, empty, missing, or with one bit flipped."""
    whole = path.read_bytes()
    yield whole[: len(whole) // 2]
    yield b""
    yield None
    for place in np.linspace(0, len(whole) - 1, 5).astype(int):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << (place % 8)
        yield bytes(flipped)


def test_whatever_happens_to_a_file_a_checkpoint_is_as_it_was_saved_or_set_aside(
    saved, tmp_path, capsys
):
    files = [p.relative_to(saved) for p in sorted((saved / "2").rglob("*")) if p.is_file()]
    assert len(files) > 10
    found = {1: 0, 2: 0}
    copy = tmp_path / "copy"
    for file in files:
        for content in damages(saved / file):
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(saved, copy)
            if content is None:
                (copy / file).unlink()
            else:
                (copy / file).write_bytes(content)
            before = {p.relative_to(copy / "2"): p.read_bytes() for p in _files(copy / "2")}
            with Checkpoints(copy) as checkpoints:
                step, state, record = checkpoints.restore_newest(state_of(0))
            same(state, state_of(step))
            assert record == {"at": step}
            found[step] += 1
            words = capsys.readouterr().err
            if step == 1:
                assert "warning: checkpoint" in words and "resuming from step 1" in words
                aside = copy / "2.damaged"
                after = {p.relative_to(aside): p.read_bytes() for p in _files(aside)}
                assert after == before
            else:
                assert not words
    # Files of metadata and leftovers of the writing processes may change without any harm.
    assert found[1] > 30


def _files(directory):
    return [path for path in directory.rglob("*") if path.is_file()]


def test_where_all_are_damaged_that_is_said_and_nothing_is_removed(saved, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(saved, copy)
    for step in ("1", "2"):
        (copy / step / "record" / "metadata").write_text("{}")
    for _ in range(2):  # as is a second try
        with (
            Checkpoints(copy) as checkpoints,
            pytest.raises(DataError, match=r"every checkpoint .* is damaged .*start over"),
        ):
            checkpoints.restore_newest(state_of(0))
    assert sorted(p.name for p in copy.iterdir()) == ["1.damaged", "2.damaged"]


def test_an_older_checkpoint_that_is_damaged_is_said_or_refused(saved, tmp_path, capsys):
    # It might have been the best: a reader must not take another one for it.
    copy = tmp_path / "copy"
    shutil.copytree(saved, copy)
    (copy / "1" / "record" / "metadata").write_text("{}")
    with (
        Checkpoints(copy, read_only=True) as checkpoints,
        pytest.raises(DataError, match=r"copy/1 is damaged .*`jaxrec train` sets it aside"),
    ):
        _ = checkpoints.best
    assert steps_in(copy) == [1, 2]
    with Checkpoints(copy) as checkpoints:
        assert checkpoints.restore_newest(state_of(0))[0] == 2
    assert "copy/1 is damaged" in capsys.readouterr().err
    assert (copy / "1.damaged").exists()


@pytest.mark.parametrize(("lost", "best"), [(1, 2), (2, None), (3, None)])
def test_readers_need_the_best_checkpoint_alone(tmp_path, lost, best):
    # Step 2 is the best, as the record of step 3 says; a newer one could be better.
    with Checkpoints(tmp_path, keep=3) as checkpoints:
        for step, score, highest in ((1, 0.1, 0.1), (2, 0.9, 0.9), (3, 0.4, 0.9)):
            checkpoints.save(step, state_of(step), {"best": highest}, score)
    (tmp_path / str(lost) / "record" / "metadata").write_text("{}")
    with Checkpoints(tmp_path, read_only=True) as checkpoints:
        if best is None:
            with pytest.raises(DataError, match=rf"/{lost} is damaged"):
                _ = checkpoints.best
        else:
            assert checkpoints.best == best
            same(checkpoints.restore(best, state_of(0))[0], state_of(best))
    assert steps_in(tmp_path) == [1, 2, 3]


def test_a_step_that_is_no_longer_kept_is_whole_or_gone(tmp_path, monkeypatch):
    # As if the process were killed before it deletes: what is left of a step lies in `.removed`.
    with monkeypatch.context() as patch, Checkpoints(tmp_path, keep=1) as checkpoints:
        patch.setattr(Checkpoints, "_empty", lambda self: None)
        for step in (1, 2, 3):
            checkpoints.save(step, state_of(step), {}, float(step))
            checkpoints.wait()
        assert sorted(path.name for path in (tmp_path / ".removed").iterdir()) == ["1", "2"]
    assert steps_in(tmp_path) == [3]
    with Checkpoints(tmp_path, read_only=True) as checkpoints:
        assert checkpoints.steps == [3]
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps == [3]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3"]


def test_a_checkpoint_of_another_model_is_refused_and_stays(saved, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(saved, copy)
    target = state_of(0) | {"table": jnp.zeros((30, 41))}
    with (
        Checkpoints(copy) as checkpoints,
        pytest.raises(DataError, match=r"table is float32 \[30, 40\] there and .*\[30, 41\] here"),
    ):
        checkpoints.restore_newest(target)
    assert steps_in(copy) == [1, 2]


def test_readers_leave_a_save_under_way_alone(saved, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(saved, copy)
    under_way = copy / "3.orbax-checkpoint-tmp"
    under_way.mkdir()
    with Checkpoints(copy, read_only=True) as checkpoints:
        assert checkpoints.best == 2
        same(checkpoints.restore(2, state_of(0))[0], state_of(2))
    assert under_way.exists()
    with Checkpoints(copy) as checkpoints:
        assert checkpoints.restore_newest(state_of(0))[0] == 2
    assert not under_way.exists()


def test_a_state_with_an_infinity_is_not_saved(tmp_path):
    bad = state_of(1) | {"table": jnp.full((3, 3), jnp.inf)}
    with Checkpoints(tmp_path) as checkpoints:
        with pytest.raises(DivergedError, match="table is not finite; step 1 is not saved"):
            checkpoints.save(1, bad, {})
        checkpoints.wait()
    assert steps_in(tmp_path) == []


def by_hand(array):
    """MurmurHash3's finalizer over bits and places, in Python integers."""
    bits = array.reshape(-1).view(f"uint{8 * array.dtype.itemsize}").tolist()
    total = 0
    for place, h in enumerate(bits):
        h ^= (place * 0x9E3779B1) % 2**32
        h = ((h ^ (h >> 16)) * 0x85EBCA6B) % 2**32
        h = ((h ^ (h >> 13)) * 0xC2B2AE35) % 2**32
        total += h ^ (h >> 16)
    return total % 2**32


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "uint8", "uint32"])
def test_the_checksum_is_that_of_the_docstring(dtype):
    array = jnp.asarray(np.random.default_rng(0).uniform(0, 100, (3, 4, 5)), dtype)
    leaves = check({"a": array, "b": {"c": jnp.int32(7)}}).leaves
    assert leaves["a"] == [dtype, [3, 4, 5], by_hand(np.asarray(array))]
    assert leaves["b/c"] == ["int32", [], by_hand(np.array([7], np.int32))]


@settings(deadline=None, max_examples=60)
@given(place=st.integers(0, 59), bit=st.integers(0, 31))
def test_every_turned_bit_shows_in_the_checksum(place, bit):
    values = np.random.default_rng(1).normal(size=60).astype(np.float32)
    turned = values.copy()
    turned.view(np.uint32)[place] ^= np.uint32(1 << bit)
    sums = [check({"a": jnp.asarray(x).reshape(6, 10)}).leaves["a"] for x in (values, turned)]
    assert sums[0] != sums[1]


def test_a_checkpoint_that_is_not_finite_is_named_wherever_it_is_read(tmp_path):
    state = state_of(1) | {"zeros": jnp.full((9,), jnp.nan)}
    # Only a program that skips the check of `save` can write one.
    checked = dataclasses.replace(check(state), not_finite=[])
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state, {}, 0.5, checked)
        checkpoints.wait()
        for read in (checkpoints.restore_newest, checkpoints.restore_best):
            with pytest.raises(
                DivergedError, match=r"/1 holds infinities or NaN in zeros \(1 of 4"
            ):
                read(state)
    assert steps_in(tmp_path) == [1]  # nothing is set aside, because nothing is damaged
