"""The names of a world: a tree of industries, categories and occupations, and skills."""

import dataclasses
import re
from collections.abc import Mapping, Sequence

import numpy as np

from jaxrec.core import ConfigError, DataError
from jaxrec.data import Occupation, normalize_word, word_places
from jaxrec.data.recruitment.builtin import MAJOR_GROUPS, SKILLS, TREE
from jaxrec.data.recruitment.sentences import common_phrases

# What a skill of a file may consist of, so that sentences can name it.
_SKILL = re.compile(r"[\w+#][\w+#/' -]*")
_MOST_WORDS, _MOST_CHARACTERS = 4, 40


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Catalogue:
    """The tree and the skills. Occupations of one category and of one industry are neighbors.

    Attributes:
      industries: names of level 1.
      categories: names of level 2.
      occupations: names of level 3, which are titles of jobs too.
      category_industry: `[categories]` int32, level 1 of each category.
      occupation_category: `[occupations]` int32, level 2 of each occupation.
      skills: names of skills.
      skill_industry: `[skills]` int32, the industry that a skill is listed for; -1 for none.
      left_out: number of given skills that a sentence cannot name.

    Example:
      >>> catalogue = make_catalogue()
      >>> len(catalogue.industries), len(catalogue.categories), len(catalogue.occupations)
      (6, 18, 72)
    """

    industries: tuple[str, ...]
    categories: tuple[str, ...]
    occupations: tuple[str, ...]
    category_industry: np.ndarray
    occupation_category: np.ndarray
    skills: tuple[str, ...]
    skill_industry: np.ndarray
    left_out: int = 0

    @property
    def occupation_industry(self) -> np.ndarray:
        """Level 1 of each occupation, `[occupations]` int32."""
        return self.category_industry[self.occupation_category]


def make_catalogue(
    skills: Sequence[str] | None = None, occupations: Sequence[Occupation] | None = None
) -> Catalogue:
    """Make the names of a world.

    Args:
      skills: names, such as ESCO's; None for the built-in ones. A skill is left out if it has more
        than 4 words or 40 characters, marks such as commas, or words of the world's own sentences.
      occupations: of O*NET with their codes, from which the tree is read; None for the built-in
        tree.

    Raises:
      ConfigError: no skill is left.
      DataError: an occupation has no O*NET-SOC code, or two have one title.

    Example:
      >>> catalogue = make_catalogue(["plan, or not", "weave cloth"])
      >>> catalogue.skills, catalogue.left_out
      (('weave cloth',), 1)
    """
    tree = TREE if occupations is None else _tree(occupations)
    industries: list[str] = []
    categories: list[str] = []
    names: list[str] = []
    category_industry: list[int] = []
    occupation_category: list[int] = []
    for industry, inner in tree.items():
        for category, titles in inner.items():
            category_industry.append(len(industries))
            occupation_category += [len(categories)] * len(titles)
            categories.append(category)
            names += titles
        industries.append(industry)
    given = [s for part in SKILLS.values() for s in part] if skills is None else list(skills)
    kept = _usable(given)
    if not kept:
        raise ConfigError(
            f"none of {len(given):,} skills can be named in a sentence; give skills of at most "
            f"{_MOST_WORDS} words without commas"
        )
    place = {name: n for n, name in enumerate(industries)}
    listed = {s: place.get(i, -1) for i, part in SKILLS.items() for s in part}
    return Catalogue(
        industries=tuple(industries),
        categories=tuple(categories),
        occupations=tuple(names),
        category_industry=np.array(category_industry, np.int32),
        occupation_category=np.array(occupation_category, np.int32),
        skills=tuple(kept),
        skill_industry=np.array([listed.get(s, -1) for s in kept], np.int32),
        left_out=len(given) - len(kept),
    )


def _usable(skills: Sequence[str]) -> list[str]:
    """The different skills that a sentence can name, and that no sentence has by itself."""
    common = common_phrases(_MOST_WORDS)
    kept: dict[tuple[str, ...], str] = {}
    for skill in (" ".join(skill.split()) for skill in skills):
        words = tuple(normalize_word(skill[a:b]) for a, b in word_places(skill))
        short = 0 < len(words) <= _MOST_WORDS and len(skill) <= _MOST_CHARACTERS
        if short and _SKILL.fullmatch(skill) and words not in common:
            kept.setdefault(words, skill)
    return list(kept.values())


def _tree(occupations: Sequence[Occupation]) -> Mapping[str, Mapping[str, tuple[str, ...]]]:
    """The tree of O*NET-SOC codes: 11-1011.00 is of the major group 11 and the minor group 11-1."""
    short = _short_titles([o.title for o in occupations])
    tree: dict[str, dict[str, list[str]]] = {}
    for title, occupation in sorted(zip(short, occupations, strict=True), key=lambda x: x[1].code):
        code = occupation.code
        if not re.match(r"\d\d-\d", code):
            raise DataError(
                f"occupation {occupation.title!r} has the code {code!r}, no O*NET-SOC code such as "
                "11-1011.00, from which the tree is read; give O*NET's table with codes"
            )
        industry = MAJOR_GROUPS.get(code[:2], f"major group {code[:2]}")
        tree.setdefault(industry, {}).setdefault(f"{code[:4]}000", []).append(title)
    return {i: {c: tuple(t) for c, t in inner.items()} for i, inner in tree.items()}


def _short_titles(titles: Sequence[str]) -> list[str]:
    """Titles up to their first comma where that tells them apart."""
    if len(set(titles)) < len(titles):
        twice = next(t for t in titles if titles.count(t) > 1)
        raise DataError(f"two occupations have the title {twice!r}; give each one once")
    heads = [title.partition(",")[0] for title in titles]
    return [
        head if heads.count(head) == 1 else title for head, title in zip(heads, titles, strict=True)
    ]
