"""Readers of a user's own records: formats, salaries, and errors that name the line."""

import csv
import gzip
import io
import json
import math

import pytest
from hypothesis import given, settings, strategies

from jaxrec.core import ConfigError, DataError
from jaxrec.data.recruitment import (
    SECTIONS,
    Interview,
    Job,
    Match,
    Recruitment,
    Resume,
    read_interviews,
    read_jobs,
    read_matches,
    read_people,
    read_recruitment,
    read_salary,
    write_recruitment,
)


def write(folder, name, text):
    path = folder / name
    path.write_bytes(text.encode())
    return path


JOBS = [
    {"id": "7", "title": "Baker, night", "salary": 30000, "skills": ["dough", "C++"]},
    {"id": "8", "title": 'Head "chef"', "salary": 41000.5, "skills": []},
]


def test_json_lines_lists_and_tables_say_the_same(tmp_path):
    lines = "\n".join(map(json.dumps, JOBS))
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(["id", "title", "salary", "skills"])
    for job in JOBS:
        writer.writerow([job["id"], job["title"], job["salary"], ";".join(job["skills"])])
    texts = {
        "a.jsonl": lines,
        "b.json": json.dumps(JOBS, indent=1),
        "c.csv": table.getvalue(),
        "d.tsv": "id\ttitle\tsalary\tskills\n7\tBaker, night\t30000\tdough | C++\n"
        '8\t"Head ""chef"""\t41000.5\t\n',
    }
    expected = (
        Job(id="7", title="Baker, night", salary=30000.0, skills=("dough", "C++")),
        Job(id="8", title='Head "chef"', salary=41000.5),
    )
    for name, text in texts.items():
        assert read_jobs(write(tmp_path, name, text)).records == expected, name
    packed = tmp_path / "e.jsonl.gz"
    packed.write_bytes(gzip.compress(lines.encode()))
    assert read_jobs(packed).records == expected


def test_columns_may_have_other_names(tmp_path):
    path = write(tmp_path, "jobs.csv", "job_id,name,pay\n1,Cook,20000\n")
    columns = {"id": "job_id", "title": "name", "salary": "pay"}
    (job,) = read_jobs(path, columns=columns).records
    assert (job.id, job.title, job.salary) == ("1", "Cook", 20000.0)
    with pytest.raises(DataError, match=r"no column 'id'.*job_id, name, pay"):
        read_jobs(path)
    with pytest.raises(DataError, match="no column 'wage'"):
        read_jobs(path, columns=columns | {"salary": "wage"})
    with pytest.raises(ConfigError, match="jobs have no 'titel', did you mean 'title'"):
        read_jobs(path, columns={"titel": "name"})


def test_sections_are_an_object_or_columns(tmp_path):
    path = write(tmp_path, "p.jsonl", '{"id": 1, "sections": {"profile": " a "}, "education": "b"}')
    (resume,) = read_people(path).records
    assert resume.id == "1" and resume.sections == {"profile": "a", "education": "b"}
    path = write(tmp_path, "p.csv", 'id,profile,objective\n1,"a\nb",c\n2,,d\n')
    first, second = read_people(path).records
    assert first.sections == {"profile": "a\nb", "objective": "c"}
    assert second.sections == {"objective": "d"}
    path = write(tmp_path, "q.jsonl", '{"id": 1, "sections": {"profile": "a"}, "profile": "b"}')
    with pytest.raises(DataError, match="line 1: profile 'b' is in the sections too"):
        read_people(path)


def test_an_empty_resume_is_an_error_or_a_counted_skip(tmp_path):
    path = write(tmp_path, "p.csv", "id,basic\n1,x\n2,  \n3,\n")
    with pytest.raises(DataError, match="line 3: id '2' is a resume without text"):
        read_people(path)
    loaded = read_people(path, empty="skip")
    assert [r.id for r in loaded.records] == ["1"] and loaded.counts == {"empty resume": 2}
    path = write(tmp_path, "q.csv", "id,basic\n1,\n")
    with pytest.raises(DataError, match="all 1 resumes are empty"):
        read_people(path, empty="skip")


