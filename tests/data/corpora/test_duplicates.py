"""Near-duplicates against brute force, MinHash against its theory, hashes of joined text."""

import re

import numpy as np
import pytest

from jaxrec.data.corpora import (
    Clusters,
    Duplicates,
    Keys,
    MinHash,
    find_duplicates,
    hashing,
    ngram_hashes,
    normalize,
    shingles,
    word_hashes,
)
from jaxrec.data.corpora.hashing import mix


def test_hashes_of_runs_are_those_of_the_joined_text():
    words = ["the", "é", "film", "日本", "x" * 5000, "war"]
    hashes, powers = word_hashes(words)
    short = [0, 1, 2, 3, 5]
    for spaced, joint in ((False, ""), (True, " ")):
        for length, runs in enumerate(ngram_hashes(hashes, powers, 3, spaced=spaced), start=1):
            for at, found in enumerate(runs.tolist()):
                if set(range(at, at + length)) <= set(short):
                    expected = word_hashes([joint.join(words[at : at + length])])[0]
                    assert found == expected[0]
    assert len(set(hashes.tolist())) == len(words)
    # Runs that are one text when joined have one hash, however they are split.
    a, b = (list(ngram_hashes(*word_hashes(pair), 2)) for pair in (["ab", "c"], ["a", "bc"]))
    assert a[1] == b[1]


def test_long_texts_are_hashed_in_pieces_to_the_same_hashes(monkeypatch):
    words = [f"w{n % 97}" for n in range(1000)]
    whole = word_hashes(words)
    monkeypatch.setattr(hashing, "_PIECE", 50)
    for one, two in zip(whole, word_hashes(words), strict=True):
        assert (one == two).all()


@pytest.mark.parametrize("similarity", [0.5, 0.7, 0.8, 0.9])
def test_candidates_are_as_frequent_as_theory_says(similarity):
    hasher, rng, trials = MinHash(14, 8), np.random.default_rng(1), 400
    size = 200
    both = round(size * similarity)
    rest = (size - both) // 2
    met = 0
    for _ in range(trials):
        values = mix(rng.integers(0, 2**63, both + 2 * rest).astype(np.uint64))
        one = hasher.bands_of(values[: both + rest])
        two = hasher.bands_of(np.concatenate([values[:both], values[both + rest :]]))
        met += bool((one == two).any())
    true = both / (both + 2 * rest)
    expected = 1 - (1 - true**8) ** 14
    assert abs(met / trials - expected) < 4 * np.sqrt(0.25 / trials)


def test_the_first_of_every_cluster_of_similar_documents_stays():
    rng = np.random.default_rng(0)
    words = [f"w{n}" for n in range(400)]
    texts = []
    for _ in range(60):
        base = rng.choice(words, 80).tolist()
        texts.append(" ".join(base))
        for _ in range(rng.integers(0, 3)):
            copy = list(base)
            copy[int(rng.integers(0, 80))] = "changed"
            texts.append(" ".join(copy))
    order = rng.permutation(len(texts))
    texts = [texts[n] for n in order]
    keys = Keys(Duplicates(bands=40, rows=4, threshold=0.8))  # candidates are nearly certain
    rows = np.stack([keys.of(text) for text in texts])
    found = find_duplicates(lambda n: rows[:, n], keys, lambda n: texts[n])
    # Brute force: components of the graph of all pairs at .8 or above, by sets of words in a row.
    sets = [{tuple(t.split()[n : n + 5]) for n in range(len(t.split()) - 4)} for t in texts]
    component = list(range(len(texts)))
    for b in range(len(texts)):
        for a in range(b):
            if len(sets[a] & sets[b]) / len(sets[a] | sets[b]) >= 0.8:
                old, new = component[b], component[a]
                low, high = min(old, new), max(old, new)
                component = [low if one == high else one for one in component]
    assert (found > 0).tolist() == [component[n] != n for n in range(len(texts))]
    assert (found > 0).sum() > 20


def test_candidates_below_the_threshold_stay():
    texts = ["a b c d e f g h", "a b c d e f g x y z", "a b c d e f g h"]
    keys = Keys(Duplicates(bands=64, rows=1, threshold=0.8, exact=False))
    rows = np.stack([keys.of(text) for text in texts])
    assert (rows[0, 1:] == rows[1, 1:]).any()
    assert find_duplicates(lambda n: rows[:, n], keys, lambda n: texts[n]).tolist() == [0, 0, 2]


def test_short_texts_are_alike_only_if_they_are_equal():
    texts = ["yes", "no", "...", "!!!", "Yes.", ""]
    keys = Keys(Duplicates())
    rows = np.stack([keys.of(text) for text in texts])
    found = find_duplicates(lambda n: rows[:, n], keys, lambda n: texts[n])
    assert found.tolist() == [0, 0, 0, 0, 1, 0]


def test_shingles_are_those_of_the_normalized_words():
    text = "The film -- isn't_it? THE FILM isn't it: 42!"
    words = re.findall(r"[a-z0-9]+", text.lower())
    assert normalize(text).split() == words
    runs = {tuple(words[n : n + 3]) for n in range(len(words) - 2)}
    assert len(np.unique(shingles(normalize(text), 3))) == len(runs)


def test_clusters_are_those_of_scipy():
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    pairs = np.random.default_rng(0).integers(0, 50, (30, 2))
    clusters = Clusters(50)
    for a, b in pairs.tolist():
        clusters.join(a, b)
    graph = coo_array((np.ones(30), (pairs[:, 0], pairs[:, 1])), shape=(50, 50))
    labels = connected_components(graph, directed=False)[1]
    assert clusters.roots().tolist() == [int(np.argmax(labels == label)) for label in labels]
