"""The config reaches every ID scheme: what comes out is what the scheme itself gives."""

import dataclasses
import json
import math

import numpy as np
import pytest

from jaxrec.core import ConfigError, DataError
from jaxrec.data import ItemTable, leave_one_out
from jaxrec.data.dataset import Dataset
from jaxrec.ids import (
    closed,
    collaborative,
    external,
    hybrid,
    item_vectors,
    pq,
    repair,
    rq,
    rqvae,
    semantic,
    simple,
    svd,
    textual,
)
from jaxrec.ids.rqvae import RqVaeConfig
from jaxrec.items.config import READS, IdConfig
from jaxrec.items.ids import describe, fit_ids, item_rows
from jaxrec.testing import tiny_interactions

SMALL = IdConfig(levels=2, size=8, dim=8, text_encoder="tfidf", clusters=2, leaf=4)
TREE = {"clusters": 2, "leaf": 4, "window": 10, "decay": 0.9, "seed": 3}
VAE = RqVaeConfig(latent=4, hidden=(8,), warmup=2, steps=5)


@pytest.fixture(scope="module")
def dataset():
    data = tiny_interactions()
    fields = dict(data.items.fields)
    # Paths of one to three categories, so that lengths differ; some titles are equal.
    fields["genres"] = np.array(
        [
            " | ".join(["Film", genre, "Old"][: 1 + n % 3])
            for n, genre in enumerate(fields["genres"])
        ],
        object,
    )
    fields["title"] = np.array(
        [f"The Film {'again ' * (n % 3)}{n // 4}" for n in range(30)], object
    )
    data = dataclasses.replace(data, items=ItemTable(data.items.ids, fields))
    return Dataset(data, leave_one_out(data))


def vectors_of(dataset):
    texts = dataset.interactions.items.text("title", "year", "genres")
    train = dataset.split.train.sequences()
    return item_vectors(texts, train, 30, 8, text_weight=0.5, window=10, decay=0.9, seed=3)


def of_quantizer(dataset, module, **options):
    vectors = vectors_of(dataset)
    return repair(module.fit(vectors, 2, 8, seed=3, **options), vectors)


def of_svd(dataset):
    train = dataset.split.train.sequences()
    codes = svd.fit(train, 30, 2, 8, bins="width", seed=3)
    return repair(codes, svd.coordinates(codes, svd.columns(train, 30)))


def of_tree(dataset):
    return collaborative.fit(dataset.split.train.sequences(), 30, weighting="ppmi", **TREE)


def of_categories(dataset):
    genres = dataset.interactions.items.fields["genres"]
    return semantic.fit([text.split(" | ") for text in genres], max_depth=2)


def of_titles(dataset):
    titles = [title.lower().split() for title in dataset.interactions.items.fields["title"]]
    words = sorted({word for title in titles for word in title})
    texts = list(map(" ".join, titles))
    codes = textual.fit(texts, lambda text: [words.index(w) for w in text.split()], max_tokens=4)
    return repair(codes, method="suffix")


def of_walk(dataset, order="time"):
    train = dataset.split.train
    starts = train.time[train.offsets[:-1]]
    return simple.sequential(train.sequences(), 30, base=8, order=order, start_times=starts, seed=3)


CASES = {
    "pq": ({"rotate": "balanced"}, lambda d: of_quantizer(d, pq, rotate="balanced")),
    "rq": ({}, lambda d: of_quantizer(d, rq)),
    "rqvae": ({"rqvae": VAE}, lambda d: of_quantizer(d, rqvae, config=VAE)),
    "svd": ({"bins": "width"}, of_svd),
    "collaborative": ({"weighting": "ppmi"}, of_tree),
    "semantic": ({"max_length": 2}, of_categories),
    "textual": ({"max_length": 4, "repair": "suffix"}, of_titles),
    "sequential": ({}, of_walk),
    "random": ({}, lambda d: simple.random(30, 2, 8, 3)),
    "independent": ({}, lambda d: simple.independent(30)),
}
HYBRIDS = {
    "cid+iid": ({"weighting": "ppmi"}, lambda d: hybrid.replace_last(of_tree(d))),
    "semid+iid": ({"max_length": 2}, lambda d: hybrid.replace_last(of_categories(d))),
    "sid+iid": ({"user_order": "longest"}, lambda d: hybrid.append_item(of_walk(d, "longest"))),
    "pq+iid": (
        {"levels": 1, "size": 4},
        lambda d: hybrid.append_item(pq.fit(vectors_of(d), 1, 4, seed=3)),
    ),
    "semid+cid": (
        {"weighting": "ppmi", "max_length": 2},
        lambda d: hybrid.join(of_categories(d), of_tree(d)),
    ),
}
ALL = [({"scheme": name} | options, make) for name, (options, make) in CASES.items()] + [
    ({"scheme": "hybrid", "hybrid": name} | options, make)
    for name, (options, make) in HYBRIDS.items()
]
NAMES = [*CASES, *HYBRIDS]


