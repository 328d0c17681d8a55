"""The result of a study as one HTML page, which needs no scripts, fonts or images."""

import math
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from jaxrec.capacity.estimates import Estimate
from jaxrec.capacity.study import Result

_ARROWS = {"higher": "higher is better", "lower": "lower is better", "neither": ""}


def result_page(
    model: str, results: Sequence[Result], facts: Mapping[str, Any] | None = None
) -> str:
    """Return the page of a study; equal results give equal pages.

    Args:
      model: its name.
      results: of the tasks, in the order of the page.
      facts: further lines of the head by their names, such as the date.

    Example:
      >>> from jaxrec.capacity import Documents, StudyOptions, TASKS, ask_documents
      >>> from jaxrec.prompting import ScriptedModel
      >>> pair = {"_id": "a:1", "sentence_good": "He is.", "sentence_bad": "He are.", "UID": "be"}
      >>> scripted = ScriptedModel(logprob=lambda prompt, text: -float(len(text)))
      >>> found = ask_documents(scripted, TASKS["blimp"], Documents(asked=(pair,)), StudyOptions())
      >>> "<td>1.0000</td>" in result_page("scripted", [found])
      True
    """
    import jinja2

    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"figure": show_figure, "interval": show_interval}
    template = environment.from_string(
        resources.files(__package__).joinpath("page.html.j2").read_text(encoding="utf-8")
    )
    return template.render(model=model, results=results, facts=facts or {}, better=_ARROWS)


def show_figure(value: float) -> str:
    """Return a figure with four decimals or, from 100 on, with five digits.

    Example:
      >>> show_figure(0.25), show_figure(1234.5678), show_figure(float("nan"))
      ('0.2500', '1234.6', '')
    """
    if math.isnan(value):
        return ""
    return f"{value:.4f}" if abs(value) < 100 else f"{value:.5g}"


def show_interval(found: Estimate) -> str:
    """Return the ends of an interval; "" where it is not known.

    Example:
      >>> show_interval(Estimate(value=0.5, stderr=0.1, low=0.3, high=0.7, count=9))
      '0.3000 to 0.7000'
    """
    if math.isnan(found.low):
        return ""
    return f"{show_figure(found.low)} to {show_figure(found.high)}"
