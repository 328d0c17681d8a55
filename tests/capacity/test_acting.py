"""Plans and episodes in a house, for models that know the way, that do not, and that look."""

import itertools
import math
import re

import networkx
import pytest

from jaxrec.capacity import (
    TASKS,
    Act,
    Errand,
    House,
    StudyOptions,
    ask_all,
    follow_plan,
    make_errand,
    make_errands,
    run_task,
)
from jaxrec.core import ConfigError
from jaxrec.prompting import ScriptedModel

STUDY = StudyOptions(limit=12, resamples=10)
ERRAND = Errand(
    doors=(("hall", "kitchen"), ("hall", "attic")),
    start=House(room="kitchen", places=(("ball", "attic"), ("cup", "kitchen"))),
    thing="cup",
    target="attic",
)
PLAN = ["take the cup", "go to the hall", "go to the attic", "put down the cup"]


def test_shortest_plans_have_the_length_of_the_ways():
    for seed in range(40):
        errand = make_errand(seed)
        house = networkx.Graph(errand.doors)
        lies = dict(errand.start.places)[errand.thing]
        way = networkx.shortest_path_length(house, errand.start.room, lies)
        back = networkx.shortest_path_length(house, lies, errand.target)
        assert len(errand.solution()) == way + back + 2
        assert follow_plan(errand, errand.solution()).success


@pytest.mark.parametrize(
    ("steps", "taken", "success"),
    [
        (PLAN, 4, True),
        (PLAN[:3], 3, False),
        ([], 0, False),
        (["go to the attic", *PLAN], 0, False),
        ([*PLAN[:2], "fly away", *PLAN[2:]], 2, False),
        ([*PLAN, "go to the hall"], 5, True),
        ([*PLAN, "take the cup"], 5, False),
        ([*PLAN, "go to the moon"], 4, False),
        (["TAKE THE CUP.", "Go to the  hall", *PLAN[2:]], 4, True),
        (["take the cup", "go to the hall", "put down the cup"], 3, False),
        (["take the ball"], 0, False),
        (["put down the cup"], 0, False),
    ],
)
def test_a_plan_is_followed_up_to_its_first_impossible_step(steps, taken, success):
    found = follow_plan(ERRAND, steps)
    assert (found.planned, found.taken, found.success) == (len(steps), taken, success)


def test_the_actions_of_a_state_are_those_that_can_be_taken():
    state = ERRAND.start
    words = ["hall", "kitchen", "attic", "cup", "ball"]
    every = [
        f"{verb} {word}"
        for verb, word in itertools.product(("go to the", "take the", "put down the"), words)
    ]
    for action in PLAN:
        possible = {a for a in every if not ERRAND.step(state, a).fault}
        assert possible == set(ERRAND.actions(state))
        state = ERRAND.step(state, action).state


def test_an_impossible_action_changes_nothing():
    found = ERRAND.step(ERRAND.start, "go to the attic")
    assert found.state == ERRAND.start
    assert found.fault == "there is no door from the kitchen to the attic"
    assert "did you mean 'take the cup'" in ERRAND.step(ERRAND.start, "takes the cup").fault


def test_a_model_sees_what_came_of_its_actions():
    parts = iter([" fly\n", *(f" {step}\n" for step in PLAN)])
    model = ScriptedModel(lambda prompt, sample: next(parts))
    (episode,) = ask_all(model, [Act("Action:", ERRAND)])
    assert (episode.success, episode.faults, len(episode.actions)) == (True, 1, 5)
    assert model.calls[1].prompt.startswith("Action: fly\nObservation: no action 'fly'")
    assert model.calls[2].prompt.endswith(f"Observation: {seen(PLAN[:1])}\nAction:")
    assert episode.usage.calls == 5


def seen(steps):
    state = ERRAND.start
    for step in steps:
        state = ERRAND.step(state, step).state
    return ERRAND.render(state)


def test_an_episode_without_end_is_a_failure():
    model = ScriptedModel(lambda prompt, sample: " go to the hall\n")
    (episode,) = ask_all(model, [Act("Action:", ERRAND, most_steps=3)])
    assert (episode.success, len(episode.actions), episode.faults) == (False, 3, 2)
    with pytest.raises(ConfigError, match="most_steps"):
        Act("Action:", ERRAND, most_steps=0)


def knows(prompt, sample):
    """It knows the plans of all errands by the words that describe them."""
    last = prompt.rpartition("There are doors")[2]
    errand = next(e for e in map(make_errand, range(100)) if last.startswith(e.describe()[15:]))
    if last.rstrip().endswith("Plan:"):
        return "\n".join(errand.solution())
    return f" {errand.solution()[last.count('Action:') - 1]}\n"


def figures(answer):
    found = run_task(ScriptedModel(answer), TASKS["errands"], None, STUDY).estimates
    return {name: estimate.value for name, estimate in found.items()}


def test_one_who_knows_the_way_is_at_the_ceiling():
    found = figures(knows)
    steps = [row["shortest"] for row in make_errands(12)]
    assert found.pop("steps") == pytest.approx(sum(steps) / 12)
    assert (found.pop("detour"), found.pop("faults")) == (0.0, 0.0)
    assert set(found.values()) == {1.0}


def test_one_who_writes_anything_is_at_the_floor():
    found = figures(lambda prompt, sample: " dance")
    assert found.pop("faults") == 1.0
    assert math.isnan(found.pop("steps"))
    assert math.isnan(found.pop("detour"))
    assert set(found.values()) == {0.0}


def test_a_plan_that_can_be_executed_may_miss_its_goal():
    def answer(prompt, sample):
        last = prompt.rpartition("There are doors")[2]
        return knows(prompt, 0).split("\n")[0] if last.rstrip().endswith("Plan:") else " wait"

    found = figures(answer)
    assert (found["plan_executable"], found["plan_success"], found["success"]) == (1.0, 0.0, 0.0)


def test_the_demonstrations_are_no_documents():
    model = ScriptedModel(lambda prompt, sample: " x")
    run_task(model, TASKS["errands"], None, STUDY)
    errands = [make_errand(row["seed"]).describe() for row in make_errands()]
    for call in model.calls:
        shown = call.prompt.rpartition("There are doors")[0]
        assert not any(text in shown for text in errands)
    # A shown episode is one that reaches its goal.
    actions = re.findall(r"Action: (.+)", model.calls[-1].prompt.split("Errand:")[1])
    assert actions[-1].startswith("put down the ")


def test_houses_that_cannot_be_are_rejected():
    for settings in ({"rooms": 1}, {"rooms": 9}, {"things": 0}):
        with pytest.raises(ConfigError, match="rooms"):
            make_errand(0, **settings)
    with pytest.raises(ConfigError, match="nobody can bring"):
        Errand(doors=(), start=ERRAND.start, thing="cup", target="attic").solution()
