"""The reader of PDDL accepts STRIPS with types, and names everything else."""

import pytest

from jaxrec.core import DataError
from jaxrec.prompting import find_definition, read_domain, read_problem

DOMAIN = """
(define (domain depot) ; a comment with a )
  (:requirements :strips :typing :negative-preconditions)
  (:types truck van - vehicle vehicle place)
  (:constants home - place)
  (:predicates (At ?v - vehicle ?p - place) (broken ?v - vehicle) (quiet))
  (:action drive :parameters (?v - vehicle ?from ?to - place)
    :precondition (and (at ?v ?from) (not (broken ?v)))
    :effect (and (at ?v ?to) (not (at ?v ?from)))))
"""
PROBLEM = """(define (problem one) (:domain depot) (:objects t - truck inn - place)
  (:init (at t inn)) (:goal (and (at t home) (not (broken t)))))"""


def test_a_domain_with_types_constants_and_negations_is_read():
    domain = read_domain(DOMAIN)
    assert domain.types == {
        "truck": "vehicle",
        "van": "vehicle",
        "vehicle": "object",
        "place": "object",
    }
    assert domain.predicates == {"at": ("vehicle", "place"), "broken": ("vehicle",), "quiet": ()}
    drive = domain.actions["drive"]
    assert drive.parameters == (("?v", "vehicle"), ("?from", "place"), ("?to", "place"))
    assert (drive.needs, drive.forbids) == ((("at", "?v", "?from"),), (("broken", "?v"),))
    assert (drive.adds, drive.deletes) == ((("at", "?v", "?to"),), (("at", "?v", "?from"),))
    assert domain.is_a("truck", "vehicle") and domain.is_a("truck", "object")
    assert not domain.is_a("vehicle", "truck") and not domain.is_a("place", "vehicle")


def test_a_problem_has_the_objects_of_its_domain_too():
    problem = read_problem(PROBLEM, read_domain(DOMAIN))
    assert problem.objects == {"home": "place", "t": "truck", "inn": "place"}
    assert problem.init == {("at", "t", "inn")}
    assert (problem.goal, problem.goal_not) == ((("at", "t", "home"),), (("broken", "t"),))


@pytest.mark.parametrize("name", ["blocksworld", "grippers"])
def test_published_domains_and_problems_are_read(real_data, name):
    folder = real_data("llm-pddl") / name
    domain = read_domain((folder / "domain.pddl").read_text())
    expected = {
        "blocksworld": {"pickup", "putdown", "stack", "unstack"},
        "grippers": {"move", "pick", "drop"},
    }
    assert set(domain.actions) == expected[name]
    for path in sorted(folder.glob("p*.pddl")):
        problem = read_problem(path.read_text(), domain)
        assert problem.init and problem.goal


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (":negative-preconditions", ":adl", r"the requirement :adl is not supported; req"),
        ("(quiet))", "(quiet)) (:functions (cost))", r"has the part ':functions', which is not"),
        ("(not (broken ?v))", "(not (= ?from ?to))", r"action drive: \(= \?from \?to\) is not"),
        ("(not (broken ?v))", "(or (quiet) (quiet))", r"\(or \(quiet\) \(quiet\)\) is not supp"),
        ("(not (broken ?v))", "(not (and (quiet)))", r"\(not \(and \(quiet\)\)\) is not supported"),
        ("(at ?v ?to)", "(when (quiet) (quiet))", r"\(when \(quiet\) \(quiet\)\) is not supported"),
        ("(at ?v ?to)", "(increase (quiet) 1)", r"\(increase \(quiet\) 1\) is not supported"),
        ("?to - place)", "?to - (either place van))", r"a choice of types \(either \.\.\.\)"),
        (
            "(broken ?v))",
            "(broken ?w))",
            r"unknown variable '\?w' in \(broken \?w\); variables: \?v, ",
        ),
        ("(at ?v ?to)", "(att ?v ?to)", r"unknown predicate 'att', did you mean 'at'\?"),
        ("(at ?v ?to)", "(at ?v)", r"action drive: \(at \?v\) has 1 arguments, expected 2"),
        ("(at ?v ?to)", "(at ?to ?v)", r"\?to in \(at \?to \?v\) has the type place, expected veh"),
        (":effect", ":efect", r"the action drive has :efect, where one of"),
        ("?p - place)", "?p - plaec)", r"unknown type 'plaec', did you mean 'place'\?"),
        ("(?v - vehicle ?from", "(v - vehicle ?from", r"different names that begin with '\?'"),
        ("vehicle place)", "vehicle - truck place)", r"the type 'truck' lies below itself"),
        ("(define (domain depot)", "(define (problem depot)", r"this is no domain; it must begin"),
    ],
)
def test_a_domain_beyond_strips_or_with_a_slip_is_refused_by_name(old, new, message):
    assert DOMAIN.count(old) >= 1
    with pytest.raises(DataError, match=message):
        read_domain(DOMAIN.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (":domain depot", ":domain blocks", r"belongs to the domain blocks; write \(:domain depot"),
        ("(at t inn))", "(at u inn) (at t pub))", r"object 'u' in .*; :init: unknown object 'pub'"),
        (
            "(at t home)",
            "(at home t)",
            r":goal: home in \(at home t\) has the type place, expected",
        ),
        ("(at t inn))", "(not (at t inn)))", r":init holds \(not \(at t inn\)\), but it lists"),
        ("(:init (at t inn))", "", r"the problem one has no :init; add \(:init"),
        ("t - truck", "t t - truck", r":objects names 't' twice"),
        ("(:goal", "(:metric minimize (total)) (:goal", r"has the part ':metric', which is not"),
        ("t - truck", "t - car", r"unknown type 'car'; types: object, truck, van"),
        ("(not (broken t)))", "(not (broken t))) (quiet)", r":goal must hold one condition"),
    ],
)
def test_a_problem_with_a_slip_is_refused_by_name(old, new, message):
    assert old in PROBLEM
    with pytest.raises(DataError, match=message):
        read_problem(PROBLEM.replace(old, new, 1), read_domain(DOMAIN))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("(define (problem p)\n(:domain d", r"line 2: this \( is never closed"),
        ("(define (problem p)))", r"line 1: this \) closes nothing"),
        ("(define)\n(define)", r"line 2: '\(' stands after the end"),
        ("define", r"'define' stands outside of all brackets"),
        ("; nothing", r"there is no bracketed definition"),
        ("(" * 5000, r"line 1: brackets are nested more than 50 deep"),
    ],
)
def test_brackets_that_do_not_match_are_named_by_their_line(text, message):
    with pytest.raises(DataError, match=message):
        read_domain(text)


def test_the_definition_is_found_between_its_outermost_brackets():
    wrapped = f"Sure (as asked):\n```pddl\n{PROBLEM}\n```\nNote: (none)."
    assert find_definition(wrapped) == PROBLEM
    # A bracket in a comment does not count, and what is never closed is kept for the reader.
    assert find_definition("x (define ; )\n (a)) y") == "(define ; )\n (a))"
    assert find_definition("x (define (a) y") == "(define (a)"
    with pytest.raises(DataError, match="no bracketed definition"):
        find_definition("I cannot do that.")


def test_a_message_about_many_faults_stays_short():
    init = " ".join(f"(at t pub{n})" for n in range(500))
    with pytest.raises(DataError, match="and 495 more faults") as raised:
        read_problem(PROBLEM.replace("(at t inn)", init), read_domain(DOMAIN))
    assert len(str(raised.value)) < 600
