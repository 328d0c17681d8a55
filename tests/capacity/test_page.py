"""The page of a study shows all figures, and text of the user's stays text."""

import dataclasses
import math

from jaxrec.capacity import (
    TASKS,
    Documents,
    Estimate,
    Result,
    StudyOptions,
    ask_documents,
    result_page,
)
from jaxrec.prompting import ScriptedModel
from jaxrec.testing.html import Page

PAIR = {"_id": "a:1", "sentence_good": "He is.", "sentence_bad": "He are.", "UID": "<i>be</i>"}


def result() -> Result:
    model = ScriptedModel(logprob=lambda prompt, text: -float(len(text)))
    return ask_documents(model, TASKS["blimp"], Documents(asked=(PAIR,)), StudyOptions())


def test_names_are_no_markup():
    page = Page(result_page("<b>model</b> & more", [result()], {"Note": "<u>x</u>"}))
    assert "<b>model</b> & more" in page.text
    assert "<i>be</i>" in page.text and "<u>x</u>" in page.text
    assert not {"b", "i", "u"} & {name for name, _ in page.tags}


def test_what_was_left_out_and_what_failed_is_said():
    found = dataclasses.replace(result(), missing={"UID": 3}, first_missing="a:2", failures=2)
    text = Page(result_page("m", [found])).text
    assert "left out: UID (3); the first is a:2." in text
    assert "2 answers could not be read and count as empty texts" in text
    assert "could not be read" not in Page(result_page("m", [result()])).text


def test_a_figure_that_is_no_number_is_left_empty():
    nothing = Estimate(value=0.5, stderr=math.nan, low=math.nan, high=math.nan, count=1)
    found = dataclasses.replace(result(), estimates={"accuracy": nothing})
    page = result_page("m", [found])
    assert "<td>0.5000</td><td></td><td></td><td>1</td>" in page
    assert "nan" not in Page(page).text
