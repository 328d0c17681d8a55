"""GIRL's reward of facts: texts against the planted truth, weights against SciPy's minimum."""

import math

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
from sklearn.feature_extraction.text import TfidfTransformer

from jaxrec.align import PpoSettings
from jaxrec.core import ConfigError, DataError
from jaxrec.data.recruitment import SENIORITIES, WorldOptions, sentences
from jaxrec.models import TransformerConfig
from jaxrec.systems.girl import GirlConfig, GirlDataConfig
from jaxrec.systems.girl.blocks import center_of, number_vectors, scaled
from jaxrec.systems.girl.data import load_data
from jaxrec.systems.girl.fact_reward import FEATURES, FactReward, fit_fact_reward
from jaxrec.systems.girl.facts import FactReader
from jaxrec.systems.girl.grounding import as_resume
from jaxrec.systems.girl.models import Models

WORLD = WorldOptions(people=500, jobs=150, applications=12, interviews=0.0)


@pytest.fixture(scope="module")
def data():
    return load_data(GirlDataConfig(world=WORLD))


def pairs_of(data, *parts):
    return np.array([(p.person, p.better, p.worse) for part in parts for p in data.pairs[part]])


@pytest.fixture(scope="module")
def reward(data):
    return fit_fact_reward(data.skills, data.jobs, data.resumes, pairs_of(data, "train", "gold"))


def test_texts_say_what_was_planted(data):
    recruitment = data.world.recruitment
    names = sorted({s for one in (*recruitment.jobs, *recruitment.resumes) for s in one.skills})
    reader = FactReader(names)
    for records, texts in ((recruitment.jobs, data.jobs), (recruitment.resumes, data.resumes)):
        right = []
        for record, text in zip(records, texts, strict=True):
            facts = reader.read(text)
            first, last = sentences.YEARS[SENIORITIES.index(record.seniority)]
            assert first <= facts.years <= last
            if math.isfinite(facts.salary):
                assert round(math.exp(facts.salary)) == record.salary
            right.append({names[k] for k in facts.skills} == set(record.skills))
        # A list of skills may stand behind a word that denies, such as a title with "new".
        assert np.mean(right) > 0.98
    assert all(math.isfinite(reader.read(text).salary) for text in data.jobs)


def test_a_short_form_says_the_same_facts(data):
    reader = FactReader(data.skills)
    short = load_data(GirlDataConfig(world=WORLD, facts=True))
    for text, form in zip(data.resumes, short.resumes, strict=True):
        one, other = reader.read(text), reader.read(form)
        assert one.skills == other.skills
        np.testing.assert_allclose(
            [one.years, one.salary], [other.years, other.salary], atol=1e-4, equal_nan=True
        )
    assert short.jobs == data.jobs
    assert short.rows["train"].person.tolist() == data.rows["train"].person.tolist()
    text = f"Seven years of work. I know {data.skills[0]} and {data.skills[1]}, for 30,000 a year."
    form = as_resume(text, data.skills, most=1, facts=True)
    assert form == f"Work: 7 years\nWish: 30,000\nSkills: {data.skills[0]}"


def test_a_skill_is_one_token_and_every_text_is_spelled_exactly(data, tmp_path):
    config = GirlConfig(
        data=GirlDataConfig(world=WORLD),
        model=TransformerConfig(width=16, depth=1, num_heads=2),
        vocab_size=600,
        skill_tokens=True,
        max_prompt=160,
        ppo=PpoSettings(response=128),
    )
    tokenizer = Models.open(config, tmp_path / "none", data).text.tokenizer
    assert len(tokenizer) == 600 + len(data.skills)
    for skill in data.skills:
        assert len(tokenizer(f" {skill}")["input_ids"]) == 1
    for text in (*data.jobs, *data.resumes[:100]):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_features_are_those_of_brute_force(data, reward):
    jobs = [reward.reader.read(text) for text in data.jobs]
    counts = np.stack([np.bincount(job.skills, minlength=len(data.skills)) for job in jobs])
    # scikit-learn adds 1 to the inverse document frequency.
    rarity = TfidfTransformer(smooth_idf=False).fit(counts).idf_ - 1
    cells = counts * rarity
    cells /= np.linalg.norm(cells, axis=1, keepdims=True)
    right = np.linalg.svd(cells, full_matrices=False)[2][: reward.vectors.shape[1]]
    for person in range(20):
        resume, job = reward.reader.read(data.resumes[person]), jobs[person]
        found = dict(zip(FEATURES, reward.features(resume, job), strict=True))
        sides = [np.bincount(f.skills, minlength=len(rarity)) for f in (resume, job)]
        cosine = sides[0] @ sides[1] / np.linalg.norm(sides[0]) / np.linalg.norm(sides[1])
        assert found["shared skills"] == pytest.approx(cosine)
        one, other = (right @ (rarity * side) for side in sides)
        near = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
        assert found["related skills"] == pytest.approx(near, abs=1e-6)
        assert found["experience"] == -abs(math.sqrt(resume.years) - math.sqrt(job.years))
        named, usual = found["pay"], found["usual pay"]
        assert (found["pay squared"], found["usual pay squared"]) == (named**2, usual**2)
        if math.isfinite(resume.salary):
            assert named == pytest.approx(np.clip(job.salary - resume.salary, -1, 1))
            assert usual == 0
        else:
            assert named == 0
            assert usual == pytest.approx(np.clip(job.salary - reward.expected_wish(resume), -1, 1))


