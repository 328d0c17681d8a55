"""The recruitment world of a run, divided by people, jobs and time.

    people   generator | reward | gold | prompts | recommendation: warm | cold
    jobs     of the generator and the rewards    | of the recommendation
    time                                           first applications | later ones

Nobody serves for two things, so no description is learned from a match that is predicted later.
Predictors are trained on the first applications of warm people. They are tested on the later ones
of these people, and on all of cold people, who apply after the others and whom they have not seen.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from jaxrec.core import DataError
from jaxrec.data import read_occupations, read_skill_labels
from jaxrec.data.corpora import find_text
from jaxrec.data.recruitment import Match, Resume, World, recruitment_world
from jaxrec.systems.girl.config import GirlDataConfig
from jaxrec.systems.girl.facts import FactReader, fact_text
from jaxrec.systems.girl.predictors import Rows, check_rows

PEOPLE = ("generator", "reward", "gold", "prompts", "recommendation")


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two jobs that a person applied for.

    Attributes:
      person: place among the people.
      better: place of the job that matched.
      worse: place of the job that did not.
    """

    person: int
    better: int
    worse: int


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class GirlData:
    """What a run learns from.

    Attributes:
      world: people, jobs, matches and their planted truth.
      name: what the data are called.
      resumes: texts of all people.
      jobs: texts of all jobs.
      people: places of the people of each group of `PEOPLE`.
      targets: for "train" and "valid", people of the generator and the jobs that they matched with:
        `[N, 2]`.
      pairs: what the rewards compare, for "train", "valid", "test" and "gold".
      prompts: people that the policy writes to, for "train" and "valid".
      rows: of the recommendation, for "train", "valid", "warm" and "cold". Persons are places among
        the people.
    """

    world: World
    name: str
    resumes: Sequence[str]
    jobs: Sequence[str]
    people: Mapping[str, np.ndarray]
    targets: Mapping[str, np.ndarray]
    pairs: Mapping[str, Sequence[Pair]]
    prompts: Mapping[str, np.ndarray]
    rows: Mapping[str, Rows]

    def describe(self) -> Mapping[str, object]:
        """Say what the run is trained and measured on: JSON-able."""
        counts: dict[str, object] = {f"{name}_people": len(p) for name, p in self.people.items()}
        counts |= {f"{name}_targets": len(part) for name, part in self.targets.items()}
        counts |= {f"{name}_pairs": len(part) for name, part in self.pairs.items()}
        counts |= {f"{name}_rows": len(part) for name, part in self.rows.items()}
        facts = {"dataset": self.name, "synthetic": self.world.recruitment.synthetic}
        return facts | counts | {"fingerprint": self._fingerprint}

    @functools.cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256()
        for text in (*self.resumes, "", *self.jobs):
            digest.update(hashlib.sha256(text.encode()).digest())
        for part in (*self.people.values(), *self.targets.values()):
            digest.update(np.ascontiguousarray(part, np.int64).tobytes())
        for rows in self.rows.values():
            digest.update(np.stack([rows.person, rows.job, rows.label]).tobytes())
        return digest.hexdigest()

    @functools.cached_property
    def skills(self) -> tuple[str, ...]:
        """The skills that jobs name, in the order of the alphabet."""
        return skills_of(self.world)

    @functools.cached_property
    def recommended(self) -> np.ndarray:
        """Places of the jobs of the recommendation."""
        return np.unique(np.concatenate([rows.job for rows in self.rows.values()]))

    def utilities(self, people: Sequence[int], texts: Sequence[str]) -> np.ndarray:
        """The planted logits of matches of people with written job descriptions: `[N]`."""
        resumes = self.world.recruitment.resumes
        return self.world.utilities(
            [
                (resumes[person].id, self.world.read_job(text))
                for person, text in zip(people, texts, strict=True)
            ]
        )

    def pair_utilities(self, pairs: Sequence[Pair]) -> np.ndarray:
        """The planted logits of the better and of the worse job of pairs: `[N, 2]`."""
        jobs, resumes = self.world.recruitment.jobs, self.world.recruitment.resumes
        both = [
            (resumes[pair.person].id, jobs[job])
            for pair in pairs
            for job in (pair.better, pair.worse)
        ]
        return self.world.utilities(both).reshape(-1, 2)

    def row_utilities(self, rows: Rows) -> np.ndarray:
        """The planted logits of rows of the recommendation: `[N]`."""
        jobs, resumes = self.world.recruitment.jobs, self.world.recruitment.resumes
        pairs = zip(rows.person.tolist(), rows.job.tolist(), strict=True)
        return self.world.utilities([(resumes[p].id, jobs[j]) for p, j in pairs])

    def __str__(self) -> str:
        """Describe the data in a line, to print before training."""
        facts = self.describe()
        return (
            f"{self.name} (synthetic): {len(self.resumes):,} people, {len(self.jobs):,} jobs; "
            f"{facts['train_targets']:,} descriptions to learn, {facts['train_pairs']:,} pairs of "
            f"the reward model and {facts['gold_pairs']:,} of the gold one, "
            f"{len(self.prompts['train']):,} people to write to; recommendation: "
            f"{facts['train_rows']:,} rows to train on, {facts['warm_rows']:,} warm and "
            f"{facts['cold_rows']:,} cold ones to test"
        )


def skills_of(world: World) -> tuple[str, ...]:
    """The skills that the jobs of a world name, in the order of the alphabet."""
    return tuple(sorted({skill for job in world.recruitment.jobs for skill in job.skills}))


