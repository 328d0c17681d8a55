"""Symbolic questions against the published ones, and models that do and do not follow the steps."""

import json
import re

import pytest

from jaxrec.capacity import TASKS, StudyOptions, read_documents, run_task
from jaxrec.core import DataError
from jaxrec.prompting import ScriptedModel

FILES = {"last_letters": "last_letters.json", "coin_flip": "coin_flip.json"}
STUDY = StudyOptions(limit=60, resamples=10)


def solve(question):
    """Solve a question from its words alone."""
    if "coin" in question:
        flips = len(re.findall(r"\w+ flips the coin", question))
        return "no" if flips % 2 else "yes"
    return "".join(name[-1].lower() for name in re.search('"(.+)"', question)[1].split())


def run(name, root, answer):
    model = ScriptedModel(lambda prompt, _: answer(prompt.rpartition("Q: ")[2]))
    return run_task(model, TASKS[name], root, STUDY), model


@pytest.mark.parametrize("name", list(FILES))
def test_questions_of_the_published_length_are_the_published_ones(name, real_data):
    root = real_data("last-letters").parent
    asked = read_documents(TASKS[name].source, root, shots=4).asked
    published = json.loads((root / "last-letters" / FILES[name]).read_text())["examples"]
    answers = {row["question"].strip(): row["answer"] for row in published}
    # A name that occurs twice in a question is replaced.
    same = [d for d in asked if d["length"] == 4 and d["question"] in answers]
    assert len(same) > 100
    assert all(answers[d["question"]] == d["answer"] for d in same)


@pytest.mark.parametrize("name", list(FILES))
def test_answers_of_all_lengths_follow_from_the_question(name, real_data):
    asked = read_documents(TASKS[name].source, real_data("last-letters").parent, shots=4).asked
    assert {d["length"] for d in asked} == {2, 3, 4, 6}
    assert all(solve(d["question"]) == d["answer"] for d in asked)
    assert len({d["question"] for d in asked}) == len(asked)


@pytest.mark.parametrize("name", list(FILES))
def test_one_who_follows_all_steps_is_right_at_every_length(name, real_data):
    root = real_data("last-letters").parent
    result, _ = run(name, root, lambda q: f" steps. The answer is {solve(q)}.\n\nQ: more")
    assert {e["accuracy"].value for e in result.groups["length"].values()} == {1.0}
    assert result.estimates["unparsed"].value == 0.0


def test_one_who_knows_two_steps_alone_fails_at_longer_ones(real_data):
    root = real_data("last-letters").parent
    result, _ = run("last_letters", root, lambda q: f" The answer is {solve(q)[:2]}.")
    by_length = {n: e["accuracy"].value for n, e in result.groups["length"].items()}
    assert by_length == {"2": 1.0, "3": 0.0, "4": 0.0, "6": 0.0}


def test_a_constant_answer_is_right_as_often_as_it_is_the_answer(real_data):
    root = real_data("last-letters").parent
    asked = read_documents(TASKS["coin_flip"].source, root, limit=60, shots=4).asked
    result, _ = run("coin_flip", root, lambda q: " The answer is yes.")
    share = sum(d["answer"] == "yes" for d in asked) / len(asked)
    assert result.estimates["accuracy"].value == share
    assert 0.3 < share < 0.7


def test_demonstrations_have_two_names_and_their_steps(real_data):
    _, model = run("last_letters", real_data("last-letters").parent, lambda q: "none")
    shown = model.calls[0].prompt.split("\n\n")[:-1]
    assert len(shown) == 4
    for text in shown:
        assert text.count("The last letter of") == 2
        assert text.endswith(f"The answer is {solve(text.split('A:')[0])}.")


def test_a_text_without_answer_is_unparsed(real_data):
    result, _ = run("coin_flip", real_data("last-letters").parent, lambda q: " I wonder.")
    assert (result.estimates["accuracy"].value, result.estimates["unparsed"].value) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"examples": [{"question": "Who?", "answer": "x"}] * 9}, "9 questions hold 0 names"),
        ({"quest": "Who?"}, "none of 1 documents has the field question; .* first: quest;"),
        ({"examples": [{"q": "Who?"}] * 2}, "none of 2 documents has the field question; .*: q;"),
        ({"examples": {"1": "Who?"}}, "examples must be a list of objects"),
        ([{"examples": ["Who?"]}], "examples must be a list of objects"),
        ([["Who?"]], "record 0 is list, not an object"),
    ],
)
@pytest.mark.parametrize("name", list(FILES))
def test_a_file_of_other_questions_is_rejected_by_its_name(name, content, message, tmp_path):
    path = tmp_path / "last-letters" / FILES[name]
    path.parent.mkdir()
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=rf"{path.parent.name}/{path.name}:.*({message})"):
        read_documents(TASKS[name].source, tmp_path)
