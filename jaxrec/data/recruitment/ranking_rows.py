"""Which jobs are ranked beside the right one."""

from collections.abc import Sequence

import numpy as np

from jaxrec.core import DataError
from jaxrec.data.recruitment.records import Job


class CandidateJobs:
    """Draws the wrong jobs of a ranking: of the right one's category, as long as it has some.

    Args:
      jobs: all of them.

    Example:
      >>> jobs = [Job(id=str(n), title="", industry="i", category="ab"[n > 2]) for n in range(6)]
      >>> draw = CandidateJobs(jobs)
      >>> sorted(draw.beside(0, {0, 1}, 3, np.random.default_rng(0)))[0]  # 2, and two of the others
      2
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._count = len(jobs)
        # From the narrowest to the widest: jobs of the category, the industry, and all.
        self._keys = [[(job.industry, job.category), (job.industry,), ()] for job in jobs]
        self._groups: dict[tuple[str, ...], list[int]] = {}
        for place, keys in enumerate(self._keys):
            for key in keys:
                self._groups.setdefault(key, []).append(place)

    def beside(
        self, job: int, excluded: set[int], count: int, rng: np.random.Generator
    ) -> list[int]:
        """Draw different jobs.

        Args:
          job: place of the right job.
          excluded: places that are not drawn: the jobs that suit the person.
          count: how many are drawn.
          rng: random numbers.

        Raises:
          DataError: there are too few jobs.
        """
        found: dict[int, None] = {}
        for key in self._keys[job]:
            group = self._groups[key]
            missing = count - len(found)
            if len(group) > 4 * (count + len(excluded)):
                # Few of many: draw until enough are found.
                while len(found) < count:
                    place = group[int(rng.integers(len(group)))]
                    if place not in excluded:
                        found[place] = None
            else:
                free = [place for place in group if place not in excluded and place not in found]
                chosen = rng.permutation(len(free))[:missing].tolist()
                found.update(dict.fromkeys(free[place] for place in chosen))
            if len(found) == count:
                return list(found)
        raise DataError(
            f"a ranking of {count + 1} candidates needs {count} jobs that do not suit the person, "
            f"and {len(found)} of {self._count:,} jobs are left; lower --tasks.candidates"
        )
