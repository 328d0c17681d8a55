"""RPG as a system: IDs, training, measurements, recommendations, and what it refuses."""

import dataclasses

import numpy as np
import pytest

import jaxrec
from jaxrec.cli.main import main
from jaxrec.core import ConfigError, DataError, RayEngine, from_dict, to_json, write_text
from jaxrec.data.dataset import DataConfig, load_dataset
from jaxrec.eval import render
from jaxrec.ids import ItemCodes, collaborative_vectors, pq, whitened_vectors
from jaxrec.runs.config import SampledEvalConfig
from jaxrec.runs.ranker import Asked
from jaxrec.runs.requests import RecommendRequest
from jaxrec.runs.system import Options
from jaxrec.systems.rpg import codes as item_codes, run as rpg
from jaxrec.systems.rpg.config import CodesConfig, GraphConfig, NetworkConfig, RpgConfig
from jaxrec.systems.rpg.ranker import make_graph
from jaxrec.testing import tiny_config, write_tiny_csv
from jaxrec.train import TrainConfig


def tiny(path, **more):
    return RpgConfig(
        data=tiny_config(path).data,
        codes=CodesConfig(levels=2, size=8, dim=4, text_encoder="tfidf"),
        model=NetworkConfig(width=8, depth=1, num_heads=1, mlp_width=8, max_items=8, buckets=1),
        graph=GraphConfig(edges=4, reverse=1, beams=3, steps=2, starts=6),
        train=TrainConfig(steps=4, batch_size=8, eval_every=4, warmup_steps=0),
        eval=SampledEvalConfig(ks=(10,), baselines=("markov",), resamples=10),
        **more,
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rpg")
    config = tiny(write_tiny_csv(folder))
    rpg.train(config, folder / "run", Options())
    return config, folder / "run"


def test_a_run_is_measured_and_recommends_what_its_scores_say(trained):
    config, directory = trained
    report = rpg.evaluate(config, directory, baselines=("markov",))
    assert set(report["rows"]) == {"model", "markov"} and report["tables"]
    assert set(report["graph"]) == {"graph", "graph, as published"}
    assert all(0 <= row["recall"] <= 1 for row in report["graph"].values())
    assert any("their scores tie" in line for line in report["lines"])
    dataset = load_dataset(config.data)
    model, _, _ = rpg._load(config, directory)
    user = str(dataset.split.train.user_ids[3])
    known = np.append(dataset.split.history("test")[3], dataset.split.target("test")[3])
    scores = np.array(model.score({"history": known[None].astype(np.int32)}))[0]
    scores[known] = -np.inf
    best = np.argsort(-scores, kind="stable")[:5].tolist()
    answer = rpg.recommend(config, directory, RecommendRequest(user, 5))
    assert [row.item for row in answer.items] == best
    opened = jaxrec.open(directory)
    assert opened.recommend(users=[user], top=5).numbers[0].tolist() == best
    write_text(directory / "eval.json", to_json(report))
    assert "The strongest baseline, markov," in render(rpg.report(config, directory))


def test_the_command_of_ids_says_how_many_items_tie(trained, tmp_path, monkeypatch, capsys):
    config, finished = trained
    for directory in (finished, tmp_path / "new"):
        monkeypatch.setattr("jaxrec.cli.ids.take_config", lambda *_, to=directory: (config, "", to))
        assert main(["ids", "mine"]) == 0
        said = capsys.readouterr().out
        codes = ItemCodes.load(directory / "ids").codes
        _, group, counts = np.unique(codes, axis=0, return_inverse=True, return_counts=True)
        share = np.mean(counts[group.ravel()] > 1)
        assert f"codes: 2 of 8; {share:.1%} of the items share all codes with another" in said
        assert "distinct" not in said and "does not record" not in said
    with pytest.raises(ConfigError, match="in one process; leave out --engine"):
        rpg.fit_ids(config, finished, RayEngine(workers=1))


def test_a_walk_over_the_whole_graph_recommends_the_same(trained):
    config, directory = trained
    dataset = load_dataset(config.data)
    everything = GraphConfig(edges=dataset.num_items, reverse=0, beams=2, steps=2, starts=4)
    walking = dataclasses.replace(config, ranking="graph", graph=everything)
    histories = dataset.split.history("test")[:3]
    asked = Asked(histories=histories, excluded=histories)
    variables = rpg._load(config, directory)[0].variables
    (exact, scores), (walked, others) = (
        rpg._ranker(c, variables).best(asked, 6) for c in (config, walking)
    )
    np.testing.assert_array_equal(exact, walked)
    np.testing.assert_allclose(scores, others, atol=1e-5)
    # A call that allows only some items ranks exactly.
    allowed = [np.array([3, 5, 8], np.int32)] * 3
    some = dataclasses.replace(asked, allowed=allowed, excluded=None)
    found, _ = rpg._ranker(walking, variables).best(some, 3)
    assert (np.sort(found, axis=1) == allowed[0]).all()


def test_a_graph_of_clusters_is_the_exact_graph_where_windows_hold_all_items(trained):
    config, directory = trained
    variables = rpg._load(config, directory)[0].variables
    codes, table = np.asarray(variables["fixed"]["codes"]), variables["params"]["table"]
    unit = np.asarray(table / np.linalg.norm(table, axis=-1, keepdims=True))
    vectors = np.concatenate([unit[place][codes[:, place]] for place in range(2)], axis=1)
    truth = vectors @ vectors.T
    settings = GraphConfig(edges=5, reverse=0, starts=7)
    exact = make_graph(settings, variables)
    clustered = make_graph(dataclasses.replace(settings, group=len(codes)), variables)
    for graph in (exact, clustered):
        near = np.take_along_axis(truth, np.asarray(graph.neighbours), axis=1)
        np.testing.assert_allclose(near, -np.sort(-truth, axis=1)[:, :5], atol=1e-4)
        assert len(set(np.asarray(graph.starts).tolist())) == 7


def test_runs_that_built_their_graph_by_trees_still_open():
    published = {"edges": 100, "beams": 10, "steps": 3, "starts": 1024, "keep": False, "trees": 0}
    read = RpgConfig.of_earlier
    assert read({"ranking": "exact", "graph": published}) == {"ranking": "exact", "graph": {}}
    chosen = read({"graph": published | {"edges": 50, "trees": 2}})["graph"]
    assert from_dict(GraphConfig, chosen, "graph.") == GraphConfig(
        edges=50, reverse=0, beams=10, steps=3, starts=1024, spread=False, keep=False, group=256
    )
    now = {"graph": {"edges": 9}}
    assert read(now) == now and read({}) == {}


def test_reverse_edges_alone_are_refused():
    with pytest.raises(ConfigError, match=r"--graph.reverse 16 leaves no edge.*--graph.edges 16"):
        GraphConfig(edges=16)


def test_whitened_components_have_the_identity_as_covariance_and_keep_the_best_directions():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(300, 6)) @ np.diag([5, 4, 3, 0.5, 0.1, 0]) @ rng.normal(size=(6, 6))
    sklearn = pytest.importorskip("sklearn.decomposition")
    theirs = sklearn.PCA(3, whiten=True, svd_solver="full").fit_transform(vectors)
    ours = whitened_vectors(vectors, 3)
    # The signs of the components are open.
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs), atol=1e-4)
    assert whitened_vectors(vectors, 9).shape == (300, 5)  # one direction does not vary


