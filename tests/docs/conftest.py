"""Makes the generator of the pages, and `snippets` beside this file, importable."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "docs"), str(Path(__file__).parent)]


@pytest.fixture(scope="session")
def root():
    return ROOT
