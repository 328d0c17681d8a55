"""The calls that a run samples: made once, stored, and counted.

`calls.json` holds every different call with its gain, and the texts that the model is tuned on.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from jaxrec.core import read_json, to_json, write_text
from jaxrec.prompting import MarkingModel, SamplingOptions, annotate
from jaxrec.systems.toolformer.config import ToolformerConfig
from jaxrec.systems.toolformer.data import TOOLS, Sum, tool_prompt

CALLS_FILE = "calls.json"
_USELESS = "Calendar"


class StoredCall(TypedDict):
    """A sampled call; `gain` is None if the tool failed, and `right` says whether it helps."""

    text: int
    call: str
    tool: str
    gain: float | None
    kept: bool
    right: bool
    times: int
    failure: str


class Stored(TypedDict):
    """What `calls.json` holds."""

    texts: list[str]
    calls: list[StoredCall]
    unusable: dict[str, int]


def make_calls(
    config: ToolformerConfig, model: MarkingModel, sums: Sequence[Sum], directory: Path
) -> Stored:
    """Annotate the texts with calls, or read what an earlier start of the run made."""
    path = directory / CALLS_FILE
    if path.exists():
        return read_json(path, Stored)
    calls = config.calls
    texts = [item.text for item in sums]
    annotated = annotate(
        model,
        texts,
        {tool.name: _always(tool_prompt(tool.name)) for tool in TOOLS},
        TOOLS,
        SamplingOptions(
            min_probability=calls.min_probability,
            positions=calls.positions,
            calls=calls.calls,
            min_gain=calls.min_gain,
            temperature=calls.temperature,
            max_tokens=calls.max_tokens,
            seed=config.train.seed,
        ),
    )
    kept = set(map(id, annotated.kept))
    pieces = model.pieces(texts)
    stored: Stored = {
        "texts": list(annotated.texts),
        "calls": [
            {
                "text": c.text,
                "call": str(c.call),
                "tool": c.call.name,
                "gain": float(c.gain) if np.isfinite(c.gain) else None,
                "kept": id(c) in kept,
                "right": c.call.result == next_number("".join(pieces[c.text][c.position :])),
                "times": c.times,
                "failure": c.failure,
            }
            for c in annotated.candidates
        ],
        "unusable": dict(annotated.unusable),
    }
    write_text(path, to_json(stored))
    return stored


def next_number(text: str) -> str | None:
    """Return the number that a text begins with; None if it begins with something else.

    Example:
      >>> next_number(" 12 pupils."), next_number(" pupils: 12")
      ('12', None)
    """
    match = re.match(r"\s*(-?\d+)", text)
    return match[1] if match else None


def call_shares(stored: Stored) -> dict[str, np.ndarray]:
    """Return what the filter did, as one value per call of the kind that a share is over.

    Returns:
      "kept_right": of the kept calls, which have the result that follows them. "useless_kept": of
      the sampled calls of the calendar, which are kept. "right_kept": of the sampled calls with the
      right result, which are kept. "sampled_right": of the sampled calls of the calculator, which
      have the right result.
    """
    calls = stored["calls"]

    def values(chosen: Sequence[StoredCall], field: str) -> np.ndarray:
        return np.array([bool(dict(call)[field]) for call in chosen], np.float64)

    return {
        "kept_right": values([c for c in calls if c["kept"]], "right"),
        "useless_kept": values([c for c in calls if c["tool"] == _USELESS], "kept"),
        "right_kept": values([c for c in calls if c["right"]], "kept"),
        "sampled_right": values([c for c in calls if c["tool"] != _USELESS], "right"),
    }


def describe_calls(stored: Stored) -> list[str]:
    """Return lines that say how many calls were sampled and kept."""
    lines = []
    for name in dict.fromkeys(call["tool"] for call in stored["calls"]):
        own = [call for call in stored["calls"] if call["tool"] == name]
        failed = sum(bool(call["failure"]) for call in own)
        lines.append(
            f"{name}: {len(own):,} different calls sampled, {failed:,} failed, "
            f"{sum(call['kept'] for call in own):,} kept"
        )
    unusable: Mapping[str, Any] = stored["unusable"]
    lines += [f"{count:,} samples are {reason}" for reason, count in unusable.items()]
    return lines


def _always(prompt: str) -> Callable[[str], str]:
    return lambda _: prompt
