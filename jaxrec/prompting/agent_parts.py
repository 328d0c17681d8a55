"""Parts of an agent loop: executors, feedback and refinement, and those made of a language model.

Feedback is external if the world or an interpreter gives it, and internal if the model criticizes
itself. Refinement is by reasoning (a new plan), by backtracking (another action in an earlier
state) or by memory (a lesson for the next trial).
"""

import dataclasses
import re
from collections.abc import Callable, Hashable, Mapping

from jaxrec.core import ConfigError
from jaxrec.prompting.agent_types import (
    Comment,
    Critic,
    Executor,
    Observation,
    Plan,
    Planner,
    Refinement,
    Refiner,
    View,
    World,
)
from jaxrec.prompting.language_model import GenerateOptions, LanguageModel

_BULLET = re.compile(r"^\s*(?:\d+\s*[.):]|[-*•])\s*")


def act(world: World, state: Hashable, action: str) -> Observation:
    """Take an action in the world: the executor without tools.

    Example:
      >>> from jaxrec.prompting import GridWorld
      >>> act(GridWorld(("S.G",)), (0, 0), "right").state
      (0, 1)
    """
    return world.step(state, action)


def act_with_tools(tools: Mapping[str, Callable[[str], str]], execute: Executor = act) -> Executor:
    """Return an executor that gives actions of the form "tool: input" to tools.

    A tool leaves the state as it is. An error that it raises is an observation.

    Args:
      tools: functions from an input to a result, by name.
      execute: takes all other actions.

    Raises:
      ConfigError: a name with a colon.

    Example:
      >>> from jaxrec.prompting import GridWorld
      >>> execute = act_with_tools({"count": lambda text: str(len(text))})
      >>> execute(GridWorld(("S.G",)), (0, 0), "count: abc").text
      '3'
    """
    for name in tools:
        if ":" in name or not name.strip():
            raise ConfigError(f"the name of a tool must be without a colon, got {name!r}")

    def run(world: World, state: Hashable, action: str) -> Observation:
        name, colon, argument = action.partition(":")
        if colon and name.strip() in tools:
            return Observation(state=state, text=str(tools[name.strip()](argument.strip())))
        return execute(world, state, action)

    return run


def world_feedback(view: View, action: str, observation: Observation) -> Comment:
    """Comment on an action with what the world shows, and ask for a new plan after a fault.

    Example:
      >>> view = View(task="", state="")
      >>> world_feedback(view, "up", Observation(state=(0, 0), fault="There is a wall."))
      Comment(text='There is a wall.', refine=True, ...)
    """
    text = " ".join(filter(None, (observation.fault, observation.text)))
    failed = bool(observation.fault) or observation.status == "failure"
    return Comment(text, failed)


def by_reasoning(view: View, comment: Comment) -> Refinement:
    """Refine by a new plan from the present state.

    Example:
      >>> by_reasoning(View(task="", state=""), Comment("A wall.", True)).how
      'reason'
    """
    return Refinement("reason")


def by_backtracking(view: View, comment: Comment) -> Refinement:
    """Refine by going back to the state before the last action, which is ruled out there.

    Example:
      >>> by_backtracking(View(task="", state=""), Comment("A wall.", True)).how
      'backtrack'
    """
    return Refinement("backtrack")


def by_memory(view: View, comment: Comment) -> Refinement:
    """Refine by a new trial whose planner reads the comment as a lesson.

    Example:
      >>> by_memory(View(task="", state=""), Comment("A pit.", True)).note
      'A pit.'
    """
    return Refinement("retry", comment.text)


def language_planner(
    model: LanguageModel,
    instruction: str,
    options: GenerateOptions,
    take: int | None = None,
) -> Planner:
    """Return a planner that asks a language model for one action a line.

    Each plan draws with another seed.

    Args:
      model: continues the prompt.
      instruction: which actions there are, and how they are written.
      options: how the model writes; one continuation.
      take: actions of an answer that become the plan; 1 plans anew after every action. None for
        all.

    Raises:
      ConfigError: several continuations, or `take` below 1.

    Example:
      >>> from jaxrec.prompting import GenerateOptions, ScriptedModel
      >>> model = ScriptedModel(lambda prompt, sample: "1. right" + chr(10) + "2. up")
      >>> planner = language_planner(model, "Actions: up, right.", GenerateOptions())
      >>> planner(View(task="Reach G.", state="S.G")).steps
      ('right', 'up')
    """
    _check_one(options)
    if take is not None and take < 1:
        raise ConfigError(f"take must be at least 1, or None for all actions, got {take}")

    def plan(view: View) -> Plan:
        own = dataclasses.replace(options, seed=options.seed + view.plans)
        reply = model.generate([f"{show_view(view, instruction)}Plan:\n"], own)[0]
        return Plan(read_steps(reply.text)[:take], reply.usage)

    return plan


