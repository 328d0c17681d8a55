"""Files of click questions: what is read is what was written, and what is wrong has a line."""

import gzip
import json
import re

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from jaxrec.core import DataError
from jaxrec.data import click_windows, load, published_split, read_click_records, read_instructions
from jaxrec.eval import pooled_auc, within_user_auc
from jaxrec.texts import ClickDataConfig, click_prompts, load_click_parts

INSTRUCTION = 'Say "Yes." or "No.".'


def record(liked=("Alien", "Heat"), disliked=("Emma",), asked="Cats", output="Yes.", **more):
    quoted = [", ".join(f'"{title}"' for title in titles) for titles in (liked, disliked)]
    text = f'Good: {quoted[0]}\nBad: {quoted[1]}\nWill the user like "{asked}"?'
    return {"instruction": INSTRUCTION, "input": text, "output": output} | more


def write(path, records, indent=2):
    text = json.dumps(records, indent=indent)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def parts_of(directory, **options):
    """What a run reads of the three files in a directory."""
    files = {f"{part}_file": str(directory / f"{part}.json") for part in ("train", "valid", "test")}
    return load_click_parts(
        ClickDataConfig(**files, **options),
        split="users",
        history=10,
        threshold=3.0,
        shots=0,
        seed=0,
        valid_windows=0,
        test_windows=0,
    )


TITLE = st.text(st.characters(exclude_characters='"\n', exclude_categories=("C", "Z")), min_size=1)
ITEM = st.tuples(TITLE, st.sampled_from(["", " written by A. B", " (3, rare)"]))


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.lists(ITEM, max_size=4), st.lists(ITEM, max_size=4), ITEM, st.booleans()),
        min_size=1,
        max_size=6,
    ),
    words=st.tuples(TITLE, TITLE, TITLE).filter(lambda w: "?" not in w[2] and "." not in w[2]),
)
def test_records_are_rendered_as_they_were_written(rows, words, tmp_path_factory):
    directory = tmp_path_factory.mktemp("records")
    records = []
    for liked, disliked, asked, label in rows:
        lines = [
            ", ".join(f'"{title}"{more}' for title, more in side) for side in (liked, disliked)
        ]
        text = f'{words[0]}: {lines[0]}\n{words[1]}: {lines[1]}\n{words[2]} "{asked[0]}"{asked[1]}?'
        answer = "Yes." if label else "No."
        records.append({"instruction": f"{INSTRUCTION} {{x}}", "input": text, "output": answer})
    path = write(directory / "train.json", records)
    found = read_click_records({"train": path}, allow_repeats=True)
    windows = found.windows["train"]
    assert windows.label.tolist() == [label for *_, label in rows]
    names = [[f'"{t}"{m}' for t, m in (*liked, *disliked)] for liked, disliked, *_ in rows]
    for row, wanted in enumerate(names):
        shown = windows.history[row][windows.history[row] >= 0]
        assert [found.names[item] for item in shown] == wanted
    both = {label for *_, label in rows} == {True, False}
    if not both:
        return
    for part in ("valid", "test"):
        write(directory / f"{part}.json", records)
    parts = parts_of(directory, repeated_titles="allow")
    again = click_prompts(
        parts.test, parts.titles, template=parts.templates["yes-no"], names=parts.names
    )
    assert [(r.instruction, r.output) for r in again] == [
        (r["instruction"], r["output"]) for r in records
    ]
    assert [r.input for r in again] == [r["input"] for r in records]
    swapped = parts.templates["no-yes"].instruction
    assert swapped.replace("{{", "{").startswith('Say "No." or "Yes.".')


