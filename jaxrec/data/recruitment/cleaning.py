"""Cleaning of records: personal data, lengths, duplicates, and matches of records that are missing.

RecruitPro (Fang et al., KDD 2023) removes duplicates, and texts whose length is outside of the
whiskers of a box plot, [Q1 - 1.5 IQR, Q3 + 1.5 IQR].
"""

import collections
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeVar

import numpy as np

from jaxrec.core import Count, DataError, NotNegative, check_ranges
from jaxrec.data.corpora import Duplicates, Keys, Privacy, find_duplicates, remove_personal
from jaxrec.data.recruitment.records import Interview, Job, Match, Recruitment, Resume

Record = TypeVar("Record", Job, Resume, Interview)
Event = TypeVar("Event", Interview, Match)
Counter = collections.Counter[str]
_SHOWN = 3
_REASONS = ("", "exact duplicate", "near-duplicate")  # by the verdicts of `find_duplicates`


@dataclasses.dataclass(frozen=True, kw_only=True)
class CleanOptions:
    """What is cleaned.

    Attributes:
      whisker: K of the box plot: lengths outside of [Q1 - K IQR, Q3 + K IQR] are dropped, for jobs,
        resumes and assessments on their own; None keeps all lengths.
      duplicates: how repeated jobs and resumes are found; None keeps them. Interviews and matches
        are dropped if all of their values repeat.
      privacy: what is replaced in resumes and assessments; None leaves personal data.
      most_words: words of a resume; a longer one is cut or skipped before anything else.
      long: what happens to longer resumes: "cut" or "skip".
      missing: what a match or an interview is whose job or person does not exist: an "error", or
        "drop" and count it.

    Example:
      >>> CleanOptions().privacy is None
      False
    """

    whisker: NotNegative | None = 1.5
    duplicates: Duplicates | None = Duplicates()
    privacy: Privacy | None = Privacy()
    most_words: Count = 2000
    long: Literal["cut", "skip"] = "cut"
    missing: Literal["error", "drop"] = "error"

    def __post_init__(self) -> None:
        """Reject numbers out of range."""
        check_ranges(self, "--clean.")


@dataclasses.dataclass(frozen=True)
class Cleaned:
    """What is left, and what was done.

    Attributes:
      recruitment: the records that are left.
      counts: by kind of record ("jobs", "resumes", "interviews", "matches"), the number of records
        dropped or changed by each rule; rules that did nothing are not listed.
    """

    recruitment: Recruitment
    counts: Mapping[str, Mapping[str, int]]


def clean_recruitment(recruitment: Recruitment, options: CleanOptions | None = None) -> Cleaned:
    """Clean records by rules, and count what each rule did.

    Args:
      recruitment: the records.
      options: rules; None for the defaults.

    Raises:
      DataError: a match or an interview names a job or a person that does not exist, or nothing is
        left of the jobs or of the resumes.

    Example:
      >>> jobs = tuple(Job(id=str(n), title="Baker of bread") for n in range(2))
      >>> people = (Resume(id="3", basic="Mail me: ann@x.org"),)
      >>> cleaned = clean_recruitment(Recruitment(jobs=jobs, resumes=people))
      >>> cleaned.counts
      {'jobs': {'exact duplicate': 1}, 'resumes': {'email replaced': 1}}
      >>> cleaned.recruitment.resumes[0].basic
      'Mail me: <email>'
    """
    options = options or CleanOptions()
    counts: dict[str, Counter] = {
        name: collections.Counter() for name in ("jobs", "resumes", "interviews", "matches")
    }
    interviews = _existing(recruitment.interviews, recruitment, options, counts["interviews"])
    matches = _existing(recruitment.matches, recruitment, options, counts["matches"])
    resumes = _without_long(recruitment.resumes, options, counts["resumes"])
    if options.privacy is not None:
        resumes = [_private_resume(r, options.privacy, counts["resumes"]) for r in resumes]
        interviews = [_private(one, options.privacy, counts["interviews"]) for one in interviews]
    jobs = _clean_texts(recruitment.jobs, _job_text, options, counts["jobs"])
    resumes = _clean_texts(resumes, Resume.text, options, counts["resumes"])
    interviews = _within_whiskers(interviews, _assessment, options, counts["interviews"])
    for what, before, after in (
        ("jobs", recruitment.jobs, jobs),
        ("resumes", recruitment.resumes, resumes),
    ):
        if before and not after:
            raise DataError(
                f"nothing is left of {len(before):,} {what}: {dict(counts[what])}; loosen the rules"
            )
    people, kept_jobs = {resume.id for resume in resumes}, {job.id for job in jobs}
    cleaned = Recruitment(
        jobs=tuple(jobs),
        resumes=tuple(resumes),
        interviews=_different(interviews, people, kept_jobs, options, counts["interviews"]),
        matches=_different(matches, people, kept_jobs, options, counts["matches"]),
        synthetic=recruitment.synthetic,
    )
    return Cleaned(cleaned, {kind: dict(found) for kind, found in counts.items() if found})


def whiskers(lengths: Sequence[float] | np.ndarray, whisker: float = 1.5) -> tuple[float, float]:
    """The whiskers of a box plot: Q1 - K IQR and Q3 + K IQR; quartiles are interpolated.

    Args:
      lengths: at least one number.
      whisker: K.

    Example:
      >>> whiskers([1, 2, 3, 4, 100])
      (-1.0, 7.0)
    """
    low, high = np.percentile(lengths, (25, 75))
    return float(low - whisker * (high - low)), float(high + whisker * (high - low))


