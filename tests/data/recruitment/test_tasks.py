"""The thirteen task tables: their splits, labels, candidates and tags, and what is dropped."""

import dataclasses

import numpy as np
import pytest
from seqeval.metrics.sequence_labeling import get_entities

from jaxrec.core import ConfigError, DataError
from jaxrec.data import TagSet
from jaxrec.data.recruitment import (
    TASKS,
    Interview,
    Job,
    Match,
    Recruitment,
    Resume,
    TaskOptions,
    recruitment_tasks,
    statistics_table,
    task_statistics,
)


def parts(task):
    return task.train, task.valid, task.test


def test_all_thirteen_are_there_and_say_that_they_are_synthetic(tasks):
    assert tuple(tasks) == TASKS and len(TASKS) == 13
    assert all(task.synthetic for task in tasks.values())
    table = statistics_table(tasks).splitlines()
    assert len(table) == 15 and all(row.endswith("| synthetic |") for row in table[2:])
    numbers = task_statistics(tasks["jd_1st_class"])
    assert numbers["train"] + numbers["valid"] + numbers["test"] == 2500
    assert numbers["classes"] == 6 and numbers["largest"] < 0.5


def test_no_person_and_no_job_is_in_two_parts_of_any_task(tasks):
    people, jobs = ([set(), set(), set()] for _ in range(2))
    for name, task in tasks.items():
        for number, rows in enumerate(parts(task)):
            people[number] |= set(rows.people)
            if not rows.people:
                assert name.startswith("jd_") or name in ("salary", "skill_extraction")
                jobs[number] |= set(rows.job_ids)
    for groups in (people, jobs):
        assert all(groups)
        assert not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])


def test_matches_of_training_are_older_than_all_others(world, tasks):
    times = {(m.person, m.job): m.time for m in world.recruitment.matches}
    task = tasks["person_job_fit"]
    train, valid, test = (
        [times[pair] for pair in zip(rows.people, rows.job_ids, strict=True)]
        for rows in parts(task)
    )
    assert max(train) < min(valid) and max(valid) < min(test)
    kept = sum(map(len, parts(task)))
    assert kept + task.dropped["after the next part begins"] == len(times)
    assert kept > 0.9 * len(times)


def test_rows_are_those_of_the_records(world, tasks):
    data = world.recruitment
    rows = tasks["jd_3rd_class"].train
    for n in range(0, 300, 30):
        job = data.job(rows.job_ids[n])
        assert rows.texts[n] == job.text() and rows.skills[n] == job.skills
        assert tasks["jd_3rd_class"].classes[rows.labels[n]] == job.occupation
    rows = tasks["person_job_fit"].test
    truth = {(m.person, m.job): m for m in data.matches}
    for n in range(0, 100, 10):
        match = truth[rows.people[n], rows.job_ids[n]]
        assert rows.labels[n] == match.matched and rows.probability[n] == match.probability
        assert rows.texts[n] == data.resume(match.person).text()
        assert rows.jobs[n] == data.job(match.job).text()
        assert rows.job_skills[n] == data.job(match.job).skills
    task = tasks["salary"]
    salaries = np.array([data.job(name).salary for name in task.test.job_ids])
    unit = np.exp(task.test.values.astype(np.float64) * task.scale + task.center)
    np.testing.assert_allclose(unit, salaries, rtol=1e-5)
    assert not any("Salary" in text for text in task.test.texts)
    assert task.train.values.mean() == pytest.approx(0, abs=1e-4)
    assert task.train.values.std() == pytest.approx(1, abs=1e-4)
    rows = tasks["resume_understanding"].valid
    for text, skills, label in zip(rows.texts[:60], rows.skills, rows.labels, strict=False):
        person = data.resume(rows.people[rows.texts.index(text)])
        kind = tasks["resume_understanding"].classes[label]
        assert text in person.sections.values() or person.sections[kind] == text
        assert all(skill.casefold() in text.casefold() for skill in skills)


def test_interviews_have_the_planted_probabilities(world, tasks):
    truth = {(i.person, i.job): i for i in world.recruitment.interviews}
    for name, field in (
        ("interview_result", "probability"),
        ("job_evaluation", "level_probability"),
    ):
        rows = tasks[name].train
        for n in range(0, 200, 20):
            interview = truth[rows.people[n], rows.job_ids[n]]
            assert rows.texts[n] == interview.assessment
            assert rows.probability[n] == getattr(interview, field)
            label = tasks[name].classes[rows.labels[n]]
            assert label in (interview.level, "passed" if interview.passed else "failed")


def test_candidates_are_different_of_one_category_and_only_one_suits(world, tasks):
    data = world.recruitment
    suits = {(m.person, m.job) for m in data.matches if m.matched}
    rows = tasks["job_recommendation"].test
    assert rows.candidates.shape == (len(rows), 20)
    for n, person in enumerate(rows.people):
        jobs = [data.job(rows.job_ids[place]) for place in rows.candidates[n]]
        assert len({job.id for job in jobs}) == 20
        assert [(person, job.id) in suits for job in jobs] == [
            place == rows.relevant[n] for place in range(20)
        ]
        assert len({job.category for job in jobs}) == 1
        assert rows.jobs[rows.candidates[n, 3]] == jobs[3].text()
    # The right job is at every place equally often.
    assert np.bincount(rows.relevant, minlength=20).max() < 5 * len(rows) / 20


