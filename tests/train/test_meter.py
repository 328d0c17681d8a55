"""Metrics of speed and memory, and the profiler trace."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.core.compiles import CompileCounter
from jaxrec.train.meter import Meter, host_peak_bytes
from jaxrec.train.trace import Trace


def test_rates_are_sums_over_the_time_that_passed(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr("jaxrec.train.meter.peak_flops", lambda kind: 4e12)
    with CompileCounter() as compiles:
        meter = Meter(compiles, lambda batch: (int(batch.sum()), batch.size))
        meter.add(np.array([1, 0, 0, 1]), 3e12)
        with meter.waiting():
            now[0] += 0.75
        meter.add(np.array([1, 1, 1, 0, 1, 1]), 5e12)
        now[0] += 3.25
        found = meter.values()
        assert found["step_seconds"] == 2.0
        assert found["input_share"] == pytest.approx(0.75 / 4)
        assert found["tokens_per_second"] == pytest.approx(7 / 4)
        assert found["padding"] == pytest.approx(3 / 10)
        assert found["teraflops"] == pytest.approx(8 / 4 / jax.device_count())
        assert found["mfu"] == pytest.approx(8 / 4 / 4 / jax.device_count())
        assert found["compiles"] == 0
        # Each reading begins anew, and so does a restart.
        meter.add(np.ones(3), 1e12)
        now[0] += 50.0
        meter.restart()
        meter.add(np.ones(3), 1e12)
        now[0] += 1.0
        assert meter.values()["step_seconds"] == 1.0


def test_compilations_after_the_warm_up_are_a_warning_that_names_their_shapes():
    run = jax.jit(lambda x: 5 * x)
    with CompileCounter() as compiles:
        meter = Meter(compiles)
        run(np.ones(3, np.float32))
        meter.warn(1)
        meter.warm(2)
        assert meter.surplus == 0
        run(np.ones(3, np.float32))
        meter.warn(3)
        run(np.ones(17, np.float32))
        with pytest.warns(UserWarning, match=r"up to step 4 .*\[17\]"):
            meter.warn(4)
        meter.warm(5)
        assert meter.surplus == 1


def test_peak_memory_grows_with_what_is_held():
    before = host_peak_bytes()
    held = np.ones(256 << 20, np.uint8)
    assert host_peak_bytes() >= max(before, held.nbytes)


def test_a_trace_holds_the_steps_it_names(tmp_path):
    run = jax.jit(lambda x: x @ x)
    x = jnp.ones((8, 8))
    with Trace(tmp_path / "profile", 100) as trace:
        for step in range(100, 112):
            with trace.before(step):
                x = run(x)
            trace.after(step + 1, x)
    written = [path.name for path in (tmp_path / "profile").rglob("*.xplane.pb")]
    assert len(written) == 1
    content = next((tmp_path / "profile").rglob("*.xplane.pb")).read_bytes()
    assert b"step_num" in content and b"train" in content


def test_no_directory_no_trace_and_a_short_run_ends_its_own(tmp_path):
    for directory in (None, tmp_path / "profile"):
        with Trace(directory, 0) as trace:
            for step in range(7):
                with trace.before(step):
                    x = jnp.ones(3)
                trace.after(step + 1, x)
    assert len(list(tmp_path.rglob("*.xplane.pb"))) == 1
