"""Files of JSON records; errors name the place in the file."""

import pytest

from jaxrec.core import DataError
from jaxrec.data import read_json_rows


def test_an_error_names_the_line_of_the_file(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n\n{"a":\n')
    with pytest.raises(DataError, match=r"\(line 3, column 6: Expecting value\); give"):
        read_json_rows(path, "tests", ["a"])


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('{"a": 1}\n{"a": 1, "b": 2, "a": 3}\n', "line 2: key 'a' is in the object twice; keep"),
        ('[{"a": {"b": 1, "b": 1}}]', "rows.json: key 'b' is in the object twice; keep one"),
        ('{\n"examples": [{"a": 1, "a": 1}]\n}', "key 'a' is in the object twice"),
    ],
)
def test_an_object_with_a_key_twice_is_named_and_not_half_read(text, where, tmp_path):
    path = tmp_path / "rows.json"
    path.write_text(text)
    with pytest.raises(DataError, match=where):
        read_json_rows(path, "tests", ["a"])


def test_a_record_that_is_no_object_is_named(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n[2]\n')
    with pytest.raises(DataError, match="record 1 is list, not an object with a, b"):
        read_json_rows(path, "tests", ["a", "b"])