def language_critic(model: LanguageModel, instruction: str, options: GenerateOptions) -> Critic:
    """Return internal feedback: a language model judges a plan before it is carried out.

    Args:
      model: answers "yes", or says what is wrong.
      instruction: which actions there are.
      options: how the model writes; one continuation.

    Raises:
      ConfigError: several continuations.

    Example:
      >>> from jaxrec.prompting import GenerateOptions, ScriptedModel
      >>> model = ScriptedModel(lambda prompt, sample: "No, up leads into a pit.")
      >>> critic = language_critic(model, "Actions: up, right.", GenerateOptions())
      >>> critic(View(task="Reach G.", state="S.G"), Plan(("up",))).refine
      True
    """
    _check_one(options)

    def judge(view: View, plan: Plan) -> Comment:
        steps = "\n".join(plan.steps)
        prompt = (
            f"{show_view(view, instruction)}Plan:\n{steps}\n\nDoes this plan achieve the task? "
            "Answer yes, or say what is wrong with it.\nAnswer:"
        )
        reply = model.generate([prompt], options)[0]
        text = " ".join(reply.text.split())
        agrees = re.match(r"yes\b", text, re.IGNORECASE) is not None
        return Comment(text, not agrees, reply.usage)

    return judge


def language_lessons(model: LanguageModel, instruction: str, options: GenerateOptions) -> Refiner:
    """Return refinement by memory in which a language model writes the lesson.

    Args:
      model: continues the prompt.
      instruction: which actions there are.
      options: how the model writes; one continuation.

    Raises:
      ConfigError: several continuations.

    Example:
      >>> from jaxrec.prompting import GenerateOptions, ScriptedModel
      >>> model = ScriptedModel(lambda prompt, sample: "Keep away from the pit.")
      >>> refine = language_lessons(model, "Actions: up, right.", GenerateOptions())
      >>> refine(View(task="", state=""), Comment("You fell.", True)).note
      'Keep away from the pit.'
    """
    _check_one(options)

    def refine(view: View, comment: Comment) -> Refinement:
        prompt = (
            f"{show_view(view, instruction)}The trial failed: {comment.text}\nSay in one sentence "
            "what to do differently next time.\nLesson:"
        )
        reply = model.generate([prompt], options)[0]
        return Refinement("retry", " ".join(reply.text.split()), reply.usage)

    return refine


def show_view(view: View, instruction: str) -> str:
    """Return what a planner reads as the beginning of a prompt.

    Example:
      >>> print(show_view(View(task="Reach G.", state="S.G", lessons=("Go right.",)), "Actions:"))
      Actions:
      <BLANKLINE>
      Task: Reach G.
      Lessons:
      - Go right.
      State:
      S.G
      <BLANKLINE>
    """
    parts = [f"{instruction.strip()}\n\nTask: {view.task}\n"]
    if view.lessons:
        parts += ["Lessons:\n", *(f"- {lesson}\n" for lesson in view.lessons)]
    if view.scratchpad:
        parts += ["So far:\n", *(f"{line}\n" for line in view.scratchpad)]
    parts.append(f"State:\n{view.state}\n")
    if view.banned:
        parts.append(f"Do not begin with: {', '.join(view.banned)}\n")
    return "".join(parts)


def read_steps(text: str) -> tuple[str, ...]:
    r"""Return the lines of a plan without their numbers and bullets.

    Example:
      >>> read_steps("1. (pickup a)\n\n- (stack a b)")
      ('(pickup a)', '(stack a b)')
    """
    lines = (_BULLET.sub("", line).strip() for line in text.splitlines())
    return tuple(line for line in lines if line)


def _check_one(options: GenerateOptions) -> None:
    if options.n != 1:
        raise ConfigError(f"n must be 1, got {options.n}; the loop reads one continuation")
