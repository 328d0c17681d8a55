"""Real sets as records and tasks: O*NET's occupations, labeled resumes, SkillSpan."""

import pytest

from jaxrec.core import DataError
from jaxrec.data import (
    Occupation,
    Span,
    TaggedText,
    read_occupations,
    read_resumes,
    read_skill_labels,
    read_skillspan,
)
from jaxrec.data.recruitment import (
    Recruitment,
    TaskOptions,
    WorldOptions,
    jobs_of_occupations,
    recruitment_tasks,
    recruitment_world,
    resumes_of_texts,
    tagging_task,
)


def test_an_occupation_without_a_code_is_an_error():
    with pytest.raises(DataError, match="'Bakers' has the code ''"):
        jobs_of_occupations([Occupation("Bakers", "Bake.")])
    with pytest.raises(DataError, match="'Bakers' has the code ''"):
        recruitment_world(WorldOptions(jobs=5, people=5), occupations=[Occupation("Bakers", "b")])


def test_labels_that_no_resume_has_are_an_error_that_lists_the_others():
    text = TaggedText(("I", "know", "Java"), (Span(2, 3, "Tool"),))
    with pytest.raises(DataError, match="no resume has a label of the kinds Skill; kinds: Tool"):
        resumes_of_texts(["1"], [text], ["Skill"])
    with pytest.raises(DataError, match="no training text has a span of the kind 'skill'"):
        tagging_task([text], [text], [text], "skill")


def test_occupations_of_onet_are_jobs_and_tasks(real_data):
    occupations = read_occupations(real_data("onet-occupations") / "Occupation Data.txt")
    jobs = jobs_of_occupations(occupations)
    assert len({job.industry for job in jobs}) == 23 and len(jobs) == len(occupations)
    data = Recruitment(jobs=tuple(jobs))
    options = TaskOptions(names=("jd_1st_class", "jd_2nd_class"), rare="drop")
    tasks = recruitment_tasks(data, options)
    assert len(tasks["jd_1st_class"].classes) == 23 and not tasks["jd_1st_class"].synthetic
    assert 80 < len(tasks["jd_2nd_class"].classes) < 98


def test_a_world_of_real_names_is_read_back(real_data):
    skills = read_skill_labels(real_data("esco-skills") / "skills_en_label.txt.gz")
    occupations = read_occupations(real_data("onet-occupations") / "Occupation Data.txt")
    options = WorldOptions(jobs=200, people=50)
    world = recruitment_world(options, skills=skills, occupations=occupations)
    catalogue = world.structure.catalogue
    assert len(catalogue.industries) == 23 and len(catalogue.occupations) == len(occupations)
    assert set(catalogue.skills) <= {" ".join(skill.split()) for skill in skills}
    read = [world.read_job(job.text()) for job in world.recruitment.jobs]
    assert [job.skills for job in read] == [job.skills for job in world.recruitment.jobs]


def test_labeled_resumes_are_records(real_data):
    resumes = read_resumes(real_data("resume-ner-dotin") / "set_aside_test_v2_50cvs.zip")
    texts = [resume.tagged() for resume in resumes]
    records = resumes_of_texts(
        [r.name for r in resumes], texts, ["Tech Tools", "Job Specific Skills"]
    )
    assert len(records) == 50 and sum(map(len, (r.skills for r in records))) > 300


def test_skillspan_is_a_task(real_data):
    train, test = (
        read_skillspan(real_data("skillspan") / f"{part}.json.gz").texts
        for part in ("train", "dev")
    )
    task = tagging_task(train[:-500], train[-500:], test, "skill")
    assert len(task.test) == len(test) and len(task.classes) == 5 and not task.synthetic
    assert any("B-skill" in tags for tags in task.test.tags)
