"""LLM+P: a language model writes a planning problem, and a planner solves it (Liu et al. 2023).

    text ──model──> problem in PDDL ──planner──> shortest plan ──> text

(arXiv:2304.11477.) The domain is written by an expert. The prompt holds one worked example, which
the paper calls the context. A problem that cannot be read or solved goes back to the model with a
sentence on what is wrong in it, `repairs` times.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

from jaxrec.core import ConfigError, DataError, Whole, check_ranges
from jaxrec.prompting.language_model import GenerateOptions, LanguageModel, Usage
from jaxrec.prompting.pddl import Atom, Domain, Problem, show_atom
from jaxrec.prompting.pddl_grounding import ground
from jaxrec.prompting.pddl_missing import missing_atoms
from jaxrec.prompting.pddl_reader import read_domain, read_problem
from jaxrec.prompting.pddl_search import HeuristicName, PlanLimits, PlanSearch, find_plan
from jaxrec.prompting.pddl_text import find_definition

# Missing atoms that a fault names.
_NAMED = 5
_SENTENCES = GenerateOptions(max_tokens=512)


@dataclasses.dataclass(frozen=True)
class PlanningExample:
    """A worked example.

    Attributes:
      text: the problem in words.
      problem: the same problem in PDDL.
    """

    text: str
    problem: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class LlmPlanOptions:
    """How a language model and a planner work together.

    Attributes:
      generate: how the model writes the problem.
      repairs: how often a faulty problem goes back to the model.
      limits: when the planner gives up.
      heuristic: see `find_plan`.

    Raises:
      ConfigError: a number out of range, or several continuations of a prompt.

    Example:
      >>> LlmPlanOptions(repairs=0).generate.max_tokens
      1024
    """

    generate: GenerateOptions = GenerateOptions(max_tokens=1024)
    repairs: Whole = 1
    limits: PlanLimits = PlanLimits()
    heuristic: HeuristicName = "lm_cut"

    def __post_init__(self) -> None:
        check_ranges(self, "LlmPlanOptions.")
        if self.generate.n != 1:
            raise ConfigError(
                f"LlmPlanOptions.generate.n must be 1, got {self.generate.n}; one problem is read "
                "from each answer"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class LlmPlan:
    """What a language model and a planner made of a text.

    Attributes:
      status: "solved", "unsolvable", "nodes", "seconds" as in `PlanSearch`, or "unreadable" where
        the last answer is no problem of the domain.
      plan: a shortest plan of the problem that the model wrote.
      problem: that problem; None if the last answer is unreadable.
      problem_text: its PDDL as the model wrote it.
      faults: what was wrong with each answer that was faulty, in order.
      usage: what the model's calls have cost.
    """

    status: Literal["solved", "unsolvable", "nodes", "seconds", "unreadable"]
    plan: tuple[Atom, ...] = ()
    problem: Problem | None = None
    problem_text: str = ""
    faults: tuple[str, ...] = ()
    usage: Usage = Usage()


def plan_from_text(
    model: LanguageModel,
    domain_text: str,
    text: str,
    example: PlanningExample | None,
    options: LlmPlanOptions = LlmPlanOptions(),
) -> LlmPlan:
    """Solve a planning problem that is given in words.

    Args:
      model: writes the problem in PDDL.
      domain_text: the domain in PDDL.
      text: the problem in words.
      example: a worked example of the domain; None measures how much it helps.
      options: how often the model may correct itself, and limits of the planner.

    Returns:
      The plan, or why there is none. Whether the problem is the one of the text, only its reader
      can say; `validate_plan` checks the plan against another problem, such as a published one.

    Raises:
      DataError: the domain or the example cannot be read.

    Source: Liu et al. 2023, arXiv:2304.11477.

    Example:
      >>> from jaxrec.prompting import PlanningExample, ScriptedModel, plan_from_text
      >>> lamps = '''(define (domain lamps) (:predicates (lit ?x))
      ...   (:action light :parameters (?x) :precondition (not (lit ?x)) :effect (lit ?x)))'''
      >>> pddl = "(define (problem p) (:domain lamps) (:objects {0}) (:init) (:goal (lit {0})))"
      >>> model = ScriptedModel(lambda prompt, sample: f"Here it is: {pddl.format('b')} Enjoy!")
      >>> example = PlanningExample("Light lamp a.", pddl.format("a"))
      >>> plan_from_text(model, lamps, "Light lamp b.", example).plan
      (('light', 'b'),)
    """
    domain = read_domain(domain_text)
    if example is not None:
        read_problem(example.problem, domain)
    prompt = planning_prompt(domain_text, text, example)
    faults: list[str] = []
    usage = Usage()
    asked = prompt
    while True:
        reply = model.generate([asked], options.generate)[0]
        usage += reply.usage
        answer, problem, search, fault = _try(reply.text, domain, options)
        if not fault:
            break
        faults.append(fault)
        if len(faults) > options.repairs:
            break
        asked = (
            f"{prompt}{reply.text}\n\nThis problem has a fault. {fault}\nWrite the corrected "
            "problem PDDL alone.\n"
        )
    return LlmPlan(
        status=search.status if search else "unreadable",
        plan=search.plan if search else (),
        problem=problem,
        problem_text=answer,
        faults=tuple(faults),
        usage=usage,
    )


def planning_prompt(domain_text: str, text: str, example: PlanningExample | None) -> str:
    """Return the prompt that asks for a problem in PDDL.

    Args:
      domain_text: the domain in PDDL.
      text: the problem in words.
      example: a worked example; None for a prompt without one.

    Example:
      >>> print(planning_prompt("(define ...)", "Light lamp b.", None))
      This is a planning domain in PDDL:
      (define ...)
      <BLANKLINE>
      Problem: Light lamp b.
      Write the problem PDDL of this problem alone, without an explanation.
      <BLANKLINE>
    """
    shown = ""
    if example is not None:
        shown = f"Problem: {example.text.strip()}\nProblem PDDL:\n{example.problem.strip()}\n\n"
    return (
        f"This is a planning domain in PDDL:\n{domain_text.strip()}\n\n{shown}"
        f"Problem: {text.strip()}\nWrite the problem PDDL of this problem alone, without an "
        "explanation.\n"
    )


def _try(
    reply: str, domain: Domain, options: LlmPlanOptions
) -> tuple[str, Problem | None, PlanSearch | None, str]:
    """Read and solve an answer; the last value says what is wrong with the problem."""
    text = ""
    try:
        text = find_definition(reply)
        problem = read_problem(text, domain)
        task = ground(domain, problem)
    except DataError as error:
        return text, None, None, f"{error}."
    search = find_plan(task, options.limits, options.heuristic)
    if search.status != "unsolvable":
        return text, problem, search, ""
    if not search.unreachable:
        return text, problem, search, "No sequence of actions reaches the goal."
    goals = " ".join(map(show_atom, search.unreachable))
    fault = f"No sequence of actions makes {goals} true."
    if candidates := missing_atoms(domain, problem):
        named = " ".join(map(show_atom, candidates[:_NAMED]))
        more = f" or {len(candidates) - _NAMED} others" if len(candidates) > _NAMED else ""
        fault += f" The goal may be reachable if :init also holds one of {named}{more}."
    return text, problem, search, fault


def describe_plan(
    plan: Sequence[Atom], domain: Domain, sentences: Mapping[str, str] | None = None
) -> str:
    r"""Return a plan in words, one step a line.

    Args:
      plan: steps such as ("stack", "a", "b").
      domain: the names of the parameters.
      sentences: what to write for each action, with parameters in braces: "Pick up {ob}."; actions
        without a sentence are written as they are.

    Raises:
      ConfigError: a sentence for an unknown action or with an unknown parameter.
      DataError: a step of an unknown action.

    Example:
      >>> from jaxrec.prompting import read_domain
      >>> lamps = read_domain('''(define (domain lamps) (:predicates (lit ?x))
      ...   (:action light :parameters (?x) :effect (lit ?x)))''')
      >>> print(describe_plan([("light", "a")], lamps, {"light": "Light lamp {x}."}))
      Light lamp a.
    """
    sentences = sentences or {}
    for name, sentence in sentences.items():
        if name not in domain.actions:
            known = ", ".join(domain.actions)
            raise ConfigError(f"a sentence for the unknown action {name!r}; actions: {known}")
        names = [variable[1:] for variable, _ in domain.actions[name].parameters]
        try:
            sentence.format(**dict.fromkeys(names, ""))
        except (KeyError, IndexError, ValueError):
            raise ConfigError(
                f"the sentence {sentence!r} of {name} has a bad parameter; write "
                f"{', '.join('{' + one + '}' for one in names) or 'no parameters'}"
            ) from None
    lines = []
    for step in plan:
        schema = domain.actions.get(step[0])
        if schema is None or len(step) - 1 != len(schema.parameters):
            raise DataError(
                f"{show_atom(step)} is no step of the domain {domain.name}; validate the plan first"
            )
        names = [variable[1:] for variable, _ in schema.parameters]
        values = dict(zip(names, step[1:], strict=True))
        written = sentences.get(step[0])
        lines.append(" ".join(step) if written is None else written.format(**values))
    return "\n".join(lines)


def translate_plan(
    model: LanguageModel,
    text: str,
    plan: Sequence[Atom],
    options: GenerateOptions = _SENTENCES,
) -> tuple[tuple[str, ...], Usage]:
    """Let a language model write a plan in words.

    Args:
      model: writes the sentences.
      text: the problem in words.
      plan: its steps.
      options: how the model writes.

    Returns:
      One sentence for each step, and what they have cost.

    Raises:
      DataError: the number of lines in the answer is not the number of steps; `describe_plan`
        describes a plan without a model.

    Example:
      >>> from jaxrec.prompting import ScriptedModel
      >>> model = ScriptedModel(lambda prompt, sample: "Light lamp a.")
      >>> translate_plan(model, "Lamp a should be lit.", [("light", "a")])[0]
      ('Light lamp a.',)
    """
    steps = "\n".join(map(show_atom, plan))
    prompt = (
        f"Problem: {text.strip()}\nThis plan solves the problem:\n{steps}\nWrite each step as one "
        "sentence in plain English, one step a line.\n"
    )
    reply = model.generate([prompt], options)[0]
    lines = tuple(line.strip() for line in reply.text.splitlines() if line.strip())
    if len(lines) != len(plan):
        raise DataError(
            f"the model wrote {len(lines)} lines for a plan of {len(plan)} steps, expected one "
            "for each step; use describe_plan"
        )
    return lines, reply.usage
