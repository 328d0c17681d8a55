"""GIRL's data: nobody serves twice, no generator sees a recommended job, and shares by hand."""

import dataclasses

import numpy as np
import pytest

from jaxrec.core import ConfigError, DataError
from jaxrec.data.recruitment import WorldOptions
from jaxrec.systems.girl import GirlConfig, GirlDataConfig
from jaxrec.systems.girl.data import PEOPLE, load_data
from jaxrec.train import TrainConfig

CONFIG = GirlDataConfig(
    world=WorldOptions(people=300, jobs=120, applications=10, interviews=0.0),
    reward=0.2,
    gold=0.15,
    prompts=0.1,
)


@pytest.fixture(scope="module")
def data():
    return load_data(CONFIG)


def test_groups_of_people_are_disjoint_and_complete(data):
    groups = [set(data.people[name].tolist()) for name in PEOPLE]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 300
    assert [len(group) for group in groups] == [105, 60, 45, 30, 60]
    learned = {person for part in data.targets.values() for person, _ in part.tolist()}
    compared = {name: {pair.person for pair in part} for name, part in data.pairs.items()}
    predicted = {n for rows in data.rows.values() for n in rows.person.tolist()}
    written = {n for part in data.prompts.values() for n in part.tolist()}
    assert learned <= groups[0]
    assert compared["train"] | compared["valid"] | compared["test"] <= groups[1]
    assert compared["gold"] <= groups[2]
    assert not compared["train"] & compared["valid"]
    assert not (compared["train"] | compared["valid"]) & compared["test"]
    assert written == groups[3]
    assert predicted <= groups[4]


def test_recommended_jobs_are_no_targets_and_are_not_compared(data):
    recommended = {j for rows in data.rows.values() for j in rows.job.tolist()}
    seen = {j for part in data.targets.values() for _, j in part.tolist()}
    seen |= {j for part in data.pairs.values() for pair in part for j in (pair.better, pair.worse)}
    assert not recommended & seen
    assert recommended
    assert seen


def test_targets_matched_and_pairs_differ_in_that(data):
    facts = {(m.person, m.job): m.matched for m in data.world.recruitment.matches}
    resumes, jobs = data.world.recruitment.resumes, data.world.recruitment.jobs
    for part in data.targets.values():
        assert all(facts[resumes[p].id, jobs[j].id] for p, j in part.tolist())
    for part in data.pairs.values():
        for pair in part:
            assert facts[resumes[pair.person].id, jobs[pair.better].id]
            assert not facts[resumes[pair.person].id, jobs[pair.worse].id]
    for rows in data.rows.values():
        for person, job, label in zip(rows.person, rows.job, rows.label, strict=True):
            assert facts[resumes[person].id, jobs[job].id] == bool(label)


def test_cold_people_are_unseen_and_later_and_warm_rows_follow_their_training(data):
    times = {(m.person, m.job): m.time for m in data.world.recruitment.matches}
    resumes, jobs = data.world.recruitment.resumes, data.world.recruitment.jobs

    def cells(name):
        rows = data.rows[name]
        pairs = zip(rows.person.tolist(), rows.job.tolist(), strict=True)
        return [(p, times[resumes[p].id, jobs[j].id]) for p, j in pairs]

    known = cells("train") + cells("valid")
    people = {person for person, _ in known}
    cold = cells("cold")
    assert not people & {person for person, _ in cold}
    assert {person for person, _ in cells("warm")} <= people
    firsts = [min(t for p, t in known if p == person) for person in people]
    assert max(firsts) <= min(t for _, t in cold)
    for person, time in cells("warm"):
        assert time >= max(t for p, t in known if p == person)
    assert max(t for _, t in cells("train")) <= min(t for _, t in cells("valid"))


def test_resumes_are_read_by_their_sections(data):
    resume = data.world.recruitment.resumes[0]
    assert resume.sections["education"] not in data.resumes[0]
    assert resume.sections["profile"] in data.resumes[0]
    assert data.resumes[0].startswith(resume.basic)


def test_the_planted_utility_of_a_written_job_is_that_of_the_job(data):
    pairs, jobs = data.pairs["train"], data.world.recruitment.jobs
    # A generic title hides the occupation, which is then guessed from the skills.
    told = []
    for pair in pairs:
        name = jobs[pair.better].occupation
        read = data.world.read_job(data.jobs[pair.better])
        if name in jobs[pair.better].title and read.occupation == name:
            told.append(pair)
    assert len(told) > 5
    read = data.utilities([p.person for p in told], [data.jobs[p.better] for p in told])
    np.testing.assert_allclose(read, data.pair_utilities(told)[:, 0])
    truth = [m.probability for m in data.world.recruitment.matches]
    row = data.row_utilities(data.rows["train"])
    matches = {
        (m.person, m.job): p for m, p in zip(data.world.recruitment.matches, truth, strict=True)
    }
    for u, person, job in zip(row, data.rows["train"].person, data.rows["train"].job, strict=True):
        resumes, jobs = data.world.recruitment.resumes, data.world.recruitment.jobs
        assert 1 / (1 + np.exp(-u)) == pytest.approx(matches[resumes[person].id, jobs[job].id])


def test_a_world_that_is_too_small_names_the_empty_part():
    small = dataclasses.replace(CONFIG, world=WorldOptions(people=6, jobs=20, applications=1))
    with pytest.raises(DataError, match=r"the part \w+ of the \w+ is empty with 6 people"):
        load_data(small)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data": lambda: GirlDataConfig(generator=0.9)}, "leave people for the recommendation"),
        ({"data": lambda: GirlDataConfig(cold=1.0)}, r"--data.cold 1 must be in \(0, 1\)"),
        ({"data": lambda: GirlDataConfig(sections=("hobbies",))}, "--data.sections hobbies"),
        ({"template": lambda: "no place"}, r"must contain \{resume\} once"),
        ({"train": lambda: TrainConfig(ema_decay=0.9)}, "another policy than the one"),
    ],
)
def test_wrong_settings_are_rejected(change, words):
    with pytest.raises(ConfigError, match=words):
        GirlConfig(**{name: make() for name, make in change.items()})
