"""The likelihood of named skills and titles against enumeration, frequencies and scikit-learn."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats
from sklearn.naive_bayes import BernoulliNB

from jaxrec.core import ConfigError
from jaxrec.data import Occupation
from jaxrec.data.recruitment import Catalogue, WorldOptions, make_catalogue, make_structure

TINY = WorldOptions(
    job_skills=3,
    resume_skills=3,
    pool_skills=7,
    category_skills=5,
    occupation_skills=4,
    near=0.2,
    far=0.3,
    generic_titles=0.25,
    wrong_titles=0.2,
)


@pytest.fixture(scope="module")
def tiny():
    """Two industries, three categories, six occupations, twelve skills."""
    catalogue = Catalogue(
        industries=("a", "b"),
        categories=("a1", "a2", "b1"),
        occupations=tuple("uvwxyz"),
        category_industry=np.array([0, 0, 1]),
        occupation_category=np.array([0, 0, 0, 1, 2, 2]),
        skills=tuple(f"s{n}" for n in range(14)),
        skill_industry=np.full(14, -1),
    )
    return make_structure(TINY, catalogue)


def set_probability(structure, chosen, occupation):
    """The probability of a set of three skills: over all kinds that the three draws may have."""
    options = structure.options
    own = set(structure.own[occupation].tolist())
    pool = set(structure.pools[structure.catalogue.occupation_industry[occupation]].tolist())
    groups = (own, pool - own, set(range(len(structure.premium))) - pool)
    shares = (1 - options.near - options.far, options.near, options.far)
    total = 0.0
    for kinds in itertools.product(range(3), repeat=3):
        counts = [kinds.count(kind) for kind in range(3)]
        if [len(chosen & group) for group in groups] == counts:
            ways = math.prod(math.comb(len(g), c) for g, c in zip(groups, counts, strict=True))
            total += math.prod(shares[kind] for kind in kinds) / ways
    return total


def test_the_likelihood_of_every_set_of_skills_is_that_of_enumeration(tiny):
    sets = list(itertools.combinations(range(len(tiny.premium)), 3))
    rows, none = np.array(sets), np.full(len(sets), -1)
    ours = np.exp(tiny.log_likelihood(rows, none, none, np.full(len(sets), np.nan)))
    expected = np.array(
        [[set_probability(tiny, set(s), o) for o in range(len(tiny.share))] for s in sets]
    )
    np.testing.assert_allclose(expected.sum(axis=0), 1)
    np.testing.assert_allclose(ours * math.factorial(3), expected, rtol=1e-9)


def test_drawn_skills_have_these_frequencies(tiny):
    draws = tiny.draw(60_000, 3, np.random.default_rng(0))
    assert all(len(set(row)) == 3 for row in draws.skills.tolist())
    rows = [tuple(sorted(r)) for r in draws.skills[draws.occupation == 2].tolist()]
    sets = list(itertools.combinations(range(len(tiny.premium)), 3))
    expected = np.array([set_probability(tiny, set(s), 2) for s in sets]) * len(rows)
    observed = np.array([rows.count(s) for s in sets])
    assert observed[expected == 0].sum() == 0
    possible = expected > 0
    assert stats.chisquare(observed[possible], expected[possible]).pvalue > 1e-3


def test_drawn_titles_have_their_probabilities_and_so_has_the_likelihood(tiny):
    draws = tiny.draw(40_000, 3, np.random.default_rng(1))
    none, skills = np.array([-1]), np.array([[0, 1, 2]])
    plain = tiny.log_likelihood(skills, none, none, np.array([np.nan]))
    for title in range(6):
        said = tiny.log_likelihood(skills, np.array([title]), none, np.array([np.nan]))
        for occupation in range(6):
            own = draws.title[draws.occupation == occupation]
            share = (own == title).mean()
            assert np.exp(said - plain)[0, occupation] == pytest.approx(share, abs=0.012)
    assert (draws.title == -1).mean() == pytest.approx(0.25, abs=0.01)


def test_salaries_follow_the_planted_function_and_tell_the_occupation(tiny):
    draws = tiny.draw(20_000, 3, np.random.default_rng(2))
    gap = np.log(draws.salary) - tiny.log_pay(draws.occupation, draws.seniority, draws.skills)
    assert stats.kstest(gap / TINY.salary_noise, "norm").pvalue > 1e-3
    told, hidden = (
        tiny.log_likelihood(draws.skills, np.full(len(draws), -1), draws.seniority, salary)
        for salary in (draws.salary, np.full(len(draws), np.nan))
    )
    density = stats.norm.logpdf(
        np.log(draws.salary)[:, None],
        tiny.log_pay(np.arange(6), draws.seniority[:, None], draws.skills[:, None]),
        TINY.salary_noise,
    )
    constant = told - hidden - density
    np.testing.assert_allclose(constant - constant[:, :1], 0, atol=1e-9)


def test_nobody_beats_the_posterior_and_it_is_calibrated():
    structure = make_structure(WorldOptions(), make_catalogue())
    train = structure.draw(6000, 6, np.random.default_rng(3))
    test = structure.draw(6000, 6, np.random.default_rng(4))
    posterior = structure.posterior(
        test.skills, test.title, test.seniority, np.full(len(test), np.nan)
    )
    for level, labels in zip(structure.levels(posterior), labels_of(structure, test), strict=True):
        np.testing.assert_allclose(level.sum(axis=1), 1)
        expected = level.max(axis=1)
        reached = level.argmax(axis=1) == labels
        error = np.sqrt((expected * (1 - expected)).sum()) / len(expected)
        assert reached.mean() == pytest.approx(expected.mean(), abs=4 * error)
    features, other = (
        np.concatenate(
            [
                (d.skills[:, :, None] == np.arange(len(structure.premium))).any(axis=1),
                d.title[:, None] == np.arange(-1, len(structure.share)),
            ],
            axis=1,
        )
        for d in (train, test)
    )
    category = [labels_of(structure, d)[1] for d in (train, test)]
    learned = BernoulliNB().fit(features, category[0]).score(other, category[1])
    best = structure.levels(posterior)[1].max(axis=1).mean()
    assert 0.8 * best < learned < best


def labels_of(structure, draws):
    catalogue = structure.catalogue
    return (
        catalogue.occupation_industry[draws.occupation],
        catalogue.occupation_category[draws.occupation],
        draws.occupation,
    )


def test_occupations_of_onet_form_the_tree_of_their_codes():
    given = [
        Occupation("Bakers, Except Cake", "Bake.", "51-3011.00"),
        Occupation("Chief Executives", "Decide.", "11-1011.00"),
        Occupation("Cooks, Fast Food", "Cook.", "35-2011.00"),
        Occupation("Cooks, Short Order", "Cook.", "35-2015.00"),
    ]
    catalogue = make_catalogue(None, given)
    assert catalogue.occupations == (
        "Chief Executives", "Cooks, Fast Food", "Cooks, Short Order", "Bakers",
    )  # fmt: skip
    assert catalogue.industries == ("management", "food preparation and serving", "production")
    assert catalogue.occupation_category.tolist() == [0, 1, 1, 2]


def test_skills_that_a_sentence_cannot_name_are_left_out_and_counted():
    given = ["weld", "Weld", "a, b", "one two three four five", "x" * 50, "holiday", "C++", " "]
    catalogue = make_catalogue(given)
    assert catalogue.skills == ("weld", "C++") and catalogue.left_out == 6


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"occupation_skills": 5}, ["8 named", "5 of an occupation"]),
        ({"pool_skills": 21}, ["an industry needs"]),
        ({"pool_skills": 400, "category_skills": 20}, ["180 skills", "--world.pool-skills 400"]),
        ({"near": 0.5, "far": 0.5}, ["--world.near", "--world.far", "less than 1"]),
        ({"job_skills": 1}, ["--world.job-skills", "at least 2"]),
        ({"matched": 0.0}, ["--world.matched"]),
        ({"jobs": 0}, ["--world.jobs"]),
    ],
)
def test_sizes_that_cannot_be_are_errors(changes, words):
    if changes.get("pool_skills") == 21:
        changes = changes | {"occupation_skills": 14}
    with pytest.raises(ConfigError) as error:
        make_structure(WorldOptions(**changes), make_catalogue())
    assert all(word in str(error.value) for word in words)
