"""Order of demonstrations, and how many fit."""

import pytest

from jaxrec.core import ConfigError
from jaxrec.prompting import Demonstration, ScriptedModel, Verbalizer, arrange, assemble

F = Verbalizer(query="{input} ->", separator="\n", instruction="Do it.")
RANKED = [Demonstration(name, "y") for name in ("nearest", "near", "far")]
# A token is a word: 2 of the instruction, 3 of a demonstration and 2 of the query.
WHOLE = 2 + 3 * 3 + 2


def texts(model=None, **settings):
    settings = {"room": 1} | settings
    prompts = assemble(model or ScriptedModel(), F, [RANKED], ["q"], **settings)
    return [line.split()[0] for line in prompts[0].text.split("\n")]


def test_the_nearest_demonstration_stands_next_to_the_query_by_default():
    assert texts() == ["Do", "far", "near", "nearest", "q"]


def test_descending_order_has_the_nearest_first():
    assert texts(order="descending") == ["Do", "nearest", "near", "far", "q"]


def test_a_random_order_depends_on_the_seed_and_the_query_alone():
    queries = [f"query{n}" for n in range(20)]
    ranked = [RANKED] * 20
    one = assemble(ScriptedModel(), F, ranked, queries, room=1, order="random", seed=1)
    reversed_ = assemble(ScriptedModel(), F, ranked, queries[::-1], room=1, order="random", seed=1)
    other = assemble(ScriptedModel(), F, ranked, queries, room=1, order="random", seed=2)
    assert one == reversed_[::-1]
    assert [p.shown for p in one] != [p.shown for p in other]
    assert len({p.shown for p in one}) == 6


@pytest.mark.parametrize("order", ["ascending", "descending", "random"])
@pytest.mark.parametrize(
    ("budget", "kept"), [(WHOLE + 1, 3), (WHOLE, 2), (WHOLE - 2, 2), (WHOLE - 3, 1), (5, 0)]
)
def test_a_budget_drops_the_least_useful_whole_demonstrations(order, budget, kept):
    (prompt,) = assemble(ScriptedModel(), F, [RANKED], ["q"], room=1, budget=budget, order=order)
    assert sorted(prompt.shown) == list(range(kept))
    assert prompt.tokens == 4 + 3 * kept <= budget - 1
    assert prompt.text == F.prompt([RANKED[n] for n in prompt.shown], "q")


def test_each_query_keeps_what_fits_beside_it():
    queries = ["q", "q " * 4]
    prompts = assemble(ScriptedModel(), F, [RANKED] * 2, queries, room=1, budget=WHOLE + 1)
    assert [len(prompt.shown) for prompt in prompts] == [3, 2]


def test_the_context_of_the_model_is_the_default_budget():
    assert texts(ScriptedModel(context=WHOLE)) == ["Do", "near", "nearest", "q"]


def test_room_for_the_answer_is_left():
    assert texts(room=4, budget=WHOLE + 1) == ["Do", "near", "nearest", "q"]


def test_a_query_that_does_not_fit_alone_is_an_error_and_is_not_cut():
    with pytest.raises(ConfigError, match=r"query 1 has 6 tokens .* and 4 are left"):
        assemble(ScriptedModel(), F, [RANKED] * 2, ["q", "q q q"], room=1, budget=5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"room": 0}, "room must be at least 1"),
        ({"budget": 1}, "budget must be above room"),
        ({"order": "best"}, "order must be one of"),
    ],
)
def test_unusable_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        texts(**settings)


def test_a_budget_above_the_context_is_refused():
    with pytest.raises(ConfigError, match="reads 8 tokens"):
        texts(ScriptedModel(context=8), budget=9)


def test_each_query_needs_its_demonstrations():
    with pytest.raises(ConfigError, match="2 queries need 2 lists"):
        assemble(ScriptedModel(), F, [RANKED], ["a", "b"], room=1)


def test_an_unknown_order_and_a_negative_count_are_refused():
    with pytest.raises(ConfigError, match="count must be at least 0"):
        arrange(-1)