@pytest.mark.parametrize(
    ("text", "salary"),
    [
        ("45000", 45000), ("45,000 EUR", 45000), ("EUR 45,000", 45000), ("€45 000", 45000),
        ("$45,000.50", 45000.5), ("45k", 45000), ("45K USD", 45000), ("45,000 per year", 45000),
        ("£1,234,567 / annum", 1234567), ("52000 annually", 52000), ("4.5e4", 45000),
        ("n/a", None), ("negotiable", None), ("40,000-50,000", None), ("3,000 a month", None),
        ("20 per hour", None), ("45.000", None), ("45,00", None), ("-5", None), ("0", None),
        ("nan", None), ("inf", None), ("1e999", None), ("4_5", None), ("up to 9000", None),
        (True, None), ([1], None), (float("nan"), None), ("9" * 500, None),
    ],
)  # fmt: skip
def test_salaries_are_read_where_they_are_plain(text, salary):
    assert read_salary(text, parse=True) == salary


def test_a_salary_with_text_is_an_error_or_parsed_or_counted(tmp_path):
    path = write(
        tmp_path, "jobs.csv", 'id,title,salary\n1,a,100\n2,b,"45,000 EUR"\n3,c,n/a\n4,d,\n'
    )
    with pytest.raises(DataError, match=r"jobs.csv: line 3: salary '45,000 EUR' is no salary"):
        read_jobs(path)
    with pytest.raises(DataError, match=r"line 4: salary 'n/a' is no salary"):
        read_jobs(path, salaries="parse")
    loaded = read_jobs(path, salaries="missing")
    assert [job.salary for job in loaded.records[:2]] == [100.0, 45000.0]
    assert all(math.isnan(job.salary) for job in loaded.records[2:])
    assert loaded.counts == {"salary that cannot be read": 1}
    lines = '{"id": 1, "title": "a"}\n\n{"id": 2, "title": "b",\n "salary": "n/a"}\n'.replace(
        ",\n", ", "
    )
    with pytest.raises(DataError, match="line 3: salary 'n/a'"):
        read_jobs(write(tmp_path, "jobs.jsonl", lines))


@pytest.mark.parametrize(
    ("reader", "text", "words"),
    [
        (read_jobs, "id,title\n1,a\n1,b\n", ["2 jobs have the ID '1'"]),
        (read_jobs, "id,title\n1,a\n,b\n", ["line 3", "id '' is empty"]),
        (read_jobs, "id,title\n1,\n", ["line 2", "title '' is empty"]),
        (read_jobs, "id,title\n1,a,b\n", ["line 2", "3 fields, expected 2"]),
        (read_jobs, 'id,title\n1,"a\n', ["line 2", "correct the quotes"]),
        (read_jobs, "id,title,title\n1,a,b\n", ["2 columns are called 'title'"]),
        (read_jobs, "id,title\n", ["holds no jobs"]),
        (read_jobs, '{"id": 1}\n', ["no column 'title'"]),
        (read_jobs, '{"id": [1], "title": "a"}\n', ["line 1", "id [1] is no text"]),
        (read_jobs, '{"id": 1, "title": true}\n', ["line 1", "title True is no text"]),
        (read_jobs, '{"id": 1, "title": "a", "skills": [1]}', ["line 1", "a list of texts"]),
        (read_jobs, '{"id": 1, "title": "\\ud800"}', ["line 1", "UTF-8 cannot hold"]),
        (read_people, '{"id": 1, "sections": "x"}', ["line 1", "must be an object"]),
        (read_people, '{"id": 1, "sections": {"a": 1}}', ["line 1", "no text for 'a'"]),
        (read_matches, "person,job,matched\n1,2,maybe\n", ["line 2", "'maybe' is neither"]),
        (read_matches, "person,job,matched\n1,,1\n", ["line 2", "job '' is empty"]),
        (read_matches, "person,job,matched,time\n1,2,1,5\n1,3,1,\n", ["line 3", "is missing"]),
        (read_matches, "person,job,matched,time\n1,2,1,5\n1,3,1,soon\n", ["line 3", "'soon'"]),
        (
            read_interviews,
            "job,person,assessment,passed,level\n1,2,good,1,boss\n",
            ["line 2", "'boss' must be junior, senior or empty"],
        ),
        (read_interviews, "job,person,assessment,passed\n1,2,,1\n", ["assessment '' is empty"]),
    ],
)
def test_bad_rows_are_named(reader, text, words, tmp_path):
    with pytest.raises(DataError) as error:
        reader(write(tmp_path, "bad.file", text))
    assert all(word in str(error.value) for word in ("bad.file", *words)), error.value


