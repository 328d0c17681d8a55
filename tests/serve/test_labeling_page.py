"""The labeling page in Chromium: what a labeler does, and what the file of feedback then says."""

import contextlib
import json
import re
import shutil
import subprocess
import sys

import pytest

from jaxrec.align import read_feedback
from jaxrec.serve import Labeling, LabelTask, Question

api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))),
    None,
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: no such program in PATH")

# Each would open a dialog if a page took it for markup, and the page must show it letter by letter.
HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(2)>",
    '"><svg onload=alert(3)>',
    "</script><script>alert(4)</script>",
    "javascript:alert(5) ${alert(6)} {{7*7}}",
    "& &lt;b&gt; 'single' \"double\"\n  a second line",
    "\u202eright to left, half a character: \ud800",
)


@pytest.fixture(scope="module")
def browser():
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    """A page whose dialogs, failed scripts and messages of errors fail the test."""
    page = browser.new_page()
    # Long enough for a machine with much else to do.
    page.set_default_timeout(60_000)
    api.expect.set_options(timeout=60_000)
    page.faults = []
    page.on("dialog", lambda dialog: (page.faults.append(dialog.message), dialog.dismiss()))
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on("console", lambda m: page.faults.append(m.text) if m.type == "error" else None)
    yield page
    page.close()
    assert page.faults == []


def task(count, name="p0"):
    answers = tuple(f"answer {k}" for k in range(count))
    return LabelTask(prompt_id=name, prompt=f"prompt {name}", answers=answers)


def begin(page, url, labeler="ann"):
    page.goto(url)
    page.get_by_label("Your name").fill(labeler)
    page.get_by_role("button", name="Begin").click()
    api.expect(page.locator(".answer").first).to_be_focused()


def texts(page):
    return page.locator(".text").all_inner_texts()


def visible(text):
    """Half a character is shown as the sign for what cannot be shown."""
    return text.replace("\ud800", "\ufffd")


def ranks(page):
    return page.locator("select.rank").evaluate_all("all => all.map(one => one.value)")


def saved(page, progress):
    """Press the keys that save, and wait for what comes next."""
    page.keyboard.press("Control+Enter")
    if progress:
        api.expect(page.locator("#progress")).to_have_text(progress)
    else:
        api.expect(page.get_by_text("All prompts are answered. Thank you.")).to_be_visible()


@pytest.mark.parametrize("count", [2, 9])
def test_number_keys_rank_two_to_nine_answers(page, serving, tmp_path, count):
    out = tmp_path / "feedback.jsonl"
    tasks = [task(count), task(count, "p1")]
    with serving(Labeling.open(tasks, out)) as url:
        begin(page, url)
        shown = texts(page)
        assert sorted(shown) == list(tasks[0].answers)
        # A number that no rank has does nothing; nothing is saved before all answers have a rank.
        page.keyboard.press(str(count + 1) if count < 9 else "0")
        assert ranks(page) == [""] * count
        page.keyboard.press("Control+Enter")
        api.expect(page.locator("#error")).to_have_text("Give every answer a rank.")
        assert not out.exists()
        # The answer that is shown first gets the last rank, and so on.
        for rank in range(count, 0, -1):
            page.keyboard.press(str(rank))
        assert texts(page) == shown[::-1]
        assert ranks(page) == [str(rank) for rank in range(1, count + 1)]
        saved(page, "2 of 2")
        (record,) = read_feedback(out)
        by_rank = dict(zip(record.answers, record.ranks, strict=True))
        assert by_rank == {text: count - place for place, text in enumerate(shown)}
        # Ties, with a gap that is closed: 2, 2, 3, 3, ...
        again = texts(page)
        for place in range(count):
            page.keyboard.press("1" if place < count - 1 else "2")
        page.keyboard.press("ArrowUp")
        page.keyboard.press("2")
        saved(page, "")
        tied = dict(zip(tasks[1].answers, read_feedback(out)[1].ranks, strict=True))
        expected = [1] * (count - 2) + [2, 2] if count > 2 else [1, 1]
        assert [tied[text] for text in again] == expected


def test_answers_are_ranked_by_dragging_and_by_choosing(page, serving, tmp_path):
    out, one = tmp_path / "feedback.jsonl", task(4)
    with serving(Labeling.open([one], out)) as url:
        begin(page, url)
        a, b, c, d = texts(page)
        page.get_by_text(d).drag_to(page.get_by_text(b))
        assert texts(page) == [a, d, b, c] and ranks(page) == ["1", "2", "3", "4"]
        page.get_by_text(a).drag_to(page.get_by_text(c))
        assert texts(page) == [d, b, c, a] and ranks(page) == ["1", "2", "3", "4"]
        # A chosen rank moves its answer, and dragging goes on from what is shown.
        page.locator(".answer", has_text=a).locator("select").select_option("1")
        assert texts(page) == [d, a, b, c] and ranks(page) == ["1", "1", "2", "3"]
        page.get_by_role("button", name="Save").click()
        api.expect(page.locator("#finished")).to_be_visible()
    by_rank = dict(zip(one.answers, read_feedback(out)[0].ranks, strict=True))
    assert by_rank == {d: 1, a: 1, b: 2, c: 3}


