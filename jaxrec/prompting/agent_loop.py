"""One loop of planner, executor, world, feedback and refinement, within a budget.

The loop ends in success or failure of the world, or at a limit, and says which. Everything that
happens is a record, a plain dictionary; `agent_trace.py` writes records and replays them. The state
of the loop is a frozen dataclass, and each turn makes a new one.
"""

import dataclasses
import time
from collections.abc import Callable, Hashable
from typing import Any, Literal

from jaxrec.core import ConfigError
from jaxrec.prompting.agent_parts import act, by_reasoning, world_feedback
from jaxrec.prompting.agent_types import (
    Budget,
    Comment,
    Critic,
    Executor,
    Feedback,
    Observation,
    Plan,
    Planner,
    Refinement,
    Refiner,
    View,
    World,
)
from jaxrec.prompting.language_model import Usage
from jaxrec.prompting.parts import returned

Record = dict[str, Any]
_BUDGET = Budget()


@dataclasses.dataclass(frozen=True, kw_only=True)
class AgentParts:
    """What a loop is made of.

    Attributes:
      planner: makes plans.
      critic: judges plans before they are carried out; None for no internal feedback.
      feedback: comments on actions; () for an agent that sees nothing of what it does.
      refine: says what to do about a comment that asks for a refinement.
      execute: takes actions.

    Raises:
      ConfigError: a part that is no function.

    Example:
      >>> from jaxrec.prompting import AgentParts, Plan
      >>> parts = AgentParts(planner=lambda view: Plan(("right",)))
      >>> len(parts.feedback), parts.critic
      (1, None)
    """

    planner: Planner
    critic: Critic | None = None
    feedback: tuple[Feedback, ...] = (world_feedback,)
    refine: Refiner = by_reasoning
    execute: Executor = act

    def __post_init__(self) -> None:
        """Reject parts that are no functions, such as one function in the place of several."""
        if callable(self.feedback):
            raise ConfigError("feedback must be a tuple of functions, got one; write (function,)")
        object.__setattr__(self, "feedback", tuple(self.feedback))
        parts = {"planner": self.planner, "refine": self.refine, "execute": self.execute}
        if self.critic is not None:
            parts["critic"] = self.critic
        parts |= {f"feedback {place}": part for place, part in enumerate(self.feedback)}
        for name, part in parts.items():
            if not callable(part):
                raise ConfigError(f"{name} must be a function, got {part!r:.60}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class AgentResult:
    """How a loop ended.

    Attributes:
      status: "success", "failure" or "budget".
      reason: "goal" after a success. After a failure: "world" if the world ended, "no plan" if the
        planner had none, "loop" if actions were repeated too often. Otherwise the limit that was
        reached: "steps", "plans", "tokens" or "seconds".
      steps: number of actions.
      plans: number of plans.
      trials: number of times that the world was started.
      repeats: actions that were taken again in a state in which they were taken before.
      errors: actions in which the world or a tool raised an error.
      usage: what the loop has cost.
      records: all that happened, as plain dictionaries.
    """

    status: Literal["success", "failure", "budget"]
    reason: str
    steps: int
    plans: int
    trials: int
    repeats: int
    errors: int
    usage: Usage
    records: tuple[Record, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _State:
    """The loop between two turns.

    Attributes:
      world: the world's state.
      plan: actions that are still to be taken.
      path: the states and actions of this trial, for going back.
      seen: the same as a set, with those that were undone.
      banned: states and actions that backtracking has ruled out.
      end: status and reason once the loop is over.
    """

    world: Hashable
    plan: tuple[str, ...] = ()
    path: tuple[tuple[Hashable, str], ...] = ()
    seen: frozenset[tuple[Hashable, str]] = frozenset()
    banned: tuple[tuple[Hashable, str], ...] = ()
    scratchpad: tuple[str, ...] = ()
    lessons: tuple[str, ...] = ()
    steps: int = 0
    plans: int = 0
    trials: int = 1
    repeats: int = 0
    errors: int = 0
    usage: Usage = Usage()
    end: tuple[Literal["success", "failure", "budget"], str] | None = None


def run_agent(
    world: World,
    task: str,
    parts: AgentParts,
    budget: Budget = _BUDGET,
    clock: Callable[[], float] = time.monotonic,
) -> AgentResult:
    """Plan, act and refine until the world ends or the budget is used up.

    An error that the world or a tool raises is an observation with a fault, and is counted. Errors
    of planner, critic, feedback and refinement are raised.

    Args:
      world: what to act in; its states are hashable.
      task: what to achieve, in words.
      parts: planner, feedback and so on.
      budget: limits.
      clock: the time in seconds.

    Returns:
      How the loop ended, what it counted, and its records.

    Raises:
      ConfigError: a world with states that are not hashable, or that returns something else than
        an `Observation`; or a part that returns something else than its `Plan`, `Comment` or
        `Refinement`.

    Example:
      >>> from jaxrec.prompting import AgentParts, GridWorld, Plan, run_agent
      >>> east = lambda view: Plan(("right", "right"))
      >>> result = run_agent(GridWorld(("S.G",)), "Reach G.", AgentParts(planner=east))
      >>> result.status, result.reason, result.steps
      ('success', 'goal', 2)
    """
    loop = _Loop(world, task, parts, budget)
    begun = clock()
    state = loop.begin()
    while state.end is None:
        loop.next_turn(clock() - begun)
        limit = _limit(state, budget, loop.seconds)
        if limit:
            state = dataclasses.replace(state, end=("budget", limit))
        elif state.plan:
            state = loop.act(state)
        else:
            state = loop.plan(state)
    status, reason = state.end
    counts = {
        name: getattr(state, name) for name in ("steps", "plans", "trials", "repeats", "errors")
    }
    loop.record("end", status=status, reason=reason, **counts)
    return AgentResult(
        status=status, reason=reason, usage=state.usage, records=tuple(loop.records), **counts
    )


class _Loop:
    """The parts of a loop and its records; every method makes a new state from an old one."""

    def __init__(self, world: World, task: str, parts: AgentParts, budget: Budget) -> None:
        self.world, self.task, self.parts, self.budget = world, task, parts, budget
        self.records: list[Record] = []
        self.turn, self.seconds = 0, 0.0
        self.start = ""

    def begin(self) -> _State:
        """Start the world for the first time."""
        state = self.world.reset()
        _check_state(state)
        self.start = self.render(state)
        self.record(
            "start",
            task=self.task,
            state=self.start,
            budget=dataclasses.asdict(self.budget),
            critic=self.parts.critic is not None,
            feedback=len(self.parts.feedback),
        )
        return _State(world=state)

    def next_turn(self, seconds: float) -> None:
        self.turn, self.seconds = self.turn + 1, seconds

    def record(self, kind: str, **what: Any) -> None:
        self.records.append({"kind": kind, "turn": self.turn, "seconds": self.seconds} | what)

    def render(self, state: Hashable) -> str:
        try:
            return self.world.render(state)
        except Exception as error:
            return f"The state cannot be shown ({_words(error)})."

    def view(self, state: _State) -> View:
        """What planner, critic, feedback and refinement read."""
        seen = self.render(state.world) if self.parts.feedback else self.start
        return View(
            task=self.task,
            state=seen,
            scratchpad=state.scratchpad,
            lessons=state.lessons,
            banned=tuple(action for place, action in state.banned if place == state.world),
            plans=state.plans,
        )

    def plan(self, state: _State) -> _State:
        """Ask for a plan, and for a critique of it."""
        view = self.view(state)
        fix = "return Plan(('first step',)), or Plan(()) if there is no plan"
        plan = returned(self.parts.planner(view), Plan, "the planner", fix)
        self.record("plan", steps=list(plan.steps), usage=dataclasses.asdict(plan.usage))
        state = dataclasses.replace(
            state, plan=plan.steps, plans=state.plans + 1, usage=state.usage + plan.usage
        )
        if not plan.steps:
            return self.refine(state, Comment("The planner has no plan.", True), "no plan")
        if self.parts.critic is None:
            return state
        comment = self.parts.critic(view, plan)
        state = self.comment(state, comment, "critic")
        if not comment.refine:
            return state
        proposed = "; ".join(plan.steps)
        state = _noted(state, f"Plan: {proposed} -> {comment.text}")
        return self.refine(state, comment, undo=False)

    def act(self, state: _State) -> _State:
        """Take the first action of the plan, and refine where feedback asks for it."""
        action, here = state.plan[0], state.world
        if (here, action) in state.banned:
            self.record("banned", action=action)
            note = f"{action} -> This action is ruled out here."
            return _noted(dataclasses.replace(state, plan=()), note)
        repeated = (here, action) in state.seen
        view = self.view(state)
        observation, raised = self.execute(here, action)
        self.record(
            "act",
            action=action,
            text=observation.text,
            fault=observation.fault,
            status=observation.status,
            state=self.render(observation.state),
            repeated=repeated,
            raised=raised,
        )
        state = dataclasses.replace(
            state,
            world=observation.state,
            plan=state.plan[1:],
            path=(*state.path, (here, action)),
            seen=state.seen | {(here, action)},
            steps=state.steps + 1,
            repeats=state.repeats + repeated,
            errors=state.errors + raised,
        )
        if observation.status == "success":
            return dataclasses.replace(state, end=("success", "goal"))
        texts, refine = [], False
        for number, feedback in enumerate(self.parts.feedback):
            comment = feedback(view, action, observation)
            state = self.comment(state, comment, f"feedback {number}")
            texts.append(comment.text)
            refine |= comment.refine
        if repeated and self.parts.feedback:
            texts.append("This action was taken in this state before.")
            refine = True
        text = " ".join(filter(None, texts))
        state = _noted(state, f"{action} -> {text}" if text else action)
        if state.repeats > self.budget.repeats:
            return dataclasses.replace(state, end=("failure", "loop"))
        failed = "world" if observation.status == "failure" else ""
        if refine:
            return self.refine(state, Comment(text, True), failed)
        return dataclasses.replace(state, end=("failure", "world")) if failed else state

    def execute(self, state: Hashable, action: str) -> tuple[Observation, bool]:
        """What comes of an action, and whether it raised an error."""
        try:
            observation = self.parts.execute(self.world, state, action)
        # An action that calls `exit()` ends itself, not the program.
        except (Exception, SystemExit) as error:
            return Observation(state=state, fault=_words(error)), True
        if not isinstance(observation, Observation):
            raise ConfigError(
                f"the action {action!r} gave {type(observation).__name__}, expected an Observation"
            )
        _check_state(observation.state)
        return observation, False

    def comment(self, state: _State, comment: Comment, by: str) -> _State:
        returned(comment, Comment, by, "return Comment() if there is nothing to say")
        usage = dataclasses.asdict(comment.usage)
        self.record("comment", by=by, text=comment.text, refine=comment.refine, usage=usage)
        return dataclasses.replace(state, usage=state.usage + comment.usage)

    def refine(
        self, state: _State, comment: Comment, failed: str = "", *, undo: bool = True
    ) -> _State:
        """Refine a plan.

        Args:
          state: the loop.
          comment: what asks for it.
          failed: why there is no way on from here; "" if there may be one.
          undo: whether the comment concerns the last action, which backtracking undoes.
        """
        fix = "return Refinement('reason') to make a new plan"
        said = self.parts.refine(self.view(state), comment)
        refinement = returned(said, Refinement, "refine", fix)
        usage = dataclasses.asdict(refinement.usage)
        self.record("refine", how=refinement.how, note=refinement.note, usage=usage)
        state = dataclasses.replace(state, plan=(), usage=state.usage + refinement.usage)
        if refinement.how == "retry":
            return self.retry(state, refinement)
        if refinement.how == "backtrack" and undo and state.path:
            return self.backtrack(state, refinement)
        if failed:
            return dataclasses.replace(state, end=("failure", failed))
        return _noted(state, refinement.note)

    def retry(self, state: _State, refinement: Refinement) -> _State:
        """Start the world anew with one more lesson."""
        lessons = (*state.lessons, refinement.note) if refinement.note else state.lessons
        return dataclasses.replace(
            state,
            world=self.world.reset(),
            path=(),
            seen=frozenset(),
            banned=(),
            scratchpad=(),
            lessons=lessons[-self.budget.lessons :],
            trials=state.trials + 1,
        )

    def backtrack(self, state: _State, refinement: Refinement) -> _State:
        """Restore the state before the last action, and rule that action out there."""
        before, action = state.path[-1]
        state = dataclasses.replace(
            state,
            world=before,
            path=state.path[:-1],
            banned=(*state.banned, (before, action)),
        )
        return _noted(state, f"Went back before {action}. {refinement.note}".strip())


def _limit(state: _State, budget: Budget, seconds: float) -> str:
    """The name of the limit that is reached; "" if there is none."""
    tokens = state.usage.prompt_tokens + state.usage.completion_tokens
    if budget.seconds is not None and seconds > budget.seconds:
        return "seconds"
    if budget.tokens is not None and tokens >= budget.tokens:
        return "tokens"
    if state.plan:
        return "steps" if state.steps >= budget.steps else ""
    return "plans" if state.plans >= budget.plans else ""


def _noted(state: _State, note: str) -> _State:
    return dataclasses.replace(state, scratchpad=(*state.scratchpad, note)) if note else state


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")


def _check_state(state: Hashable) -> None:
    try:
        hash(state)
    except TypeError:
        raise ConfigError(
            f"the world gave a state of the type {type(state).__name__}, which is not hashable; "
            "use a tuple or a frozen dataclass"
        ) from None
