"""What a labeling page asks and stores, and how it answers over HTTP."""

import json
import time
import urllib.error
import urllib.request

import pytest

from jaxrec.align import read_feedback
from jaxrec.core import ConfigError, DataError
from jaxrec.serve import Labeling, Question, read_tasks

# Markup, a line break, quotes, and half a character.
EVIL = "<script>alert(1)</script>\n& \"quoted\" 'text' \ud800"
QUESTIONS = (Question("helpful", 5), Question("harmless", 0))


def write_tasks(path, count=2):
    rows = [
        {
            "prompt_id": f"p{n}",
            "prompt": f"{EVIL} {n}",
            "answers": [f"{EVIL} {k}" for k in range(4)],
        }
        for n in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_tasks(path)


def call(url, said=None, kind="application/json", host=None):
    """Return the status and what was replied."""
    body = None if said is None else said if isinstance(said, bytes) else json.dumps(said).encode()
    headers = {} if said is None else {"Content-Type": kind}
    headers |= {} if host is None else {"Host": host}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers)) as reply:
            return reply.status, reply.read().decode(), reply.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(), error.headers


def test_answers_are_saved_at_once_and_a_restart_goes_on(tmp_path, serving):
    tasks, out = write_tasks(tmp_path / "prompts.jsonl"), tmp_path / "feedback.jsonl"
    open_study = lambda: Labeling.open(tasks, out, questions=QUESTIONS, labelers=("ann", "bob"))  # noqa: E731
    with serving(open_study()) as url:
        status, page, headers = call(url)
        assert status == 200 and "default-src 'none'" in headers["Content-Security-Policy"]
        # Everything is in one file, and no text is ever read as markup.
        assert "innerHTML" not in page and "src=" not in page and "http" not in page.lower()
        status, shown, _ = call(f"{url}/api/next?labeler=ann")
        shown = json.loads(shown)
        assert status == 200 and shown["prompt"] == f"{EVIL} 0"
        assert sorted(shown["answers"]) == list(tasks[0].answers)
        assert shown["done"] == 0 and shown["total"] == 2
        # The answers are ranked by their number, whatever the order in which they are shown.
        numbers = [int(answer[-1]) for answer in shown["answers"]]
        said = {
            "labeler": "ann",
            "prompt_id": "p0",
            "ranks": [number + 1 for number in numbers],
            "scores": {
                "helpful": [number + 2 for number in numbers],
                "harmless": [number == 2 for number in numbers],
            },
        }
        bad = [
            ({"labeler": "eve"}, "unknown labeler 'eve'"),
            ({"prompt_id": "p9"}, "no prompt 'p9' in this study"),
            ({"ranks": [1, 2, 3]}, "each of 4 answers"),
            ({"ranks": [1, 2, 3, 5]}, "are not the ranks of 4 answers"),
            ({"scores": {"helpful": [1, 2, 3, 4]}}, "must have the questions helpful, harmless"),
            ({"scores": said["scores"] | {"helpful": [1, 2, 3, 6]}}, "helpful: give 1 to 5, got 6"),
            ({"scores": said["scores"] | {"harmless": [1, 0, 1, 0]}}, "harmless: answer yes or no"),
        ]
        for changed, message in bad:
            status, error, _ = call(f"{url}/api/answer", said | changed)
            assert status == 400 and message in json.loads(error)["error"]
        assert call(f"{url}/api/answer", b"{")[0] == 400
        assert call(f"{url}/api/answer", b"[" * 100_000)[0] == 400
        assert call(f"{url}/api/answer", b" " * (1 << 20) + b"{}")[0] == 413
        assert call(f"{url}/api/answer", said, kind="text/plain")[0] == 415
        assert call(f"{url}/api/next?labeler=ann", host="elsewhere.example")[0] == 400
        assert call(f"{url}/docs")[0] == 404
        assert not out.exists()
        status, reply, _ = call(f"{url}/api/answer", said)
        assert status == 200 and json.loads(reply) == {"saved": True}
        ranks, scores = read_feedback(out)
        assert ranks.answers == scores.answers == tasks[0].answers
        assert ranks.ranks == (1, 2, 3, 4) and ranks.labeler == "ann"
        assert abs(ranks.time - time.time()) < 60
        assert scores.payload["scores"] == {
            "helpful": [2, 3, 4, 5],
            "harmless": [False, False, True, False],
        }
        status, error, _ = call(f"{url}/api/answer", said)
        assert status == 400 and "has answered the prompt 'p0' before" in error
        assert json.loads(call(f"{url}/api/next?labeler=ann")[1])["prompt_id"] == "p1"
    # A killed writer leaves half a line; nobody was told that it is saved.
    with out.open("a") as file:
        file.write('{"prompt_id": "p1", "prom')
    study = open_study()
    assert study.next_task("ann")["prompt_id"] == "p1"
    assert study.next_task("bob")["prompt_id"] == "p0"
    assert len(read_feedback(out)) == 2
    study.save(said | {"prompt_id": "p1"})
    assert "prompt" not in study.next_task("ann") and study.next_task("ann")["done"] == 2


