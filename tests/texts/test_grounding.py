"""Grounding beside a search through all titles, and titles that mean several items or none."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics.pairwise import cosine_similarity

from jaxrec.core import ConfigError, DataError
from jaxrec.data import DataConfig, load_dataset
from jaxrec.eval import invented_titles, plain_title, split_year
from jaxrec.texts import Grounding, grounding_shares

TITLES = [
    "Shawshank Redemption, The (1994)",
    "Sabrina (1954)",
    "Sabrina (1995)",
    "Alien (1979)",
    "Alien 3 (1992)",
    "Aliens (1986)",
    "City of Lost Children, The (Cité des enfants perdus, La) (1995)",
    "Chasing Amy (1997)",
    "Chasing Amy (1997)",
]


@pytest.mark.parametrize(
    ("text", "item", "how"),
    [
        ("The Shawshank Redemption", 0, "title"),
        ("the shawshank redemtion (1994)", 0, "vector"),
        ("Sabrina (1954)", 1, "title"),
        ("Sabrina (1999)", -1, "ambiguous"),
        ("Alien (1980)", 3, "title"),
        ("Alien 4", -1, "missing"),
        ("City of Lost Children", 6, "title"),
        ("Chasing Amy (1997)", -1, "ambiguous"),
        ("", -1, "missing"),
        ("Some Other Film", -1, "missing"),
    ],
)
def test_what_a_title_means(text, item, how):
    (found,) = Grounding(TITLES).find([text])
    assert (found.item, found.how) == (item, how)


def test_an_ambiguous_title_names_its_rivals_and_candidates_decide():
    films = Grounding(TITLES)
    (found,) = films.find(["Chasing Amy"])
    assert found.rivals == (7, 8)
    assert films.find(["Chasing Amy"], [np.array([0, 8])])[0].item == 8
    assert films.find(["Chasing Amy"], [np.array([0, 3])])[0].how == "missing"
    assert films.duplicates() == [(7, 8)]
    assert films.duplicates(np.array([0, 8])) == []


@given(st.lists(st.text(alphabet="abc ,(19)", min_size=1, max_size=8), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_strings_ground_where_they_are_not_invented(texts):
    # Without vectors, a title is missing exactly where `invented_titles` says so.
    catalogue = [f"x{title}" for title in texts[:3]]
    asked = [*catalogue, *(f"x{text}" for text in texts)]
    found = Grounding(catalogue, threshold=2.0).find(asked)
    held = {plain_title(title) for title in catalogue}
    for text, one, invented in zip(asked, found, invented_titles(asked, catalogue), strict=True):
        if plain_title(text) in held:
            assert not invented and one.how != "missing"
        if one.how == "title":
            assert one.similarity == 1.0


def test_the_nearest_title_is_that_of_scikit_learn():
    words = ["silent river", "golden mountain", "crimson harbor", "last winter", "paper moon"]
    asked = ["silent rivers", "goldn mountain", "crimson harbour", "lost winter", "papermoon"]
    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True)
    cosines = cosine_similarity(letters.fit(words).transform(asked), letters.transform(words))
    found = Grounding(words, threshold=1e-3).find(asked)
    assert [one.item for one in found] == cosines.argmax(axis=1).tolist()
    np.testing.assert_allclose([one.similarity for one in found], cosines.max(axis=1), atol=1e-6)


def test_vectors_of_another_encoder_are_used():
    def encode(texts):
        axes = {"alien": 0, "heat": 1, "cold": 1}
        return np.stack([np.eye(2)[axes[text]] for text in texts])

    found = Grounding(["Alien", "Heat"], 0.9, encode).find(["cold"])
    assert (found[0].item, found[0].how) == (1, "vector")


def test_shares_add_up_and_bad_catalogues_are_rejected():
    shares = grounding_shares(
        Grounding(TITLES).find(["Alien", "the shawshank redemtion", "Sabrina", "Nothing"])
    )
    assert sum(shares.values()) == 1.0 and shares["hallucinated"] == 0.25
    with pytest.raises(DataError, match="item 1 has no title"):
        Grounding(["a", " "])
    with pytest.raises(DataError, match="catalogue is empty"):
        Grounding([])
    with pytest.raises(ConfigError, match="threshold must be above 0"):
        Grounding(["a"], 0.0)


@pytest.mark.slow
def test_errors_are_grounded_and_other_films_are_not(real_data):
    """Half of the films as a catalogue: errors in its titles, and the titles of the others."""
    data = load_dataset(DataConfig(from_file=str(real_data("ml-100k"))))
    titles = data.interactions.items.labels()
    rng = np.random.default_rng(0)
    order = rng.permutation(len(titles))
    kept, other = order[len(order) // 2 :], order[: len(order) // 2]
    films = Grounding([titles[item] for item in kept])

    def mistyped(title):
        name = split_year(title).title
        place = int(rng.integers(1, max(2, len(name) - 1)))
        kinds = (
            name[:place] + name[place + 1 :],
            name[:place] + name[place : place + 2][::-1] + name[place + 2 :],
            name[:place] + name[place - 1] + name[place:],
        )
        return kinds[int(rng.integers(3))]

    found = films.find([mistyped(titles[item]) for item in kept])
    right = np.mean([one.item == place for place, one in enumerate(found)])
    wrong = np.mean([one.item not in (place, -1) for place, one in enumerate(found)])
    held = {plain_title(titles[item]) for item in kept}
    absent = [titles[item] for item in other if plain_title(titles[item]) not in held]
    taken = np.mean([one.item >= 0 for one in films.find(absent)])
    assert right > 0.8 and wrong < 0.01 and taken < 0.05
