"""Small data sets for the tests of this folder."""

import gzip

import pytest

from jaxrec.data import Interactions


@pytest.fixture
def small() -> Interactions:
    """Return three users, four items, ties in time, texts for three of the items."""
    return Interactions.from_columns(
        user=["b", "a", "a", "c", "a", "b", "c", "c", "b", "a"],
        item=[10, 2, 9, 10, 10, 2, 2, 9, 30, 30],
        time=[5, 7, 3, 1, 7, 5, 1, 1, 2, 9],
        rating=[1, 2, 3, 4, 5, 1, 2, 3, 4, 5],
        items={
            2: {"title": "Two", "year": "1992"},
            9: {"title": "Nine", "genres": "Drama | War"},
            10: {"title": "Ten"},
        },
        users={"a": {"age": "30"}},
        name="small",
        source="test",
    )


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a file below tmp_path (gzipped if it is called .gz)."""

    def write(name: str, text: str | bytes):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        raw = text.encode() if isinstance(text, str) else text
        path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
        return path

    return write
