"""Stored answers: repeated, resumed, shared among processes, damaged, recorded and replayed."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from jaxrec.core import ConfigError, DataError, ResourceError
from jaxrec.prompting import (
    GenerateOptions,
    ReplayedModel,
    Reply,
    Score,
    ScriptedModel,
    StoredModel,
    TextScore,
    Usage,
)

OPTIONS = GenerateOptions(max_tokens=9)


def scripted(**more):
    return ScriptedModel(
        lambda prompt, sample: f"{prompt} {sample} {len(prompt)}",
        logprob=lambda prompt, continuation: -len(prompt) - 0.1 * len(continuation),
        **more,
    )


def _line(kind, answer):
    row = {"model": "scripted", "kind": kind, "asked": {}, "answer": answer}
    return json.dumps(row).encode()


def _generated(**change):
    """A line of a generated answer, with something else in one place."""
    return _line("generate", {"texts": ["a"], "truncated": [False], "usage": {}} | change)


def study(model):
    """Everything that a model can be asked, and the answers without their costs."""
    sampled = GenerateOptions(max_tokens=9, n=2, temperature=0.5)
    answers = [
        [reply.texts for reply in model.generate(["a", "b c", "a"], OPTIONS)],
        [reply.texts for reply in model.generate(["a"], sampled)],
        [[s.logprob for s in row] for row in model.score(["a", "b"], [["x", "y z"], ["x"]])],
        [text.logprobs for text in model.score_text(["one two", ""])],
        model.count_tokens(["one two", "a"]),
    ]
    return answers, model.name, model.context


def test_a_repeated_study_asks_nothing_and_gets_the_same(tmp_path):
    script, path = scripted(context=50), tmp_path / "deep" / "answers.jsonl"
    first = study(StoredModel(script, path))
    assert first == study(scripted(context=50))
    asked = len(script.calls)
    # Three prompts of which two are equal, one more with other options, two rows, two texts.
    assert asked == 2 + 1 + 2 + 2
    stored = StoredModel(script, path)
    assert study(stored) == first and len(script.calls) == asked
    usage = stored.generate(["b c"], OPTIONS)[0].usage
    assert usage == Usage(calls=1, prompt_tokens=2, shared_tokens=2)


def test_answers_belong_to_model_options_and_prompt(tmp_path):
    script, path = scripted(), tmp_path / "answers.jsonl"
    StoredModel(script, path).generate(["a"], OPTIONS)
    StoredModel(script, path).generate(["a"], GenerateOptions(max_tokens=8))
    StoredModel(script, path).generate(["a "], OPTIONS)
    assert len(script.calls) == 3
    other = scripted(name="other")
    StoredModel(other, path).generate(["a"], OPTIONS)
    assert len(other.calls) == 1


def test_a_recording_is_replayed_with_its_costs_and_without_a_model(tmp_path):
    path = tmp_path / "answers.jsonl"
    recorded = study(StoredModel(scripted(context=50), path))
    replayed = ReplayedModel(path)
    assert study(replayed) == recorded
    assert replayed.generate(["b c"], OPTIONS) == scripted().generate(["b c"], OPTIONS)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda model: model.generate(["new"], OPTIONS), "'generate': it ends with 'new'.*'max_to"),
        (lambda model: model.generate(["a"], GenerateOptions(seed=1)), "options are {'seed': 1}"),
        (lambda model: model.score(["a"], [["new"]]), "'score': it ends with 'anew'"),
        (lambda model: model.score_text(["new"]), "'score_text': it ends with 'new'"),
        (lambda model: model.count_tokens(["new"]), "'count': it ends with 'new'"),
    ],
)
def test_a_question_that_was_not_recorded_is_an_error_that_shows_it(tmp_path, ask, message):
    path = tmp_path / "answers.jsonl"
    study(StoredModel(scripted(), path))
    with pytest.raises(DataError, match=message):
        ask(ReplayedModel(path))


def test_a_recording_of_several_models_needs_a_name(tmp_path):
    path = tmp_path / "answers.jsonl"
    for name in ("one", "two"):
        study(StoredModel(scripted(name=name), path))
    with pytest.raises(ConfigError, match="has the models one, two; name one of them"):
        ReplayedModel(path)
    with pytest.raises(ConfigError, match="there is none of 'three'"):
        ReplayedModel(path, "three")
    assert ReplayedModel(path, "two").name == "two"
    with pytest.raises(DataError, match="no recording"):
        ReplayedModel(tmp_path / "nothing.jsonl")


class Flaky:
    """A model whose answers fail at first."""

    name, context = "flaky", None

    def __init__(self):
        self.asked = 0

    def generate(self, prompts, options):
        self.asked += len(prompts)
        failure = "it is no JSON object" if self.asked <= 2 else None
        return [Reply(texts=("",) if failure else ("fine",), failure=failure) for _ in prompts]


def test_a_failure_is_recorded_but_asked_again(tmp_path):
    model, path = Flaky(), tmp_path / "answers.jsonl"
    stored = StoredModel(model, path)
    assert [reply.failure for reply in stored.generate(["a", "b"], OPTIONS)] == [
        "it is no JSON object"
    ] * 2
    assert ReplayedModel(path).generate(["a"], OPTIONS)[0].failure == "it is no JSON object"
    assert stored.generate(["a"], OPTIONS)[0].text == "fine"
    assert StoredModel(model, path).generate(["a"], OPTIONS)[0].text == "fine"
    assert model.asked == 3
    assert ReplayedModel(path).generate(["a"], OPTIONS)[0].text == "fine"


def test_an_incomplete_line_is_asked_again_and_harms_nothing_else(tmp_path):
    script, path = scripted(), tmp_path / "answers.jsonl"
    first = study(StoredModel(script, path))
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    for cut in (1, len(lines[-1]) // 2, len(lines[-1]) + 3):
        path.write_bytes(whole[:-cut])
        assert study(StoredModel(script, path)) == first
        # What is written after the incomplete line is found again.
        asked = len(script.calls)
        assert study(StoredModel(script, path)) == first
        assert len(script.calls) == asked
        # Every line is whole again.
        assert all(map(json.loads, path.read_text().splitlines()))


def test_a_file_with_a_part_of_its_first_line_is_begun_again(tmp_path):
    path = tmp_path / "answers.jsonl"
    first = study(StoredModel(scripted(), path))
    whole = path.read_bytes()
    path.write_bytes(whole[:20])
    assert study(StoredModel(scripted(), path)) == first
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "damage",
    [
        b"{}",
        b"[1]",
        b"",
        b"\xff",
        b'{"kind": "score", "model": "scripted", "asked": 3}',
        b'{"model": "scripted", "kind": "count", "asked": {}, "answer": "x"}',
        b'{"model": "scripted", "kind": "counts", "asked": {}, "answer": 5}',
        _generated(texts=[5]),
        _generated(texts=[]),
        _generated(texts=["a", "b"]),
        _generated(usage={"calls": "one"}),
        _line(kind="score", answer={"logprob": "x", "usage": {}}),
        _line(kind="score_text", answer={"logprobs": [""], "usage": {}}),
    ],
)
def test_a_damaged_line_before_the_last_one_is_an_error_with_its_number(tmp_path, damage):
    path = tmp_path / "answers.jsonl"
    first = study(StoredModel(scripted(), path))
    lines = path.read_bytes().split(b"\n")
    lines.insert(4, damage)
    path.write_bytes(b"\n".join(lines))
    for read in (lambda: StoredModel(scripted(), path), lambda: ReplayedModel(path)):
        with pytest.raises(DataError, match=r"answers\.jsonl: line 5 is damaged .* remove this"):
            read()
    del lines[4]
    path.write_bytes(b"\n".join(lines))
    assert study(ReplayedModel(path)) == first


def test_a_line_that_is_damaged_during_a_study_has_its_number_too(tmp_path):
    path = tmp_path / "answers.jsonl"
    stored = StoredModel(scripted(), path)
    stored.generate(["a", "b"], OPTIONS)
    with path.open("ab") as file:
        file.write(b"{}\n")
    with pytest.raises(DataError, match="line 5 is damaged"):
        stored.generate(["c"], OPTIONS)


@pytest.mark.parametrize("text", ["user,item\n1,2\n", '{"format": "other"}\n', "no end"])
def test_another_file_is_not_touched(tmp_path, text):
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(DataError, match="is no file of answers"):
        StoredModel(scripted(), path)
    assert path.read_text() == text


def test_a_file_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="cannot"):
        StoredModel(scripted(), tmp_path / "file" / "answers.jsonl")


def test_numbers_and_half_characters_survive_exactly(tmp_path):
    path, text = tmp_path / "answers.jsonl", "\ud800 \u2028 é"
    values = (-1 / 3, float("-inf"), -1e-300)

    class Exact:
        name, context = "exact", None

        def score_text(self, texts):
            return [TextScore(logprobs=values, usage=Usage(cost=0.1))]

        def score(self, prompts, continuations):
            return [(Score(logprob=-1 / 7, tokens=2, greedy=True),)]

    for read in (lambda: StoredModel(Exact(), path), lambda: ReplayedModel(path)):
        model = read()
        assert model.score_text([text])[0].logprobs == values
        assert model.score([text], [["\udfff"]])[0][0].logprob == -1 / 7
    assert ReplayedModel(path).score_text([text])[0].usage.cost == 0.1


CHILD = """
import sys, time
from jaxrec.prompting import GenerateOptions, ScriptedModel, StoredModel
path, mark, pause = sys.argv[1:]
def answer(prompt, sample):
    time.sleep(float(pause))
    return f"{prompt} of {mark}"
