"""Reflexion: an agent that failed writes a lesson, and tries again with its lessons in the prompt.

(Shinn et al. 2023, arXiv:2303.11366.) The parts are functions: an actor makes an attempt, an
evaluator says whether it succeeded, and self-reflection makes a lesson of a failure. The memory
keeps the last few lessons. `language_actor` and `language_reflection` make the parts of a language
model; `program_writing.py` is the variant that writes programs.

The evaluator must not know the answer that the agent is measured by. Where it does, as in
experiments on questions with their published answers, the result says how well an agent corrects
itself that is told when it is wrong, and not how well it answers.
"""

import dataclasses
from collections.abc import Callable
from typing import Literal, get_args

from jaxrec.core import ConfigError, Count, check_ranges, nearest
from jaxrec.prompting.language_model import GenerateOptions, LanguageModel, Usage
from jaxrec.prompting.parts import returned

Strategy = Literal["none", "last_attempt", "reflexion", "both"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReflexionOptions:
    """How an agent tries again.

    Attributes:
      trials: most attempts.
      memory: number of lessons that are kept, the latest ones; 1 to 3 in the paper, which calls it
        Omega.
      strategy: what the next attempt reads: "none", the "last_attempt", the lessons ("reflexion"),
        or "both".

    Raises:
      ConfigError: a number out of range or an unknown strategy.

    Example:
      >>> ReflexionOptions(strategy="none").trials
      3
    """

    trials: Count = 3
    memory: Count = 3
    strategy: Strategy = "reflexion"

    def __post_init__(self) -> None:
        check_ranges(self, "ReflexionOptions.")
        if self.strategy not in get_args(Strategy):
            known = get_args(Strategy)
            raise ConfigError(
                f"ReflexionOptions.strategy must be one of {', '.join(known)}, got "
                f"{self.strategy!r}{nearest(str(self.strategy), known)}"
            )


@dataclasses.dataclass(frozen=True)
class Attempt:
    """What an actor did.

    Attributes:
      text: its answer, its program or its whole trajectory.
      usage: what it has cost.
    """

    text: str
    usage: Usage = Usage()


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What an evaluator says of an attempt.

    Attributes:
      success: whether it succeeded.
      signal: what the agent is told, such as an error or a failed test.
    """

    success: bool
    signal: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrialContext:
    """What an attempt may read.

    Attributes:
      trial: number of the attempt, counted from 0.
      lessons: the lessons of the memory, the oldest first.
      last_attempt: the text of the attempt before; "" if it is not shown.
      last_signal: what its evaluator said.
    """

    trial: int = 0
    lessons: tuple[str, ...] = ()
    last_attempt: str = ""
    last_signal: str = ""

    @property
    def text(self) -> str:
        """The context as a prompt shows it, with a blank line after each part; "" if it is empty.

        Example:
          >>> print(TrialContext(lessons=("Count from 0.",)).text, end="")
          Lessons from earlier attempts:
          - Count from 0.
          <BLANKLINE>
        """
        text = ""
        if self.last_attempt:
            signal = f"\nWhat was wrong with it:\n{self.last_signal}" if self.last_signal else ""
            text += f"Your last attempt failed:\n{self.last_attempt}{signal}\n\n"
        if self.lessons:
            lessons = "\n".join(f"- {lesson}" for lesson in self.lessons)
            text += f"Lessons from earlier attempts:\n{lessons}\n\n"
        return text


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trial:
    """One attempt and what came of it.

    Attributes:
      context: what the attempt read.
      attempt: what the actor did.
      verdict: whether it succeeded.
      lesson: what self-reflection made of a failure; "" after a success, after the last attempt,
        and with strategies without lessons.
    """

    context: TrialContext
    attempt: Attempt
    verdict: Verdict
    lesson: str = ""


@dataclasses.dataclass(frozen=True)
class ReflexionResult:
    """All attempts of an agent.

    Attributes:
      trials: the attempts in order; the last one counts.
      usage: what actor and self-reflection have cost.
    """

    trials: tuple[Trial, ...]
    usage: Usage = Usage()

    @property
    def success(self) -> bool:
        """Whether the last attempt succeeded."""
        return self.trials[-1].verdict.success


Actor = Callable[[TrialContext], Attempt]
Evaluator = Callable[[Attempt], Verdict]
# From a failure and the lessons so far to a lesson, with what it has cost.
Reflection = Callable[[Attempt, Verdict, tuple[str, ...]], Attempt]


def run_reflexion(
    actor: Actor,
    evaluator: Evaluator,
    reflection: Reflection,
    options: ReflexionOptions = ReflexionOptions(),
) -> ReflexionResult:
    """Try until an attempt succeeds or the trials are used up.

    Args:
      actor: makes an attempt from what it may read.
      evaluator: says whether an attempt succeeded.
      reflection: makes a lesson of a failure; it is called only with the strategies "reflexion" and
        "both", and only if another attempt follows. An empty lesson is not kept.
      options: trials, memory and strategy.

    Returns:
      All attempts.

    Raises:
      ConfigError: a part returns something else than its `Attempt` or `Verdict`.

    Source: Shinn et al. 2023, arXiv:2303.11366, algorithm 1.

    Example:
      >>> actor = lambda context: Attempt("4" if context.lessons else "5")
      >>> evaluator = lambda attempt: Verdict(attempt.text == "4", "too large")
      >>> reflection = lambda attempt, verdict, lessons: Attempt("Subtract one.")
      >>> [trial.attempt.text for trial in run_reflexion(actor, evaluator, reflection).trials]
      ['5', '4']
      >>> forgetful = ReflexionOptions(strategy="none")
      >>> run_reflexion(actor, evaluator, reflection, forgetful).success
      False
    """
    trials: list[Trial] = []
    lessons: tuple[str, ...] = ()
    usage = Usage()
    for number in range(options.trials):
        context = TrialContext(trial=number)
        if trials and options.strategy in ("last_attempt", "both"):
            last = trials[-1]
            context = dataclasses.replace(
                context, last_attempt=last.attempt.text, last_signal=last.verdict.signal
            )
        context = dataclasses.replace(context, lessons=lessons)
        attempt = returned(actor(context), Attempt, "the actor", "return Attempt(text)")
        usage += attempt.usage
        fix = "return Verdict(success, signal)"
        verdict = returned(evaluator(attempt), Verdict, "the evaluator", fix)
        lesson = Attempt("")
        reflects = options.strategy in ("reflexion", "both") and number + 1 < options.trials
        if reflects and not verdict.success:
            lesson = reflection(attempt, verdict, lessons)
            returned(lesson, Attempt, "the reflection", "return Attempt(lesson)")
            usage += lesson.usage
        kept = lesson.text.strip()
        trials.append(Trial(context=context, attempt=attempt, verdict=verdict, lesson=kept))
        if verdict.success:
            break
        if kept:
            lessons = (*lessons, kept)[-options.memory :]
    return ReflexionResult(tuple(trials), usage)


def language_actor(model: LanguageModel, task: str, options: GenerateOptions) -> Actor:
    """Return an actor that asks a language model.

    Each attempt draws with another seed, so that attempts differ even without lessons.

    Args:
      model: continues the prompt.
      task: what to do; the prompt is the context followed by it.
      options: how the model writes; one continuation.

    Raises:
      ConfigError: several continuations.

    Example:
      >>> from jaxrec.prompting import GenerateOptions, ScriptedModel
      >>> actor = language_actor(ScriptedModel(lambda p, n: " 4"), "2 + 2 =", GenerateOptions())
      >>> actor(TrialContext()).text
      '4'
    """
    _check_one(options)

    def act(context: TrialContext) -> Attempt:
        own = dataclasses.replace(options, seed=options.seed + context.trial)
        reply = model.generate([f"{context.text}{task}"], own)[0]
        return Attempt(reply.text.strip(), reply.usage)

    return act


def language_reflection(model: LanguageModel, task: str, options: GenerateOptions) -> Reflection:
    """Return self-reflection that asks a language model for a lesson.

    Args:
      model: continues the prompt.
      task: what had to be done.
      options: how the model writes; one continuation.

    Raises:
      ConfigError: several continuations.

    Example:
      >>> from jaxrec.prompting import GenerateOptions, ScriptedModel
      >>> model = ScriptedModel(lambda prompt, sample: "Add, do not multiply.")
      >>> reflect = language_reflection(model, "3 + 3 =", GenerateOptions())
      >>> reflect(Attempt("9"), Verdict(False, "wrong"), ()).text
      'Add, do not multiply.'
    """
    _check_one(options)

    def reflect(attempt: Attempt, verdict: Verdict, lessons: tuple[str, ...]) -> Attempt:
        before = TrialContext(lessons=lessons).text
        signal = f"What happened:\n{verdict.signal}\n\n" if verdict.signal else ""
        prompt = (
            f"{before}Task:\n{task}\n\nThis attempt failed:\n{attempt.text}\n\n{signal}"
            "Say in one or two sentences what the mistake was, and what to do differently next "
            "time. Do not write the solution.\nLesson:"
        )
        reply = model.generate([prompt], options)[0]
        return Attempt(" ".join(reply.text.split()), reply.usage)

    return reflect


def _check_one(options: GenerateOptions) -> None:
    if options.n != 1:
        raise ConfigError(f"n must be 1, got {options.n}; an attempt is one continuation")
