"""The examples in the docstrings of every module of jaxrec are run, and give what they say."""

import doctest
import importlib
import pkgutil

import pytest

import jaxrec

MODULES = ["jaxrec"] + [
    info.name
    for info in pkgutil.walk_packages(jaxrec.__path__, "jaxrec.", onerror=lambda name: None)
    if not info.name.endswith("__main__")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    result = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert result.failed == 0, f"{result.failed} of {result.attempted} examples of {name} fail"


def test_all_rooms_are_looked_through():
    rooms = {name.split(".")[1] for name in MODULES if "." in name}
    functions = {"open", "train_run", "evaluate_run", "export_run"}
    assert rooms == set(dir(jaxrec)) - {"__version__"} - functions
