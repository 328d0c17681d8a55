"""The tiny run, trained once for all processes of the tests; each file of tests copies it."""

import fcntl
import os
import shutil

import pytest

from jaxrec.cli.main import main
from jaxrec.testing import write_tiny_run


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    """Return a function that copies the tiny data, config and trained run into a directory.

    The copy is what `write_tiny_run` and `jaxrec train tiny.py --run-dir run` leave there.
    """
    place = tmp_path_factory.getbasetemp()
    # Processes of pytest-xdist have directories of their own below one.
    place = (place.parent if "PYTEST_XDIST_WORKER" in os.environ else place) / "tiny-run"
    place.mkdir(exist_ok=True)
    with open(place.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "run" / "train.json").exists():
            write_tiny_run(place)
            assert main(["train", str(place / "tiny.py"), "--run-dir", str(place / "run")]) == 0

    def copy(directory):
        shutil.copytree(place, directory, dirs_exist_ok=True)
        # Settings name the data by their path.
        for file in (directory / "tiny.py", directory / "run" / "config.json"):
            file.write_text(file.read_text().replace(str(place), str(directory)))
        return directory

    return copy
