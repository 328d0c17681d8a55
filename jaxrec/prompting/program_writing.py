"""Reflexion for programs: the model writes a function and its own tests, and corrects itself.

(Shinn et al. 2023, arXiv:2303.11366, section 4.3.) The model never sees the tests that the program
is measured by: `write_program` does not take them, and `score_program` reads them once, at the end.
A program may pass its own tests and fail the hidden ones, because a model's tests may be wrong;
`ProgramScore.false_positive` says so.
"""

import ast
import dataclasses
import re
import warnings
from collections.abc import Callable
from typing import Protocol

from jaxrec.core import ConfigError, Count, check_ranges
from jaxrec.prompting.language_model import GenerateOptions, LanguageModel, Usage
from jaxrec.prompting.reflexion import (
    Attempt,
    ReflexionOptions,
    Trial,
    TrialContext,
    Verdict,
    language_reflection,
    run_reflexion,
)

_FENCE = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL | re.IGNORECASE)
# What the parser raises: too deep a nesting and NUL bytes are not syntax errors.
_NOT_PYTHON = (SyntaxError, ValueError, RecursionError, MemoryError)


class ProgramOutcome(Protocol):
    """How a program ended."""

    @property
    def ok(self) -> bool:
        """Whether it ran to its end."""
        ...

    @property
    def message(self) -> str:
        """The error; "" without one."""
        ...


# Runs a program in a sandbox.
Runner = Callable[[str], ProgramOutcome]


