"""Tree of Thoughts: what is kept, entered, pruned and restored."""

import collections
import itertools

import numpy as np
import pytest

from jaxrec.core import ConfigError, DataError
from jaxrec.prompting import (
    BreadthOptions,
    DepthOptions,
    Expansion,
    GenerateOptions,
    ScriptedModel,
    Usage,
    Values,
    breadth_first,
    depth_first,
    propose_thoughts,
    sample_thoughts,
    select_places,
    text_expand,
    text_values,
    text_votes,
    value_thoughts,
    vote_thoughts,
)


def spelled(letters):
    """Each text grows by one of the letters."""
    return lambda texts: Expansion(tuple(tuple(text + x for x in letters) for text in texts))


def valued(function):
    return lambda texts: Values(tuple(float(function(text)) for text in texts))


def test_breadth_keeps_the_best_of_all_children_and_not_of_each_parent():
    scores = {"a": 1, "b": 2, "ba": 5, "bb": 4, "aa": 1, "ab": 3}
    found = breadth_first("", spelled("ab"), valued(scores.get), BreadthOptions(steps=2, width=2))
    assert found.best == ("ba", "bb")
    assert [level.states for level in found.levels] == [("a", "b"), ("ba", "bb", "aa", "ab")]
    assert found.levels[1].values == (5.0, 4.0, 1.0, 3.0)
    assert found.levels[1].kept == (0, 1)


def test_a_wider_search_finds_what_a_narrow_one_loses():
    # "b" looks worse than "a" and leads to the best text.
    scores = {"a": 2, "b": 1, "aa": 3, "ab": 3, "ba": 9, "bb": 0}
    narrow, wide = (
        breadth_first("", spelled("ab"), valued(scores.get), BreadthOptions(steps=2, width=w))
        for w in (1, 2)
    )
    assert (narrow.best[0], wide.best[0]) == ("aa", "ba")


def test_a_copy_on_a_level_is_worth_nothing_and_is_not_valued_again():
    asked = []

    def evaluate(texts):
        asked.append(texts)
        return Values((7.0,) * len(texts), Usage(calls=len(texts)))

    twice = lambda texts: Expansion(tuple(("x", "y", "x") for _ in texts), Usage(calls=1))  # noqa: E731
    found = breadth_first("", twice, evaluate, BreadthOptions(steps=1, width=2))
    assert found.levels[0].values == (7.0, 7.0, 0.0)
    assert asked == [("x", "y")] and found.best == ("x", "y")
    assert found.usage.calls == 3


def test_equal_values_keep_the_order_of_their_making():
    rng = np.random.default_rng(0)
    assert select_places([1.0, 2.0, 1.0, 2.0, 1.0], 4, "greedy", rng) == (1, 3, 0, 2)


def test_draws_follow_the_values():
    rng = np.random.default_rng(0)
    counts = collections.Counter(
        select_places([1.0, 0.0, 3.0], 1, "sample", rng)[0] for _ in range(4000)
    )
    # The standard error of the share is 0.007.
    assert counts[1] == 0 and abs(counts[2] / 4000 - 0.75) < 0.03


def test_values_that_are_all_zero_do_not_stop_a_draw():
    rng = np.random.default_rng(0)
    counts = collections.Counter()
    for _ in range(600):
        places = select_places([0.0] * 4, 2, "sample", rng)
        assert len(set(places)) == 2
        counts.update(places)
    assert min(counts.values()) > 240
    # Where one value alone is above 0, it is always drawn, and another one fills the width.
    drawn = {select_places([0.0, 0.0, 5.0], 2, "sample", rng) for _ in range(50)}
    assert drawn == {(2, 0), (2, 1)}
    assert select_places([1e-320, 0.0, 1e-320], 2, "sample", rng) == (0, 2)


def test_a_search_by_draws_repeats_with_its_seed():
    options = [BreadthOptions(steps=4, width=2, select="sample", seed=s) for s in (0, 0, 1, 2, 3)]
    length = valued(lambda text: 1 + text.count("a"))
    found = [breadth_first("", spelled("abc"), length, one).best for one in options]
    assert found[0] == found[1] and len(set(found)) > 1


def test_a_level_without_children_ends_the_search():
    found = breadth_first(
        "", lambda texts: Expansion(((),) * len(texts)), valued(len), BreadthOptions(steps=3)
    )
    assert found.best == () and len(found.levels) == 1


