"""LLM+P from end to end, with a scripted model that makes the usual mistakes."""

import dataclasses
import re

import pytest

from jaxrec.core import ConfigError, DataError
from jaxrec.prompting import (
    GenerateOptions,
    LlmPlanOptions,
    PlanLimits,
    PlanningExample,
    ScriptedModel,
    describe_plan,
    ground,
    missing_atoms,
    plan_from_text,
    read_domain,
    read_problem,
    translate_plan,
    validate_plan,
)

DOMAIN = """(define (domain blocks) (:predicates (clear ?x) (on-table ?x) (arm-empty) (holding ?x)
    (on ?x ?y))
  (:action pickup :parameters (?ob)
    :precondition (and (clear ?ob) (on-table ?ob) (arm-empty))
    :effect (and (holding ?ob) (not (clear ?ob)) (not (on-table ?ob)) (not (arm-empty))))
  (:action stack :parameters (?ob ?under) :precondition (and (clear ?under) (holding ?ob))
    :effect (and (arm-empty) (clear ?ob) (on ?ob ?under) (not (clear ?under))
      (not (holding ?ob)))))"""
GOOD = """(define (problem two) (:domain blocks) (:objects red blue)
  (:init (on-table red) (on-table blue) (clear red) (clear blue) (arm-empty))
  (:goal (on red blue)))"""
EXAMPLE = PlanningExample("Put a on b.", GOOD.replace("red", "a").replace("blue", "b"))
TEXT = "Two blocks, red and blue, are on the table. Put red on blue."
PLAN = (("pickup", "red"), ("stack", "red", "blue"))


def answers(*texts):
    """A model that gives one text after the other."""
    waiting = list(texts)
    return ScriptedModel(lambda prompt, sample: waiting.pop(0))


def test_gold_problems_are_solved_from_their_words(real_data):
    folder = real_data("llm-pddl") / "blocksworld"
    gold = {
        (folder / f"p0{n}.nl").read_text().strip(): (folder / f"p0{n}.pddl").read_text()
        for n in range(1, 6)
    }

    def write(prompt, sample):
        (problem,) = [pddl for text, pddl in gold.items() if text in prompt]
        return f"The problem PDDL is:\n{problem}\nI hope (this) helps."

    domain_text = (folder / "domain.pddl").read_text()
    example = PlanningExample(
        (folder / "p_example.nl").read_text(), (folder / "p_example.pddl").read_text()
    )
    domain = read_domain(domain_text)
    model = ScriptedModel(write)
    lengths = []
    for text, pddl in gold.items():
        found = plan_from_text(model, domain_text, text, example)
        assert validate_plan(domain, read_problem(pddl, domain), found.plan).valid
        lengths.append(len(found.plan))
    # The lengths that pyperplan's A* finds for the same files.
    assert lengths == [0, 6, 6, 12, 8]
    assert len(model.calls) == 5
    for call in model.calls:
        places = [call.prompt.find(part.strip()) for part in (domain_text, example.text)]
        assert 0 <= places[0] < places[1] < call.prompt.find("Write the problem PDDL")


@pytest.mark.parametrize(
    ("faulty", "named"),
    [
        (GOOD[:-2], r"line 3: this \( is never closed"),
        (GOOD.replace("(on red blue)", "(on red green)"), r"unknown object 'green'"),
        (GOOD.replace("(clear red)", "(free red)"), r"unknown predicate 'free'"),
        (GOOD.replace("(arm-empty)", ""), r"makes \(on red blue\) true.*one of \(arm-empty\)"),
        (GOOD.replace("(on-table red)", ""), r"also holds one of .*\(on-table red\)"),
        (GOOD.replace("(on red blue)", "(and (on red blue) (on blue red))"), r"No sequence"),
        ("I cannot do that.", r"no bracketed definition"),
    ],
)
def test_a_faulty_problem_is_named_and_corrected_once(faulty, named):
    model = answers(faulty, GOOD)
    found = plan_from_text(model, DOMAIN, TEXT, EXAMPLE)
    assert (found.status, found.plan) == ("solved", PLAN)
    assert len(found.faults) == 1 and re.search(named, found.faults[0])
    # The model reads its own answer and the fault.
    assert found.faults[0] in model.calls[1].prompt and faulty in model.calls[1].prompt
    assert model.calls[1].prompt.startswith(model.calls[0].prompt)
    assert found.usage.calls == 2


