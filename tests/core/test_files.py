import io
import os
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from jaxrec.core import (
    DataError,
    ResourceError,
    check_writable,
    not_writable,
    read_array,
    read_arrays,
    write_arrays,
)
from jaxrec.core.files import read_json, to_json_rows, write_bytes, write_text


def test_content_arrives_whole_with_the_mode_of_a_plain_file(tmp_path):
    path = tmp_path / "new" / "deep" / "file"
    write_bytes(path, b"\0\1" * 1000)
    assert path.read_bytes() == b"\0\1" * 1000
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
    write_text(path, "é\n")
    assert path.read_bytes() == b"\xc3\xa9\n"
    assert list(path.parent.iterdir()) == [path]


def test_the_umask_which_all_threads_share_is_never_changed(tmp_path, monkeypatch):
    before = os.umask(0o027)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(os, "umask", lambda mask: pytest.fail("the umask is changed"))
            write_text(tmp_path / "file", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_half_a_surrogate_pair_is_written_as_json_reads_it(tmp_path):
    write_text(tmp_path / "a.json", to_json_rows([{"title": "a\ud800é"}]))
    assert read_json(tmp_path / "a.json") == [{"title": "a\ud800é"}]


def test_an_array_that_asks_for_more_than_its_file_holds_is_not_allocated(tmp_path):
    path = tmp_path / "a.npz"
    write_arrays(path, {"x": np.arange(3)}, {"kind": "k"})
    assert read_arrays(path, "k")[0]["x"].tolist() == [0, 1, 2]
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f8", "fortran_order": False, "shape": (2**40,)}
    )
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        with zipfile.ZipFile(path, "w", compression) as archive:
            archive.writestr("x.npy", header.getvalue() + bytes(80))
        with pytest.raises(DataError, match="x asks for 8796093022208 bytes"):
            read_arrays(path, "k")
    path.write_bytes(header.getvalue())
    with pytest.raises(DataError, match="it is no ZIP archive"):
        read_arrays(path, "k")


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    # The child may write files of 1,000 bytes only: as on a full disk, the write fails half-way.
    path = tmp_path / "kept"
    path.write_bytes(b"old")
    script = (
        "import pathlib, resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "from jaxrec.core import ResourceError\n"
        "from jaxrec.core.files import write_bytes\n"
        "path = pathlib.Path(sys.argv[1])\n"
        "write_bytes(path.with_name('small'), bytes(1000))\n"
        "try:\n"
        "    write_bytes(path, bytes(5000))\n"
        "except ResourceError as error:\n"
        "    print(error)\n"
    )
    child = subprocess.run(
        [sys.executable, "-B", "-c", script, str(path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=os.getcwd(),
    )
    assert f"cannot write {path}: File too large" in child.stdout
    assert child.stdout.count("\n") == 1
    assert path.read_bytes() == b"old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["kept", "small"]


def test_the_old_file_is_replaced_and_never_written_into(tmp_path):
    # A hard link to the old file shows whether its own bytes were touched.
    path, link = tmp_path / "file", tmp_path / "link"
    path.write_bytes(b"old")
    os.link(path, link)
    write_bytes(path, b"new")
    assert (path.read_bytes(), link.read_bytes()) == (b"new", b"old")


def test_a_directory_that_cannot_be_made_is_a_resource_error(tmp_path):
    blocker = tmp_path / "file"
    blocker.write_bytes(b"")
    with pytest.raises(ResourceError, match=r"cannot write .*file/below/x: .*choose another"):
        write_bytes(blocker / "below" / "x", b"")


WRITER = """
import os, pathlib, sys
from jaxrec.core import files
def stop(handle):
    print(flush=True)
    sys.stdin.readline()
    real(handle)
real, os.fsync = os.fsync, stop
files.write_bytes(pathlib.Path(sys.argv[1]), b"theirs")
"""


def _stopped_writer(path):
    """A process that stands between writing its temporary file and renaming it."""
    process = subprocess.Popen(
        [sys.executable, "-B", "-c", WRITER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    process.stdout.readline()
    return process


def test_what_a_killed_writer_left_goes_with_the_next_write_and_what_a_living_one_writes_stays(
    tmp_path,
):
    killed, living = _stopped_writer(tmp_path / "one"), _stopped_writer(tmp_path / "two")
    mine = tmp_path / ".mine.part"  # not of this kind
    mine.write_bytes(b"mine")
    killed.kill()
    killed.communicate()
    assert len(list(tmp_path.iterdir())) == 3
    write_bytes(tmp_path / "other", b"ours")
    (left,) = [path for path in tmp_path.iterdir() if path.name.startswith(".two.")]
    assert {path.name for path in tmp_path.iterdir()} == {left.name, mine.name, "other"}
    # Two writers of one file: the last rename wins, and both files are whole.
    write_bytes(tmp_path / "two", b"ours")
    assert (tmp_path / "two").read_bytes() == b"ours"
    living.communicate(b"\n")
    assert living.returncode == 0
    assert (tmp_path / "two").read_bytes() == b"theirs"
    assert {path.name for path in tmp_path.iterdir()} == {mine.name, "other", "two"}


def test_a_directory_is_tried_and_nothing_is_left(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for bad, reason in (
        (tmp_path / "file", "File exists"),
        (tmp_path / "file" / "below", "File exists"),
        (Path("/proc/x"), "No such file"),
        (tmp_path / ("x" * 300), "File name too long"),
        (tmp_path / "new" / ("x" * 300), "File name too long"),
    ):
        assert reason in not_writable(bad)
        with pytest.raises(ResourceError, match=f"cannot write in .*{reason}.*give another --out"):
            check_writable(bad, "--out")
    assert not not_writable(tmp_path / "a" / "b")
    check_writable(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_directory_without_permission_is_not_writable(tmp_path):
    tmp_path.chmod(0o555)
    assert "Permission denied" in not_writable(tmp_path / "run")


def test_an_encrypted_archive_of_arrays_is_damaged(tmp_path):
    path = tmp_path / "codes.npz"
    write_arrays(path, {"x": np.arange(3)}, {"kind": "k"})
    raw = bytearray(path.read_bytes())
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # bit 0 of the flags
        start = raw.find(mark)
        while start >= 0:
            raw[start + place] |= 1
            start = raw.find(mark, start + 4)
    path.write_bytes(raw)
    with pytest.raises(DataError, match=r"codes\.npz is damaged .*encrypted"):
        read_arrays(path, "k")


def test_an_array_asks_for_no_more_than_its_file_holds(tmp_path):
    path = tmp_path / "x.npy"
    good = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.save(path, good)
    np.testing.assert_array_equal(read_array(path), good)
    raw = path.read_bytes()
    assert b"(3, 4), }" in raw
    huge = b"(3, 4000000000), }"  # 48 GB
    for changed in (
        raw.replace(b"(3, 4), }" + b" " * (len(huge) - 9), huge),
        raw[:-4],
        raw + b"1234",
        raw.replace(b"(3, 4)", b"(-3,4)"),
        raw.replace(b"'<f4'", b"'|O4'"),
        raw.replace(b"(3, 4)", b"((((((")[:],
        raw[:40],
        b"",
    ):
        assert changed != raw
        path.write_bytes(changed)
        with pytest.raises((ValueError, EOFError)):
            read_array(path)