def test_wrong_numbers_of_values_and_bad_values_are_refused():
    options = BreadthOptions(steps=1)
    with pytest.raises(DataError, match="0 rows of children for 1 states"):
        breadth_first("", lambda texts: Expansion(()), valued(len), options)
    with pytest.raises(DataError, match="1 values for 2 states"):
        breadth_first("", spelled("ab"), lambda texts: Values((1.0,)), options)
    for bad in (-1.0, float("nan"), float("inf")):
        with pytest.raises(DataError, match="finite numbers from 0 on"):
            breadth_first("", spelled("a"), valued(lambda text, bad=bad: bad), options)
        with pytest.raises(DataError, match="finite numbers from 0 on"):
            depth_first("", spelled("a"), valued(lambda text, bad=bad: bad), lambda text: False)
    with pytest.raises(ConfigError, match=r"select must be one of greedy, sample, got 'greddy', "):
        BreadthOptions(steps=1, select="greddy")
    with pytest.raises(ConfigError, match="width must be at least 1"):
        BreadthOptions(steps=1, width=0)


def test_depth_enters_the_most_confident_child_first_and_turns_back():
    scores = {"a": 1, "b": 2, "c": 2, "ba": 1, "bb": 0, "ca": 3}
    found = depth_first(
        "",
        spelled("abc"),
        valued(lambda text: scores.get(text, 0)),
        lambda text: text == "ca",
        DepthOptions(depth=2),
    )
    assert found.status == "solved" and found.path == ("", "c", "ca")
    # b before c, because ties keep their order; bb, bc, cb and cc are not above the threshold.
    assert found.entered == ((1, "b"), (2, "ba"), (1, "c"), (2, "ca"))
    assert found.pruned == 4


def test_the_limits_of_depth_children_and_steps_hold():
    never = lambda text: False  # noqa: E731
    by_letter = valued(lambda text: ord(text[-1]))
    found = depth_first("", spelled("abc"), by_letter, never, DepthOptions(children=2, depth=3))
    assert found.status == "exhausted"
    whole = [t for n in (1, 2, 3) for t in map("".join, itertools.product("cb", repeat=n))]
    assert [text for _, text in found.entered] == sorted(whole, key=lambda t: t.translate(_UP))
    assert max(depth for depth, _ in found.entered) == 3
    found = depth_first("", spelled("abc"), by_letter, never, DepthOptions(steps=5))
    assert found.status == "steps" and len(found.entered) == 5
    everything = DepthOptions(children=None, steps=None, depth=3)
    found = depth_first("", spelled("abc"), by_letter, never, everything)
    assert len(found.entered) == 3 + 9 + 27


_UP = str.maketrans("bc", "zy")


def test_a_state_that_is_not_viable_is_left_at_once():
    judged = []

    def viable(texts):
        judged.extend(texts)
        return Values(tuple(float("b" not in text) for text in texts), Usage(calls=1))

    options = DepthOptions(children=None, depth=2)
    found = depth_first("", spelled("ab"), valued(lambda t: 1), lambda t: False, options, viable)
    assert [text for _, text in found.entered] == ["a", "aa", "ab", "b"]
    assert found.pruned == 2 and found.usage.calls == len(judged) == 4


def test_loops_end_and_a_shorter_way_to_a_state_is_taken_later():
    # 0 -> 1 -> 2 -> 3 -> goal 4 is too deep; the way 0 -> 3 -> 4 is entered after it.
    edges = {0: (1, 3), 1: (0, 2), 2: (3,), 3: (0, 4), 4: ()}
    expand = lambda states: Expansion(tuple(edges[state] for state in states))  # noqa: E731
    prefer = valued(lambda state: 10 - state)
    found = depth_first(0, expand, prefer, lambda s: s == 4, DepthOptions(depth=3))
    assert found.status == "solved" and found.path == (0, 3, 4)
    found = depth_first(0, expand, prefer, lambda s: s == 4, DepthOptions(depth=1))
    assert found.status == "exhausted"
    assert depth_first(4, expand, prefer, lambda s: s == 4).path == (4,)


@pytest.mark.parametrize("size", [4, 5, 6])
def test_queens_are_placed_wherever_brute_force_places_them(size):
    def safe(columns):
        pairs = itertools.combinations(enumerate(columns), 2)
        return all(a != b and abs(a - b) != abs(i - j) for (i, a), (j, b) in pairs)

    def expand(states):
        return Expansion(tuple(tuple((*s, c) for c in range(size)) for s in states))

    for first in range(size):
        expected = [p for p in itertools.permutations(range(size)) if p[0] == first and safe(p)]
        found = depth_first(
            (first,),
            expand,
            valued(safe),
            lambda columns: len(columns) == size and safe(columns),
            DepthOptions(children=None, steps=None),
        )
        assert (found.status == "solved") == bool(expected)
        if expected:
            # The first one in the order of the columns.
            assert found.path[-1] == expected[0]


