"""Reflexion: lessons help where they are read, memory is bounded, hidden tests stay hidden."""

import types

import pytest

from jaxrec.core import ConfigError
from jaxrec.prompting import (
    Attempt,
    GenerateOptions,
    ProgramOptions,
    ProgramTask,
    ReflexionOptions,
    ScriptedModel,
    TrialContext,
    Usage,
    Verdict,
    language_actor,
    language_reflection,
    read_program,
    read_tests,
    run_reflexion,
    score_program,
    write_program,
)

TASK = "Which key opens the door?"


def door(prompt, sample):
    """Tries the red key, until it reads that the red key is wrong."""
    if prompt.endswith("Lesson:"):
        assert "the lock did not turn" in prompt and "I take the red key." in prompt
        return " The red key\ndoes not fit. "
    return "I take the blue key." if "red key does not fit" in prompt else "I take the red key."


def judge(attempt):
    good = "blue" in attempt.text
    return Verdict(good, "" if good else "the lock did not turn")


def outcome(strategy, trials=4, answer=door):
    model = ScriptedModel(answer)
    options = GenerateOptions(temperature=0.5)
    result = run_reflexion(
        language_actor(model, TASK, options),
        judge,
        language_reflection(model, TASK, options),
        ReflexionOptions(trials=trials, strategy=strategy),
    )
    return result, model


@pytest.mark.parametrize("strategy", ["reflexion", "both"])
def test_a_lesson_that_names_the_mistake_helps_on_the_second_trial(strategy):
    result, model = outcome(strategy)
    assert [trial.verdict.success for trial in result.trials] == [False, True]
    assert result.trials[1].context.lessons == ("The red key does not fit.",)
    assert result.success and result.usage.calls == len(model.calls) == 3
    assert ("I take the red key." in model.calls[2].prompt) == (strategy == "both")


@pytest.mark.parametrize("strategy", ["none", "last_attempt"])
def test_without_memory_the_mistake_is_made_each_time(strategy):
    result, model = outcome(strategy)
    assert [trial.verdict.success for trial in result.trials] == [False] * 4
    # Self-reflection is not asked for what nobody reads.
    assert not any(call.prompt.endswith("Lesson:") for call in model.calls)
    prompts = [call.prompt for call in model.calls]
    assert prompts[0] == TASK and ("the lock did not turn" in prompts[1]) == (
        strategy == "last_attempt"
    )
    assert len(set(prompts)) == (1 if strategy == "none" else 2)


def test_the_memory_keeps_the_last_lessons_alone():
    seen = []

    def actor(context):
        seen.append(context.lessons)
        return Attempt(str(context.trial), Usage(calls=1))

    result = run_reflexion(
        actor,
        lambda attempt: Verdict(False),
        lambda attempt, verdict, lessons: Attempt(f"not {attempt.text}", Usage(calls=10)),
        ReflexionOptions(trials=5, memory=2),
    )
    assert seen == [
        (),
        ("not 0",),
        ("not 0", "not 1"),
        ("not 1", "not 2"),
        ("not 2", "not 3"),
    ]
    # The last failure has no trial after it and makes no lesson.
    assert [trial.lesson for trial in result.trials][-2:] == ["not 3", ""]
    assert result.usage.calls == 5 + 4 * 10 and not result.success


def test_attempts_draw_with_seeds_of_their_own():
    seeds = []

    class Recording(ScriptedModel):
        def generate(self, prompts, options):
            seeds.append(options.seed)
            return super().generate(prompts, options)

    actor = language_actor(Recording(), TASK, GenerateOptions(seed=7))
    for trial in range(3):
        actor(TrialContext(trial=trial))
    assert seeds == [7, 8, 9]


def test_bad_options_are_refused():
    with pytest.raises(ConfigError, match=r"got 'reflection', did you mean 'reflexion'\?"):
        ReflexionOptions(strategy="reflection")
    with pytest.raises(ConfigError, match="trials must be at least 1"):
        ReflexionOptions(trials=0)
    several = GenerateOptions(n=2, temperature=1.0)
    for make in (language_actor, language_reflection):
        with pytest.raises(ConfigError, match="n must be 1, got 2"):
            make(ScriptedModel(), TASK, several)
    with pytest.raises(ConfigError, match=r"generate\.n must be 1, got 2"):
        ProgramOptions(generate=several)
    with pytest.raises(ConfigError, match="name of a function, got 'a b'"):
        ProgramTask("", "a b")


ABSOLUTE = ProgramTask('def distance(a, b):\n    """Absolute difference."""\n', "distance")
HIDDEN = "assert distance(9, 4) == 5\nassert distance(4, 9) == 5"


