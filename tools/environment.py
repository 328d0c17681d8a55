"""Create the project's virtual environment, with the standard library of Python alone."""

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def make(requirements: list[list[str]], name: str, folder: str = ".venv") -> Path:
    """Create a virtual environment, unless that was done for the same pyproject.toml.

    Args:
      requirements: the arguments of each `pip install`, in order.
      name: name of this set of requirements, which marks it as installed.
      folder: directory of the environment in the checkout; JAXREC_VENV replaces ".venv".

    Returns:
      The directory of its executables.
    """
    if sys.version_info < (3, 11):  # noqa: UP036, this file runs before anything is installed
        sys.exit(f"jaxrec needs Python 3.11 or later, and this is {sys.version.split()[0]}")
    given = os.environ.get("JAXREC_VENV") if folder == ".venv" else None
    place = Path(given or ROOT / folder)
    programs = place / ("Scripts" if os.name == "nt" else "bin")
    wanted = repr(requirements) + (ROOT / "pyproject.toml").read_text()
    digest = hashlib.sha256(wanted.encode()).hexdigest()
    stamp = place / f"jaxrec-{name}.sha256"
    if stamp.exists() and stamp.read_text() == digest:
        return programs
    if not (programs / "python").exists():
        print(f"creating {place}", flush=True)
        venv.create(place, with_pip=True)
    for arguments in requirements:
        print("installing", *arguments, flush=True)
        # The older way to build a package, which pip leaves at 25.3, fails for seqeval.
        pip = [str(programs / "python"), "-m", "pip", "install", "--quiet", "--use-pep517"]
        subprocess.run([*pip, *arguments], cwd=ROOT, check=True)
    stamp.write_text(digest)
    return programs


def run(command: list[str], **variables: str) -> None:
    """Print and run a command; exit with its code if it fails."""
    print("$", *command, flush=True)
    code = subprocess.run(command, cwd=ROOT, env=os.environ | variables).returncode
    if code:
        sys.exit(code)