def test_the_published_files_have_their_users_and_their_figures(real_data, tmp_path):
    folder = real_data("tallrec-movie")
    data = load("ml-100k", from_file=real_data("ml-100k"))
    split = dict(zip(("train", "valid", "test"), published_split(click_windows(data)), strict=True))
    # The test file is rebuilt from the ratings; the other two are the published ones.
    rebuilt = [vars(r) for r in click_prompts(split["test"], data.items.labels())]
    paths = {part: folder / f"{part}.json.gz" for part in ("train", "valid")}
    paths["test"] = write(tmp_path / "test.json.gz", rebuilt)
    with pytest.raises(DataError, match=r"train.json.gz, line \d+: record \d+ names .* 2 times"):
        read_click_records(paths)
    found = read_click_records(paths, allow_repeats=True)
    for part, windows in found.windows.items():
        truth = split[part]
        np.testing.assert_array_equal(windows.label, truth.label)
        np.testing.assert_array_equal(windows.liked.sum(1), truth.liked.sum(1))
        # Users are found by their overlapping windows.
        changes = np.flatnonzero(np.diff(windows.user))
        np.testing.assert_array_equal(changes, np.flatnonzero(np.diff(truth.user)))
    assert [len(np.unique(w.user)) for w in found.windows.values()] == [80, 14, 16]
    liked = {part: windows.liked.sum(1) for part, windows in found.windows.items()}
    valid, test = found.windows["valid"], found.windows["test"]
    assert round(pooled_auc(valid.label, liked["valid"]), 4) == 0.6890
    assert round(pooled_auc(test.label, liked["test"]), 4) == 0.7260
    assert round(within_user_auc(test.label, liked["test"], test.user), 4) == 0.6008
    shares = [round(float(windows.label.mean()), 3) for windows in found.windows.values()]
    assert shares == [0.557, 0.658, 0.528]


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (record(output="Maybe."), "has the output 'Maybe.'; expected 'Yes.' or 'No.'"),
        (record(instruction="Other."), "has another instruction ('Other.') than the first one"),
        ({"instruction": INSTRUCTION, "input": "x"}, "field 'output' of record 1 must be a text"),
        ({"input": "x", "output": "Yes."}, "field 'instruction' of record 1 must be a text"),
        (record(liked=("Heat", "Heat")), "names 'Heat' 2 times, as if two items had one title"),
        (record(asked="Emma"), "names 'Emma' 2 times"),
        (
            record() | {"input": record()["input"].replace('"Emma"', '"Emma" by X')},
            "has ' by X' after the title 'Emma', which had '' before",
        ),
        (record() | {"input": "Will the user?"}, "has an input of 1 lines; expected two lines of"),
        (record(asked='7" man'), "has a quote without its pair"),
        (record(asked=""), "asks about an empty title"),
        (record(liked=("",)), "has an empty title"),
        (
            record() | {"input": record()["input"].replace('", "', '" and "')},
            "separates titles by ' and '; expected ', ' between them",
        ),
        (
            record() | {"input": record()["input"].replace('"Cats"', "it")},
            "quotes 0 titles in its question",
        ),
        (
            record() | {"input": record()["input"].replace("Good", "Fine")},
            "has another wording ('Fine: ') than the first one ('Good: '",
        ),
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_what_is_wrong_has_a_file_and_a_line(second, words, indent, tmp_path):
    path = write(tmp_path / "train.json", [record(), second, record()], indent)
    if indent is None:
        lines = "\n".join(json.dumps(row) for row in (record(), second, record()))
        path.write_text(lines)
    with pytest.raises(DataError, match=re.escape(words)) as error:
        read_click_records({"train": path})
    # The first record takes the lines 2 to 6 of an indented list.
    line = 2 if indent is None else 7
    assert "train.json" in str(error.value) and f"line {line}" in str(error.value)


def test_what_two_files_do_not_share_is_found_in_the_second(tmp_path):
    first = write(tmp_path / "train.json", [record()])
    other = write(tmp_path / "valid.json", [record(instruction="Answer.")])
    with pytest.raises(DataError, match=r"valid.json, line 2: record 0 has another instruction"):
        read_click_records({"train": first, "valid": other})
    assert len(read_instructions(other)) == 1


def test_a_line_without_titles_may_lack_the_space_before_them(tmp_path):
    bare = record(liked=())
    bare["input"] = bare["input"].replace("Good: \n", "Good:\n")
    path = write(tmp_path / "train.json", [bare, record()])
    assert read_click_records({"train": path}).wording.liked == "Good: "


def test_titles_of_two_authors_are_two_items_where_that_is_allowed(tmp_path):
    text = 'Good: "Emma" by A, "Heat" by C\nBad: \nWill the user like "Emma" by B?'
    path = write(tmp_path / "train.json", [record() | {"input": text}])
    with pytest.raises(DataError, match="has ' by B' after the title 'Emma'"):
        read_click_records({"train": path})
    found = read_click_records({"train": path}, allow_repeats=True)
    assert found.names == ['"Emma" by A', '"Heat" by C', '"Emma" by B']
    assert found.titles == ["Emma", "Heat", "Emma"]


def test_questions_of_files_need_both_answers_and_all_three_files(tmp_path):
    for part in ("train", "valid", "test"):
        write(tmp_path / f"{part}.json", [record(), record(output="No.")])
    parts = parts_of(tmp_path)
    assert parts.describe()["test_users"] == 2 and len(parts.train) == 2
    # Each record is of another user, so the graph's opinions are those of the training records.
    assert parts.data.rating.tolist() == [1, 1, 0, 1, 1, 1, 0, 0]
    write(tmp_path / "test.json", [record()])
    with pytest.raises(DataError, match=r"all 1 questions of .*test.json have one answer"):
        parts_of(tmp_path)
    (tmp_path / "valid.json").unlink()
    with pytest.raises(DataError, match=r"valid.json was not found"):
        parts_of(tmp_path)