def test_what_is_dragged_from_elsewhere_changes_nothing(page, serving, tmp_path):
    tasks = [task(3), task(3, "p1")]
    with serving(Labeling.open(tasks, tmp_path / "feedback.jsonl")) as url:
        begin(page, url)
        page.locator(".answer").nth(2).drag_to(page.locator(".answer").nth(0))
        saved(page, "2 of 2")
        shown = texts(page)
        page.locator(".answer").nth(0).dispatch_event("drop")
        page.locator("#prompt").select_text()
        page.locator("#prompt").drag_to(page.locator(".answer").nth(1))
        assert texts(page) == shown and ranks(page) == ["", "", ""]


def test_the_best_answer_is_chosen_by_its_number_or_by_a_click(page, serving, tmp_path):
    out, tasks = tmp_path / "feedback.jsonl", [task(4), task(4, "p1")]
    with serving(Labeling.open(tasks, out, compare="best")) as url:
        begin(page, url)
        first = texts(page)
        page.keyboard.press("Control+Enter")
        api.expect(page.locator("#error")).to_have_text("Choose the best answer.")
        page.keyboard.press("3")
        saved(page, "2 of 2")
        second = texts(page)
        page.get_by_label("2 is best").click()
        saved(page, "")
    records = read_feedback(out)
    assert [record.kind for record in records] == ["best", "best"]
    assert [r.answers[r.payload["best"]] for r in records] == [first[2], second[1]]


def test_texts_are_shown_letter_by_letter(page, serving, tmp_path):
    out = tmp_path / "feedback.jsonl"
    evil = LabelTask(prompt_id=HOSTILE[0], prompt=HOSTILE[1], answers=HOSTILE)
    questions = [Question(HOSTILE[2], 0), Question("__proto__", 3)]
    with serving(Labeling.open([evil], out, compare="nothing", questions=questions)) as url:
        begin(page, url, labeler=HOSTILE[0])
        assert page.locator("#prompt").text_content() == HOSTILE[1]
        shown = [visible(text) for text in page.locator(".text").all_text_contents()]
        assert sorted(shown) == sorted(map(visible, HOSTILE))
        assert page.locator("legend").first.text_content() == HOSTILE[2]
        assert page.locator("#task img, #task svg, #task script, #task b, #task a").count() == 0
        page.get_by_label("yes").first.check()
        page.keyboard.press("Control+Enter")
        api.expect(page.locator("#error")).to_have_text(f"Answer “{HOSTILE[2]}” for every answer.")
        for place in range(len(HOSTILE)):
            card = page.locator(".answer").nth(place)
            card.get_by_label("no" if place % 2 else "yes").check()
            card.get_by_label(str(place % 3 + 1), exact=True).check()
        saved(page, "")
    (record,) = read_feedback(out)
    assert record.labeler == HOSTILE[0] and record.answers == HOSTILE
    scores = record.payload["scores"]
    for name, values in ((HOSTILE[2], [True, False]), ("__proto__", [1, 2, 3])):
        given = dict(zip(map(visible, record.answers), scores[name], strict=True))
        assert [given[text] for text in shown] == [
            values[k % len(values)] for k in range(len(shown))
        ]


@contextlib.contextmanager
def served(data, out, port):
    """`jaxrec feedback serve` as a process of its own; yields it and its address."""
    command = [sys.executable, "-m", "jaxrec.cli.main", "feedback", "serve", str(data)]
    command += ["--out", str(out), "--port", str(port), "--questions", "helpful", "harmless?"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            address = next(
                found for line in process.stdout if (found := re.search("http\\S+", line))
            )
            yield process, address.group()
        finally:
            process.kill()


def test_a_killed_server_goes_on_where_it_was(page, tmp_path):
    data, out = tmp_path / "prompts.jsonl", tmp_path / "feedback.jsonl"
    rows = [{"prompt": f"prompt {n}", "answers": ["x", "y"]} for n in range(3)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def answer(helpful):
        for key in "12":
            page.keyboard.press(key)
        for card in page.locator(".answer").all():
            card.get_by_label(helpful, exact=True).check()
            card.get_by_label("yes").check()

    with served(data, out, 0) as (process, url):
        begin(page, url)
        answer("4")
        saved(page, "2 of 3")
        assert [record.prompt_id for record in read_feedback(out)] == ["1", "1"]
        answer("5")
        process.kill()
        process.wait()
        page.keyboard.press("Control+Enter")
        api.expect(page.locator("#error")).to_contain_text("The server does not answer.")
        assert all("ERR_CONNECTION_REFUSED" in fault for fault in page.faults)
        page.faults.clear()
    with out.open("a") as file:
        file.write('{"prompt_id": "2", "prom')
    with served(data, out, url.rstrip("/").rpartition(":")[2]):
        # What was chosen before is still on the page.
        saved(page, "3 of 3")
        api.expect(page.locator("#error")).to_be_empty()
        begin(page, url)
        api.expect(page.locator("#prompt")).to_have_text("prompt 2")
        answer("1")
        saved(page, "")
    records = read_feedback(out)
    assert [r.kind for r in records] == ["ranking", "questions"] * 3
    assert [r.prompt_id for r in records] == list("112233")
    assert [r.payload["scores"]["helpful"] for r in records[1::2]] == [[4, 4], [5, 5], [1, 1]]
    assert all(r.payload["scores"]["harmless"] == [True, True] for r in records[1::2])
