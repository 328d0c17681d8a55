"""The agent loop: known numbers of steps, feedback, refinement and budgets."""

import collections
import dataclasses
import itertools
import random
import re

import pytest

from jaxrec.core import ConfigError
from jaxrec.prompting import (
    AgentParts,
    Budget,
    Comment,
    GenerateOptions,
    GridWorld,
    Observation,
    PddlWorld,
    Plan,
    Refinement,
    ScriptedModel,
    Tool,
    Usage,
    act_with_tools,
    by_backtracking,
    by_memory,
    find_plan,
    ground,
    language_critic,
    language_lessons,
    language_planner,
    read_domain,
    read_problem,
    run_agent,
    world_feedback,
)

MOVES = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}
INSTRUCTION = "Actions: up, down, left, right."
WALLED = ("S#.", ".#.", "..G")


def shortest(size, start, goal, blocked):
    """A shortest way over free cells, in the order of `MOVES`; () without one."""
    came, queue = {start: None}, collections.deque([start])
    while queue:
        cell = queue.popleft()
        if cell == goal:
            steps = []
            while came[cell]:
                cell, name = came[cell]
                steps.append(name)
            return tuple(reversed(steps))
        for name, (down, right) in MOVES.items():
            after = cell[0] + down, cell[1] + right
            inside = all(0 <= place < size for place in after)
            if inside and after not in blocked and after not in came:
                came[after] = cell, name
                queue.append(after)
    return ()


def walker(size, goal):
    """Knows the grid but for its walls, and reads them, and where it stands, from its prompt."""

    def answer(prompt, sample):
        walls = re.findall(r"(?:wall|pit) at row (\d+), column (\d+)", prompt)
        blocked = {(int(row), int(column)) for row, column in walls}
        (place,) = re.findall(r"State:\nYou are at row (\d+), column (\d+)", prompt)
        steps = shortest(size, tuple(map(int, place)), goal, blocked)
        return "\n".join(f"{n}. {step}" for n, step in enumerate(steps, 1))

    return ScriptedModel(answer)


def language_parts(size, goal, **changes):
    planner = language_planner(walker(size, goal), INSTRUCTION, GenerateOptions())
    return AgentParts(planner=planner, **changes)


def random_grid(rng, size=4):
    """A grid with walls and the length of its shortest way; None without a way."""
    cells = [[rng.choice("...#") for _ in range(size)] for _ in range(size)]
    cells[0][0], cells[-1][-1] = "S", "G"
    blocked = {(r, c) for r in range(size) for c in range(size) if cells[r][c] == "#"}
    way = shortest(size, (0, 0), (size - 1, size - 1), blocked)
    return GridWorld(tuple("".join(row) for row in cells)), way


def test_a_grid_is_solved_in_the_known_number_of_steps():
    result = run_agent(GridWorld(WALLED), "Reach G.", language_parts(3, (2, 2)))
    # Its first plan goes down twice and right twice, where there is no wall.
    assert (result.status, result.reason) == ("success", "goal")
    assert (result.steps, result.plans, result.trials) == (4, 1, 1)
    # From the other side, right and down meet two walls, each one step and one plan more.
    mirrored = GridWorld(("S..", "##.", "..G"))
    result = run_agent(mirrored, "Reach G.", language_parts(3, (2, 2)))
    actions = [record["action"] for record in result.records if record["kind"] == "act"]
    assert actions == ["down", "right", "down", "right", "down", "down"]
    assert (result.status, result.steps, result.plans) == ("success", 6, 3)
    assert result.usage.calls == 3


def test_blocks_are_stacked_in_as_many_steps_as_the_shortest_plan(real_data):
    folder = real_data("llm-pddl") / "blocksworld"
    domain = read_domain((folder / "domain.pddl").read_text())
    problem = read_problem((folder / "p04.pddl").read_text(), domain)

    def planner(view):
        atoms = frozenset(tuple(a.split()) for a in re.findall(r"\(([^)]*)\)", view.state))
        now = dataclasses.replace(problem, init=atoms)
        found = find_plan(ground(domain, now))
        return Plan(tuple(f"({' '.join(step)})" for step in found.plan))

    result = run_agent(PddlWorld(domain, problem), "Stack.", AgentParts(planner=planner))
    # 12 is the length that pyperplan's A* finds.
    assert (result.status, result.steps, result.plans) == ("success", 12, 1)
    # One action a plan, which reads every state: the same number of steps.
    single = AgentParts(planner=lambda view: Plan(planner(view).steps[:1]))
    result = run_agent(PddlWorld(domain, problem), "Stack.", single)
    assert (result.status, result.steps, result.plans) == ("success", 12, 12)