def test_a_record_that_lacks_its_second_half_is_asked_again(tmp_path):
    tasks, out = write_tasks(tmp_path / "prompts.jsonl"), tmp_path / "feedback.jsonl"
    Labeling.open(tasks, out).save({"labeler": "ann", "prompt_id": "p0", "ranks": [1, 2, 2, 3]})
    assert "prompt_id" in Labeling.open(tasks, out, questions=QUESTIONS).next_task("ann")
    assert Labeling.open(tasks, out, questions=QUESTIONS).next_task("ann")["done"] == 0
    assert Labeling.open(tasks, out).next_task("ann")["done"] == 1


def test_the_best_answer_is_that_in_the_shown_place(tmp_path):
    tasks, out = write_tasks(tmp_path / "prompts.jsonl", 6), tmp_path / "feedback.jsonl"
    study = Labeling.open(tasks, out, compare="best")
    said = {"labeler": "ann", "prompt_id": "p0"}
    for bad in ({}, {"best": -1}, {"best": 4}, {"best": True}, {"best": 1.0}, {"best": [0]}):
        with pytest.raises(DataError, match="'best' must be a place from 0 to 3, got"):
            study.save(said | bad)
    chosen = []
    for number in range(6):
        shown = study.next_task("ann")
        assert shown["compare"] == "best" and shown["prompt_id"] == f"p{number}"
        chosen.append(shown["answers"][number % 4])
        study.save(said | {"prompt_id": f"p{number}", "best": number % 4})
    records = read_feedback(out)
    assert [record.kind for record in records] == ["best"] * 6
    assert [record.answers[record.payload["best"]] for record in records] == chosen
    # Best answers are no rankings: a study of rankings asks again.
    assert Labeling.open(tasks, out).next_task("ann")["done"] == 0


def test_orders_differ_between_labelers_and_not_between_restarts(tmp_path):
    tasks, out = write_tasks(tmp_path / "prompts.jsonl"), tmp_path / "feedback.jsonl"
    shown = {n: Labeling.open(tasks, out).next_task(f"labeler {n}")["answers"] for n in range(20)}
    assert len({tuple(answers) for answers in shown.values()}) > 5
    assert all(
        Labeling.open(tasks, out).next_task(f"labeler {n}")["answers"] == answers
        for n, answers in shown.items()
    )


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "Hi", "answers": ["a"]}, "line 1: 'answers' must be 2 to 9 texts, got 1"),
        ({"prompt": "Hi", "answers": list("0123456789")}, "must be 2 to 9 texts, got 10"),
        ({"prompt": "Hi", "answers": "ab"}, "'answers' must be a list of texts, got 'ab'"),
        ({"prompt": "Hi", "answers": ["a", " "]}, "answer 2 must be a text, got ' '"),
        ({"prompt": "Hi", "answers": ["a", 7]}, "answer 2 must be a text, got 7"),
        ({"prompt": "Hi", "answers": ["a", "b", "a"]}, "answers 1 and 3 are equal: 'a'"),
        ({"prompt": "Hi", "answers": ["a", "a\n"]}, "answers 1 and 2 are equal: 'a"),
        ({"prompt": " ", "answers": ["a", "b"]}, "'prompt' must be a text, got ' '"),
        ({"answers": ["a", "b"]}, "no key 'prompt'; a prompt has the keys"),
        ({"prompt": "Hi"}, "no key 'answers'; a prompt has the keys"),
        ({"promt": "Hi", "answers": ["a", "b"]}, "unknown key 'promt', did you mean 'prompt'"),
        (
            {"prompt": "Hi", "answers": ["a", "b"], "id": "7"},
            "unknown key 'id'; a prompt has the keys",
        ),
        ({"prompt_id": 7, "prompt": "Hi", "answers": ["a", "b"]}, "'prompt_id' must be a text"),
    ],
)
def test_prompts_that_cannot_be_shown_are_named(tmp_path, row, message):
    path = tmp_path / "prompts.jsonl"
    path.write_text(json.dumps(row) + "\n")
    with pytest.raises(DataError, match=message):
        read_tasks(path)


def test_a_study_with_other_answers_or_nothing_to_ask_is_an_error(tmp_path):
    tasks, out = write_tasks(tmp_path / "prompts.jsonl"), tmp_path / "feedback.jsonl"
    Labeling.open(tasks, out).save({"labeler": "ann", "prompt_id": "p0", "ranks": [1, 2, 2, 3]})
    with pytest.raises(
        DataError, match="feedback on the prompt 'p0', which is missing in the data"
    ):
        Labeling.open(tasks[1:], out)
    with pytest.raises(DataError, match="line 1: unknown labeler 'ann'"):
        Labeling.open(tasks, out, labelers=("bob",))
    with pytest.raises(DataError, match="this is a directory; give a regular file"):
        Labeling.open(tasks, tmp_path)
    with pytest.raises(ConfigError, match="nothing is asked"):
        Labeling.open(tasks, out, compare="nothing")
    with pytest.raises(ConfigError, match="'kind' stands twice"):
        Labeling.open(tasks, out, questions=[Question("kind", 0)] * 2)


def test_a_port_in_use_is_named():
    from jaxrec.serve.labeling_app import listen

    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(ConfigError, match=f"--port {port}: .*choose another port"):
            listen("127.0.0.1", port)
    with pytest.raises(ConfigError, match=r"cannot listen at --host 192\.0\.2\.1"):
        listen("192.0.2.1", 0)
