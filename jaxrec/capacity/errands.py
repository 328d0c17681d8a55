"""Errands in a house: a small environment for plans and for acting, and the task of running them.

A robot walks from room to room through doors, picks up one thing at a time and puts it down where
it belongs. The tasks are in the manner of VirtualHome (Puig et al. 2018, arXiv:1806.07011): a plan
may have steps that cannot be taken, or be executable and miss its goal.
"""

import dataclasses
import itertools
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxrec.capacity.acting import Act, Episode, follow_plan
from jaxrec.capacity.documents import Document, Source
from jaxrec.capacity.estimates import Metric, ratio_of
from jaxrec.capacity.questions import Several, Write
from jaxrec.capacity.task import Task
from jaxrec.core import ConfigError, nearest
from jaxrec.prompting import GenerateOptions, Reply

_ROOMS = ("kitchen", "hall", "bedroom", "bathroom", "garage", "garden", "office", "attic")
_THINGS = ("cup", "book", "towel", "lamp", "radio", "key", "ball", "plant")
_VERBS = ("go to the", "take the", "put down the")


@dataclasses.dataclass(frozen=True, kw_only=True)
class House:
    """A state: where everything is.

    Attributes:
      room: where the robot is.
      carried: what it carries; "" for nothing.
      places: things and the rooms where they lie, in the order of the things.
    """

    room: str
    carried: str = ""
    places: tuple[tuple[str, str], ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Happened:
    """What came of an action; see `Taken`.

    Attributes:
      state: the state after it.
      text: what there is to see.
      status: "running" or "success".
      fault: why the action could not be taken; "" if it was.
    """

    state: House
    text: str = ""
    status: str = "running"
    fault: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Errand:
    """An environment: bring a thing to a room.

    Attributes:
      doors: pairs of rooms with a door between them.
      start: first state.
      thing: what to bring.
      target: the room where it belongs.

    Example:
      >>> errand = Errand(
      ...     doors=(("hall", "attic"),),
      ...     start=House(room="hall", places=(("cup", "hall"),)),
      ...     thing="cup",
      ...     target="attic",
      ... )
      >>> errand.solution()
      ['take the cup', 'go to the attic', 'put down the cup']
      >>> errand.step(errand.start, "go to the moon").fault
      'there is no door from the hall to the moon'
    """

    doors: tuple[tuple[str, str], ...]
    start: House
    thing: str
    target: str

    def reset(self) -> House:
        """Return the first state."""
        return self.start

    def step(self, state: House, action: str) -> Happened:
        """Return what comes of an action; one that cannot be taken leaves the state as it is."""
        bare = " ".join(action.lower().strip(" .").split())
        verb = next((verb for verb in _VERBS if bare.startswith(f"{verb} ")), None)
        if verb is None:
            known = ", ".join(f"{verb} ..." for verb in _VERBS)
            fault = f"no action {bare[:40]!r}{nearest(bare, self.actions(state))}; actions: {known}"
            return Happened(state=state, fault=fault)
        name = bare.removeprefix(f"{verb} ")
        fault, after = self._take(state, verb, name)
        if fault:
            return Happened(state=state, fault=fault)
        done = dict(after.places).get(self.thing) == self.target
        status = "success" if done else "running"
        return Happened(state=after, text=self.render(after), status=status)

    def _take(self, state: House, verb: str, name: str) -> tuple[str, House]:
        places = dict(state.places)
        if verb == "go to the":
            if name not in self.neighbours(state.room):
                return f"there is no door from the {state.room} to the {name}", state
            return "", dataclasses.replace(state, room=name)
        if verb == "take the":
            if places.get(name) != state.room:
                return f"there is no {name} in the {state.room}", state
            if state.carried:
                return f"you already carry the {state.carried}", state
            del places[name]
            return "", dataclasses.replace(state, carried=name, places=tuple(places.items()))
        if name != state.carried:
            return f"you do not carry the {name}", state
        placed = tuple(sorted({**places, name: state.room}.items()))
        return "", dataclasses.replace(state, carried="", places=placed)

    def neighbours(self, room: str) -> list[str]:
        """Rooms behind the doors of a room."""
        pairs = itertools.chain(self.doors, ((b, a) for a, b in self.doors))
        return sorted({b for a, b in pairs if a == room})

    def actions(self, state: House) -> list[str]:
        """Actions that can be taken in a state."""
        here = [name for name, room in state.places if room == state.room]
        return [
            *(f"go to the {room}" for room in self.neighbours(state.room)),
            *(f"take the {name}" for name in here if not state.carried),
            *([f"put down the {state.carried}"] if state.carried else []),
        ]

    def render(self, state: House) -> str:
        """Return a state in words."""
        here = [f"a {name}" for name, room in state.places if room == state.room]
        doors = " and ".join(f"the {room}" for room in self.neighbours(state.room))
        carried = f" You carry the {state.carried}." if state.carried else ""
        seen = f" There is {' and '.join(here)}." if here else ""
        return f"You are in the {state.room}.{seen}{carried} Doors lead to {doors}."

    def solution(self) -> list[str]:
        """Return a shortest plan, found by breadth-first search.

        Raises:
          ConfigError: the goal cannot be reached.
        """
        found: dict[House, list[str]] = {self.start: []}
        queue = deque([self.start])
        while queue:
            state = queue.popleft()
            for action in self.actions(state):
                happened = self.step(state, action)
                plan = [*found[state], action]
                if happened.status == "success":
                    return plan
                if happened.state not in found:
                    found[happened.state] = plan
                    queue.append(happened.state)
        raise ConfigError(f"nobody can bring the {self.thing} to the {self.target}; add doors")

    def describe(self) -> str:
        """Return the house and the errand in words."""
        doors = "; ".join(f"the {a} and the {b}" for a, b in self.doors)
        things = ", ".join(f"the {name} is in the {room}" for name, room in self.start.places)
        return (
            f"There are doors between {doors}. At first, {things}, and you are in the "
            f"{self.start.room}. Errand: put the {self.thing} into the {self.target}."
        )


def make_errand(seed: int, *, rooms: int = 5, things: int = 3) -> Errand:
    """Make a house whose doors form a tree, and an errand in it.

    Args:
      seed: of the house.
      rooms: number of rooms, from 2 to 8.
      things: number of things, from 1 to 8.

    Raises:
      ConfigError: a number out of range.

    Example:
      >>> len(make_errand(3).doors)
      4
    """
    if not 2 <= rooms <= len(_ROOMS) or not 1 <= things <= len(_THINGS):
        raise ConfigError(
            f"rooms must lie between 2 and {len(_ROOMS)} and things between 1 and {len(_THINGS)}, "
            f"got {rooms} and {things}"
        )
    rng = np.random.default_rng(seed)
    chosen = [str(room) for room in rng.permutation(_ROOMS)[:rooms]]
    doors = tuple((chosen[int(rng.integers(n))], chosen[n]) for n in range(1, rooms))
    names = sorted(str(name) for name in rng.permutation(_THINGS)[:things])
    places = tuple((name, chosen[int(rng.integers(rooms))]) for name in names)
    thing, room = places[int(rng.integers(things))]
    target = str(rng.choice([other for other in chosen if other != room]))
    start = House(room=chosen[int(rng.integers(rooms))], places=places)
    return Errand(doors=doors, start=start, thing=thing, target=target)


# Seeds of the houses that are shown; those of the documents are below.
_SHOWN_SEEDS = (10_001, 10_002)
_RULES = (
    "A robot runs errands in a house. It can go to the next room, take the thing that it needs, "
    "and put down the thing that it carries.\n\n"
)
_OPTIONS = GenerateOptions(max_tokens=200, stop=("\n\n",))


def _plan_prompt(errand: Errand) -> str:
    return f"{errand.describe()}\nPlan:\n"


def _act_prompt(errand: Errand) -> str:
    return f"{errand.describe()}\nObservation: {errand.render(errand.start)}\nAction:"


def _shown_episode(errand: Errand) -> str:
    text, state = _act_prompt(errand), errand.start
    plan = errand.solution()
    for number, action in enumerate(plan, start=1):
        happened = errand.step(state, action)
        state = happened.state
        end = f"\nObservation: {happened.text}\nAction:" if number < len(plan) else "\n\n"
        text += f" {action}{end}"
    return text


def _ask(document: Document, shown: str) -> Several:
    errand = make_errand(document["seed"])
    examples = [make_errand(seed) for seed in _SHOWN_SEEDS]
    plans = "".join(_plan_prompt(e) + "\n".join(e.solution()) + "\n\n" for e in examples)
    episodes = "".join(_shown_episode(e) for e in examples)
    return Several(
        (
            Write(_RULES + plans + _plan_prompt(errand), _OPTIONS),
            Act(_RULES + episodes + _act_prompt(errand), errand),
        )
    )


def _measure(document: Document, answers: tuple[Reply, Episode]) -> Mapping[str, Any]:
    errand = make_errand(document["seed"])
    reply, episode = answers
    attempt = follow_plan(errand, [line for line in reply.text.splitlines() if line.strip()])
    steps = len(episode.actions)
    return {
        "plan_success": float(attempt.success),
        "plan_executable": float(attempt.executable),
        "plan_executability": attempt.taken / attempt.planned if attempt.planned else 0.0,
        "success": float(episode.success),
        "steps": (steps * episode.success, float(episode.success)),
        "detour": ((steps - document["shortest"]) * episode.success, float(episode.success)),
        "faults": (episode.faults, steps),
    }


def make_errands(count: int = 100) -> list[dict[str, Any]]:
    """Return the seeds of errands, with the number of steps of a shortest plan.

    Example:
      >>> make_errands(1)[0]["seed"]
      0
    """
    return [{"seed": seed, "shortest": len(make_errand(seed).solution())} for seed in range(count)]


ERRANDS = Task(
    name="errands",
    about="plans and actions that bring a thing to a room of a house",
    source=Source(make=make_errands),
    ask=_ask,
    measure=_measure,
    metrics={
        "plan_success": Metric(),
        "plan_executable": Metric(),
        "plan_executability": Metric(),
        "success": Metric(),
        "steps": Metric(ratio_of, "lower"),
        "detour": Metric(ratio_of, "lower"),
        "faults": Metric(ratio_of, "lower"),
    },
    groups=("shortest",),
)