def test_faults_are_counted_and_the_last_one_decides():
    found = plan_from_text(answers("no", GOOD[:-2]), DOMAIN, TEXT, EXAMPLE)
    assert (found.status, found.plan, len(found.faults)) == ("unreadable", (), 2)
    once = LlmPlanOptions(repairs=0)
    lacking = GOOD.replace("(arm-empty)", "")
    found = plan_from_text(answers(lacking), DOMAIN, TEXT, EXAMPLE, once)
    assert (found.status, found.usage.calls) == ("unsolvable", 1)
    assert found.problem_text == lacking
    tight = LlmPlanOptions(limits=PlanLimits(nodes=1), heuristic="blind")
    found = plan_from_text(answers(GOOD), DOMAIN, TEXT, None, tight)
    assert (found.status, found.faults) == ("nodes", ())


def test_a_bad_domain_or_example_is_refused_before_the_model_is_asked():
    model = answers()
    with pytest.raises(DataError, match="never closed"):
        plan_from_text(model, DOMAIN[:-1], TEXT, EXAMPLE)
    with pytest.raises(DataError, match="unknown predicate"):
        bad = PlanningExample("Put a on b.", EXAMPLE.problem.replace("(clear a)", "(free a)"))
        plan_from_text(model, DOMAIN, TEXT, bad)
    with pytest.raises(ConfigError, match=r"generate\.n must be 1, got 2"):
        LlmPlanOptions(generate=GenerateOptions(n=2, temperature=1.0))
    assert model.calls == []


def test_atoms_that_could_be_missing_are_those_that_make_the_goal_possible():
    domain = read_domain(DOMAIN)
    lacking = read_problem(GOOD.replace("(arm-empty)", "").replace("(clear blue)", ""), domain)
    # Whoever holds blue can lay it down on red, after which the hand is empty and blue is clear.
    assert missing_atoms(domain, lacking) == (("holding", "blue"),)
    nothing = dataclasses.replace(lacking, init=frozenset())
    assert missing_atoms(domain, nothing) == ()
    one = read_problem(GOOD.replace("(clear blue)", ""), domain)
    assert ("clear", "blue") in missing_atoms(domain, one)
    assert missing_atoms(domain, read_problem(GOOD, domain)) == ()


def test_missing_atoms_are_those_with_which_the_goal_is_grounded(real_data):
    folder = real_data("llm-pddl")
    for name in ("blocksworld", "grippers"):
        domain = read_domain((folder / name / "domain.pddl").read_text())
        whole = read_problem((folder / name / "p02.pddl").read_text(), domain)
        for atom in sorted(whole.init):
            lacking = dataclasses.replace(whole, init=whole.init - {atom})
            found = missing_atoms(domain, lacking)
            reachable = not ground(domain, lacking).unreachable
            assert (atom in found) == (not reachable and atom not in whole.goal)
            assert bool(found) != reachable
            for other in found[:5]:
                richer = dataclasses.replace(lacking, init=lacking.init | {other})
                assert not ground(domain, richer).unreachable


def test_a_plan_is_told_in_words():
    domain = read_domain(DOMAIN)
    words = describe_plan(PLAN, domain, {"stack": "Put {ob} on {under}."})
    assert words == "pickup red\nPut red on blue."
    with pytest.raises(ConfigError, match=r"bad parameter; write \{ob\}, \{under\}"):
        describe_plan(PLAN, domain, {"stack": "Put {x}."})
    with pytest.raises(ConfigError, match="unknown action 'stak'"):
        describe_plan(PLAN, domain, {"stak": ""})
    with pytest.raises(DataError, match=r"\(fly red\) is no step"):
        describe_plan([("fly", "red")], domain)
    model = answers("Take red.\n\nPut it on blue.", "Just do it.")
    lines, usage = translate_plan(model, TEXT, PLAN)
    assert lines == ("Take red.", "Put it on blue.") and usage.calls == 1
    assert "(pickup red)\n(stack red blue)" in model.calls[0].prompt
    with pytest.raises(DataError, match="wrote 1 lines for a plan of 2 steps"):
        translate_plan(model, TEXT, PLAN)
