"""Records of a loop survive a file, and a replay gives the same result or names the difference."""

import itertools
import json
import random

import pytest

from jaxrec.core import DataError
from jaxrec.prompting import (
    AgentParts,
    Budget,
    Comment,
    GridWorld,
    Plan,
    Refinement,
    Usage,
    load_trace,
    replay_agent,
    run_agent,
    save_trace,
    world_feedback,
)


def busy_result():
    """A loop with every kind of record."""
    rng = random.Random(2)

    def planner(view):
        free = [name for name in ("up", "down", "left", "right") if rng.random() < 0.8]
        return Plan(tuple(rng.sample(free, len(free))), Usage(calls=1, prompt_tokens=len(free)))

    def refine(view, comment):
        how = rng.choice(["reason", "backtrack", "retry"])
        return Refinement(how, f"note {rng.random():.3f}", Usage(cost=rng.random()))

    def critic(view, plan):
        return Comment(f"{rng.random()}", rng.random() < 0.2, Usage(calls=1))

    parts = AgentParts(
        planner=planner, critic=critic, feedback=(world_feedback,) * 2, refine=refine
    )
    ticks = itertools.count()
    clock = lambda: next(ticks) / 7  # noqa: E731
    return run_agent(GridWorld(("S.#.", "..O.", ".#.G")), "Reach G.", parts, Budget(), clock)


def test_a_replay_of_the_written_records_gives_the_same_result(tmp_path):
    result = busy_result()
    kinds = {record["kind"] for record in result.records}
    assert kinds == {"start", "plan", "act", "banned", "comment", "refine", "end"}
    path = tmp_path / "trace.jsonl"
    save_trace(path, result.records)
    records = load_trace(path)
    assert records == result.records
    again = replay_agent(records, GridWorld(("S.#.", "..O.", ".#.G")))
    assert again == result


def test_a_replay_in_another_world_or_of_changed_records_is_refused(tmp_path):
    result = busy_result()
    with pytest.raises(DataError, match=r"record \d+, act, differs in|acts differently now"):
        replay_agent(result.records, GridWorld(("S..#", "..O.", ".#.G")))
    place = next(n for n, record in enumerate(result.records) if record["kind"] == "act")
    changed = list(result.records)
    changed[place] = changed[place] | {"text": "nothing"}
    with pytest.raises(DataError, match=rf"record {place}, act, differs in 'text': it was 'noth"):
        replay_agent(changed, GridWorld(("S.#.", "..O.", ".#.G")))
    with pytest.raises(DataError, match="these 1 records are no whole loop"):
        replay_agent(result.records[:1], GridWorld(("SG",)))
    with pytest.raises(DataError, match="lacks something or holds another type"):
        replay_agent([{"kind": "start"}, {"kind": "end"}], GridWorld(("SG",)))
    path = tmp_path / "trace.jsonl"
    path.write_text(json.dumps(result.records[0]) + '\n{"kind": "walk"}\n')
    with pytest.raises(DataError, match=r"line 2.*'kind' must be one of start, plan, .*'walk'"):
        load_trace(path)
