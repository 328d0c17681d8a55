"""Which jobs and which people train, validate and test.

All tasks share one split of the jobs and one of the people, so a model that learns several tasks at
once has seen no test person in any of them.
"""

import dataclasses

import numpy as np

from jaxrec.core import DataError
from jaxrec.data.recruitment.records import Recruitment

TRAIN, VALID, TEST = range(3)
PARTS = ("train", "valid", "test")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PeopleSplit:
    """The part of each person, and when the held-out parts begin.

    Attributes:
      part: `TRAIN`, `VALID` or `TEST` by ID.
      begins: times in seconds from which on the events of the validation and the test people count;
        None if all events have one time.
    """

    part: dict[str, int]
    begins: tuple[int, int] | None

    def in_time(self, person: str, time: int) -> bool:
        """Whether an event lies before the next part begins.

        Example:
          >>> split = PeopleSplit(part={"a": TRAIN, "b": VALID, "c": TEST}, begins=(10, 20))
          >>> split.in_time("a", 9), split.in_time("a", 10), split.in_time("b", 20)
          (True, False, False)
        """
        part = self.part[person]
        return self.begins is None or part == TEST or time < self.begins[part]


def split_people(recruitment: Recruitment, valid: float, test: float, seed: int) -> PeopleSplit:
    """Split people by the time of their first match or interview: the last ones test.

    People without any are split at random.

    Args:
      recruitment: with at least one resume.
      valid: share of the people who validate.
      test: share of the people who test.
      seed: of the random order of people with equal times.

    Example:
      >>> from jaxrec.data.recruitment import Match, Resume
      >>> data = Recruitment(
      ...     resumes=tuple(Resume(id=name) for name in "abcd"),
      ...     matches=tuple(
      ...         Match(person=p, job="1", matched=True, time=t)
      ...         for p, t in zip("abcd", (40, 10, 30, 20))))
      >>> split_people(data, 0.25, 0.25, seed=0).part
      {'b': 0, 'd': 0, 'c': 1, 'a': 2}
    """
    first: dict[str, int] = {}
    times = [(match.person, match.time) for match in recruitment.matches]
    times += [(interview.person, interview.time) for interview in recruitment.interviews]
    for person, time in times:
        first[person] = min(time, first.get(person, time))
    rng = np.random.default_rng((seed, 1))
    active = [resume.id for resume in recruitment.resumes if resume.id in first]
    active = [active[place] for place in rng.permutation(len(active)).tolist()]
    active.sort(key=first.__getitem__)
    others = [resume.id for resume in recruitment.resumes if resume.id not in first]
    others = [others[place] for place in rng.permutation(len(others)).tolist()]
    part = dict(zip(active, _in_order(len(active), valid, test), strict=True))
    part |= dict(zip(others, _in_order(len(others), valid, test), strict=True))
    starts = [(part[person], time) for person, time in first.items()]
    begins = [min((t for p, t in starts if p >= own), default=0) for own in (VALID, TEST)]
    known = len(set(first.values())) > 1
    return PeopleSplit(part=part, begins=(begins[0], begins[1]) if known else None)


def _in_order(count: int, valid: float, test: float) -> list[int]:
    tests, valids = round(count * test), round(count * valid)
    return [TRAIN] * (count - tests - valids) + [VALID] * valids + [TEST] * tests


def split_jobs(recruitment: Recruitment, valid: float, test: float, seed: int) -> dict[str, int]:
    """Split jobs at random within each occupation, so that all parts have the same mixture.

    An occupation with two jobs or more has one in training at least.

    Args:
      recruitment: with at least one job.
      valid: share of the jobs that validate.
      test: share of the jobs that test. Both shares are at most one half together.
      seed: of the draw.

    Returns:
      `TRAIN`, `VALID` or `TEST` by ID.

    Raises:
      DataError: more than a half is held out.

    Example:
      >>> from jaxrec.data.recruitment import Job
      >>> jobs = tuple(Job(id=str(n), title="", occupation="ab"[n % 2]) for n in range(8))
      >>> part = split_jobs(Recruitment(jobs=jobs), 0.25, 0.25, seed=0)
      >>> sorted(part.values())
      [0, 0, 0, 0, 1, 1, 2, 2]
    """
    held = valid + test
    if held > 0.5:
        raise DataError(f"validation and test take {held:g} of the jobs; leave at least a half")
    rng = np.random.default_rng((seed, 2))
    jobs = recruitment.jobs
    keys = [(j.industry, j.category, j.occupation) for j in jobs]
    shuffled = rng.permutation(len(jobs)).tolist()
    order = sorted(shuffled, key=keys.__getitem__)
    # Evenly spaced places of the sorted jobs are held out, so two neighbors never are.
    offset = rng.random()
    steps = np.floor(np.arange(len(jobs) + 1) * held + offset)
    held_out = np.flatnonzero(np.diff(steps) > 0)
    part = {job.id: TRAIN for job in jobs}
    picks = rng.permutation(held_out)
    tests = round(len(picks) * test / held) if held else 0
    for place, pick in enumerate(picks.tolist()):
        part[jobs[order[pick]].id] = TEST if place < tests else VALID
    return part