def test_the_quantizer_reads_only_trained_items():
    vectors = np.random.default_rng(1).normal(size=(60, 8))
    config = CodesConfig(levels=2, size=4, dim=6)
    met = np.arange(50)
    first = item_codes.quantize(config, vectors, met, config.levels)
    # The components read all items, and the sums do not see the order of the others.
    order = np.concatenate([met, 50 + np.random.default_rng(2).permutation(10)])
    second = item_codes.quantize(config, vectors[order], met, config.levels)
    np.testing.assert_array_equal(first.codes[order], second.codes)
    np.testing.assert_allclose(first.codebooks["centroids_0"], second.codebooks["centroids_0"])


@pytest.mark.slow
def test_opq_distorts_no_more_than_that_of_faiss():
    faiss = pytest.importorskip("faiss")
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(30, 16))
    vectors = (centres[rng.integers(0, 30, 3000)] + 0.4 * rng.normal(size=(3000, 16))).astype("f4")
    white = whitened_vectors(vectors @ rng.normal(size=(16, 16)), 16)
    rotation = faiss.OPQMatrix(16, 4)
    rotation.train(white)
    turned = rotation.apply(white)
    quantizer = faiss.ProductQuantizer(16, 4, 5)
    quantizer.train(turned)
    back = quantizer.decode(quantizer.compute_codes(turned))
    theirs = ((turned - back) ** 2).sum() / ((white - white.mean(0)) ** 2).sum()
    config = CodesConfig(levels=4, size=32, dim=16)
    ours = item_codes.quantize(config, white, np.arange(3000), config.levels).metadata["distortion"]
    assert ours < 1.03 * theirs


def described(tmp_path, titles):
    """A config of data with these titles, of which each user has met four."""
    rows = [
        f"u{user},i{(user + step) % len(titles)},{step}" for user in range(12) for step in range(4)
    ]
    path = tmp_path / "clicks.csv"
    path.write_text("user,item,time\n" + "\n".join(rows) + "\n")
    items = tmp_path / "items.csv"
    lines = [f"i{number},{title}" for number, title in enumerate(titles)]
    items.write_text("item,title\n" + "\n".join(lines) + "\n")
    return DataConfig(
        from_file=str(path),
        user_column="user",
        item_column="item",
        time_column="time",
        item_table=str(items),
        min_count=0,
    )