model = StoredModel(ScriptedModel(answer), path, chunk=1)
print("ready", flush=True)
options = GenerateOptions()
print([reply.text for reply in model.generate([f"q{n}" for n in range(40)], options)])
"""


def child(path, mark, pause):
    words = [sys.executable, "-c", CHILD, str(path), mark, str(pause)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def test_a_killed_study_goes_on_where_it_stopped(tmp_path):
    path = tmp_path / "answers.jsonl"
    killed = child(path, "one", 0.05)
    assert killed.stdout.readline() == "ready\n"
    while path.stat().st_size < 1500:
        time.sleep(0.01)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    script = ScriptedModel(lambda prompt, _: f"{prompt} of one")
    prompts = [f"q{n}" for n in range(40)]
    made = StoredModel(script, path).generate(prompts, GenerateOptions())
    assert [reply.text for reply in made] == [f"q{n} of one" for n in range(40)]
    assert 0 < len(script.calls) < 39


def test_two_processes_end_with_the_same_answers(tmp_path):
    path = tmp_path / "answers.jsonl"
    both = [child(path, mark, 0.005) for mark in ("one", "two")]
    outputs = [process.communicate()[0].splitlines()[1] for process in both]
    assert all(process.returncode == 0 for process in both)
    rows = [json.loads(line) for line in path.read_text().splitlines()[1:]]
    prompts = [row["asked"]["prompt"] for row in rows if row["kind"] == "generate"]
    assert sorted(prompts) == sorted(f"q{n}" for n in range(40))
    stored = ReplayedModel(path).generate([f"q{n}" for n in range(40)], GenerateOptions())
    assert outputs == [str([reply.text for reply in stored])] * 2


def test_wrong_questions_are_errors(tmp_path):
    stored = StoredModel(scripted(), tmp_path / "answers.jsonl")
    for model in (stored, ReplayedModel(tmp_path / "answers.jsonl")):
        with pytest.raises(ConfigError, match="got one text"):
            model.generate("a", OPTIONS)
        with pytest.raises(ConfigError, match="1 prompts need 1 rows"):
            model.score(["a"], [])
    with pytest.raises(ConfigError, match="chunk must be a whole number of at least 1"):
        StoredModel(scripted(), tmp_path / "answers.jsonl", chunk=0)


def test_a_model_that_leaves_out_answers_is_named(tmp_path):
    class Silent(ScriptedModel):
        def generate(self, prompts, options):
            return []

    with pytest.raises(DataError, match="the model scripted gave 0 answers to 1 questions"):
        StoredModel(Silent(), tmp_path / "answers.jsonl").generate(["a"], OPTIONS)
