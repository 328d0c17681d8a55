"""Names, lists, numbers and flags that callers hand in: what is read, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

from jaxrec.core import (
    ConfigError,
    flag,
    is_missing,
    name_list,
    name_text,
    path_of,
    whole_number,
)

pa = pytest.importorskip("pyarrow")
pd = pytest.importorskip("pandas")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("Heat", "Heat"),
        ("Café ☕", "Café ☕"),
        (50, "50"),
        (np.int64(50), "50"),
        (np.str_("a"), "a"),
        (pa.scalar("a"), "a"),
        (pa.scalar(7), "7"),
    ],
)
def test_texts_and_whole_numbers_are_names(value, text):
    assert name_text(value, "items") == text


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        np.True_,
        1.0,
        float("nan"),
        pd.NA,
        pd.NaT,
        b"a",
        ["a"],
        pa.scalar(None),
        "\ud800",
    ],
)
def test_whatever_is_no_name_is_refused_in_one_short_line(value):
    with pytest.raises(ConfigError, match=r"^items: ") as caught:
        name_text(value, "items")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 150


@pytest.mark.parametrize("make", [list, tuple, iter, np.array, pd.Series, pa.array, dict.fromkeys])
def test_lists_of_any_kind_are_read_in_order(make):
    values = make(["b", "a"])
    if isinstance(values, dict):
        values = values.keys()
    assert [name_text(one, "items") for one in name_list(values, "items", ordered=True)] == [
        "b",
        "a",
    ]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("12", r"got '12'; give \['12'\]"),
        (12, r"got 12; give \[12\]"),
        (b"12", "must be a list"),
        ({"12": 1}, "must be a list"),
        (None, "must be a list, got None"),
        (pd.DataFrame({"item": ["12"]}), "got a DataFrame; give one of its columns"),
        (pa.table({"item": ["12"]}), "got a Table; give one of its columns"),
        ({"1", "2"}, "is a set, which has none"),
    ],
)
def test_what_is_no_list_is_not_read_letter_by_letter(value, words):
    with pytest.raises(ConfigError, match=words):
        name_list(value, "items", ordered=True)


def test_numbers_and_flags_have_their_types():
    assert whole_number(np.int32(3), "top") == 3
    assert flag(np.True_, "seen") is True
    for wrong in (2.0, "5", True, None, [3]):
        with pytest.raises(ConfigError, match="top must be a whole number, got "):
            whole_number(wrong, "top")
    for wrong in ("no", 0, None):
        with pytest.raises(ConfigError, match="seen must be True or False, got "):
            flag(wrong, "seen")


def test_empty_cells_of_every_library_are_missing():
    assert all(map(is_missing, (None, "", float("nan"), np.nan, pd.NA, pd.NaT)))
    assert not any(map(is_missing, (0, False, "x", [], np.array([1.0, np.nan]))))


def test_paths_are_texts_or_paths():
    assert path_of("runs/a", "directory") == path_of(Path("runs/a"), "directory")
    for wrong in (None, 5, b"runs/a", "", ["runs/a"]):
        with pytest.raises(ConfigError, match="directory must be a path, got "):
            path_of(wrong, "directory")