@pytest.mark.parametrize(("settings", "make"), ALL, ids=NAMES)
def test_settings_reach_the_scheme_and_ids_are_unique_and_of_one_length(dataset, settings, make):
    found = fit_ids(dataclasses.replace(SMALL, seed=3, **settings), dataset)
    expected = closed(make(dataset))
    np.testing.assert_array_equal(found.codes, expected.codes)
    assert found.sizes == expected.sizes
    assert found.codes.min() >= 0 and len(np.unique(found.codes, axis=0)) == 30


@pytest.mark.parametrize(("settings", "make"), ALL, ids=NAMES)
def test_a_setting_that_the_scheme_does_not_read_changes_no_id(dataset, settings, make):
    config = dataclasses.replace(SMALL, **settings)
    other = {
        "levels": 3,
        "size": 5,
        "rotate": "opq",
        "rqvae": RqVaeConfig(steps=1),
        "text_encoder": "nowhere",
        "text_fields": ("title",),
        "text_weight": 0.9,
        "dim": 4,
        "window": 1,
        "decay": 0.1,
        "bins": "quantile",
        "clusters": 3,
        "leaf": 5,
        "weighting": "degree",
        "category_field": "nothing",
        "title_field": "nothing",
        "tokenizer": "nowhere",
        "max_length": 1,
        "user_order": "random",
        "file": "nowhere.json",
        "unknown": "ignore",
        "repair": "refuse",
        "seed": 7,
    }
    fields = {field.name for field in dataclasses.fields(IdConfig)}
    assert set(other) | {"scheme", "hybrid"} == fields
    assert {setting for reads in READS.values() for setting in reads} == set(other)
    unread = {name: value for name, value in other.items() if not config.reads(name)}
    changed = fit_ids(dataclasses.replace(config, **unread), dataset)
    np.testing.assert_array_equal(changed.codes, fit_ids(config, dataset).codes)


def test_texts_are_read_only_by_schemes_of_vectors(dataset):
    for scheme, used in (("pq", True), ("svd", False), ("semantic", False), ("independent", False)):
        codes = fit_ids(dataclasses.replace(SMALL, scheme=scheme), dataset)
        assert (codes.metadata["text"] is not None) == used


def test_ids_of_different_lengths_come_back_from_the_item_map(dataset, tmp_path):
    codes = fit_ids(dataclasses.replace(SMALL, scheme="semantic"), dataset)
    assert codes.metadata["end_codes"] and codes.metadata["mean_length"] < codes.levels
    file = tmp_path / "item_ids.json"
    file.write_text(json.dumps(item_rows(codes, dataset)))
    config = dataclasses.replace(SMALL, scheme="external", file=str(file))
    again = fit_ids(config, dataset)
    np.testing.assert_array_equal(again.codes, codes.codes)
    assert again.sizes == codes.sizes


