"""The hidden structure of a world: which skills an occupation has, and what follows from a text.

An industry has a pool of skills, a category a part of the pool, and an occupation a part of the
category's. Of the `K` skills that a job or a person names, each is with probability `1 - near -
far` one of the occupation's, with `near` another one of the pool, and with `far` one outside of the
pool; all are different. For given numbers of the three kinds all choices are equally likely, so the
likelihood of a text under every occupation is known, and with it the best accuracy that any reader
of the text can reach.
"""

import dataclasses

import numpy as np
from scipy import special

from jaxrec.core import ConfigError
from jaxrec.data.recruitment.catalogue import Catalogue
from jaxrec.data.recruitment.options import WorldOptions

_CHUNK = 1 << 11  # texts whose likelihoods are computed at a time
_RAISE = 0.17  # growth of the logarithm of the salary by one step of seniority
_MIDDLE = np.log(48_000)
SENIORITY_SHARES = (0.2, 0.3, 0.25, 0.15, 0.1)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Draws:
    """What was drawn for jobs or for people, a row each.

    Attributes:
      occupation: `[n]` int32.
      seniority: `[n]` int32, place in `SENIORITIES`.
      skills: `[n, K]` int32, different in each row.
      title: `[n]` int32, the occupation whose title is written; -1 for a title that says nothing.
      salary: `[n]` float64, of a year.
    """

    occupation: np.ndarray
    seniority: np.ndarray
    skills: np.ndarray
    title: np.ndarray
    salary: np.ndarray

    def __len__(self) -> int:
        return len(self.occupation)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Structure:
    """Skills, popularity and salaries of the occupations.

    Attributes:
      options: of the world.
      catalogue: names; its skills are those of the pools.
      pools: `[industries, P]` int32, skills of each industry.
      in_pool: `[industries, skills]` bool.
      own: `[occupations, M]` int32, skills of each occupation.
      has: `[occupations, skills]` bool.
      share: `[occupations]` float64, how common each occupation is; sums to 1.
      pay: `[occupations]` float64, logarithm of a junior's salary without any skills.
      premium: `[skills]` float64, what a skill adds to it.
    """

    options: WorldOptions
    catalogue: Catalogue
    pools: np.ndarray
    in_pool: np.ndarray
    own: np.ndarray
    has: np.ndarray
    share: np.ndarray
    pay: np.ndarray
    premium: np.ndarray

    def log_pay(
        self, occupation: np.ndarray, seniority: np.ndarray, skills: np.ndarray
    ) -> np.ndarray:
        """The planted logarithm of salaries, without noise, `[n]`."""
        return self.pay[occupation] + _RAISE * seniority + self.premium[skills].sum(axis=-1)

    def draw(self, count: int, named: int, rng: np.random.Generator) -> Draws:
        """Draw jobs or people.

        Args:
          count: n.
          named: K, skills that each names.
          rng: random numbers.
        """
        occupation = rng.choice(len(self.share), count, p=self.share).astype(np.int32)
        seniority = rng.choice(len(SENIORITY_SHARES), count, p=SENIORITY_SHARES).astype(np.int32)
        skills = self._draw_skills(occupation, named, rng)
        noise = rng.normal(0, self.options.salary_noise, count)
        salary = np.exp(self.log_pay(occupation, seniority, skills) + noise)
        return Draws(
            occupation=occupation,
            seniority=seniority,
            skills=skills,
            title=self._draw_titles(occupation, rng),
            salary=np.maximum(np.round(salary, -2), 100.0),
        )

    def _draw_skills(
        self, occupation: np.ndarray, named: int, rng: np.random.Generator
    ) -> np.ndarray:
        options, count = self.options, len(occupation)
        industry = self.catalogue.occupation_industry[occupation]
        u = rng.random((count, named))
        far = u < options.far
        near = ~far & (u < options.far + options.near)
        own = ~far & ~near
        order = np.argsort(rng.random((count, self.own.shape[1])), axis=1)
        rank = np.maximum(np.cumsum(own, axis=1) - 1, 0)
        mixed = np.take_along_axis(self.own[occupation], order, axis=1)
        skills = np.where(own, np.take_along_axis(mixed, rank, axis=1), -1).astype(np.int32)
        # Draws that are not allowed, or repeat an earlier skill of the row, are drawn again.
        earlier = np.tri(named, k=-1, dtype=bool)
        rows = np.flatnonzero((near | far).any(axis=1))
        again = ~own
        while len(rows):
            shape = (len(rows), named)
            inside = self.pools[industry[rows, None], rng.integers(self.pools.shape[1], size=shape)]
            outside = rng.integers(len(self.premium), size=shape)
            drawn = np.where(near[rows], inside, outside)
            part = np.where(again[rows], drawn, skills[rows])
            wrong = (
                np.where(
                    near[rows],
                    self.has[occupation[rows, None], part],
                    self.in_pool[industry[rows, None], part],
                )
                & ~own[rows]
            )
            wrong |= ((part[:, :, None] == part[:, None, :]) & earlier).any(axis=2)
            skills[rows], again[rows] = part, wrong
            rows = rows[wrong.any(axis=1)]
        return skills

    def _draw_titles(self, occupation: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Own titles, titles of another occupation of the category, and -1 for generic ones."""
        options, count = self.options, len(occupation)
        u = rng.random(count)
        category = self.catalogue.occupation_category
        first = np.searchsorted(category, category[occupation])
        size = np.searchsorted(category, category[occupation], side="right") - first
        # The others of a category are its occupations behind the own one, around the end.
        step = 1 + np.floor(rng.random(count) * np.maximum(size - 1, 1)).astype(np.int32)
        other = first + (occupation - first + step) % size
        title = np.where(u < options.generic_titles + options.wrong_titles, other, occupation)
        return np.where(u < options.generic_titles, -1, title).astype(np.int32)

    def log_likelihood(
        self, skills: np.ndarray, title: np.ndarray, seniority: np.ndarray, salary: np.ndarray
    ) -> np.ndarray:
        """The logarithm of the likelihood of what a text says under each occupation.

        Args:
          skills: `[n, K]` int32, different in each row.
          title: `[n]` int32, an occupation; -1 for a title that says nothing, or none.
          seniority: `[n]` int32; read only where the salary is known.
          salary: `[n]` float64; NaN where the text does not name it.

        Returns:
          `[n, occupations]` float64, up to a constant of each row.
        """
        chunks = range(0, len(skills), _CHUNK)
        parts = [
            self._likelihood(skills[c], title[c], seniority[c], salary[c])
            for c in (slice(begin, begin + _CHUNK) for begin in chunks)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.share)))

    def _likelihood(
        self, skills: np.ndarray, title: np.ndarray, seniority: np.ndarray, salary: np.ndarray
    ) -> np.ndarray:
        options, named = self.options, skills.shape[1]
        industry = self.catalogue.occupation_industry
        own = self.has.T[skills].sum(axis=1)  # [n, occupations]
        near = self.in_pool.T[skills].sum(axis=1)[:, industry] - own
        far = named - own - near
        pool, mine, every = self.pools.shape[1], self.own.shape[1], len(self.premium)
        # The multinomial probability of the three numbers, and one of the equally likely choices.
        # The coefficient's K! is the same for all occupations.
        result = special.xlogy(own, 1 - options.near - options.far)
        result += special.xlogy(near, options.near) + special.xlogy(far, options.far)
        for number, size in ((own, mine), (near, pool - mine), (far, every - pool)):
            result += special.gammaln(size - number + 1) - special.gammaln(size + 1)
        category = self.catalogue.occupation_category
        size = np.bincount(category)[category]  # [occupations]
        wrong = options.wrong_titles / np.maximum(size - 1, 1)
        right = 1 - options.generic_titles - np.where(size > 1, options.wrong_titles, 0.0)
        same = title[:, None] == np.arange(len(category))
        related = category[title][:, None] == category
        with np.errstate(divide="ignore"):
            said = np.log(np.where(same, right, np.where(related, wrong, 0.0)))
        result += np.where(title[:, None] >= 0, said, 0.0)
        known = np.isfinite(salary)
        base = _RAISE * seniority + self.premium[skills].sum(axis=1)
        gap = np.log(np.where(known, salary, 1.0))[:, None] - base[:, None] - self.pay
        result -= np.where(known[:, None], (gap / options.salary_noise) ** 2 / 2, 0.0)
        return result

    def posterior(
        self, skills: np.ndarray, title: np.ndarray, seniority: np.ndarray, salary: np.ndarray
    ) -> np.ndarray:
        """The probability of each occupation given a text, `[n, occupations]`."""
        joint = self.log_likelihood(skills, title, seniority, salary) + np.log(self.share)
        return special.softmax(joint, axis=1)

    def levels(self, posterior: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Sums of the probabilities of occupations: of industries, categories and occupations."""
        catalogue = self.catalogue
        by_category = np.zeros((len(posterior), len(catalogue.categories)))
        np.add.at(by_category.T, catalogue.occupation_category, posterior.T)
        by_industry = np.zeros((len(posterior), len(catalogue.industries)))
        np.add.at(by_industry.T, catalogue.category_industry, by_category.T)
        return by_industry, by_category, posterior


def make_structure(options: WorldOptions, catalogue: Catalogue) -> Structure:
    """Draw which occupation has which skills, how common it is, and what it pays.

    Raises:
      ConfigError: the catalogue has too few skills for the options.

    Example:
      >>> from jaxrec.data.recruitment.catalogue import make_catalogue
      >>> structure = make_structure(WorldOptions(), make_catalogue())
      >>> structure.own.shape, bool(structure.has.sum() == structure.own.size)
      ((72, 10), True)
    """
    rng = np.random.default_rng((options.seed, 1))
    every, size = len(catalogue.skills), options.pool_skills
    industries, occupations = len(catalogue.industries), len(catalogue.occupations)
    # Skills that are listed for an industry come first, in random order.
    keys = rng.random((industries, every))
    keys += catalogue.skill_industry != np.arange(industries)[:, None]
    pools = np.argsort(keys, axis=1)[:, :size].astype(np.int32)
    # Skills of no industry are not used: they would tell nothing, and be in almost every text.
    used, places = np.unique(pools, return_inverse=True)
    pools = places.reshape(pools.shape).astype(np.int32)
    catalogue = dataclasses.replace(
        catalogue,
        skills=tuple(catalogue.skills[skill] for skill in used),
        skill_industry=catalogue.skill_industry[used],
    )
    every = len(used)
    named = max(options.job_skills, options.resume_skills)
    if size > len(keys[0]) or every < size + named:
        raise ConfigError(
            f"{len(keys[0])} skills are too few for {industries} industries of "
            f"--world.pool-skills {size} and {named} others that a text names; give at least "
            f"{size + named} skills and two industries, or lower the option"
        )
    wide = np.stack(
        [rng.permutation(pools[i])[: options.category_skills] for i in catalogue.category_industry]
    )
    own = np.stack(
        [
            rng.permutation(wide[c])[: options.occupation_skills]
            for c in catalogue.occupation_category
        ]
    ).astype(np.int32)
    share = 1 / np.sqrt(3 + rng.permutation(occupations))
    pay = (
        _MIDDLE
        + rng.normal(0, 0.15, industries)[catalogue.occupation_industry]
        + rng.normal(0, 0.1, len(catalogue.categories))[catalogue.occupation_category]
        + rng.normal(0, 0.1, occupations)
    )
    return Structure(
        options=options,
        catalogue=catalogue,
        pools=pools,
        in_pool=_membership(pools, every),
        own=own,
        has=_membership(own, every),
        share=share / share.sum(),
        pay=pay,
        premium=rng.normal(0, 0.04, every),
    )


def _membership(members: np.ndarray, count: int) -> np.ndarray:
    found = np.zeros((len(members), count), bool)
    np.put_along_axis(found, members, True, axis=1)
    return found