class Log:
    """Runs programs here, and writes down what runs and when the hidden tests are read."""

    def __init__(self):
        self.events = []

    def run(self, code):
        self.events.append("hidden run" if "distance(9, 4)" in code else "run")
        try:
            exec(code, {})
        except Exception as error:
            return types.SimpleNamespace(ok=False, message=f"{type(error).__name__}: {error}")
        return types.SimpleNamespace(ok=True, message="")

    def hidden(self):
        self.events.append("hidden read")
        return HIDDEN


def programmer(prompt, sample):
    if prompt.endswith("Lesson:"):
        self_tests = "assert distance(1, 3) == 2  # AssertionError" in prompt
        return "The result must not be negative; use abs." if self_tests else "?"
    if "Write up to" in prompt:
        return "```python\nassert distance(3, 1) == 2\nassert distance(1, 3) == 2\n```"
    body = "abs(a - b)" if "use abs" in prompt else "a - b"
    return f"Here:\n```python\ndef distance(a, b):\n    return {body}\n```"


def test_a_program_is_corrected_by_its_own_tests_and_scored_by_hidden_ones_at_the_end():
    log, model = Log(), ScriptedModel(programmer)
    program = write_program(model, ABSOLUTE, log.run)
    assert program.believed and len(program.trials) == 2
    assert "Tests that pass:\nassert distance(3, 1) == 2" in program.trials[0].verdict.signal
    assert "hidden read" not in log.events and "hidden run" not in log.events
    score = score_program(program, log.hidden, log.run)
    assert score.passed and not score.false_positive
    # Two tests in each of two trials, and then the hidden tests, once.
    assert log.events == ["run"] * 4 + ["hidden read", "hidden run"]
    assert not any("distance(9, 4)" in call.prompt for call in model.calls)
    assert program.usage.calls == len(model.calls) == 4


def test_without_lessons_the_program_stays_wrong():
    log = Log()
    options = ProgramOptions(reflexion=ReflexionOptions(strategy="none"))
    program = write_program(ScriptedModel(programmer), ABSOLUTE, log.run, options)
    score = score_program(program, log.hidden, log.run)
    assert not program.believed and not score.passed and len(program.trials) == 3
    assert score.message.startswith("AssertionError")


def test_weak_tests_of_its_own_give_a_false_positive():
    def careless(prompt, sample):
        if "Write up to" in prompt:
            return "assert distance(3, 1) == 2"
        return programmer(prompt, sample)

    log = Log()
    program = write_program(ScriptedModel(careless), ABSOLUTE, log.run)
    assert program.believed and len(program.trials) == 1
    assert score_program(program, log.hidden, log.run).false_positive


def test_a_program_without_usable_tests_is_not_believed():
    def silent(prompt, sample):
        return "none" if "Write up to" in prompt else programmer(prompt, sample)

    program = write_program(ScriptedModel(silent), ABSOLUTE, Log().run)
    assert program.tests == () and not program.believed and len(program.trials) == 1


def test_a_program_that_does_not_parse_or_define_the_function_is_not_run():
    answers = iter(["def distance(a, b)\n    return", "def far(a, b):\n    return 0"])

    def answer(prompt, sample):
        if "Answer with code alone" in prompt:
            return next(answers, "def distance(a, b):\n    return abs(a - b)")
        return programmer(prompt, sample)

    log = Log()
    program = write_program(ScriptedModel(answer), ABSOLUTE, log.run)
    signals = [trial.verdict.signal for trial in program.trials]
    assert "does not parse" in signals[0] and "define the function distance" in signals[1]
    assert program.believed and log.events == ["run"] * 2


def test_tests_are_read_by_their_syntax():
    text = (
        "Sure:\n```python\nfrom os import path\nassert f(1) == 1\nassert g(2) == 2\n"
        "assert f(1)==1\nassert [f(x) for x in (1, 2)] == [1, 2], 'no'\nf(3)\n```"
    )
    assert read_tests(text, "f") == (
        "assert f(1) == 1",
        "assert [f(x) for x in (1, 2)] == [1, 2], 'no'",
    )
    assert read_tests("1. no\nassert f('a\nassert f(2)", "f") == ("assert f(2)",)
    assert read_tests("\0", "f") == ()
    body = read_program('    return "x"', ProgramTask("def f():\n", "f"))
    assert body == 'def f():\n    return "x"'
    assert read_tests("assert f('\\d') == 1", "f") == ("assert f('\\\\d') == 1",)


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("actor", "blue", r"the actor must return an Attempt, got 'blue'; return Attempt\(text\)"),
        ("evaluator", False, "the evaluator must return a Verdict, got False"),
        ("reflection", "a lesson", "the reflection must return an Attempt, got 'a lesson'"),
    ],
)
def test_parts_must_return_what_the_trials_read(part, value, message):
    returns = {
        "actor": Attempt("red"),
        "evaluator": Verdict(False, "no"),
        "reflection": Attempt("lesson"),
    } | {part: value}
    with pytest.raises(ConfigError, match=message):
        run_reflexion(*(lambda *seen, name=name: returns[name] for name in returns))
