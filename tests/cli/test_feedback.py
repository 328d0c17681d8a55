"""`jaxrec feedback` and what a newcomer does to it: one line that says what is wrong."""

import json
import os
from pathlib import Path

import pytest

from jaxrec.align import Feedback, append_feedback, only_writer, read_feedback
from jaxrec.cli import feedback
from jaxrec.cli.main import main

GOOD = '{"prompt": "Name a film.", "answers": ["Heat.", "A film."]}\n'


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A directory with two prompts, in which the page is opened but not served."""
    (tmp_path / "prompts.jsonl").write_text(GOOD + GOOD.replace("film", "song"))
    monkeypatch.chdir(tmp_path)
    studies = []
    monkeypatch.setattr(feedback, "serve", lambda study, host, port: studies.append(study))
    return studies


def says(capsys, code, command, *words):
    """The command exits with the code, and its one line on standard error has all the words."""
    assert main(["feedback", *command]) == code
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("jaxrec feedback: "), lines
    assert len(lines[0]) < 600
    for word in words:
        assert word in lines[0], lines[0]


def said(labeler, kind, payload, number="1"):
    song = "song" if number == "2" else "film"
    return Feedback(
        prompt_id=number,
        prompt=f"Name a {song}.",
        answers=("Heat.", f"A {song}."),
        labeler=labeler,
        kind=kind,
        payload=payload,
        time=0.0,
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", ["no rows; the file is empty"]),
        (
            '[{"prompt": "Hi", "answers": ["a", "b"]}]\n',
            ["line 1: not a JSON object but a list", "one object a line"],
        ),
        ('[\n{"prompt": "Hi"},\n', ["line 1: not JSON", "one object a line"]),
        ("prompt,answers\nHi,a\n", ["line 1: not JSON", "one object a line"]),
        (GOOD + '{"prompt": "Hi", "ans', ["line 2: not JSON"]),
        (GOOD + '{"prompt": "Hi", "answers": ["a"]}\n', ["line 2", "2 to 9 texts, got 1"]),
        (GOOD + "{}\n", ["line 2: no key 'prompt'"]),
        (GOOD.replace("}", ', "prompt_ID": "7"}'), ["'prompt_ID', did you mean 'prompt_id'"]),
        (GOOD.replace("}", ', "prompt_id": "7"}') * 2, ["line 2: prompt_id '7' stands twice"]),
    ],
)
def test_prompts_that_are_none_are_named(place, capsys, content, words):
    Path("prompts.jsonl").write_text(content)
    says(capsys, 3, ["serve", "prompts.jsonl"], *words)
    assert place == [] and not os.path.exists("feedback.jsonl")


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--out", "prompts.jsonl"], 2, ["is the file of the prompts; give another file"]),
        (["--out", "."], 3, ["this is a directory"]),
        (["--out", "/dev/null/feedback.jsonl"], 4, ["cannot write in", "give another --out"]),
        (["--out", "feedback.jsonl.gz"], 2, ["is packed"]),
        (["--points", "1"], 0, []),
        (["--points", "1", "--questions", "kind"], 2, ["2 to 100 points, got --points 1"]),
        (["--questions", "kind", "kind?"], 2, ["the question 'kind' stands twice"]),
        (["--questions", "?"], 2, ["the question '?' has no name"]),
        (["--compare", "nothing"], 2, ["nothing is asked", "--questions"]),
        (["--compare", "rank"], 2, ["--compare", "ranking"]),
        (["--labelers"], 2, ["--labelers names nobody"]),
        (["--labelers", "ann", "Ann"], 2, ["the labeler 'ann' stands twice"]),
        (["--labelers", " ann"], 3, ["without spaces at its ends, got ' ann'"]),
        (["--port", "70000"], 2, ["--port must be in [0, 65535]"]),
        (["--question", "kind"], 2, ["did you mean '--questions'"]),
    ],
)
def test_options_that_do_not_fit_are_named(place, capsys, options, code, words):
    before = Path("prompts.jsonl").read_text()
    if code:
        says(capsys, code, ["serve", "prompts.jsonl", *options], *words)
    else:
        assert main(["feedback", "serve", "prompts.jsonl", *options]) == 0
    assert Path("prompts.jsonl").read_text() == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_place_without_permission_is_named(place, capsys):
    os.mkdir("locked", 0o555)
    says(capsys, 4, ["serve", "prompts.jsonl", "--out", "locked/x.jsonl"], "give another --out")
    Path("feedback.jsonl").touch(0o444)
    says(capsys, 4, ["serve", "prompts.jsonl"], "cannot write feedback.jsonl: Permission denied")


def test_two_pages_do_not_write_to_one_file(place, tmp_path, capsys):
    with only_writer(tmp_path / "feedback.jsonl"):
        says(capsys, 4, ["serve", "prompts.jsonl"], "another labeling page writes to", "--out")
    assert main(["feedback", "serve", "prompts.jsonl"]) == 0
    # Nothing was said, so nothing is left.
    assert not Path("feedback.jsonl").exists()


@pytest.mark.parametrize(
    "content",
    [
        # The last line of prompts, of notes, and of half a prompt.
        GOOD + GOOD.rstrip("\n"),
        "notes of\nlast week",
        GOOD + '{"prompt_id": "7", "prompt": "Na',
        '{"prompt_id": "7", "prompt": "Name", "answers": ["Heat.", "A film."]}',
    ],
)
def test_a_file_that_is_no_feedback_stays_as_it_is(place, capsys, content):
    Path("other").write_text(content)
    says(capsys, 3, ["serve", "prompts.jsonl", "--out", "other"], "other: ", "line 1")
    assert Path("other").read_text() == content


def test_a_half_written_line_is_removed_and_told(place, tmp_path, capsys):
    out = tmp_path / "feedback.jsonl"
    append_feedback(out, said("ann", "ranking", {"ranks": [1, 2]}))
    whole = out.read_text()
    for length in (1, 10, 16, len(whole) - 2):
        out.write_text(whole + whole[:length])
        says(capsys, 3, ["agree", str(out)], "line 2: not JSON", "correct or remove")
        assert main(["feedback", "serve", "prompts.jsonl"]) == 0
        assert "an unfinished line at the end was removed" in capsys.readouterr().out
        assert out.read_text() == whole
    assert place[-1].next_task("ann")["prompt_id"] == "2"
    assert place[-1].next_task("bob")["prompt_id"] == "1"


def test_a_study_that_asks_more_asks_again_and_one_on_another_scale_stops(place, tmp_path, capsys):
    out = tmp_path / "feedback.jsonl"
    for number in "12":
        scores = {"scores": {"kind": [5, 3]}}
        append_feedback(
            out,
            said("ann", "ranking", {"ranks": [1, 2]}, number),
            said("ann", "questions", scores, number),
        )
    serve = ["serve", "prompts.jsonl", "--questions"]
    for questions, done in ((["kind"], 2), (["kind", "short?"], 0)):
        assert main(["feedback", *serve, *questions]) == 0
        assert place[-1].next_task("ann")["done"] == done
    says(capsys, 3, [*serve, "kind?"], "holds the answer 5 to the question 'kind'", "yes or no")
    says(capsys, 3, [*serve, "kind", "--points", "4"], "(give 1 to 4)", "another --out")
    says(capsys, 3, [*serve, "kind", "--labelers", "anne"], "'ann', did you mean 'anne'")


def test_one_person_does_not_become_two_labelers(place, capsys):
    assert main(["feedback", "serve", "prompts.jsonl"]) == 0
    (study,) = place
    study.save({"labeler": "Ann Lee", "prompt_id": "1", "ranks": [1, 2]})
    for name in ("ann lee", "ANN  LEE", "Ａnn Lee"):
        with pytest.raises(Exception, match="is written 'Ann Lee' in this study"):
            study.next_task(name)
    assert main(["feedback", "serve", "prompts.jsonl"]) == 0
    with pytest.raises(Exception, match="is written 'Ann Lee' in this study"):
        place[-1].next_task("ann lee")
    assert place[-1].next_task("Ann Lee")["done"] == 1


def agree(capsys, *options):
    """Return the lines that are printed, and the JSON of the last one."""
    assert main(["feedback", "agree", "feedback.jsonl", *options]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    return lines, json.loads(last)


def test_labelers_who_agree_are_told_so(place, tmp_path, capsys):
    for labeler in ("ann", "bob"):
        append_feedback(tmp_path / "feedback.jsonl", said(labeler, "best", {"best": 0}))
    lines, found = agree(capsys, "--gold", "ann")
    assert lines == [
        "ranking: bob: labels like ann: 100.0% of 1, kappa 1.000",
        "ranking: Krippendorff's alpha (nominal, labelers: 2): 1.000",
    ]
    assert found["alpha"] == {"ranking": 1.0} and found["labelers"][0]["labeler"] == "bob"


def test_criteria_are_compared_one_by_one(place, tmp_path, capsys):
    for labeler, kind, more in (("ann", [5, 5], {"short": [True, False]}), ("bob", [5, 5], {})):
        scores = {"scores": {"kind": kind} | more}
        append_feedback(tmp_path / "feedback.jsonl", said(labeler, "questions", scores))
    lines, found = agree(capsys, "--kind", "questions", "--gold", "ann")
    assert lines == [
        "kind: bob: labels like ann: 100.0% of 2",
        "kind: Krippendorff's alpha (ordinal, labelers: 2): none, because all ratings are 5, so "
        "agreement beyond chance is not defined",
        "short: bob: no label of what ann labeled",
        "short: Krippendorff's alpha (ordinal, labelers: 1): none, because no unit has ratings of "
        "two labelers, so there is nothing to agree on",
    ]
    assert found["alpha"] == {"kind": None, "short": None}
    assert [row["criterion"] for row in found["labelers"]] == ["kind"]


@pytest.mark.parametrize(
    ("labelers", "options", "words"),
    [
        ("a", [], ["has feedback of 'ann' alone; agreement needs two labelers"]),
        ("ab", ["--gold", "Ann"], ["unknown labeler 'Ann', did you mean 'ann'", "ann, bob"]),
        ("ab", ["--kind", "rules"], ["no feedback of the kind rules; give --kind ranking"]),
    ],
)
def test_what_cannot_be_compared_is_named(place, tmp_path, capsys, labelers, options, words):
    for letter in labelers:
        name = {"a": "ann", "b": "bob"}[letter]
        append_feedback(tmp_path / "feedback.jsonl", said(name, "ranking", {"ranks": [1, 2]}))
    says(capsys, 3, ["agree", "feedback.jsonl", *options], *words)
    assert len(read_feedback("feedback.jsonl")) == len(labelers)


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        (["agree", "nowhere.jsonl"], 3, ["no such file"]),
        (["agree", "prompts.jsonl"], 3, ["line 1: no key 'prompt_id'"]),
        (["server", "prompts.jsonl"], 2, ["no verb 'server', did you mean 'serve'"]),
        (["serve"], 2, ["DATA"]),
        (["serve", "nowhere.jsonl"], 3, ["no such file"]),
    ],
)
def test_words_that_are_missing_or_wrong_are_named(place, capsys, command, code, words):
    says(capsys, code, command, *words)
