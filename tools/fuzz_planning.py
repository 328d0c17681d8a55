"""Readers of planning problems, puzzles, memories and records of agents, for `fuzz.py`."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

Folder = Mapping[str, bytes]

DOMAIN = b"""(define (domain depot) ; trucks drive
  (:requirements :strips :typing :negative-preconditions)
  (:types truck - vehicle vehicle place)
  (:constants home - place)
  (:predicates (at ?v - vehicle ?p - place) (broken ?v - vehicle))
  (:action drive :parameters (?v - vehicle ?from ?to - place)
    :precondition (and (at ?v ?from) (not (broken ?v)))
    :effect (and (at ?v ?to) (not (at ?v ?from)))))
"""
PROBLEM = b"""(define (problem one) (:domain depot) (:objects t - truck inn pub - place)
  (:init (at t inn)) (:goal (and (at t home) (not (broken t)))))
"""


def _pddl_samples() -> list[Folder]:
    return [{"domain.pddl": DOMAIN, "problem.pddl": PROBLEM, "plan": b"1: (drive t inn home)\n"}]


def _read_pddl(folder: Path) -> object:
    """Read, solve and validate."""
    from jaxrec.prompting import (
        PlanLimits,
        find_plan,
        ground,
        read_domain,
        read_plan,
        read_problem,
        validate_plan,
    )

    texts = {path.name: path.read_bytes().decode("utf-8", "replace") for path in folder.iterdir()}
    domain = read_domain(texts["domain.pddl"])
    problem = read_problem(texts["problem.pddl"], domain)
    found = find_plan(ground(domain, problem, most=10_000), PlanLimits(nodes=1000))
    return found, validate_plan(domain, problem, read_plan(texts["plan"]))


def _game24_samples() -> list[Folder]:
    rows = "Rank,Puzzles,AMT (s)\n1,1 1 4 6,4.4\n2,4 9 10 13,11.28\n"
    return [{"24.csv": rows.encode()}]


def _read_game24(folder: Path) -> object:
    from jaxrec.prompting import game24_start, read_game24

    return [game24_start(numbers) for numbers in read_game24(folder / "24.csv")]


def _memory_samples() -> list[Folder]:
    record = {"text": "Heat", "vector": [0.5, -1], "created": 1.5, "read": 2, "importance": 7}
    lines = f"{json.dumps(record)}\n{json.dumps(record | {'text': 'Rain'})}\n"
    return [{"memory.jsonl": lines.encode()}]


def _read_memory(folder: Path) -> object:
    from jaxrec.prompting import load_memory

    return load_memory(folder / "memory.jsonl")


def _trace_samples() -> list[Folder]:
    from jaxrec.prompting import AgentParts, GridWorld, Plan, run_agent

    parts = AgentParts(planner=lambda view: Plan(("right", "right")))
    records = run_agent(GridWorld(("S.G",)), "Reach G.", parts).records
    return [{"trace.jsonl": "".join(f"{json.dumps(one)}\n" for one in records).encode()}]


def _read_trace(folder: Path) -> object:
    from jaxrec.prompting import GridWorld, load_trace, replay_agent

    return replay_agent(load_trace(folder / "trace.jsonl"), GridWorld(("S.G",)))


ENTRIES: list[tuple[str, Callable[[], Sequence[Folder]], Callable[[Path], object]]] = [
    ("pddl", _pddl_samples, _read_pddl),
    ("game24", _game24_samples, _read_game24),
    ("memory", _memory_samples, _read_memory),
    ("agent-trace", _trace_samples, _read_trace),
]
