"""The records of an agent loop: written as JSON lines, read, and replayed.

A record is a dictionary with `kind`, `turn` and `seconds`, and what its kind adds:

| `kind` | what happened | adds |
|---|---|---|
| `start` | the world was started | `task`, `state`, `budget`, `critic`, `feedback` |
| `plan` | the planner was asked | `steps`, `usage` |
| `act` | an action was taken | `action`, `text`, `fault`, `status`, `state`, `repeated`, `raised` |
| `banned` | an action that is ruled out was not taken | `action` |
| `comment` | critic or feedback spoke | `by`, `text`, `refine`, `usage` |
| `refine` | a comment asked for a refinement | `how`, `note`, `usage` |
| `end` | the loop ended | `status`, `reason` and the counts |
"""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from jaxrec.core import DataError, check_file, from_dict, write_text
from jaxrec.data import files
from jaxrec.prompting.agent_loop import AgentParts, AgentResult, Record, run_agent
from jaxrec.prompting.agent_parts import act
from jaxrec.prompting.agent_types import Budget, Comment, Executor, Plan, Refinement, World
from jaxrec.prompting.language_model import Usage

_KINDS = ("start", "plan", "act", "banned", "comment", "refine", "end")


def save_trace(path: str | os.PathLike[str], records: Sequence[Record]) -> None:
    """Write the records of a loop as JSON lines, the whole file or nothing.

    Raises:
      ResourceError: the file cannot be written.

    Example:
      >>> import tempfile
      >>> from jaxrec.prompting import AgentParts, GridWorld, Plan
      >>> parts = AgentParts(planner=lambda view: Plan(("right", "right")))
      >>> result = run_agent(GridWorld(("S.G",)), "Reach G.", parts)
      >>> path = Path(tempfile.mkdtemp()) / "trace.jsonl"
      >>> save_trace(path, result.records)
      >>> load_trace(path) == result.records
      True
    """
    write_text(Path(path), "".join(f"{json.dumps(record)}\n" for record in records))


def load_trace(path: str | os.PathLike[str]) -> tuple[Record, ...]:
    """Read the records of a loop.

    Raises:
      DataError: the file is missing or damaged, or a line is no record; the message names the line.
    """
    path = Path(path)
    check_file(path)
    records = []
    for line, record, bad in files.read_json_lines(path):
        if record.get("kind") in _KINDS:
            records.append(record)
        else:
            kind = files.shown(record.get("kind"))
            bad.add(line, f"'kind' must be one of {', '.join(_KINDS)}, got {kind}")
    return tuple(records)


def replay_agent(records: Sequence[Record], world: World, execute: Executor = act) -> AgentResult:
    """Run a loop again with the plans, comments and refinements of its records.

    No language model is asked. The world and the tools act anew, so a replay shows whether they
    still do what they did.

    Args:
      records: of a whole loop.
      world: the world that the loop ran in.
      execute: the executor that it had.

    Returns:
      The same result.

    Raises:
      DataError: the records are not those of a whole loop, or something else happens now; the
        message names the first record that differs.

    Example:
      >>> from jaxrec.prompting import AgentParts, GridWorld, Plan
      >>> parts = AgentParts(planner=lambda view: Plan(("right", "right")))
      >>> result = run_agent(GridWorld(("S.G",)), "Reach G.", parts)
      >>> replay_agent(result.records, GridWorld(("S.G",))) == result
      True
    """
    if len(records) < 2 or records[0].get("kind") != "start" or records[-1].get("kind") != "end":
        raise DataError(
            f"these {len(records)} records are no whole loop; the first must be of the kind "
            "'start' and the last of the kind 'end'"
        )
    start = records[0]
    try:
        budget = from_dict(Budget, start["budget"], "budget.")
        parts = _recorded_parts(records, execute)
        result = run_agent(world, start["task"], parts, budget, _recorded_clock(records))
    except (KeyError, TypeError) as error:
        raise DataError(
            f"a record lacks something or holds another type ({files.shown(error)}); read "
            "the file with load_trace"
        ) from error
    except StopIteration:
        raise DataError(
            "the world acts differently now: the loop goes on where the records end"
        ) from None
    for place, (old, new) in enumerate(zip(records, result.records, strict=False)):
        if old != new:
            names = [name for name in new if old.get(name) != new[name]]
            name = names[0] if names else next(iter(set(old) - set(new)))
            raise DataError(
                f"record {place}, {old.get('kind')}, differs in {name!r}: it was "
                f"{files.shown(old.get(name))} and is {files.shown(new.get(name))} now"
            )
    if len(records) != len(result.records):
        raise DataError(f"there were {len(records)} records, and now {len(result.records)}")
    return result


def _recorded_parts(records: Sequence[Record], execute: Executor) -> AgentParts:
    """Parts that say what they said before, in the same order."""
    start = records[0]
    plans = _of_kind(records, "plan")
    refinements = _of_kind(records, "refine")
    said: dict[str, Iterator[Record]] = {}
    for by in ("critic", *(f"feedback {number}" for number in range(start["feedback"]))):
        own = [one for one in _of_kind(records, "comment") if one["by"] == by]
        said[by] = iter(own)

    def plan(view: Any) -> Plan:
        record = next(plans)
        return Plan(tuple(record["steps"]), Usage(**record["usage"]))

    def refine(view: Any, comment: Comment) -> Refinement:
        record = next(refinements)
        return Refinement(record["how"], record["note"], Usage(**record["usage"]))

    def speaker(by: str) -> Callable[..., Comment]:
        def comment(*seen: Any) -> Comment:
            record = next(said[by])
            return Comment(record["text"], record["refine"], Usage(**record["usage"]))

        return comment

    return AgentParts(
        planner=plan,
        critic=speaker("critic") if start["critic"] else None,
        feedback=tuple(speaker(f"feedback {number}") for number in range(start["feedback"])),
        refine=refine,
        execute=execute,
    )


def _of_kind(records: Sequence[Record], kind: str) -> Iterator[Record]:
    return (record for record in records if record["kind"] == kind)


def _recorded_clock(records: Sequence[Record]) -> Callable[[], float]:
    """A clock that shows each turn's seconds again, after 0 at the start."""
    turns = {record["turn"]: record["seconds"] for record in records}
    times = iter([0.0, *(turns[turn] for turn in sorted(turns) if turn > 0)])
    return lambda: next(times)