def test_a_world_of_pddl_names_what_an_action_lacks(real_data):
    folder = real_data("llm-pddl") / "blocksworld"
    domain = read_domain((folder / "domain.pddl").read_text())
    world = PddlWorld(domain, read_problem((folder / "p02.pddl").read_text(), domain))
    state = world.reset()
    for action, words in {
        "(pickup b2)": "(pickup b2): (clear b2) must be true and is false.",
        "(fly b2)": "unknown action 'fly'",
        "take b2": "'take b2' is no step; write a step such as (stack a b).",
    }.items():
        seen = world.step(state, action)
        assert words in seen.fault and seen.state == state and seen.status == "running"


def test_without_feedback_fewer_grids_are_solved():
    rng = random.Random(0)
    grids = [pair for pair in (random_grid(rng) for _ in range(40)) if pair[1]][:20]
    budget = Budget(steps=100, plans=50)
    solved = {}
    for name, feedback in (("with", (world_feedback,)), ("without", ())):
        parts = language_parts(4, (3, 3), feedback=feedback)
        results = [run_agent(world, "Reach G.", parts, budget) for world, _ in grids]
        assert all(
            result.steps >= len(way) for result, (_, way) in zip(results, grids, strict=True)
        )
        solved[name] = sum(result.status == "success" for result in results)
    assert len(grids) == solved["with"] == 20
    # A blind planner solves at least those whose first plan meets no wall.
    blind = shortest(4, (0, 0), (3, 3), set())
    lucky = 0
    for world, _ in grids:
        state, free = world.reset(), True
        for action in blind:
            seen = world.step(state, action)
            state, free = seen.state, free and not seen.fault
        lucky += free
    assert 0 < lucky <= solved["without"] < solved["with"]


def test_backtracking_restores_states_and_finds_the_way_out_of_dead_ends():
    # A planner that always takes the first move that is not ruled out.
    def first(view):
        return Plan(tuple(name for name in MOVES if name not in view.banned)[:1])

    def dead_end(view, action, observation):
        comment = world_feedback(view, action, observation)
        if observation.state in visited:
            return Comment("You were here before.", True)
        visited.add(observation.state)
        return comment

    rng = random.Random(1)
    budget = Budget(steps=300, plans=300)
    outcomes = collections.Counter()
    for _ in range(15):
        world, way = random_grid(rng)
        visited = {world.reset()}
        parts = AgentParts(planner=first, feedback=(dead_end,), refine=by_backtracking)
        result = run_agent(world, "Reach G.", parts, budget)
        expected = ("success", "goal") if way else ("failure", "no plan")
        assert (result.status, result.reason) == expected
        assert result.repeats == 0
        outcomes[result.reason] += 1
    assert min(outcomes.values()) >= 3


def test_an_action_that_is_ruled_out_is_not_taken_again():
    stubborn = AgentParts(planner=lambda view: Plan(("right",)), refine=by_backtracking)
    result = run_agent(GridWorld(("S#G", "...")), "", stubborn, Budget(plans=4))
    kinds = [record["kind"] for record in result.records]
    assert kinds.count("act") == 1 and kinds.count("banned") == 3
    assert (result.status, result.reason) == ("budget", "plans")


def test_a_lesson_helps_the_next_trial():
    pit = GridWorld(("SO", ".G"))
    seen = []

    def planner(view):
        seen.append(view.lessons)
        careful = any("pit at row 0, column 1" in lesson for lesson in view.lessons)
        return Plan(("down", "right") if careful else ("right", "down"))

    result = run_agent(pit, "Reach G.", AgentParts(planner=planner, refine=by_memory))
    assert (result.status, result.trials, result.steps) == ("success", 2, 3)
    assert seen == [(), ("There is a pit at row 0, column 1.",)]
    without = run_agent(pit, "Reach G.", AgentParts(planner=planner))
    assert (without.status, without.reason, without.steps) == ("failure", "world", 1)
    # Lessons of a model, of which the last two are kept.
    model = ScriptedModel(lambda prompt, sample: f"Lesson {prompt.count('- Lesson')}.")
    views = []

    def hopeless(view):
        views.append(view.lessons)
        return Plan(("right",))

    refine = language_lessons(model, INSTRUCTION, GenerateOptions())
    parts = AgentParts(planner=hopeless, refine=refine)
    result = run_agent(pit, "", parts, Budget(plans=4, lessons=2))
    assert views == [(), ("Lesson 0.",), ("Lesson 0.", "Lesson 1."), ("Lesson 1.", "Lesson 2.")]
    assert result.usage.calls == 4 and (result.status, result.reason) == ("budget", "plans")


