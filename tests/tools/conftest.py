"""The modules and the command line of tools/bench."""

import importlib
import runpy
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "tools" / "bench"


@pytest.fixture(scope="module")
def bench():
    """Return a function name -> module of tools/bench, such as "support.timing"."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCH)
        yield importlib.import_module


@pytest.fixture
def command(bench):
    """Return the names that the command `python tools/bench` defines, such as "main"."""
    return runpy.run_path(str(BENCH / "__main__.py"))