def test_the_weights_minimize_the_loss_of_the_pairs_and_rewards_have_variance_1(data, reward):
    pairs = pairs_of(data, "train", "gold")
    prompts = [data.resumes[p] for p, *_ in pairs.tolist()]
    both = [reward.rewards(prompts, [data.jobs[j] for j in pairs[:, k]]) for k in (1, 2)]
    assert np.mean(both) == pytest.approx(0, abs=1e-4)
    assert np.std(both) == pytest.approx(1, abs=1e-4)
    read = reward.reader.read
    gaps = np.array(
        [
            reward.features(read(data.resumes[p]), read(data.jobs[a]))
            - reward.features(read(data.resumes[p]), read(data.jobs[b]))
            for p, a, b in pairs.tolist()
        ]
    )
    best = scipy.optimize.minimize(lambda w: np.logaddexp(0, -gaps @ w).sum(), np.zeros(7)).x
    # The penalty of the fit is weak, and the scale of a reward is free.
    assert np.corrcoef(gaps @ best, gaps @ reward.weights)[0, 1] > 0.999


def test_new_pairs_are_ordered_by_more_than_their_common_skills(data, reward):
    pairs = pairs_of(data, "valid", "test")
    people = [data.resumes[p] for p in pairs[:, 0].tolist()] * 2
    jobs = [data.jobs[j] for j in (*pairs[:, 1].tolist(), *pairs[:, 2].tolist())]
    told = [p for part in ("valid", "test") for p in data.pairs[part]]
    truth = data.pair_utilities(told).T.ravel()
    read = reward.reader.read
    skills = [reward.features(read(a), read(b))[0] for a, b in zip(people, jobs, strict=True)]
    ours, alone = (scipy.stats.spearmanr(x, truth).statistic
                   for x in (reward.rewards(people, jobs), skills))  # fmt: skip
    assert ours > max(0.75, alone + 0.05)


def test_the_expected_wish_is_near_the_wish(data, reward):
    known = [reward.reader.read(text) for text in data.resumes]
    known = [facts for facts in known if math.isfinite(facts.salary)]
    wishes = np.array([facts.salary for facts in known])
    found = np.array([reward.expected_wish(facts) for facts in known])
    assert np.corrcoef(wishes, found)[0, 1] > 0.6
    assert found.mean() == pytest.approx(wishes.mean(), abs=0.05)


def test_a_job_without_facts_is_far_and_a_stored_reward_is_the_same(reward, data, tmp_path):
    resume = data.resumes[0]
    bare = dict(zip(FEATURES, reward.features(*map(reward.reader.read, (resume, "Title: Baker"))),
                    strict=True))  # fmt: skip
    assert (bare["shared skills"], bare["related skills"], bare["experience"]) == (0, 0, -2)
    assert bare["pay"] + bare["usual pay"] == -0.7
    reward.save(tmp_path / "one.npz")
    again = FactReward.load(tmp_path / "one.npz")
    jobs = data.jobs[:9]
    np.testing.assert_array_equal(again.rewards([resume] * 9, jobs),
                                  reward.rewards([resume] * 9, jobs))  # fmt: skip
    assert reward.rewards([], []).shape == (0,)
    with pytest.raises(DataError, match="write it first with `jaxrec train`"):
        FactReward.load(tmp_path / "none.npz")


def test_faults_are_named(data):
    with pytest.raises(DataError, match="needs pairs of jobs"):
        fit_fact_reward(data.skills, data.jobs, data.resumes, np.zeros((0, 3), int))
    with pytest.raises(DataError, match="needs skills, and the jobs name none"):
        FactReader([])
    with pytest.raises(DataError, match="no job names a skill"):
        fit_fact_reward(["welding"], ["a", "b"], ["c"], np.array([[0, 0, 1]]))
    with pytest.raises(ConfigError, match="set --critic shared"):
        GirlConfig(reward_head="facts")


def test_blocks_are_centered_and_scaled_one_by_one():
    rng = np.random.default_rng(0)
    cells = rng.normal(size=(5, 7)) + 3
    cells[2, 4:] = 0
    center = center_of(cells, (4, 3))
    np.testing.assert_allclose(center[:4], cells[:, :4].mean(axis=0))
    np.testing.assert_allclose(center[4:], cells[[0, 1, 3, 4], 4:].mean(axis=0))
    found = scaled(cells, center, (4, 3))
    assert (found[2, 4:] == 0).all()
    for row in range(5):
        for place in (slice(0, 4), slice(4, 7)):
            moved = cells[row, place] - center[place]
            if row == 2 and place.start:
                continue
            wanted = moved / np.linalg.norm(moved) * math.sqrt(place.stop - place.start)
            np.testing.assert_allclose(found[row, place], wanted, atol=1e-5)


def test_the_products_of_numbers_fall_with_their_distance():
    salaries = [30_000, 33_000, 40_000, 60_000, 120_000]
    cells = number_vectors([f"Salary: {salary:,}" for salary in salaries])
    near = (cells @ cells[0]).tolist()
    assert near == sorted(near, reverse=True)
    # Sums of bumps on a fine grid are a Gaussian of the distance of the logarithms.
    gap = math.log(40 / 30)
    assert near[2] / near[0] == pytest.approx(math.exp(-(gap**2) / (4 * 0.2**2)), abs=0.02)