def test_items_without_text_are_refused_or_share_one_id(tmp_path):
    words = ["red shoe", "blue shoe", "green hat", "old hat", "", "new coat", "", "warm coat"]
    dataset = load_dataset(described(tmp_path, words))
    config = CodesConfig(levels=2, size=4, dim=3, text_encoder="tfidf")
    with pytest.raises(DataError, match=r"2 of 8 items have no text .*i4.*--codes.without-text"):
        item_codes.fit_codes(config, dataset)
    shared = item_codes.fit_codes(dataclasses.replace(config, without_text="share"), dataset)
    assert shared.metadata["without_text"] == 2
    empty = shared.codes[[words.index(""), 6]]
    assert (empty[0] == empty[1]).all()
    assert any("2 items have no text" in line for line in item_codes.describe(shared))


def test_data_without_text_fields_or_without_pairs_are_refused(tmp_path):
    config = tiny(write_tiny_csv(tmp_path))
    bare = described(tmp_path, ["a"] * 6)
    bare = dataclasses.replace(bare, item_table="")
    with pytest.raises(DataError, match=r"none of the text fields .*--codes.text-fields"):
        rpg.train(dataclasses.replace(config, data=bare), tmp_path / "run", Options(dry=True))
    path = tmp_path / "clicks.csv"
    path.write_text("user,item,time\n" + "".join(f"u0,i{n},{n}\nu1,i{n},{n}\n" for n in range(2)))
    short = dataclasses.replace(described(tmp_path, ["a b", "c d", "e f"]), from_file=str(path))
    path.write_text("user,item,time\nu0,i0,1\nu0,i1,2\nu1,i0,1\nu1,i1,2\nu1,i2,3\n")
    with pytest.raises(DataError, match=r"fewer than 3 interactions .*--data.short-users drop"):
        rpg.train(dataclasses.replace(config, data=short), tmp_path / "run", Options(dry=True))
    path.write_text("user,item,time\n" + "".join(f"u{u},i{n},{n}\n" for u in "01" for n in "012"))
    codes = CodesConfig(levels=1, size=4, dim=1, text_encoder="tfidf")
    with pytest.raises(DataError, match="no user has two training items"):
        rpg.train(
            dataclasses.replace(config, data=short, codes=codes),
            tmp_path / "run",
            Options(dry=True),
        )


def test_a_catalogue_that_the_ids_cannot_hold_is_refused(tmp_path):
    dataset = load_dataset(tiny_config(write_tiny_csv(tmp_path)).data)
    config = CodesConfig(levels=1, size=2, dim=4, text_encoder="tfidf")
    with pytest.raises(ConfigError, match=r"items do not fit into 2 IDs, .*--codes.levels 1"):
        item_codes.fit_codes(config, dataset)


def test_codebooks_that_collapse_are_named():
    # Nearly all vectors are equal, so that nearly all items have the code of one centroid.
    vectors = np.zeros((48, 4))
    vectors[40:] = 1e-3 * np.random.default_rng(0).normal(size=(8, 4))
    vectors[47] = 1.0
    with pytest.warns(UserWarning, match="codebook collapse: levels"):
        item_codes.quantize(CodesConfig(levels=1, size=32, dim=1), vectors, np.arange(41), 1)


def test_more_codes_than_columns_are_refused():
    with pytest.raises(ConfigError, match=r"levels 9 cuts vectors of --codes.dim 8 columns"):
        CodesConfig(levels=9, dim=8)
    vectors = np.repeat(np.eye(3), 4, axis=0)
    with pytest.raises(
        ConfigError,
        match=r"2 independent columns, too few for 3 of the 3 places; lower --codes.levels",
    ):
        item_codes.quantize(CodesConfig(levels=3, size=2, dim=4), vectors, np.arange(12), 3)


def test_some_places_code_what_occurs_together(tmp_path):
    dataset = load_dataset(tiny_config(write_tiny_csv(tmp_path)).data)
    config = CodesConfig(levels=5, size=4, dim=4, text_encoder="tfidf", collaborative=2)
    codes = item_codes.fit_codes(config, dataset)
    plain = item_codes.fit_codes(dataclasses.replace(config, levels=3, collaborative=0), dataset)
    np.testing.assert_array_equal(codes.codes[:, :3], plain.codes)
    train = dataset.split.train
    met = collaborative_vectors(
        train.sequences(), dataset.num_items, 4, window=10, decay=0.9, seed=0
    )
    white = whitened_vectors(met, 4)
    theirs = pq.fit(white[np.unique(train.item)], 2, 4, rotate="opq", restarts=1)
    np.testing.assert_array_equal(codes.codes[:, 3:], pq.encode(theirs, white))
    distinct = len(np.unique(codes.codes, axis=0))
    assert (codes.metadata["collision_share"] == 0) == (distinct == dataset.num_items)
    with pytest.raises(ConfigError, match=r"collaborative 2 leaves none of --codes.levels 2"):
        CodesConfig(levels=2, collaborative=2)
