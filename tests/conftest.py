"""Test settings: strict promotion, where the real data lie, and one reason when they are absent."""

import collections
import gc
import os
from pathlib import Path

import jax
import pytest

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
# Tracing makes many objects, and a collection looks at those of all libraries: seldom is enough.
gc.set_threshold(100_000, 20, 100)

DATA = Path(os.environ.get("JAXREC_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark as slow the parameters of a test that come after the first `variants(N)`."""
    counts = collections.Counter()
    for item in items:
        mark = item.get_closest_marker("variants")
        if mark is not None:
            function = item.nodeid.partition("[")[0]
            counts[function] += 1
            if counts[function] > mark.args[0]:
                item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="module", autouse=True)
def forget_programs():
    """Drop compiled programs when they are many: each holds memory maps, a process has 65,530."""
    yield
    maps = Path("/proc/self/maps")
    if not maps.exists() or maps.read_bytes().count(b"\n") > 20_000:
        jax.clear_caches()
        gc.collect()


@pytest.fixture
def real_data():
    """Return a function name -> directory of a real data set, skipping where it is absent."""

    def find(name: str) -> Path:
        path = DATA / name
        if not path.exists():
            pytest.skip(f"real data {name!r} not found below {DATA}; set JAXREC_DATA")
        return path

    return find