def load_data(config: GirlDataConfig) -> GirlData:
    """Make the world of a run, and divide it.

    Raises:
      DataError: a file is missing or damaged, a part is empty, or rows of the recommendation have
        one label alone; the message names it.
    """
    world = recruitment_world(
        config.world,
        skills=read_skill_labels(find_text(config.skills)) if config.skills else None,
        occupations=read_occupations(find_text(config.occupations)) if config.occupations else None,
    )
    found = divide(world, config)
    for kind in ("targets", "pairs", "prompts", "rows"):
        for name, part in getattr(found, kind).items():
            if not len(part):
                raise DataError(
                    f"the part {name} of the {kind} is empty with {config.world.people} people, "
                    f"{config.world.jobs} jobs and {config.world.applications} applications of "
                    "each; raise --data.world.people, --data.world.jobs or "
                    "--data.world.applications"
                )
    for name, rows in found.rows.items():
        check_rows(rows, name)
    return found


def divide(world: World, config: GirlDataConfig) -> GirlData:
    """Divide a world; see the head of this module.

    Args:
      world: people, jobs and matches.
      config: shares and the seed of the draws.
    """
    data, rng = world.recruitment, np.random.default_rng([config.seed, 1])
    order = rng.permutation(len(data.resumes))
    shares = [getattr(config, name) for name in PEOPLE[:-1]]
    bounds = np.round(np.cumsum(shares) * len(order)).astype(int)
    people = dict(zip(PEOPLE, np.split(order, bounds), strict=True))
    chosen = rng.permutation(len(data.jobs))[: round(config.job_share * len(data.jobs))]
    recommended = set(chosen.tolist())
    place = {resume.id: n for n, resume in enumerate(data.resumes)}
    job_place = {job.id: n for n, job in enumerate(data.jobs)}
    by_person: dict[int, list[tuple[int, Match]]] = {n: [] for n in range(len(order))}
    for match in data.matches:
        by_person[place[match.person]].append((job_place[match.job], match))

    def applied(group: np.ndarray) -> dict[int, list[tuple[int, bool]]]:
        """Jobs of the generator that people applied for, and whether they matched."""
        return {
            person: [(j, m.matched) for j, m in by_person[person] if j not in recommended]
            for person in group.tolist()
        }

    first, held = _held_out(people["generator"], config.held_out)
    targets = {
        name: np.array(
            [(person, j) for person, own in applied(group).items() for j, hit in own if hit],
            np.int64,
        ).reshape(-1, 2)
        for name, group in (("train", first), ("valid", held))
    }
    learned, rest = _held_out(people["reward"], 2 * config.held_out)
    valid, test = _held_out(rest, 0.5)
    groups = {"train": learned, "valid": valid, "test": test, "gold": people["gold"]}
    pairs = {name: _pairs(applied(group), rng) for name, group in groups.items()}
    written, checked = _held_out(people["prompts"], config.held_out)
    rows = _rows(people["recommendation"], by_person, recommended, config)
    resumes = [_read(resume, config.sections) for resume in data.resumes]
    if config.facts:
        reader = FactReader(skills_of(world))
        resumes = [fact_text(reader.read(text), reader.skills) for text in resumes]
    return GirlData(
        world=world,
        name=config.name,
        resumes=resumes,
        jobs=[job.text() for job in data.jobs],
        people=people,
        targets=targets,
        pairs=pairs,
        prompts={"train": written, "valid": checked},
        rows=rows,
    )


def _read(resume: Resume, sections: Sequence[str]) -> str:
    """The text of a resume with some of its sections."""
    chosen = {name: text for name, text in resume.sections.items() if name in sections}
    return dataclasses.replace(resume, sections=chosen).text()


def _held_out(people: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """The first people, and those at the end that are held out, at least one."""
    count = max(1, round(len(people) * share))
    return people[:-count], people[-count:]


def _pairs(
    applied: Mapping[int, Sequence[tuple[int, bool]]], rng: np.random.Generator
) -> list[Pair]:
    """Each matched job of a person against a job of the same person that did not match."""
    found = []
    for person, own in applied.items():
        lost = [job for job, hit in own if not hit]
        if lost:
            won = [job for job, hit in own if hit]
            against = np.resize(rng.permutation(lost), len(won)).tolist()
            found += [Pair(person, a, b) for a, b in zip(won, against, strict=True)]
    return found


def _rows(
    people: np.ndarray,
    by_person: Mapping[int, Sequence[tuple[int, Match]]],
    recommended: set[int],
    config: GirlDataConfig,
) -> dict[str, Rows]:
    """The rows of the recommendation, divided by people and by time.

    The cold people are those who apply last. Of a warm person, the first applications are learned.
    """
    own = {
        person: sorted(
            (match.time, job, match.matched)
            for job, match in by_person[person]
            if job in recommended
        )
        for person in people.tolist()
    }
    order = sorted((person for person in own if own[person]), key=lambda person: own[person][0])
    warm, cold = _held_out(np.array(order, np.int64), config.cold)
    parts: dict[str, list[tuple[int, int, int, bool]]] = {"train": [], "warm": [], "cold": []}
    for person in warm.tolist():
        known = max(1, round(len(own[person]) * config.early))
        cells = [(time, person, job, hit) for time, job, hit in own[person]]
        parts["train"] += cells[:known]
        parts["warm"] += cells[known:]
    for person in cold.tolist():
        parts["cold"] += [(time, person, job, hit) for time, job, hit in own[person]]
    early = sorted(parts["train"])
    learned = len(early) - round(len(early) * config.held_out)
    parts |= {"train": early[:learned], "valid": early[learned:]}
    return {
        name: Rows(
            np.array([person for _, person, _, _ in part], np.int32),
            np.array([job for _, _, job, _ in part], np.int32),
            np.array([hit for _, _, _, hit in part], np.float32),
        )
        for name, part in parts.items()
    }
