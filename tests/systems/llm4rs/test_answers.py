"""Answers of LLM4RS: forms agree, illegal answers count as random, services fail and resume."""

import re

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from jaxrec.prompting import Reply, ScriptedModel, ServiceError, StoredModel, Usage
from jaxrec.systems.llm4rs import FORMS, PromptConfig, Prompter, ask_form, random_level
from jaxrec.texts import Datum, candidate_metrics

TITLES = [f"T{n}" for n in range(9)]
PROMPTER = Prompter(config=PromptConfig(role=False), titles=TITLES)
NAMES = re.compile(r"\(([A-E])\) T(\d)")


def instance(candidates, item):
    return Datum(history=np.array([8]), candidates=np.array(candidates), item=item)


def asked_items(prompt):
    """Letters and items that a prompt asks about; a point-wise one has a single item."""
    found = NAMES.findall(prompt)
    return [(letter, int(item)) for letter, item in found] or [
        ("", int(re.search(r"rate T(\d)", prompt)[1]))
    ]


def judge(utility):
    """A model that ranks by a fixed utility of items in every form."""

    def answer(prompt, _):
        asked = asked_items(prompt)
        if not asked[0][0]:
            return f" {1 + utility[asked[0][1]]}"
        order = sorted(asked, key=lambda pair: -utility[pair[1]])
        return " " + " ".join(letter for letter, _ in order[: 1 if len(asked) == 2 else None])

    def logprob(prompt, text):
        asked = asked_items(prompt)
        if not asked[0][0]:
            return 0.0 if text == f" {1 + utility[asked[0][1]]}" else -9.0
        return float(utility[dict(asked)[text.strip()]])

    return ScriptedModel(answer, logprob=logprob)


@settings(deadline=None, max_examples=40)
@given(st.permutations(range(5)), st.permutations(range(5)))
def test_a_consistent_model_ranks_alike_in_all_forms(utility, candidates):
    """The utility is 0 to 4, so ratings of 1 to 5 say all of it."""
    wanted = sorted(range(5), key=lambda place: -utility[candidates[place]])
    for form in FORMS:
        for answers in ("free", "constrained"):
            found = ask_form(judge(utility), PROMPTER, [instance(candidates, 0)], form, answers)
            assert sorted(range(5), key=lambda n: -found.scores[0][n]) == wanted
            assert found.legal.tolist() == [1.0]
            assert len(set(found.scores[0])) == 5


def test_an_oracle_is_perfect_and_equal_scores_are_exactly_random():
    data = [instance(np.roll(np.arange(5), n), 2) for n in range(5)]
    utility = [0, 1, 4, 2, 3]
    for form in FORMS:
        found = ask_form(judge(utility), PROMPTER, data, form)
        assert candidate_metrics(found.scores, data)["ndcg@3"].tolist() == [1.0] * 5
    level = random_level(data)
    assert level["ndcg@3"] == pytest.approx((1 + 1 / np.log2(3) + 0.5) / 5)
    assert level["mrr@3"] == pytest.approx((1 + 1 / 2 + 1 / 3) / 5) and level["hr@1"] == 0.2


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("list", " A A E E C"),
        ("list", " A B C D"),
        ("point", " 35"),
        ("pair", " neither"),
        ("list", ""),
    ],
)
def test_an_illegal_answer_is_counted_and_counts_as_random(form, text):
    data = [instance(np.arange(5), n) for n in range(5)]
    found = ask_form(ScriptedModel(lambda prompt, _: text), PROMPTER, data, form)
    assert found.legal.tolist() == [0.0] * 5
    metrics = candidate_metrics(found.scores, data)
    for name, value in random_level(data).items():
        assert metrics[name].tolist() == pytest.approx([value] * 5)


def test_an_illegal_pair_is_shared_and_the_others_count():
    data = [instance([0, 1, 2], 0)]

    def answer(prompt, _):
        letters = {item: letter for letter, item in asked_items(prompt)}
        return f" {letters[0]}" if 0 in letters else " N/A"

    found = ask_form(ScriptedModel(answer), PROMPTER, data, "pair")
    assert found.scores.tolist() == [[2.0, 0.5, 0.5]]
    assert found.legal.tolist() == [pytest.approx(2 / 3)]


def test_half_a_star_is_half_a_star():
    ratings = {0: "3.5", 1: "3", 2: "4"}
    model = ScriptedModel(lambda prompt, _: f" {ratings[asked_items(prompt)[0][1]]}")
    found = ask_form(model, PROMPTER, [instance([0, 1, 2], 0)], "point")
    assert found.scores.tolist() == [[3.5, 3.0, 4.0]]


def test_one_illegal_rating_ties_the_whole_instance():
    model = ScriptedModel(lambda prompt, _: " 9" if "T1," in prompt else " 4")
    found = ask_form(model, PROMPTER, [instance([0, 1, 2], 0)], "point")
    assert len(set(found.scores[0])) == 1 and found.legal.tolist() == [pytest.approx(2 / 3)]


def test_constrained_answers_are_compared_by_likelihood():
    shares = {" 1": 0.1, " 2": 0.1, " 3": 0.2, " 4": 0.2, " 5": 0.4}
    model = ScriptedModel(logprob=lambda prompt, text: float(np.log(shares[text])))
    found = ask_form(model, PROMPTER, [instance([0, 1], 0)], "point", "constrained")
    expected = sum(int(text) * share for text, share in shares.items())
    assert found.scores[0].tolist() == pytest.approx([expected, expected])


class Service:
    """Answers until it is gone."""

    name, context = "service", None

    def __init__(self, alive):
        self.alive, self.asked = alive, []

    def generate(self, prompts, options):
        replies = []
        for prompt in prompts:
            if len(self.asked) >= self.alive:
                raise ServiceError("gone")
            self.asked.append(prompt)
            usage = Usage(calls=1, prompt_tokens=2, completion_tokens=1, cost=1.0)
            replies.append(Reply(texts=(" 4",), usage=usage))
        return replies


def test_a_study_resumes_and_counts_every_prompt_once(tmp_path):
    data = [instance(np.arange(5), n) for n in range(5)]
    first, second = Service(3), Service(99)
    path = tmp_path / "answers.jsonl"
    for service in (first, second):
        model = StoredModel(service, path, chunk=1, recorded_usage=True)
        if service is first:
            with pytest.raises(ServiceError, match="the same command asks the rest"):
                ask_form(model, PROMPTER, data, "point", failures=1)
        else:
            found = ask_form(model, PROMPTER, data, "point", failures=1)
    # The five instances have the same candidates, so there are five different prompts.
    assert len(first.asked) + len(second.asked) == len({*first.asked, *second.asked}) == 5
    assert found.totals.usage.cost == 5.0 and found.totals.prompts == 25
    assert found.legal.tolist() == [1.0] * 5