def test_a_model_proposes_samples_values_and_votes():
    answers = {
        "propose": "one\n\n two ",
        "value": ["x\nsure", "Likely.", "no idea"],
        "vote": ["The best choice is 2", "best choice is: 1, so the best choice is 2.", "3", "9"],
    }

    def answer(prompt, sample):
        if prompt.startswith("Best of"):
            return answers["vote"][sample]
        return answers["value"][sample] if prompt == "value" else answers["propose"]

    model = ScriptedModel(answer)
    assert propose_thoughts(model, ["p"], GenerateOptions())[0] == [["one", "two"]]
    samples, usage = sample_thoughts(model, ["value"], GenerateOptions(n=3, temperature=1.0))
    assert samples == [["x\nsure", "Likely.", "no idea"]] and usage.calls == 1
    words = {"sure": 20.0, "likely": 1.0, "impossible": 0.001}
    three = GenerateOptions(n=3, temperature=0.7)
    assert value_thoughts(model, ["value"], words, three).values == (21.0,)
    four = GenerateOptions(n=4, temperature=1.0)
    assert vote_thoughts(model, "Best of", ["a", "b", "c"], four).values == (0.0, 2.0, 0.0)
    assert "Choice 3:\nc" in model.calls[-1].prompt
    assert vote_thoughts(model, "Best of", [], four).values == ()
    with pytest.raises(ConfigError, match="words is empty"):
        value_thoughts(model, ["value"], {}, three)


def test_a_text_is_written_by_samples_and_votes():
    # Each level samples two lines; the voters prefer the second one and then the first one.
    def answer(prompt, sample):
        if prompt.startswith("Which rhymes"):
            choices = prompt.count("Choice")
            return f"The best choice is {2 if 'sun' not in prompt else 1} of {choices}"
        return ["a moon", "a sun"][sample] if "so far:\n\n" in prompt else ["has won", ""][sample]

    model = ScriptedModel(answer)
    two = GenerateOptions(n=2, temperature=1.0)
    found = breadth_first(
        "",
        text_expand(model, lambda text: f"The poem so far:\n{text}\nNext line:", two, "sample"),
        text_votes(model, "Which rhymes best?", GenerateOptions(n=5, temperature=1.0)),
        BreadthOptions(steps=2, width=1),
    )
    assert found.levels[0].states == ("a moon\n", "a sun\n")
    assert found.levels[0].values == (5.0, 0.0)
    assert found.best == ("a moon\nhas won\n",)
    assert [level.dropped for level in found.levels] == [0, 1]
    assert found.usage.calls == len(model.calls) == 4


def test_a_text_is_written_by_proposals_and_values():
    def answer(prompt, sample):
        if prompt.startswith("Judge"):
            return "even" if len(prompt.split()) % 2 else "odd"
        return "one\none two\n\nthree"

    model = ScriptedModel(answer)
    found = breadth_first(
        "",
        text_expand(model, lambda text: f"Go on: {text}", GenerateOptions()),
        text_values(model, lambda text: f"Judge {text}", {"even": 3.0}, GenerateOptions()),
        BreadthOptions(steps=1, width=1),
    )
    assert found.levels[0].values == (0.0, 3.0, 0.0) and found.best == ("one two\n",)
    with pytest.raises(ConfigError, match=r"got 'proposal', did you mean 'propose'\?"):
        text_expand(model, str, GenerateOptions(), "proposal")


@pytest.mark.parametrize("search", ["breadth", "depth"])
def test_parts_of_a_search_must_return_what_it_reads(search):
    def run(expand, evaluate):
        if search == "breadth":
            return breadth_first("", expand, evaluate, BreadthOptions(steps=1))
        return depth_first("", expand, evaluate, lambda text: False, DepthOptions())

    def children(states):
        return Expansion(tuple((state + "a",) for state in states))

    with pytest.raises(
        ConfigError, match=r"expand must return an Expansion, got .* Expansion\(rows"
    ):
        run(lambda states: [["a"]], lambda states: Values((1.0,) * len(states)))
    with pytest.raises(
        ConfigError, match=r"evaluate must return a Values, got \[1.0\]; return Val"
    ):
        run(children, lambda states: [1.0] * len(states))
