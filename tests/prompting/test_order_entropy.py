"""Orders by the entropy of predictions on probes that the model writes."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import entropy

from jaxrec.core import ConfigError, DataError
from jaxrec.prompting import (
    Demonstration,
    ScriptedModel,
    Verbalizer,
    entropy_order,
    global_entropy,
    local_entropy,
    sample_orders,
    write_probes,
)

F = Verbalizer(query="In: {input}\nOut:", separator="\n\n", instruction="Do it.")
SHOWN = [Demonstration("1", "a"), Demonstration("2", "b"), Demonstration("3", "a")]
ORDERS = list(itertools.permutations(range(3)))


def order_of(prompt):
    """The answers of the demonstrations in a prompt, in their order."""
    return [part.split("Out: ")[1] for part in prompt.split("\n\n") if "Out: " in part]


def confident(prompt, answer):
    """Answers evenly if the middle demonstration is b, and else as the last one does."""
    labels, probe = order_of(prompt), int(prompt.split("In: ")[-1].split("\n")[0])
    likely = "ab"[probe % 2] if labels[1] == "b" else labels[-1]
    return math.log(0.8 if answer.strip() == likely else 0.2)


class Numbers:
    """Writes another number each time."""

    def __init__(self):
        self.count = 10

    def __call__(self, prompt, sample):
        self.count += 1
        return f" {self.count}\nOut: a\n\nIn: 99"


def test_the_order_with_the_most_even_predictions_wins():
    model = ScriptedModel(Numbers(), logprob=confident)
    found = entropy_order(model, F, SHOWN, ["a", "b"])
    assert SHOWN[found.order[1]].answer == "b"
    assert found.probes == ("11", "12", "13", "14", "15", "16")
    even = [SHOWN[order[1]].answer == "b" for order in found.permutations]
    np.testing.assert_allclose(found.entropies, np.where(even, math.log(2), 0.0), atol=1e-12)


def test_local_entropy_prefers_unsure_predictions():
    def chance(prompt, answer):
        share = 0.6 if order_of(prompt)[0] == "b" else 0.9
        return math.log(share if answer == " a" else 1 - share)

    found = entropy_order(
        ScriptedModel(Numbers(), logprob=chance), F, SHOWN, ["a", "b"], by="local"
    )
    assert SHOWN[found.order[0]].answer == "b"
    assert found.entropies.max() == pytest.approx(entropy([0.6, 0.4]))


def test_entropies_are_those_of_scipy():
    rng = np.random.default_rng(0)
    chances = rng.dirichlet(np.ones(4), (5, 7))
    local = [np.mean([entropy(p) for p in row]) for row in chances]
    np.testing.assert_allclose(local_entropy(chances), local)
    counts = [np.bincount(row.argmax(axis=1), minlength=4) for row in chances]
    np.testing.assert_allclose(global_entropy(chances), [entropy(c) for c in counts], atol=1e-12)


def test_all_permutations_of_four_are_compared_and_24_different_ones_of_more():
    assert sorted(sample_orders(4)) == list(itertools.permutations(range(4)))
    drawn = sample_orders(6, seed=3)
    assert len(set(drawn)) == 24
    assert all(sorted(order) == list(range(6)) for order in drawn)
    assert drawn == sample_orders(6, seed=3) != sample_orders(6, seed=4)


def test_probes_are_asked_for_where_an_input_would_stand():
    model = ScriptedModel(Numbers())
    assert write_probes(model, F, SHOWN[:2], [(1, 0)], each=2) == ["11", "12"]
    assert model.calls[0].prompt == "Do it.\n\nIn: 2\nOut: b\n\nIn: 1\nOut: a\n\nIn:"


def test_probes_that_are_no_new_inputs_are_left_out():
    answers = iter([" ", "2", " 7\nOut:", "7", " 8 " + "word " * 80, " 8\n\n9"])
    model = ScriptedModel(lambda prompt, sample: next(answers))
    assert write_probes(model, F, SHOWN, ORDERS) == ["7", "8"]


def test_a_model_that_writes_no_probe_is_an_error():
    with pytest.raises(DataError, match="wrote no input of its own"):
        write_probes(ScriptedModel(), F, SHOWN, ORDERS)


def test_unusable_settings_are_refused():
    with pytest.raises(ConfigError, match="by must be one of"):
        entropy_order(ScriptedModel(), F, SHOWN, ["a", "b"], by="mean")
    with pytest.raises(ConfigError, match="must be at least 1"):
        entropy_order(ScriptedModel(), F, [], ["a", "b"])