def test_a_critic_stops_a_bad_plan_before_it_begins():
    def plan(prompt, sample):
        return "down\nright" if "into a pit" in prompt else "right\ndown"

    def criticize(prompt, sample):
        return "No, right leads into a pit." if "Plan:\nright" in prompt else "Yes."

    options = GenerateOptions()
    parts = AgentParts(
        planner=language_planner(ScriptedModel(plan), INSTRUCTION, options),
        critic=language_critic(ScriptedModel(criticize), INSTRUCTION, options),
        feedback=(),
    )
    result = run_agent(GridWorld(("SO", ".G")), "Reach G.", parts)
    assert (result.status, result.steps, result.plans, result.usage.calls) == ("success", 2, 2, 4)
    # Backtracking undoes no action for a critique.
    careful = dataclasses.replace(parts, refine=by_backtracking)
    assert run_agent(GridWorld(("SO", ".G")), "Reach G.", careful).status == "success"


def test_a_critique_between_two_plans_undoes_no_action():
    def plan(view):
        return Plan(("left",) if view.plans == 1 else ("right",))

    def critic(view, plan):
        return Comment("Not back.", plan.steps == ("left",))

    parts = AgentParts(planner=plan, critic=critic, refine=by_backtracking)
    result = run_agent(GridWorld(("S.G",)), "Reach G.", parts)
    assert (result.status, result.steps, result.plans) == ("success", 2, 3)


def test_without_feedback_a_planner_sees_nothing_of_what_it_does():
    for feedback, seen in (((world_feedback,), [0, 1, 2]), ((), [0, 0, 0])):
        views = []

        def plan(view, views=views):
            views.append(view)
            return Plan(("right",))

        run_agent(GridWorld(("S..G",)), "", AgentParts(planner=plan, feedback=feedback))
        assert [view.state for view in views] == [
            f"You are at row 0, column {column}." for column in seen
        ]
        assert ("You are at" in " ".join(views[-1].scratchpad)) == bool(feedback)


def test_a_plan_that_loops_is_reported_and_ended():
    def to_and_fro(view):
        return Plan(("right",) if "column 0" in view.state else ("left",))

    circle = AgentParts(planner=to_and_fro)
    result = run_agent(GridWorld(("S..G",)), "Reach G.", circle, Budget(repeats=3))
    assert (result.status, result.reason, result.repeats) == ("failure", "loop", 4)
    repeated = [r["repeated"] for r in result.records if r["kind"] == "act"]
    assert repeated == [False, False, True, True, True, True]
    views = []

    def reads(view):
        views.append(view.scratchpad)
        told = any("taken in this state before" in line for line in view.scratchpad)
        return Plan(("right", "right", "right") if told else ("right", "left"))

    result = run_agent(GridWorld(("S..G",)), "Reach G.", AgentParts(planner=reads))
    assert result.status == "success" and result.repeats == 1


class Fragile:
    """A world that raises at every second action, and cannot be shown once it is old."""

    def reset(self):
        return 0

    def step(self, state, action):
        if action == "break":
            raise OSError("the world\nis broken")
        return Observation(state=state + 1, status="success" if state == 1 else "running")

    def render(self, state):
        if state > 0:
            raise KeyError(state)
        return "new"


