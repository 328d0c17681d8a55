"""Types of values that were read from files, and JSON that is damaged in every way."""

import json
import os
from typing import Any, Literal, NotRequired, TypedDict

import pytest

from jaxrec.core import DataError, check_file, mismatch, printable, quoted, read_json


class Inner(TypedDict):
    size: int


class Outer(TypedDict):
    name: str
    inner: Inner
    rate: NotRequired[float | None]


@pytest.mark.parametrize(
    ("value", "hint", "problem"),
    [
        (3, int, None),
        (True, int, "x must be int, got True"),
        (10**400, int, "x must be int, got an enormous number"),
        (3, float, None),
        (float("nan"), float, "x must be float, got nan"),
        (None, int | None, None),
        ("a", int | None, "x must be int | None, got 'a'"),
        ([1, "b"], list[int], "x[1] must be int, got 'b'"),
        ({"a": {"b": 1}}, dict[str, dict[str, str]], "x['a']['b'] must be str, got 1"),
        ([], dict[str, str], "x must be an object, got []"),
        (True, Literal[1, 2], "x must be one of 1, 2, got True"),
        (1.0, Literal[1, 2], None),
        ({"name": "n", "inner": {"size": 1}, "more": 0}, Outer, None),
        ({"name": "n", "inner": {}}, Outer, "x['inner'] has no 'size'"),
        ({"name": "n", "inner": []}, Outer, "x['inner'] must be an object, got []"),
        (
            {"name": "n", "inner": {"size": 1}, "rate": "r"},
            Outer,
            "x['rate'] must be float | None, got 'r'",
        ),
        ("y" * 99, int, f"x must be int, got '{'y' * 59}..."),
    ],
)
def test_the_part_that_differs_is_named(value: Any, hint: Any, problem):
    assert mismatch(value, hint, "x") == problem


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is not valid JSON"),
        (b"{", "is not valid JSON"),
        (b"\xff\xfe{}", "is not valid JSON"),
        (b"[" * 100_000, "is not valid JSON"),
        (b'{"size": ' + b"9" * 5000 + b"}", "is not valid JSON"),
        (b"[]", "the content must be an object, got"),
        (b"null", "the content must be an object, got None"),
        (b'{"size": 1, "size": 2}', "key 'size' is in the object twice"),
        (b"{}", "the content has no 'size'"),
        (b'{"size": NaN}', "'size' must be int, got nan"),
        (b'{"size": 1e999}', "'size' must be int, got inf"),
        (b'{"size": "1"}', "'size' must be int, got '1'"),
    ],
)
def test_damaged_json_is_an_error_of_one_line(tmp_path, content, problem):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_json(path, Inner, fix="copy it")
    message = str(caught.value)
    assert message.startswith(f"{path}") and problem in message and message.endswith("copy it")
    assert "\n" not in message


def test_json_may_begin_with_a_mark_of_its_encoding(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps({"size": 2}).encode())
    assert read_json(path, Inner) == {"size": 2}


def test_what_may_never_end_is_refused(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, kind in ((pipe, "pipe"), (tmp_path, "directory")):
        with pytest.raises(DataError, match=f"is a {kind}; give a regular file"):
            check_file(path, missing=True)
        with pytest.raises(DataError, match=f"is a {kind}; give a regular file"):
            read_json(path)


def test_text_cannot_act_on_a_terminal_and_words_are_those_of_the_shell(tmp_path):
    import subprocess

    plain = "Amélie, 東京 \u200c(2001) 👩‍🚀"
    assert printable(plain) == plain
    assert printable("a\x1b[31m\r\u202eb\ud800") == r"a\x1b[31m\r\u202eb\ud800"
    words = ["a b", "it's", "$(reboot)", "`x`;y", "a\x1b[2J\n'b\\c", "-x", "", "é"]
    command = " ".join(map(quoted, words))
    assert all(character.isprintable() for character in command)
    script = ["bash", "-c", f"printf '%s\\0' {command}"]
    said = subprocess.run(script, capture_output=True, check=True).stdout
    assert said.decode().split("\0")[:-1] == words
