"""The settings of a planted world of recruitment."""

import dataclasses

from jaxrec.core import (
    ConfigError,
    Count,
    Positive,
    Rate,
    Seed,
    Share,
    check_ranges,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorldOptions:
    """How large a world is, and how hard it is to read.

    Attributes:
      seed: of all draws.
      jobs: number of jobs.
      people: number of people, who have a resume each.
      applications: applications of each person. A job that a person draws twice counts once.
      matched: share of the applications that end in a match.
      interviews: share of the matches whose interview is written down.
      job_skills: skills that a job names.
      resume_skills: skills that a resume names.
      pool_skills: skills of an industry. Industries share some.
      category_skills: skills of a category, drawn from its industry's.
      occupation_skills: skills of an occupation, drawn from its category's.
      near: probability that a named skill is another one of the industry's, not the occupation's.
      far: probability that a named skill is none of the industry's.
      generic_titles: share of titles that say nothing, such as "Specialist".
      wrong_titles: share of titles of another occupation of the category.
      vague_sections: share of a resume's sections whose words do not tell their kind.
      salary_noise: standard deviation of the logarithm of a salary around the planted function.

    Raises:
      ConfigError: skills or shares that cannot be drawn or written.

    Example:
      >>> WorldOptions(jobs=100).people
      1000
    """

    seed: Seed = 0
    jobs: Count = 2000
    people: Count = 1000
    applications: Count = 8
    matched: Rate = 0.35
    interviews: Share = 0.8
    job_skills: Count = 6
    resume_skills: Count = 8
    pool_skills: Count = 40
    category_skills: Count = 20
    occupation_skills: Count = 10
    near: Rate = 0.25
    far: Rate = 0.35
    generic_titles: Rate = 0.7
    wrong_titles: Rate = 0.1
    vague_sections: Rate = 0.25
    salary_noise: Positive = 0.1

    def __post_init__(self) -> None:
        """Reject sizes of which one does not hold the other."""
        check_ranges(self, "--world.")
        named = max(self.job_skills, self.resume_skills)
        sizes = (named, self.occupation_skills, self.category_skills, self.pool_skills)
        if sorted(sizes) != list(sizes) or self.pool_skills < self.occupation_skills + named:
            raise ConfigError(
                f"--world: {named} named skills, {self.occupation_skills} of an occupation, "
                f"{self.category_skills} of a category and {self.pool_skills} of an industry must "
                "each be at most the next; an industry needs as many more skills than an "
                "occupation as are named"
            )
        if not self.matched:
            raise ConfigError("--world.matched must be above 0; without matches nothing is learned")
        for name, least in (("job_skills", 2), ("resume_skills", 3)):
            if getattr(self, name) < least:
                raise ConfigError(
                    f"--world.{name.replace('_', '-')} must be at least {least}, a skill for each "
                    f"part of the text, got {getattr(self, name)}"
                )
        for one, other in (("near", "far"), ("generic_titles", "wrong_titles")):
            total = getattr(self, one) + getattr(self, other)
            if total >= 1:
                raise ConfigError(
                    f"--world.{one.replace('_', '-')} and --world.{other.replace('_', '-')} must "
                    f"add up to less than 1, got {total:g}"
                )