def test_few_jobs_of_a_category_are_filled_up_from_its_industry():
    jobs = [
        Job(id=str(n), title="t", industry="ab"[n > 5], category=f"c{n // 2}") for n in range(9)
    ]
    people = [Resume(id=f"p{n}", basic="x") for n in range(9)]
    matches = [Match(person=p.id, job="0", matched=True, time=n) for n, p in enumerate(people)]
    data = Recruitment(jobs=tuple(jobs), resumes=tuple(people), matches=tuple(matches))
    options = TaskOptions(names=("job_recommendation",), candidates=5, valid=0.2, test=0.2)
    rows = recruitment_tasks(data, options)["job_recommendation"].train
    for row in rows.candidates:
        names = {rows.job_ids[place] for place in row}
        assert {"0", "1"} < names < {"0", "1", "2", "3", "4", "5"}
    with pytest.raises(DataError, match=r"needs 9 jobs .* 8 of 9 jobs are left"):
        recruitment_tasks(data, dataclasses.replace(options, candidates=10))


def test_tags_are_legal_and_mark_exactly_the_skills(tasks):
    task = tasks["skill_extraction"]
    assert task.classes == TagSet(("skill",)).names
    tags = TagSet(("skill",))
    follows, starts, ends = tags.legal
    for rows in parts(task):
        for words, labels, skills in zip(rows.words, rows.tags, rows.skills, strict=True):
            numbers = tags.numbers(labels)
            assert starts[numbers[0]] and ends[numbers[-1]]
            assert follows[numbers[:-1], numbers[1:]].all()
            # seqeval finds the spans of IOBES tags.
            found = [
                " ".join(words[a : b + 1]).casefold() for _, a, b in get_entities(list(labels))
            ]
            assert sorted(found) == sorted(" ".join(split(s)).casefold() for s in skills)


def split(skill):
    from jaxrec.data import word_places

    return [skill[a:b] for a, b in word_places(skill)]


def records(jobs):
    """Jobs with these occupations, and as few other records as possible."""
    return Recruitment(
        jobs=tuple(
            Job(id=str(n), title="t", industry="i", category="c", occupation=one, salary=n + 1.0)
            for n, one in enumerate(jobs)
        )
    )


def test_a_class_with_one_example_is_an_error_or_dropped_or_merged():
    data = records(["baker"] * 20 + ["smith"] * 20 + ["king", "pope", ""])
    options = TaskOptions(names=("jd_3rd_class",))
    with pytest.raises(DataError) as error:
        recruitment_tasks(data, options)
    for word in ("jd_3rd_class", "'king' has 1 row", "1 more classes", "--tasks.rare drop"):
        assert word in str(error.value)
    task = recruitment_tasks(data, dataclasses.replace(options, rare="drop"))["jd_3rd_class"]
    assert task.classes == ("baker", "smith")
    assert task.dropped == {"without a label": 1, "of a rare class": 2}
    task = recruitment_tasks(data, dataclasses.replace(options, rare="merge"))["jd_3rd_class"]
    assert task.classes == ("baker", "other", "smith") and sum(map(len, parts(task))) == 42


def test_every_class_of_two_jobs_has_one_in_training():
    data = records([f"o{n // 2}" for n in range(80)])
    for seed in range(5):
        options = TaskOptions(names=("jd_3rd_class",), seed=seed, valid=0.25, test=0.25)
        task = recruitment_tasks(data, options)["jd_3rd_class"]
        assert len(set(task.train.labels.tolist())) == 40
        assert [len(rows) for rows in parts(task)] == [40, 20, 20]


def test_a_class_that_training_lacks_is_dropped_and_counted():
    people = [Resume(id=f"p{n}", basic="x", industry="old" if n < 8 else "new") for n in range(10)]
    jobs = [Job(id="j", title="t")]
    matches = [Match(person=p.id, job="j", matched=True, time=n) for n, p in enumerate(people)]
    data = Recruitment(jobs=tuple(jobs), resumes=tuple(people), matches=tuple(matches))
    options = TaskOptions(names=("resume_1st_class",), valid=0.3, test=0.1)
    with pytest.raises(DataError, match=r"has 6 train, 2 valid, 0 test.*2 dropped of a class"):
        recruitment_tasks(data, options)


def test_a_task_without_records_is_an_error_that_names_it():
    with pytest.raises(DataError, match="task interview_result needs rows in every part"):
        recruitment_tasks(records(["a"] * 10), TaskOptions(names=("interview_result",)))
    lost = dataclasses.replace(
        records(["a"] * 10),
        resumes=(Resume(id="p", basic="x"),),
        interviews=(Interview(job="77", person="p", assessment="x", passed=True),),
    )
    with pytest.raises(DataError, match="no job has the ID '77'"):
        recruitment_tasks(lost, TaskOptions(names=("interview_result",)))
    lost = dataclasses.replace(
        lost, interviews=(), matches=(Match(person="ghost", job="0", matched=True),)
    )
    with pytest.raises(DataError, match="no resume has the ID 'ghost'"):
        recruitment_tasks(lost, TaskOptions(names=("salary",)))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"names": ("salery",)}, "did you mean 'salary'"),
        ({"valid": 0.4, "test": 0.2}, "at most 0.5 together"),
        ({"test": 0.0}, "must be above 0"),
        ({"candidates": 1}, "nothing to rank"),
        ({"min_examples": 0}, "--tasks.min-examples"),
    ],
)
def test_wrong_options_are_errors(options, words):
    with pytest.raises(ConfigError, match=words):
        TaskOptions(**options)


def test_one_table_does_not_need_the_records_of_others():
    tasks = recruitment_tasks(records(["a"] * 40), TaskOptions(names=("salary",)))
    assert list(tasks) == ["salary"] and not tasks["salary"].synthetic