def test_times_are_numbers_or_dates(tmp_path):
    head = "person,job,matched,time\n"
    dates = write(tmp_path, "a.csv", head + "1,2,yes,1970-01-02\n1,3,no,1970-01-01T00:00:05Z\n")
    assert [(m.time, m.matched) for m in read_matches(dates).records] == [
        (86400, True),
        (5, False),
    ]
    numbers = write(tmp_path, "b.jsonl", '{"person": 1, "job": 2, "matched": true, "time": 77}')
    assert read_matches(numbers).records[0] == Match(person="1", job="2", matched=True, time=77)


NAMES = strategies.text(
    strategies.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1
).filter(lambda text: text.strip())
WORDS = NAMES.map(str.strip)
TREE = {
    name: WORDS | strategies.just("")
    for name in ("industry", "category", "occupation", "seniority")
}
SALARY = strategies.floats(0.01, 1e9) | strategies.just(math.nan)
SKILLS = strategies.lists(WORDS, unique=True, max_size=3).map(tuple)


@settings(max_examples=50, deadline=None)
@given(data=strategies.data())
def test_what_is_written_is_read(data, tmp_path_factory):
    def many(strategy):
        return strategies.lists(strategy, min_size=1, max_size=4, unique_by=lambda one: one.id)

    jobs = data.draw(
        many(
            strategies.builds(
                Job, id=WORDS, title=WORDS, salary=SALARY, skills=SKILLS, **TREE,
                responsibilities=WORDS, qualifications=WORDS | strategies.just(""),
            )
        )
    )  # fmt: skip
    sections = strategies.dictionaries(strategies.sampled_from(SECTIONS), WORDS)
    people = data.draw(
        many(
            strategies.builds(
                Resume,
                id=WORDS,
                basic=WORDS,
                sections=sections,
                salary=SALARY,
                skills=SKILLS,
                **TREE,
            )
        )
    )
    ids = {
        "job": strategies.sampled_from([job.id for job in jobs]),
        "person": strategies.sampled_from([resume.id for resume in people]),
        "time": strategies.integers(10**8, 10**10),
    }
    recruitment = Recruitment(
        jobs=tuple(jobs),
        resumes=tuple(people),
        interviews=tuple(
            data.draw(
                strategies.lists(
                    strategies.builds(
                        Interview, **ids, assessment=WORDS, passed=strategies.booleans(),
                        level=strategies.sampled_from(["", "junior", "senior"]),
                    ), min_size=1, max_size=3,
                )
            )
        ),
        matches=tuple(
            data.draw(
                strategies.lists(
                    strategies.builds(Match, **ids, matched=strategies.booleans()),
                    min_size=1, max_size=3,
                )
            )
        ),
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("written")
    write_recruitment(recruitment, folder)
    (found,) = read_recruitment(
        folder / "jobs.jsonl",
        folder / "people.jsonl",
        interviews=folder / "interviews.jsonl",
        matches=folder / "matches.jsonl",
    ).records
    # Missing numbers are NaN, which equals nothing, so the texts are compared.
    assert repr(found) == repr(recruitment)


@settings(max_examples=150, deadline=None)
@given(text=strategies.text(max_size=60) | strategies.text("id,title\n\t;\"'{}[]:1a", max_size=60))
def test_any_file_is_read_or_refused(text, tmp_path_factory):
    path = tmp_path_factory.mktemp("any") / "jobs"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        jobs = read_jobs(path).records
    except DataError as error:
        assert "\n" not in str(error)
    else:
        assert all(job.id and job.title for job in jobs)
