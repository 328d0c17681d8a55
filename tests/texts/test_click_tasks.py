"""TALLRec's question: its words, which never change, and its answers, which are numbers."""

import dataclasses
import gzip
import hashlib
import json

import numpy as np
import pytest

from jaxrec.core import ConfigError
from jaxrec.data import Interactions, click_windows, load, published_split, random_parts
from jaxrec.eval import pooled_auc, within_user_auc
from jaxrec.testing import tiny_interactions
from jaxrec.texts import (
    CLICK,
    PUBLISHED,
    SWAPPED,
    AnswerOptions,
    ClickData,
    ask,
    click_prompts,
    quoted,
    training_stream,
)

DIGESTS = {
    "whole": "ce38c0c32497d44d",
    "swapped book": "f1d7137276322c75",
    "parts": "1f80c0aea8531bb2",
    "none": "44d06380f4f1d6b9",
}


def few():
    """Two users, the second of whom stands first in the file."""
    return Interactions.from_columns(
        ["b", "b", "a", "a", "b", "a"],
        ["x", "y", "x", "z", "z", "y"],
        time=np.array([2, 1, 5, 6, 3, 7]),
        rating=np.array([4, 3, 5, 1, 5, 2], np.float32),
    )


def test_prompts_of_the_same_windows_never_change():
    data = tiny_interactions()
    titles, windows = data.items.labels(), click_windows(data, history=3)
    parts = random_parts(len(windows), 3, np.random.default_rng(0))
    prompts = {
        "whole": click_prompts(windows, titles),
        "swapped book": click_prompts(windows, titles, kind="book", template=SWAPPED),
        "parts": click_prompts(windows, titles, kept=parts),
        "none": click_prompts(windows, titles, kept=np.zeros_like(windows.liked)),
    }
    for name, records in prompts.items():
        text = json.dumps([[r.instruction, r.input, r.output] for r in records])
        assert hashlib.sha256(text.encode()).hexdigest()[:16] == DIGESTS[name], name


def test_a_prompt_lists_what_was_liked_and_what_was_not():
    data = few()
    (first, _) = click_prompts(click_windows(data, history=2), data.items.labels(), kind="book")
    assert first.input == (
        'User Preference: "x"\nUser Unpreference: "y"\n'
        'Whether the user will like the target book "z"?'
    )
    assert first.output == "Yes."
    assert 'target book by answering "Yes." or "No.".' in first.instruction
    swapped, _ = click_prompts(
        click_windows(data, history=2), data.items.labels(), template=SWAPPED
    )
    assert swapped.instruction.endswith('by answering "No." or "Yes.".')


def test_a_prompt_of_a_part_names_that_part_alone():
    windows = click_windows(few(), history=2)
    titles = few().items.labels()
    whole = click_prompts(windows, titles)[0]
    kept = np.zeros((len(windows), 2), bool)
    none = click_prompts(windows, titles, kept=kept)[0]
    assert "User Preference: \nUser Unpreference: \n" in none.input
    assert (none.output, none.input[-25:]) == (whole.output, whole.input[-25:])
    assert click_prompts(windows, titles, kept=~kept)[0] == whole


def test_the_published_movie_files_are_rebuilt(real_data):
    """All but a suffix such as "(V)" of five titles, which our item table does not keep."""
    data = load("ml-100k", from_file=real_data("ml-100k"))
    train, valid, test = published_split(click_windows(data))
    titles = data.items.labels()
    for part, name in ((train, "train"), (valid, "valid")):
        with gzip.open(real_data("tallrec-movie") / f"{name}.json.gz") as file:
            theirs = json.load(file)
        ours = click_prompts(part, titles)
        assert len(ours) == len(theirs)
        assert [o.output for o in ours] == [t["output"] for t in theirs]
        assert all(o.instruction == t["instruction"] for o, t in zip(ours, theirs, strict=True))
        same = [o.input == t["input"] for o, t in zip(ours, theirs, strict=True)]
        assert np.mean(same) > 0.995
        assert all(
            o.input == t["input"].replace(" (V)", "") for o, t in zip(ours, theirs, strict=True)
        )
    # Published of the test file: 16 users and a share of likes of .528.
    assert len(np.unique(test.user)) == 16
    assert test.label.mean() == 0.528


def test_titles_that_two_items_share_change_no_label_and_no_score():
    data = tiny_interactions()
    windows = click_windows(data, history=3)
    titles = data.items.labels()
    shared = [titles[0] if item == 1 else title for item, title in enumerate(titles)]
    scores = np.random.default_rng(0).normal(size=len(windows))
    measured = []
    for names in (titles, shared):
        clicks = ClickData(windows={"test": windows}, names=quoted(names))
        examples = CLICK.source.held_out(clicks, "test", CLICK.source.units(clicks, "test"))
        questions = ask(CLICK, CLICK.template(PUBLISHED), clicks, examples)
        assert [datum.asked for datum in questions.data] == windows.target.tolist()
        assert (questions.answers == 0).tolist() == windows.label.tolist()
        measured.append(CLICK.metric.measure(scores, questions, AnswerOptions()))
    assert measured[0] == measured[1]
    auc = pooled_auc(windows.label, scores)
    within = within_user_auc(windows.label, scores, windows.user)
    assert measured[0] == {"mean_auc": (auc + within) / 2, "auc": auc, "within_user_auc": within}


def test_the_training_stream_asks_about_every_training_window_once():
    data = few()
    windows = click_windows(data, history=2)
    clicks = ClickData(windows={"train": windows}, names=quoted(data.items.labels()), kind="book")
    stream = training_stream(CLICK, clicks)
    records = click_prompts(windows, data.items.labels(), kind="book")
    assert sorted(stream.example(0, place) for place in range(2)) == sorted(
        (record.input, record.output) for record in records
    )


def test_unknown_templates_and_templates_that_tell_the_answer_are_refused():
    with pytest.raises(ConfigError, match=r"task 'click' has no template 'no-yse'.*'no-yes'"):
        CLICK.template("no-yse")
    tells = dataclasses.replace(CLICK.templates[0], source="{answer} or not ?")
    with pytest.raises(ConfigError, match=r"'yes-no' of task 'click' shows \{answer\}"):
        dataclasses.replace(CLICK, templates=(tells,))