@dataclasses.dataclass(frozen=True)
class ProgramTask:
    """A function to write.

    Attributes:
      prompt: its signature and docstring, as Python text.
      name: the function's name.

    Raises:
      ConfigError: a name that is no name of Python.
    """

    prompt: str
    name: str

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ConfigError(f"name must be the name of a function, got {self.name!r}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProgramOptions:
    """How a program is written.

    Attributes:
      reflexion: trials, memory and strategy.
      tests: most tests that the model writes for itself.
      generate: how the model writes programs, tests and lessons; one continuation.

    Raises:
      ConfigError: a number out of range, or several continuations.

    Example:
      >>> ProgramOptions(tests=4).reflexion.trials
      3
    """

    reflexion: ReflexionOptions = ReflexionOptions()
    tests: Count = 6
    generate: GenerateOptions = GenerateOptions(max_tokens=512)

    def __post_init__(self) -> None:
        check_ranges(self, "ProgramOptions.")
        if self.generate.n != 1:
            raise ConfigError(
                f"ProgramOptions.generate.n must be 1, got {self.generate.n}; each attempt is one "
                "continuation"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class WrittenProgram:
    """A program that a model wrote.

    Attributes:
      code: the last attempt as Python text.
      tests: the tests that the model wrote for itself.
      trials: all attempts.
      usage: what they have cost.
    """

    code: str
    tests: tuple[str, ...]
    trials: tuple[Trial, ...]
    usage: Usage = Usage()

    @property
    def believed(self) -> bool:
        """Whether the program passed its own tests, of which there is at least one."""
        return bool(self.tests) and self.trials[-1].verdict.success


@dataclasses.dataclass(frozen=True)
class ProgramScore:
    """How a program did on the hidden tests.

    Attributes:
      program: what was measured.
      passed: whether the hidden tests ran to their end.
      message: the error; "" without one.
    """

    program: WrittenProgram
    passed: bool
    message: str = ""

    @property
    def false_positive(self) -> bool:
        """Whether the program passed its own tests and failed the hidden ones."""
        return self.program.believed and not self.passed


def write_program(
    model: LanguageModel,
    task: ProgramTask,
    runner: Runner,
    options: ProgramOptions = ProgramOptions(),
) -> WrittenProgram:
    r"""Let a model write a function, with tests of its own and lessons from failures.

    Args:
      model: writes tests, programs and lessons.
      task: the function.
      runner: runs a program, such as the sandbox of `jaxrec.core`; it is given the function and one
        test.
      options: trials and tests.

    Returns:
      The program. Without a test that can be used, the first program that defines the function is
      returned, and it is not believed.

    Source: Shinn et al. 2023, arXiv:2303.11366, section 4.3.

    Example:
      >>> import types
      >>> from jaxrec.prompting import ProgramTask, ScriptedModel, write_program
      >>> def answer(prompt, sample):
      ...     if "assert" in prompt:
      ...         return "assert double(3) == 6"
      ...     return f"def double(x):\n    return x {'*' if 'multiply' in prompt else '+'} 2"
      >>> model = ScriptedModel(
      ...     lambda p, n: "I must multiply." if p.endswith("Lesson:") else answer(p, n))
      >>> def run(code):
      ...     try:
      ...         exec(code, {})
      ...     except AssertionError:
      ...         return types.SimpleNamespace(ok=False, message="AssertionError")
      ...     return types.SimpleNamespace(ok=True, message="")
      >>> task = ProgramTask("def double(x):", "double")
      >>> [trial.verdict.success for trial in write_program(model, task, run).trials]
      [False, True]
    """
    reply = model.generate([_tests_prompt(task, options.tests)], options.generate)[0]
    tests = read_tests(reply.text, task.name)[: options.tests]

    def act(context: TrialContext) -> Attempt:
        own = dataclasses.replace(options.generate, seed=options.generate.seed + context.trial)
        written = model.generate([_program_prompt(task, context)], own)[0]
        return Attempt(read_program(written.text, task), written.usage)

    def evaluate(attempt: Attempt) -> Verdict:
        if fault := _fault(attempt.text, task.name):
            return Verdict(False, fault)
        return run_tests(attempt.text, tests, runner)

    reflect = language_reflection(model, task.prompt, options.generate)
    result = run_reflexion(act, evaluate, reflect, options.reflexion)
    return WrittenProgram(
        code=result.trials[-1].attempt.text,
        tests=tests,
        trials=result.trials,
        usage=reply.usage + result.usage,
    )


def score_program(
    program: WrittenProgram, hidden_tests: Callable[[], str], runner: Runner
) -> ProgramScore:
    """Run the hidden tests of a program: those that the model did not see when it wrote it.

    Args:
      program: what `write_program` made; it is not changed any more.
      hidden_tests: reads the tests, as Python text that raises an error where the program is wrong;
          it is called once.
      runner: runs the program and the tests together.

    Returns:
      Whether the program passed.

    Example:
      >>> import types
      >>> program = WrittenProgram(code="def one(): return 1", tests=(), trials=())
      >>> run = lambda code: types.SimpleNamespace(ok="assert one() == 1" in code, message="")
      >>> score_program(program, lambda: "assert one() == 1", run).passed
      True
    """
    outcome = runner(f"{program.code}\n\n{hidden_tests()}\n")
    return ProgramScore(program, outcome.ok, outcome.message)


def run_tests(code: str, tests: tuple[str, ...], runner: Runner) -> Verdict:
    """Run a program with each of its tests, in a process each.

    Args:
      code: the program.
      tests: assertions.
      runner: runs a program.

    Returns:
      Success if all pass; the signal lists those that passed and those that failed, with errors.

    Example:
      >>> import types
      >>> run = lambda code: types.SimpleNamespace(ok="2" in code, message="AssertionError")
      >>> print(run_tests("one = 1", ("assert one == 1", "assert one < 2"), run).signal)
      Tests that pass:
      assert one < 2
      Tests that fail:
      assert one == 1  # AssertionError
    """
    passed, failed = [], []
    for test in tests:
        outcome = runner(f"{code}\n\n{test}\n")
        if outcome.ok:
            passed.append(test)
        else:
            failed.append(f"{test}  # {' '.join(outcome.message.split()) or 'failed'}")
    lines = ["Tests that pass:", *(passed or ["none"]), "Tests that fail:", *(failed or ["none"])]
    return Verdict(not failed, "\n".join(lines))


def read_tests(text: str, name: str) -> tuple[str, ...]:
    r"""Return the assertions in a model's answer that parse and call the function.

    Args:
      text: Python text, maybe in a fence, or lines of which some are assertions.
      name: the function.

    Returns:
      Different assertions in their order, as Python writes them.

    Example:
      >>> read_tests("Tests:\nassert f(1)==2\nassert f(\nassert f(1) == 2\nassert 1 == 1", "f")
      ('assert f(1) == 2',)
    """
    code = _code(text)
    trees = _statements(code)
    if trees is None:
        trees = [tree for line in code.splitlines() for tree in _statements(line.strip()) or []]
    found = [
        ast.unparse(tree)
        for tree in trees
        if isinstance(tree, ast.Assert)
        and any(
            isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
            for node in ast.walk(tree)
        )
    ]
    return tuple(dict.fromkeys(found))


def read_program(text: str, task: ProgramTask) -> str:
    r"""Return the program in a model's answer.

    Args:
      text: a whole function, maybe in a fence, or the body that continues the task's prompt.
      task: the function.

    Returns:
      Python text that defines the function, or else the answer as it is.

    Example:
      >>> task = ProgramTask("def one():\n", "one")
      >>> print(read_program("    return 1", task))
      def one():
          return 1
    """
    code = _code(text)
    whole = f"{task.prompt.rstrip()}\n{code}"
    # Only indented text continues the prompt; other text would leave the function without a body.
    continues = code.lstrip("\n")[:1] in (" ", "\t")
    return whole if continues and not _fault(whole, task.name) else code


def _code(text: str) -> str:
    fenced = _FENCE.search(text)
    return (fenced.group(1) if fenced else text).rstrip()


def _statements(code: str) -> list[ast.stmt] | None:
    """The statements of Python text; None if it does not parse."""
    try:
        return _parse(code)
    except _NOT_PYTHON:
        return None


def _parse(code: str) -> list[ast.stmt]:
    # Doubtful escapes in a model's strings are no concern of the caller.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(code).body


def _fault(code: str, name: str) -> str:
    """Why a program cannot be tested; "" if it can."""
    try:
        body = _parse(code)
    except _NOT_PYTHON as error:
        return f"The program does not parse: {error}"
    defined = [node.name for node in body if isinstance(node, ast.FunctionDef)]
    return "" if name in defined else f"The program does not define the function {name}."


def _tests_prompt(task: ProgramTask, count: int) -> str:
    return (
        f"{task.prompt.rstrip()}\n\nWrite up to {count} tests of this function, one a line, each "
        f"an assertion such as: assert {task.name}(...) == ...\n"
    )


def _program_prompt(task: ProgramTask, context: TrialContext) -> str:
    return f"{context.text}Write this Python function. Answer with code alone.\n\n{task.prompt}\n"
