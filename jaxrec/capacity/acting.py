"""A model that acts in an environment: a whole plan at once, or one action after the other.

An environment has the calls of `Environment`. `follow_plan` takes the steps of a plan as long as
they can be taken. `Act` shows the model what comes of each action before it chooses the next one.
"""

import dataclasses
from collections.abc import Hashable, Sequence
from typing import Any, Protocol, Self

from jaxrec.core import ConfigError
from jaxrec.eval import Attempt
from jaxrec.prompting import GenerateOptions, LanguageModel, Usage


class Taken(Protocol):
    """What comes of an action."""

    @property
    def state(self) -> Hashable:
        """The state after it."""
        ...

    @property
    def text(self) -> str:
        """What there is to see."""
        ...

    @property
    def status(self) -> str:
        """Whether it goes on: "running", "success" or "failure"."""
        ...

    @property
    def fault(self) -> str:
        """Why the action could not be taken; "" if it was."""
        ...


class Environment(Protocol):
    """An environment whose states are values."""

    def reset(self) -> Hashable:
        """Return the state to start from."""
        ...

    def step(self, state: Any, action: str) -> Taken:
        """Return what comes of an action."""
        ...


def follow_plan(environment: Environment, steps: Sequence[str]) -> Attempt:
    """Take the steps of a plan, up to the first that cannot be taken.

    A plan is a success if the goal is reached after its last step. The steps after a failure, from
    which nothing leads back, cannot be taken.

    Args:
      environment: where the plan is followed.
      steps: actions in order.

    Example:
      >>> from jaxrec.capacity import make_errand
      >>> errand = make_errand(0)
      >>> follow_plan(errand, errand.solution()).success
      True
    """
    state, status, taken = environment.reset(), "running", 0
    for step in steps:
        if status == "failure":
            break
        found = environment.step(state, step)
        if found.fault:
            break
        state, status, taken = found.state, found.status, taken + 1
    success = status == "success" and taken == len(steps)
    return Attempt(planned=len(steps), taken=taken, success=success)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Episode:
    """What a model did.

    Attributes:
      actions: in order, those that could not be taken included.
      faults: number of actions that could not be taken.
      success: whether the goal was reached.
      usage: what the actions cost.
    """

    actions: tuple[str, ...]
    faults: int
    success: bool
    usage: Usage = Usage()


@dataclasses.dataclass(frozen=True, eq=False)
class Act:
    r"""An environment in which the model chooses each action; the answer is an `Episode`.

    Attributes:
      prompt: what is to be done, and how an action is written; it ends where the first one begins.
      environment: where the model acts.
      most_steps: actions after which the episode ends without success.
      before, after: what stands before an observation, and between it and the next action.

    Raises:
      ConfigError: `most_steps` is below 1.

    Example:
      >>> from jaxrec.capacity import make_errand
      >>> from jaxrec.prompting import ScriptedModel
      >>> errand = make_errand(0)
      >>> actions = iter(errand.solution())
      >>> model = ScriptedModel(lambda prompt, sample: f" {next(actions)}\n")
      >>> Act.ask(model, [Act("Action:", errand)])[0].success
      True
    """

    prompt: str
    environment: Environment
    most_steps: int = 20
    before: str = "\nObservation: "
    after: str = "\nAction:"

    def __post_init__(self) -> None:
        if self.most_steps < 1:
            raise ConfigError(f"most_steps must be at least 1, got {self.most_steps}")

    @classmethod
    def ask(cls, model: LanguageModel, questions: Sequence[Self]) -> list[Episode]:
        """Run all episodes side by side, so that a model can batch their actions."""
        games = [_Game(question) for question in questions]
        options = GenerateOptions(max_tokens=32, stop=("\n",))
        while running := [game for game in games if game.status == "running"]:
            for game, reply in zip(
                running, model.generate([game.prompt for game in running], options), strict=True
            ):
                game.usage = game.usage + reply.usage
                game.take(reply.text)
        return [game.episode() for game in games]


class _Game:
    """An episode that goes on."""

    def __init__(self, question: Act) -> None:
        self.question = question
        self.prompt = question.prompt
        self.state = question.environment.reset()
        self.status = "running"
        self.actions: list[str] = []
        self.faults = 0
        self.usage = Usage()

    def take(self, text: str) -> None:
        action = text.strip()
        found = self.question.environment.step(self.state, action)
        self.actions.append(action)
        self.faults += bool(found.fault)
        self.state, self.status = found.state, found.status
        if self.status == "running" and len(self.actions) == self.question.most_steps:
            self.status = "failure"
        seen = found.fault or found.text
        self.prompt += f"{text.rstrip()}{self.question.before}{seen}{self.question.after}"

    def episode(self) -> Episode:
        return Episode(
            actions=tuple(self.actions),
            faults=self.faults,
            success=self.status == "success",
            usage=self.usage,
        )
