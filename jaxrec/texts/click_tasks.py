"""The click task as one record: will the user like the next item, in the words of TALLRec's files.

(Bao et al., RecSys 2023, section 3.1; the wording is that of the published instruction files.)
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from jaxrec.data import ClickWindows, Instruction, Template
from jaxrec.runs import Stage
from jaxrec.texts.answer_kinds import Choice
from jaxrec.texts.datum import Datum
from jaxrec.texts.metrics import GapAuc
from jaxrec.texts.sources import NO, YES, Need, Stream, Unit
from jaxrec.texts.tasks import TextTask, instructions

CLICK_ANSWERS = Choice(("Yes.", "No."))
# The template of training, and a control that names the answers in the other order.
PUBLISHED, SWAPPED = "yes-no", "no-yes"


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ClickData:
    """Windows and what their items are called.

    Attributes:
      windows: of each part: "train", "valid" and "test".
      names: how prompts write the items, see `quoted`; two items may have the same.
      kind: what an item is called, such as "movie".
    """

    windows: Mapping[str, ClickWindows]
    names: list[str]
    kind: str = "movie"


@dataclasses.dataclass(frozen=True)
class WindowSource:
    """A datum is a click window, see `data.ClickWindows`."""

    unit: ClassVar[Unit] = "row"
    needs: ClassVar[frozenset[Need]] = frozenset()

    def training(self, data: ClickData) -> Stream:
        """Every training window with its whole history."""
        windows = data.windows["train"]
        return Stream(len(windows), lambda row, rng: window_datum(windows, row))

    def units(self, data: ClickData, stage: Stage) -> np.ndarray:
        """All windows of a stage."""
        return np.arange(len(data.windows[stage]))

    def held_out(self, data: ClickData, stage: Stage, units: np.ndarray) -> list[Datum]:
        """Windows of a stage with their whole histories."""
        return [window_datum(data.windows[stage], row) for row in units.tolist()]


def window_datum(windows: ClickWindows, row: int, kept: np.ndarray | None = None) -> Datum:
    """A window as a datum; `kept`, `[H]` bool, says which items of the history the prompt names."""
    history, liked = windows.history[row], windows.liked[row]
    named = history >= 0 if kept is None else kept & (history >= 0)
    return Datum(
        user=int(windows.user[row]),
        history=history[named],
        liked=liked[named],
        asked=int(windows.target[row]),
        answer=YES if windows.label[row] else NO,
    )


def render_window(datum: Datum, data: ClickData) -> dict[str, str]:
    """Write a window: the quoted titles of liked and disliked items, and that of the target."""
    assert datum.history is not None and datum.liked is not None
    pairs = list(zip(datum.history.tolist(), datum.liked.tolist(), strict=True))
    liked, disliked = (
        ", ".join(data.names[item] for item, like in pairs if like == side)
        for side in (True, False)
    )
    asked = data.names[datum.asked]
    return {"liked": liked, "disliked": disliked, "asked": asked, "kind": data.kind}


def quoted(titles: Sequence[str]) -> list[str]:
    """Titles as prompts write them.

    Example:
      >>> from jaxrec.texts import quoted
      >>> quoted(["Alien"])
      ['"Alien"']
    """
    return [f'"{title}"' for title in titles]


def _template(name: str, answers: str, seen: bool) -> Template:
    return Template(
        name=name,
        instruction=(
            "Given the user's preference and unpreference, identify whether the user will like the "
            f"target {{kind}} by answering {answers}."
        ),
        source=(
            "User Preference: {liked}\nUser Unpreference: {disliked}\n"
            "Whether the user will like the target {kind} {asked}?"
        ),
        target=CLICK_ANSWERS.target,
        seen=seen,
    )


CLICK: TextTask[ClickData] = TextTask(
    name="click",
    source=WindowSource(),
    render=render_window,
    templates=(
        _template(PUBLISHED, '"Yes." or "No."', seen=True),
        _template(SWAPPED, '"No." or "Yes."', seen=False),
    ),
    answer=CLICK_ANSWERS,
    metric=GapAuc(),
)


def click_prompts(
    windows: ClickWindows,
    titles: Sequence[str],
    *,
    kept: np.ndarray | None = None,
    kind: str = "movie",
    template: str | Template = PUBLISHED,
    answers: Choice = CLICK_ANSWERS,
    names: list[str] | None = None,
) -> list[Instruction]:
    """Write windows as the questions of the published files.

    Args:
      windows: what to ask about.
      titles: of all items.
      kept: `[N, H]` bool, the items of the histories that are named; None for all.
      kind: what an item is called.
      template: of `CLICK`; "no-yes" names the answers in the other order, as a control. Or a
        template with the same fields.
      answers: of a liked target and of another one.
      names: how prompts write the items; None for the quoted titles.

    Raises:
      ConfigError: no such template.

    Example:
      >>> from jaxrec.data import click_windows
      >>> from jaxrec.testing import tiny_interactions
      >>> from jaxrec.texts import click_prompts
      >>> data = tiny_interactions()
      >>> windows = click_windows(data, history=2).take(slice(1))
      >>> print(click_prompts(windows, data.items.labels())[0].input.splitlines()[-1])
      Whether the user will like the target movie "Film 026 (1976)"?
    """
    examples = [
        window_datum(windows, row, None if kept is None else kept[row])
        for row in range(len(windows))
    ]
    data = ClickData(windows={}, names=quoted(titles) if names is None else names, kind=kind)
    chosen = CLICK.template(template) if isinstance(template, str) else template
    return instructions(dataclasses.replace(CLICK, answer=answers), chosen, data, examples)