def _job_text(job: Job) -> str:
    return job.text(salary=False)


def _assessment(interview: Interview) -> str:
    return interview.assessment


def _existing(
    events: Sequence[Event], recruitment: Recruitment, options: CleanOptions, counts: Counter
) -> list[Event]:
    """Events whose job and person exist."""
    people = {resume.id for resume in recruitment.resumes}
    jobs = {job.id for job in recruitment.jobs}
    kept = [event for event in events if event.person in people and event.job in jobs]
    if len(kept) == len(events):
        return kept
    if options.missing == "error":
        lost_people = dict.fromkeys(e.person for e in events if e.person not in people)
        lost_jobs = dict.fromkeys(e.job for e in events if e.job not in jobs)
        raise DataError(
            f"{len(events) - len(kept):,} of {len(events):,} {type(events[0]).__name__} records "
            f"name records that do not exist: people {_some(lost_people)}, jobs "
            f"{_some(lost_jobs)}; add them, or choose --clean.missing drop"
        )
    counts["job or person missing"] += len(events) - len(kept)
    return kept


def _some(names: Mapping[str, None]) -> str:
    shown = ", ".join(f"{name!r:.40}" for name in list(names)[:_SHOWN])
    return (shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")) or "none"


def _without_long(
    resumes: Sequence[Resume], options: CleanOptions, counts: Counter
) -> list[Resume]:
    kept = []
    for resume in resumes:
        if len(resume.text().split()) <= options.most_words:
            kept.append(resume)
        elif options.long == "skip":
            counts["too long, skipped"] += 1
        else:
            counts["too long, cut"] += 1
            kept.append(_cut(resume, options.most_words))
    return kept


def _cut(resume: Resume, words: int) -> Resume:
    """The beginning of a resume, of so many words; names of sections count as words."""
    basic = resume.basic.split()[:words]
    left = words - len(basic)
    sections = {}
    for kind, text in resume.sections.items():
        part = text.split()[: max(left - len(kind.split()), 0)]
        left -= len(part) + len(kind.split())
        if part:
            sections[kind] = " ".join(part)
    return dataclasses.replace(resume, basic=" ".join(basic), sections=sections)


def _private_resume(resume: Resume, privacy: Privacy, counts: Counter) -> Resume:
    found: Counter = collections.Counter()
    basic, number = remove_personal(resume.basic, privacy)
    found.update(number)
    sections = {}
    for kind, text in resume.sections.items():
        sections[kind], number = remove_personal(text, privacy)
        found.update(number)
    _count_replaced(found, counts)
    return dataclasses.replace(resume, basic=basic, sections=sections) if found else resume


def _private(interview: Interview, privacy: Privacy, counts: Counter) -> Interview:
    text, found = remove_personal(interview.assessment, privacy)
    _count_replaced(found, counts)
    return dataclasses.replace(interview, assessment=text) if found else interview


def _count_replaced(found: Mapping[str, int], counts: Counter) -> None:
    for kind, number in found.items():
        counts[f"{kind} replaced"] += number


def _clean_texts(
    records: Sequence[Record], text: Callable[[Record], str], options: CleanOptions, counts: Counter
) -> list[Record]:
    """Records within the whiskers, without those that repeat earlier ones."""
    kept = _within_whiskers(records, text, options, counts)
    if options.duplicates is None or not kept:
        return kept
    texts = [text(record) for record in kept]
    keys = Keys(options.duplicates)
    hashes = np.stack([keys.of(one) for one in texts])
    verdicts = find_duplicates(lambda n: hashes[:, n], keys, texts.__getitem__).tolist()
    counts.update(_REASONS[verdict] for verdict in verdicts if verdict)
    return [record for record, verdict in zip(kept, verdicts, strict=True) if not verdict]


def _within_whiskers(
    records: Sequence[Record], text: Callable[[Record], str], options: CleanOptions, counts: Counter
) -> list[Record]:
    if options.whisker is None or not records:
        return list(records)
    lengths = np.array([len(text(record).split()) for record in records])
    low, high = whiskers(lengths, options.whisker)
    inside = (lengths >= low) & (lengths <= high)
    for reason, outside in (("too short", lengths < low), ("too long", lengths > high)):
        if outside.any():
            counts[f"{reason} for the box plot"] += int(outside.sum())
    return [record for record, keep in zip(records, inside.tolist(), strict=True) if keep]


def _different(
    events: Sequence[Event],
    people: set[str],
    jobs: set[str],
    options: CleanOptions,
    counts: Counter,
) -> tuple[Event, ...]:
    """Events whose records are left, each once."""
    kept = [event for event in events if event.person in people and event.job in jobs]
    if len(kept) < len(events):
        counts["job or person dropped"] += len(events) - len(kept)
    if options.duplicates is None:
        return tuple(kept)
    seen: dict[tuple, Event] = {}
    for event in kept:
        # The planted probabilities may be NaN, which equals nothing.
        values = tuple(v for v in dataclasses.astuple(event) if not isinstance(v, float))
        seen.setdefault(values, event)
    if len(seen) < len(kept):
        counts["exact duplicate"] += len(kept) - len(seen)
    return tuple(seen.values())
