"""Damaged and endless files end with one line, before they are built in memory."""

import gzip
import io
import os
import struct
import zipfile
import zlib

import pyarrow as pa
import pytest
from pyarrow import parquet

from jaxrec.core import DataError, check_file, read_json
from jaxrec.data import Columns, contents, read
from jaxrec.ids import external


def refused(path, message, **options):
    with pytest.raises(DataError, match=message) as error:
        read(path, **options)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value) or path.suffix == ".zip"


@pytest.fixture
def small_limits(monkeypatch):
    """Let a packed file unpack to 1 MB or 20 times its size."""
    monkeypatch.setattr(contents, "FREE_BYTES", 10**6)
    monkeypatch.setattr(contents, "MOST_RATIO", 20)


def test_what_unpacks_without_end_is_stopped(tmp_path, small_limits):
    path = tmp_path / "x.csv.gz"
    path.write_bytes(gzip.compress(b"user,item\n" + b"u,a\n" * 10**6))
    refused(path, r"KiB of gzip unpack to more than .*; unpack the file yourself")
    path.write_bytes(gzip.compress(b"user,item\n" + b"u,a\n" * 10**5))
    assert len(read(path)) == 10**5
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as content:
        content.writestr("u.data", "1\t2\t3\t4\n" * 10**6)
    refused(tmp_path / "x.zip", r"1 files of 7.6 MiB are too much for an archive of its size")


def test_a_zip_that_states_a_small_size_is_stopped_as_well(tmp_path, small_limits):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as content:
        content.writestr("u.data", "1\t2\t3\t4\n" * 10**6)
    raw = bytearray(path.read_bytes())
    central = raw.index(b"PK\x01\x02")
    raw[central + 24 : central + 28] = struct.pack("<I", 1000)
    path.write_bytes(raw)
    refused(path, "not a readable zip archive|unpacks to more")


def zipped(tmp_path, name="u.data", flags=0, **options):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", **options) as content:
        content.writestr(name, "1\t2\t3\t4\n1\t3\t3\t4\n")
    raw = bytearray(path.read_bytes())
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        raw[raw.index(mark) + place] |= flags
    path.write_bytes(raw)
    return path


def test_zip_archives_that_cannot_be_unpacked(tmp_path):
    refused(zipped(tmp_path, flags=1), "'u.data' is encrypted; unpack the archive yourself")
    refused(zipped(tmp_path, name="a" * 300), "not a readable zip archive")
    path = zipped(tmp_path, compression=zipfile.ZIP_LZMA)
    raw = bytearray(path.read_bytes())
    raw[38:50] = b"\xff" * 12
    path.write_bytes(raw)
    refused(path, "not a readable zip archive")
    path = zipped(tmp_path, name="../../u.data")  # it stays below the scratch folder
    assert len(read(path)) == 2 and not (tmp_path.parent / "u.data").exists()


def test_an_archive_in_an_archive_is_not_opened(tmp_path):
    inner = zipped(tmp_path).rename(tmp_path / "inner.zip")
    for name in ("inner.zip", "inner.csv"):
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as content:
            content.write(inner, name)
        refused(tmp_path / "x.zip", f"no known data set .it holds {name}.")


def test_a_parquet_file_states_no_more_than_it_holds(tmp_path, monkeypatch):
    path = tmp_path / "x.parquet"
    table = pa.table({"user": ["a"] * 10_000, "item": ["x"] * 10_000})
    parquet.write_table(table, path)
    assert len(read(path)) == 10_000
    monkeypatch.setattr("jaxrec.data.parquet._MOST_ROWS", 1)
    refused(path, r"states 10,000 rows and .* of values, more than .*; write it again")


def test_every_byte_of_a_parquet_file_may_be_damaged(tmp_path):
    sink = io.BytesIO()
    table = pa.table({"user": ["a", "b"] * 5, "item": [1, 2] * 5, "t": range(10)})
    parquet.write_table(table, sink, compression="snappy")
    path, good = tmp_path / "x.parquet", sink.getvalue()
    outcomes = set()
    for place in range(4, len(good), 7):
        path.write_bytes(good[:place] + bytes([good[place] ^ 0x55]) + good[place + 1 :])
        try:
            read(path, columns=Columns(time="t"))
            outcomes.add("read")
        except DataError as error:
            assert "\n" not in str(error)
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": ' * 50_000, "9" * 6000, "\\x"])
def test_json_that_python_cannot_hold(write, text):
    refused(write("x.jsonl", text), "line 1: not JSON")
    with pytest.raises(DataError, match=r"is not valid JSON"):
        read_json(write("settings.json", text))
    with pytest.raises(DataError, match=r"not valid JSON"):
        external.read(write("ids.json", text), ["1"])


@pytest.mark.parametrize("name", ["x.csv", "x.parquet", "x.zip", "u.data", "x.inter", "x"])
def test_a_pipe_is_refused_before_it_is_read(tmp_path, name):
    os.mkfifo(tmp_path / name)
    refused(tmp_path / name, "this is a pipe; give a regular file")
    if name == "x.csv":
        table = tmp_path / "good.csv"
        table.write_text("user,item\nu,1\n")
        with pytest.raises(DataError, match="this is a pipe"):
            read(table, columns=Columns(item_table=tmp_path / name))


def test_devices_and_paths_that_lead_nowhere(tmp_path):
    with pytest.raises(DataError, match="/dev/zero: this is a device"):
        read("/dev/zero")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path in (tmp_path / "loop", tmp_path / ("a" * 300), tmp_path / "none"):
        with pytest.raises(DataError, match="check the path"):
            check_file(path)
        with pytest.raises(DataError, match="check the path"):
            read(path)
    with pytest.raises(DataError, match="this is a directory"):
        read_json(tmp_path)


def test_gzip_of_several_members_is_one_file(tmp_path):
    path = tmp_path / "x.csv.gz"
    path.write_bytes(gzip.compress(b"user,item\nu,1\n") + gzip.compress(b"u,2\n"))
    assert len(read(path)) == 2
    raw = bytearray(gzip.compress(zlib.compress(os.urandom(5000))))
    raw[2000] ^= 1
    path.write_bytes(raw)
    with pytest.raises(DataError, match="corrupted gzip file"):
        contents.read_bytes(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"user,item\nu,1\n",
            r"x\.csv\.gz: the file is called \.gz, but it is not gzipped .*b'user",
        ),
        (
            b"<html><body>Log in</body></html>",
            "is a web page; download the data",
        ),
    ],
)
def test_a_file_that_is_called_gz_and_is_not_gzipped_is_named(tmp_path, content, message):
    path = tmp_path / "x.csv.gz"
    path.write_bytes(content)
    for open_it in (contents.read_bytes, contents.open_stream, read):
        with pytest.raises(DataError, match=message):
            open_it(path)
