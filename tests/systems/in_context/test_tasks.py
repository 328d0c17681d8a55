"""Made-up tasks: what demonstrations tell about a query, and what they do not."""

import numpy as np
import pytest

from jaxrec.core import ConfigError
from jaxrec.systems.in_context import InContextConfig, InContextDataConfig, make_tasks
from jaxrec.systems.in_context.tasks import VERBALIZER

CONFIG = InContextDataConfig(texts=300, tasks=60)


@pytest.fixture(scope="module")
def tasks():
    return make_tasks(CONFIG, candidates=16)


def parse(text):
    """Inputs and answers of the lines of a text."""
    return [(line.split()[:-1], line.split()[-1]) for line in text.split("\n")]


def test_the_learned_parts_of_a_text_are_its_answers(tasks):
    for text in tasks.train:
        assert text.answers == [f" {answer}" for _, answer in parse(text.text)]
        assert len(text.answers) == CONFIG.length


def test_inputs_that_share_a_word_have_one_label_and_others_do_not_tell(tasks):
    same = []
    for text in tasks.train:
        examples = parse(text.text)
        for n, (words, answer) in enumerate(examples):
            for others, label in examples[:n]:
                if set(words) & set(others):
                    assert answer == label
                else:
                    same.append(answer == label)
    # Unrelated groups share a label by chance. Examples of a text are not independent.
    assert abs(np.mean(same) - 1 / CONFIG.labels) < 0.04


def test_inputs_have_different_words_of_the_vocabulary(tasks):
    for text in tasks.train[:50]:
        for words, answer in parse(text.text):
            assert len(set(words)) == len(words) == CONFIG.shown_words
            assert set(words) <= set(tasks.words.inputs)
            assert answer in tasks.words.labels


def test_texts_have_from_a_third_of_the_groups_to_all_of_them(tasks):
    counts = []
    for text in tasks.train:
        groups = []
        for words, _ in parse(text.text):
            hit = [group for group in groups if group & set(words)]
            groups = [group for group in groups if group not in hit] + [set(words).union(*hit)]
        counts.append(len(groups))
    assert max(counts) <= CONFIG.groups
    assert np.mean(np.array(counts) >= 2) > 0.9


def test_the_pool_has_neighbours_of_the_query_but_not_the_query(tasks):
    near = 0
    for question in tasks.test:
        words = set(question.query.input.split())
        for shown in question.pool:
            own = set(shown.input.split())
            assert own != words
            near += bool(own & words)
            assert not own & words or shown.answer == question.query.answer
    share = near / len(tasks.test) / CONFIG.pool
    # A sixth of the examples are of the query's group, and a quarter of these are left out.
    assert 0.08 < share < 0.16


def test_one_candidate_is_from_the_querys_group_and_half_of_the_others_have_its_answer(tasks):
    alike = []
    for question in tasks.test:
        words = set(question.query.input.split())
        near = [n for n, c in enumerate(question.candidates) if words & set(c.input.split())]
        assert near == [question.planted]
        assert question.candidates[question.planted].input != question.query.input
        alike += [
            candidate.answer == question.query.answer
            for n, candidate in enumerate(question.candidates)
            if n != question.planted
        ]
    # Half of them, and of the other half those that have it by chance.
    assert abs(np.mean(alike) - (0.5 + 0.5 / CONFIG.labels)) < 0.06


def test_parts_have_different_tasks_and_a_seed_makes_the_same_ones(tasks):
    assert tasks.describe() == make_tasks(CONFIG, 16).describe()
    other = make_tasks(InContextDataConfig(texts=300, tasks=60, seed=1), 16)
    assert other.describe()["fingerprint"] != tasks.describe()["fingerprint"]
    assert [q.pool for q in tasks.valid] != [q.pool for q in tasks.test]


def test_a_prompt_continues_as_a_text_does(tasks):
    question = tasks.test[0]
    prompt = VERBALIZER.prompt(question.pool[:2], question.query.input)
    whole = prompt + VERBALIZER.continuation(question.query.answer)
    assert parse(whole)[-1] == (question.query.input.split(), question.query.answer)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"vocabulary": 17}, "need more than"),
        ({"shown_words": 2}, "more than half"),
        ({"shown_words": 4}, "more than half"),
        ({"labels": 1}, "at least 2"),
        ({"pool": 6}, "above the number of groups"),
    ],
)
def test_tasks_that_cannot_be_made_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        InContextDataConfig(**settings)


def test_more_demonstrations_than_a_training_text_has_are_refused():
    with pytest.raises(ConfigError, match=r"--eval.demonstrations 8 must be below --data.length 8"):
        InContextConfig(data=InContextDataConfig(length=8))