def test_ids_made_elsewhere_are_repaired_and_get_one_length(dataset, tmp_path):
    ids = dataset.interactions.items.ids.tolist()
    rows = {key: [n % 4, n % 7, n // 9][: 2 + n % 2] for n, key in enumerate(ids)}
    file = tmp_path / "ids.json"
    file.write_text(json.dumps(rows | {"stranger": [0]}))
    config = IdConfig(scheme="external", file=str(file), unknown="ignore", repair="suffix")
    found = fit_ids(config, dataset)
    expected = closed(repair(external.read(file, ids, unknown="ignore"), method="suffix"))
    np.testing.assert_array_equal(found.codes, expected.codes)
    assert len(np.unique(found.codes, axis=0)) == 30
    with pytest.raises(DataError, match="'stranger'"):
        fit_ids(dataclasses.replace(config, unknown="refuse"), dataset)
    with pytest.raises(ConfigError, match="needs IDs of one length"):
        fit_ids(dataclasses.replace(config, repair="next_free"), dataset)


@pytest.mark.filterwarnings("ignore:codebook collapse")
def test_a_collapsed_codebook_is_named_in_the_metadata(dataset):
    # All items alike: one code serves all, of the 20 that 30 items could use.
    plain = {name: np.full(30, "same", object) for name in ("title", "year", "genres")}
    data = dataset.interactions
    same = dataclasses.replace(data, items=ItemTable(data.items.ids, plain))
    config = dataclasses.replace(SMALL, size=20, text_weight=1.0, scheme="rq")
    codes = fit_ids(config, Dataset(same, dataset.split))
    assert "codebook collapse: levels [0, 1] use only 5.0%, 5.0%" in codes.metadata["warning"]
    assert fit_ids(SMALL, dataset).metadata["warning"] is None
    # The hybrid itself has one code of one at its first level, which looks like full use.
    hybrid_config = dataclasses.replace(config, scheme="hybrid", hybrid="pq+iid", levels=1)
    codes = fit_ids(hybrid_config, Dataset(same, dataset.split))
    assert codes.sizes == (1, 30)
    assert "codebook collapse: levels [0] use only 5.0%" in codes.metadata["warning"]
    healthy = dataclasses.replace(hybrid_config, size=4)
    assert fit_ids(healthy, dataset).metadata["warning"] is None


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"levels": 0}, "ids.levels must be at least 1, got 0"),
        ({"size": (8, 8, 8)}, r"ids.size must be one number, or 2 numbers .* got \(8, 8, 8\)"),
        ({"size": ()}, r"ids.size must be one number, or 2 numbers .* got \(\)"),
        ({"text_weight": 1.5}, r"--ids.text-weight must be in \[0, 1\], got 1.5"),
        ({"window": 0}, "ids.decay must be 1 if ids.window is 0 .* got 0.9"),
        ({"scheme": "collaborative", "leaf": 3, "clusters": 4}, r"ids.clusters .* \(3\), got 4"),
        ({"scheme": "sequential", "size": (8, 8)}, r"ids.size must be one number .* got \(8, 8\)"),
        ({"scheme": "external"}, "ids.file must be .* got ''"),
        ({"scheme": "textual"}, "ids.repair must be 'suffix' or 'refuse'.* got 'next_free'"),
    ],
)
def test_a_setting_that_makes_no_ids_is_refused_with_the_fix(settings, words):
    with pytest.raises(ConfigError, match=words):
        dataclasses.replace(SMALL, **settings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"size": 4},
            "30 items do not fit into 4 x 4 = 16 IDs; raise --ids.size 4 or --ids.levels 2",
        ),
        ({"levels": 17}, "ids.levels is 17, but there are only 16 columns .* raise ids.dim"),
        ({"scheme": "svd", "levels": 31}, "ids.levels is 31, but there are only 30 items or users"),
        (
            {"scheme": "semantic", "category_field": "genre"},
            "ids.category_field is 'genre', .* did you mean 'genres'.*fields: title, year, genres",
        ),
        ({"scheme": "textual", "repair": "suffix", "title_field": "x"}, "ids.title_field is 'x'"),
        ({"scheme": "textual", "repair": "suffix", "tokenizer": "nowhere"}, "ids.tokenizer is"),
    ],
)
def test_a_setting_that_the_data_cannot_meet_is_refused_with_the_fix(dataset, settings, words):
    with pytest.raises(ConfigError, match=words):
        fit_ids(dataclasses.replace(SMALL, **settings), dataset)


def test_a_grid_too_small_for_the_items_grows_by_a_suffix(dataset):
    codes = fit_ids(dataclasses.replace(SMALL, size=3, repair="suffix"), dataset)
    assert codes.levels == 3 and len(np.unique(codes.codes, axis=0)) == 30
    shared, group = np.unique(codes.codes[:, :2], axis=0, return_inverse=True)
    # Nine IDs of two levels for 30 items: the suffix counts the items of each from 0.
    assert shared.min() >= 0 and shared.max() < 3 and len(shared) <= 9
    for number in range(len(shared)):
        suffixes = codes.codes[group == number, 2]
        assert sorted(suffixes.tolist()) == list(range(len(suffixes)))
    assert codes.sizes == (3, 3, np.bincount(group).max())


@pytest.mark.parametrize("items", [1, 2, 7, 30, 943, 12_101, 10**6])
@pytest.mark.parametrize("given", [{}, {"levels": 1}, {"levels": 2}, {"size": 64}, {"size": 3}])
def test_automatic_sizes_hold_all_items_and_keep_what_is_given(items, given):
    config = IdConfig(**given).sized(items)
    assert given.items() <= {"levels": config.levels, "size": config.size}.items()
    if given != {"size": 3} or items < 3**8:
        assert math.prod(config.level_sizes) >= items
    assert config.sized(10 * items) == config
    if not given and 943 <= items < 10**6:
        # The next smaller power of two has fewer than 1,000 places for each item.
        assert config.levels == 3
        assert config.size**3 >= 1000 * items > (config.size // 2) ** 3


def test_sizes_that_are_given_per_level_set_the_number_of_levels():
    assert IdConfig(size=(8, 4)).sized(30).levels == 2
    assert IdConfig(scheme="sequential").sized(10**6).size == 64


def test_chosen_sizes_are_said_with_the_share_of_items_that_collided(dataset):
    config = dataclasses.replace(SMALL, levels="auto", size="auto")
    codes = fit_ids(config, dataset)
    assert codes.sizes == (8, 8, 8)
    same = fit_ids(dataclasses.replace(SMALL, levels=3, size=8), dataset)
    np.testing.assert_array_equal(codes.codes, same.codes)
    assert "chosen" not in same.metadata
    # Items that share their ID before the repair, counted one by one.
    fixed = dataclasses.replace(SMALL, levels=3, size=8, repair="suffix")
    first = fit_ids(fixed, dataset).codes[:, :3].tolist()
    shared = sum(first.count(row) > 1 for row in first) / len(first)
    line = describe(codes)
    assert "3 codes each of 8 x 8 x 8 (ids.levels and ids.size auto)" in line
    assert f"{shared:.1%} of items shared an ID" in line
