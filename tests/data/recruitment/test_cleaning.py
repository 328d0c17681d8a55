"""Cleaning: the box plot against SciPy and pandas, duplicates, privacy, lost records."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings, strategies
from scipy import stats

from jaxrec.core import ConfigError, DataError
from jaxrec.data.corpora import Privacy
from jaxrec.data.recruitment import (
    CleanOptions,
    Interview,
    Job,
    Match,
    Recruitment,
    Resume,
    clean_recruitment,
    whiskers,
)


def words(count, seed=0):
    """A text of so many words that no other seed has."""
    return " ".join(f"w{seed}x{n}" for n in range(count))


@settings(max_examples=100, deadline=None)
@given(strategies.lists(strategies.integers(0, 1000), min_size=1, max_size=40))
def test_whiskers_are_those_of_scipy(lengths):
    low, high = whiskers(lengths)
    iqr = stats.iqr(lengths)
    assert low == pytest.approx(stats.scoreatpercentile(lengths, 25) - 1.5 * iqr)
    assert high == pytest.approx(stats.scoreatpercentile(lengths, 75) + 1.5 * iqr)


def test_whiskers_are_those_of_pandas_and_the_filter_keeps_what_lies_on_them():
    pandas = pytest.importorskip("pandas")
    lengths = [*np.random.default_rng(0).poisson(30, 200).tolist(), 1, 200]
    quartiles = pandas.Series(lengths).quantile([0.25, 0.75])
    low = quartiles[0.25] - 1.5 * (quartiles[0.75] - quartiles[0.25])
    high = quartiles[0.75] + 1.5 * (quartiles[0.75] - quartiles[0.25])
    resumes = tuple(Resume(id=str(n), basic=words(k, n)) for n, k in enumerate(lengths))
    cleaned = clean_recruitment(Recruitment(resumes=resumes))
    kept = [len(resume.basic.split()) for resume in cleaned.recruitment.resumes]
    assert kept == [k for k in lengths if low <= k <= high]
    assert cleaned.counts["resumes"] == {
        "too short for the box plot": sum(k < low for k in lengths),
        "too long for the box plot": sum(k > high for k in lengths),
    }
    # 2 and 4 lie on the whiskers exactly.
    ends = tuple(Resume(id=str(n), basic=words(k, n)) for n, k in enumerate([2, 4, 4, 4, 6]))
    assert len(clean_recruitment(Recruitment(resumes=ends)).recruitment.resumes) == 3


def test_jobs_resumes_and_assessments_have_whiskers_of_their_own():
    jobs = tuple(Job(id=str(n), title=words(100, n)) for n in range(8))
    resumes = tuple(Resume(id=str(n), basic=words(10, n)) for n in range(8))
    interviews = tuple(
        Interview(job=str(n), person=str(n), assessment=words(3 if n else 90, n), passed=True)
        for n in range(8)
    )
    data = Recruitment(jobs=jobs, resumes=resumes, interviews=interviews)
    cleaned = clean_recruitment(data)
    assert cleaned.counts == {"interviews": {"too long for the box plot": 1}}
    assert cleaned.recruitment.interviews == interviews[1:]
    assert clean_recruitment(data, CleanOptions(whisker=None)).recruitment == data


def test_duplicates_are_dropped_and_so_are_their_matches():
    body = words(40)
    jobs = (
        Job(id="a", title="Baker", responsibilities=body),
        Job(id="b", title="baker!", responsibilities=body.upper(), salary=5.0),
        Job(id="c", title="Baker", responsibilities=body[:-3] + "w9"),
        Job(id="d", title="Smith", responsibilities=words(40, 1)),
    )
    people = (Resume(id="p", basic="one text"),)
    matches = tuple(Match(person="p", job=job, matched=True) for job in "abdd")
    data = Recruitment(jobs=jobs, resumes=people, matches=matches)
    cleaned = clean_recruitment(data)
    assert [job.id for job in cleaned.recruitment.jobs] == ["a", "d"]
    assert cleaned.counts == {
        "jobs": {"exact duplicate": 1, "near-duplicate": 1},
        "matches": {"job or person dropped": 1, "exact duplicate": 1},
    }
    assert [match.job for match in cleaned.recruitment.matches] == ["a", "d"]
    assert clean_recruitment(data, CleanOptions(duplicates=None)).recruitment == data


def test_personal_data_are_replaced_by_default_in_resumes_and_assessments():
    resume = Resume(
        id="p",
        basic="Ann, ann@example.org, +44 20 7946 0958",
        sections={"profile": "See 8.8.8.8 or bob@example.org", "education": "None"},
    )
    interview = Interview(job="j", person="p", assessment="Call +44 20 7946 0958.", passed=True)
    data = Recruitment(
        jobs=(Job(id="j", title="x@example.org"),), resumes=(resume,), interviews=(interview,)
    )
    cleaned = clean_recruitment(data)
    found = cleaned.recruitment.resumes[0]
    assert found.basic == "Ann, <email>, <phone>"
    assert found.sections == {"profile": "See <ip> or <email>", "education": "None"}
    assert cleaned.recruitment.interviews[0].assessment == "Call <phone>."
    assert cleaned.counts["resumes"] == {
        "email replaced": 2,
        "phone replaced": 1,
        "ip replaced": 1,
    }
    # The address to apply to is part of a job.
    assert cleaned.recruitment.jobs == data.jobs
    assert clean_recruitment(cleaned.recruitment).counts == {}
    assert clean_recruitment(data, CleanOptions(privacy=None)).recruitment == data
    phones = clean_recruitment(data, CleanOptions(privacy=Privacy(emails=False)))
    assert "ann@example.org" in phones.recruitment.resumes[0].basic


@pytest.mark.parametrize("long", ["cut", "skip"])
def test_a_resume_of_fifty_pages_is_cut_or_skipped_and_counted(long):
    book = Resume(
        id="book", basic=words(10), sections={"profile": words(20_000), "education": words(5_000)}
    )
    data = Recruitment(resumes=(book, Resume(id="p", basic=words(30, 1))))
    options = CleanOptions(whisker=None, long=long)
    cleaned = clean_recruitment(data, options)
    reason = {"cut": "too long, cut", "skip": "too long, skipped"}[long]
    assert cleaned.counts == {"resumes": {reason: 1}}
    kept = {resume.id: resume for resume in cleaned.recruitment.resumes}
    assert set(kept) == {"p"} | ({"book"} if long == "cut" else set())
    if long == "cut":
        assert len(kept["book"].text().split()) == 2000
        assert book.text().split()[:2000] == kept["book"].text().split()
    assert kept["p"] == data.resumes[1]


def test_a_match_of_a_missing_record_is_an_error_that_names_it_or_is_dropped():
    data = Recruitment(
        jobs=(Job(id="j", title="t"),),
        resumes=(Resume(id="p", basic="x"),),
        matches=(
            Match(person="p", job="j", matched=True),
            Match(person="ghost", job="j", matched=True),
            Match(person="p", job="77", matched=False),
        ),
    )
    with pytest.raises(DataError) as error:
        clean_recruitment(data)
    for word in ("2 of 3 Match records", "people 'ghost'", "jobs '77'", "--clean.missing drop"):
        assert word in str(error.value)
    cleaned = clean_recruitment(data, CleanOptions(missing="drop"))
    assert cleaned.counts == {"matches": {"job or person missing": 2}}
    assert cleaned.recruitment.matches == data.matches[:1]
    lost = dataclasses.replace(
        data, matches=(), interviews=(Interview(job="j", person="x", assessment="a", passed=True),)
    )
    with pytest.raises(DataError, match=r"1 of 1 Interview records.*people 'x', jobs none"):
        clean_recruitment(lost)


def test_options_out_of_range_are_errors():
    with pytest.raises(ConfigError, match=r"--clean.whisker"):
        CleanOptions(whisker=-1.0)
    with pytest.raises(ConfigError, match=r"--clean.most-words"):
        CleanOptions(most_words=0)


def test_a_planted_world_needs_no_cleaning(world):
    data = dataclasses.replace(world.recruitment, matches=(), interviews=())
    counts = clean_recruitment(data, CleanOptions(whisker=4.0)).counts
    assert counts == {}
