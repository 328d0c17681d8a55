"""The planted world: matches, interviews, texts, and what can be known of them at best."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies
from scipy import special
from sklearn.calibration import calibration_curve
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from jaxrec.core import DataError
from jaxrec.data.recruitment import SENIORITIES, Job, WorldOptions, recruitment_world


def plain_logit(world, person, job):
    """The formula of the docstring, for one pair, from the records."""
    tree = world.structure.catalogue
    common = len(set(person.skills) & set(job.skills))
    logit = world.constant + 6 * common / math.sqrt(len(person.skills) * len(set(job.skills)))
    if job.occupation == person.occupation:
        logit += 2
    elif job.occupation in tree.occupations and job.category == person.category:
        logit += 1.2
    elif job.occupation in tree.occupations and job.industry == person.industry:
        logit += 0.4
    else:
        logit -= 1
    steps = abs(SENIORITIES.index(person.seniority) - SENIORITIES.index(job.seniority))
    d = max(-1.0, min(1.0, math.log(job.salary / person.salary)))
    return logit - 0.7 * steps - 4 * (d - 0.1) ** 2


def test_probabilities_follow_the_formula(world):
    data = world.recruitment
    for match in data.matches[::40]:
        person, job = data.resume(match.person), data.job(match.job)
        expected = plain_logit(world, person, job)
        assert world.utility(person.id, job) == pytest.approx(expected, abs=1e-9)
        assert match.probability == pytest.approx(special.expit(expected), abs=1e-12)
    # Jobs that the world has never seen have a utility too.
    person, job = data.resumes[5], dataclasses.replace(data.jobs[3], skills=("weaving", "C++"))
    assert world.utility(person.id, job) == pytest.approx(plain_logit(world, person, job))


def test_nothing_that_is_missing_pays(world):
    """A job that hides its salary, level or occupation is worse than one that suits the person."""
    data = world.recruitment
    for match in data.matches[:50]:
        job = data.job(match.job)
        values = {"salary": data.resume(match.person).salary, "seniority": "", "occupation": ""}
        suited = dataclasses.replace(job, salary=values["salary"])
        hidden = dataclasses.replace(suited, salary=math.nan)
        assert world.utility(match.person, hidden) < world.utility(match.person, suited)
        own = data.resume(match.person)
        suited = dataclasses.replace(suited, seniority=own.seniority, occupation=own.occupation)
        for name in ("seniority", "occupation"):
            hidden = dataclasses.replace(suited, **{name: ""})
            assert world.utility(match.person, hidden) < world.utility(match.person, suited)
    stuffed = Job(id="", title="", skills=world.structure.catalogue.skills)
    honest = Job(id="", title="", skills=own.skills)
    assert world.utility(own.id, stuffed) < world.utility(own.id, honest)


def test_matches_are_calibrated_and_the_truth_is_the_best_prediction(world):
    matches = world.recruitment.matches
    p = np.array([m.probability for m in matches])
    y = np.array([m.matched for m in matches])
    assert p.mean() == pytest.approx(0.35, abs=1e-9)
    observed, predicted = calibration_curve(y, p, n_bins=8, strategy="quantile")
    np.testing.assert_allclose(observed, predicted, atol=4 * 0.5 / math.sqrt(len(y) / 8))
    data = world.recruitment
    pairs = [(m.person, data.job(m.job)) for m in matches]
    best = world.bayes_accuracy(pairs)
    error = math.sqrt((p * (1 - p)).sum()) / len(p)
    assert ((p > 0.5) == y).mean() == pytest.approx(best, abs=4 * error)
    # A strong learner that sees what the formula reads comes close, and no further.
    x = np.array([features(data.resume(person), job) for person, job in pairs])
    half = len(x) // 2
    model = HistGradientBoostingClassifier(max_iter=40, max_leaf_nodes=8, random_state=0)
    score = model.fit(x[:half], y[:half]).predict_proba(x[half:])[:, 1]
    truth = roc_auc_score(y[half:], p[half:])
    assert truth - 0.05 < roc_auc_score(y[half:], score) < truth
    assert 0.7 < best < 0.85 and best - 0.05 < ((score > 0.5) == y[half:]).mean() < best + 0.01


def features(person, job):
    return (
        len(set(person.skills) & set(job.skills)),
        (person.occupation == job.occupation)
        + (person.category == job.category)
        + (person.industry == job.industry),
        abs(SENIORITIES.index(person.seniority) - SENIORITIES.index(job.seniority)),
        math.log(job.salary / person.salary),
    )


@pytest.mark.parametrize(
    ("outcome", "planted"),
    [
        (lambda one: one.passed, lambda one: one.probability),
        (lambda one: one.level == "senior", lambda one: one.level_probability),
    ],
)
def test_interviews_are_calibrated(world, outcome, planted):
    interviews = world.recruitment.interviews
    y = np.array([outcome(one) for one in interviews])
    p = np.array([planted(one) for one in interviews])
    observed, predicted = calibration_curve(y, p, n_bins=5, strategy="quantile")
    np.testing.assert_allclose(observed, predicted, atol=4 * 0.5 / math.sqrt(len(y) / 5))
    assert 0.3 < y.mean() < 0.7


def test_salaries_lie_around_what_the_texts_tell(world):
    mean, deviation = world.expected_salaries()
    salaries = np.log([job.salary for job in world.recruitment.jobs])
    gap = (salaries - mean) / deviation
    assert gap.mean() == pytest.approx(0, abs=4 / math.sqrt(len(gap)))
    assert (gap**2).mean() == pytest.approx(1, abs=4 * math.sqrt(2.5 / len(gap)))
    assert world.options.salary_noise < deviation.mean() < 0.9 * salaries.std()


def test_an_interview_follows_its_match(world):
    met = {(m.person, m.job): m for m in world.recruitment.matches}
    for interview in world.recruitment.interviews:
        match = met[interview.person, interview.job]
        assert match.matched and interview.time > match.time


def test_a_written_job_is_read_back(world):
    for job in world.recruitment.jobs[:400]:
        found = world.read_job(job.text())
        assert found.skills == job.skills and found.seniority == job.seniority
        assert found.salary == job.salary and found.title == job.title
        assert found.occupation in world.structure.catalogue.occupations
        assert math.isnan(world.read_job(job.text(salary=False)).salary)


def test_a_skill_that_a_job_does_without_is_not_read(world):
    text = "Title: Chef\nQualifications: You bring welding. Nobody here expects wine pairing."
    job = world.read_job(text)
    assert job.skills == ("welding",) and job.occupation == "Chef" and job.seniority == ""
    nothing = world.read_job("hello")
    assert nothing.skills == () and nothing.occupation == "" and math.isnan(nothing.salary)
    assert math.isfinite(world.utility("p000000", nothing))


LABELS = strategies.sampled_from(
    ["Title:", "Salary:", "Qualifications:", "\n", "12 years", "welding", "C++", ".", "9" * 400]
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(strategies.lists(LABELS | strategies.text(max_size=8), max_size=20))
def test_any_text_is_read_and_has_a_utility(world, parts):
    job = world.read_job(" ".join(parts))
    assert math.isfinite(world.utility("p000000", job))
    assert len(set(job.skills)) == len(job.skills)


def test_a_seed_makes_one_world_and_another_seed_another():
    options = WorldOptions(jobs=30, people=20)
    one, same = (recruitment_world(options).recruitment for _ in range(2))
    other = recruitment_world(dataclasses.replace(options, seed=1)).recruitment
    assert one.jobs == same.jobs and one.resumes == same.resumes and one.matches == same.matches
    assert one.interviews == same.interviews and one.synthetic
    assert one.jobs != other.jobs


def test_lists_of_skills_may_be_ones_own():
    names = [f"skill{n}" for n in range(90)]
    world = recruitment_world(WorldOptions(jobs=20, people=10), skills=names)
    assert {skill for job in world.recruitment.jobs for skill in job.skills} <= set(names)


def test_texts_have_the_promised_lengths_and_titles_are_mostly_generic(world):
    data = world.recruitment
    jobs = [len(job.text().split()) for job in data.jobs]
    people = [len(resume.text().split()) for resume in data.resumes]
    assert 38 < np.median(jobs) < 60 and 60 < np.median(people) < 90
    own = [job.occupation in job.title for job in data.jobs]
    assert 0.15 < np.mean(own) < 0.25
    # The wrong skills are in the text, and are no skills of the job.
    assert 0.2 < np.mean([any(w in j.text() for w in ("not needed", "without", "Nobody here",
                          "Another team", "not have to")) for j in data.jobs]) < 0.5  # fmt: skip


def test_a_person_who_is_not_there_is_an_error(world):
    with pytest.raises(DataError, match="no person 'nobody'"):
        world.utility("nobody", world.recruitment.jobs[0])