def test_errors_of_worlds_and_tools_are_observations():
    def planner(view):
        told = " ".join(view.scratchpad)
        if "the world is broken" not in told:
            return Plan(("break", "on"))
        return Plan(("count: x", "on", "on") if "ZeroDivisionError" not in told else ("on",))

    def count(text):
        return str(1 // 0)

    parts = AgentParts(planner=planner, execute=act_with_tools([Tool("count", "Counts.", count)]))
    result = run_agent(Fragile(), "", parts)
    assert (result.status, result.errors, result.steps) == ("success", 2, 4)
    faults = [record["fault"] for record in result.records if record["kind"] == "act"]
    assert faults[:2] == [
        "OSError: the world is broken",
        "ZeroDivisionError: integer division or modulo by zero",
    ]
    assert result.records[-2]["state"] == "The state cannot be shown (KeyError: 2)."


def test_a_tool_leaves_the_state_and_its_result_is_read():
    look = Tool("look", "Says what is there.", lambda text: f"{text} is a wall")
    execute = act_with_tools([look])
    planner = lambda view: Plan(("look: right",) if not view.scratchpad else ("down", "right"))  # noqa: E731
    result = run_agent(GridWorld(("S#", ".G")), "", AgentParts(planner=planner, execute=execute))
    assert result.status == "success" and result.records[2]["text"] == "right is a wall"
    with pytest.raises(ConfigError, match="look"):
        act_with_tools([look, look])


@pytest.mark.parametrize(
    ("budget", "reason", "steps", "plans"),
    [
        (Budget(steps=3), "steps", 3, 2),
        (Budget(plans=2), "plans", 4, 2),
        # A plan costs 5 tokens, so the third one begins below 11 tokens and ends above.
        (Budget(tokens=11), "tokens", 4, 3),
        # The clock moves by a second a turn, and a plan with its two actions takes three turns.
        (Budget(seconds=4.5), "seconds", 2, 2),
    ],
)
def test_each_limit_ends_the_loop_and_is_named(budget, reason, steps, plans):
    usage = Usage(calls=1, prompt_tokens=3, completion_tokens=2, shared_tokens=3)
    actions = itertools.cycle([("right", "right"), ("left", "left")])
    parts = AgentParts(planner=lambda view: Plan(next(actions), usage), feedback=())
    ticks = itertools.count()
    budget = dataclasses.replace(budget, repeats=1000)
    result = run_agent(GridWorld(("S...G",)), "", parts, budget, clock=lambda: float(next(ticks)))
    assert (result.status, result.reason) == ("budget", reason)
    assert (result.steps, result.plans) == (steps, plans)
    assert result.records[-1]["reason"] == reason


def test_a_planner_without_a_plan_fails():
    result = run_agent(GridWorld(("SG",)), "", AgentParts(planner=lambda view: Plan(())))
    assert (result.status, result.reason, result.plans) == ("failure", "no plan", 1)


def test_worlds_and_parts_that_cannot_work_are_refused():
    class Listed(GridWorld):
        def reset(self):
            return [0, 0]

    class Silent(GridWorld):
        def step(self, state, action):
            return None

    parts = AgentParts(planner=lambda view: Plan(("right",)))
    with pytest.raises(ConfigError, match="state of the type list, which is not hashable"):
        run_agent(Listed(("SG",)), "", parts)
    with pytest.raises(ConfigError, match="'right' gave NoneType, expected an Observation"):
        run_agent(Silent(("SG",)), "", parts)
    with pytest.raises(ConfigError, match=r"Plan\.steps must be a tuple of texts, got 'right'"):
        Plan("right")
    with pytest.raises(ConfigError, match=r"how must be .*'backtrak', did you mean 'backtrack'\?"):
        Refinement("backtrak")
    with pytest.raises(ConfigError, match=r"status must be one of running, success, failure, got"):
        Observation(state=0, status="done")
    with pytest.raises(ConfigError, match="rows must have one S and one G"):
        GridWorld(("S.",))
    with pytest.raises(ConfigError, match="rows must have one length"):
        GridWorld(("S.", "G"))
    with pytest.raises(ConfigError, match="steps must be at least 1"):
        Budget(steps=0)
    with pytest.raises(ConfigError, match="take must be at least 1"):
        language_planner(ScriptedModel(), "", GenerateOptions(), take=0)
    with pytest.raises(ConfigError, match="n must be 1, got 2"):
        language_planner(ScriptedModel(), "", GenerateOptions(n=2, temperature=1.0))


@pytest.mark.parametrize("plan", ["down", None, ("down",)])
def test_a_planner_must_return_a_plan(plan):
    with pytest.raises(ConfigError, match="the planner must return a Plan, got"):
        run_agent(GridWorld(("SG",)), "Reach G.", AgentParts(planner=lambda view: plan), Budget())


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            {"critic": lambda view, plan: True},
            r"critic must return a Comment, got True; return Comm",
        ),
        ({"feedback": (lambda *seen: None,)}, "feedback 0 must return a Comment, got None"),
        ({"refine": lambda view, comment: None}, "refine must return a Refinement, got None"),
    ],
)
def test_parts_must_return_what_the_loop_reads(parts, message):
    into_a_wall = AgentParts(planner=lambda view: Plan(("left",)), **parts)
    with pytest.raises(ConfigError, match=message):
        run_agent(GridWorld(("SG",)), "Reach G.", into_a_wall)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"feedback": world_feedback}, r"feedback must be a tuple of functions.*\(function,\)"),
        ({"feedback": ("look",)}, "feedback 0 must be a function, got 'look'"),
        ({"planner": Plan(())}, "planner must be a function, got Plan"),
        ({"critic": "strict"}, "critic must be a function, got 'strict'"),
    ],
)
def test_parts_are_functions(parts, message):
    with pytest.raises(ConfigError, match=message):
        AgentParts(**({"planner": lambda view: Plan(())} | parts))


def test_an_action_that_exits_ends_itself_alone():
    def leave(world, state, action):
        raise SystemExit(3)

    parts = AgentParts(planner=lambda view: Plan(("right",)), execute=leave)
    result = run_agent(GridWorld(("SG",)), "", parts, Budget(repeats=0))
    assert (result.status, result.errors) == ("failure", 2)
    assert result.records[2]["fault"] == "SystemExit: 3"
