"""VQ-Rec: domains side by side, whose items a quantizer has seen, and the stages of a transfer."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

import jaxrec
from jaxrec.baselines.sasrec import SasrecConfig
from jaxrec.core import ConfigError, DataError, to_json, write_text
from jaxrec.data import leave_one_out
from jaxrec.data.dataset import DataConfig, Dataset, load_dataset
from jaxrec.eval import average, evaluate, render
from jaxrec.ids import pq
from jaxrec.items import text as item_text
from jaxrec.runs.config import BaselinesConfig, RankConfig
from jaxrec.runs.directory import load_run
from jaxrec.runs.domains import Domain, known_users
from jaxrec.runs.protocol import TIES, ranking_batches
from jaxrec.runs.requests import RecommendRequest, whole_history
from jaxrec.runs.system import Options
from jaxrec.systems.vqrec import run as vqrec
from jaxrec.systems.vqrec.config import VqRecConfig
from jaxrec.testing import tiny_config, tiny_interactions, write_tiny_csv
from jaxrec.train import FitResult, TrainConfig


@functools.cache
def dataset(users, items, seed=0):
    data = tiny_interactions(users=users, items=items, seed=seed)
    return Dataset(data, leave_one_out(data))


def domain(users=None):
    parts = [dataset(20, 12), dataset(15, 14, 1)]
    users = users or [np.array([3, 7]), np.array([0, 14])]
    vectors = np.random.default_rng(0).normal(size=(26, 8)).astype(np.float32)
    return Domain(parts=parts, users=users, vectors=vectors)


def test_catalogues_follow_one_another_and_only_known_users_are_read():
    found = domain().histories
    first, second = (part.split.train.sequences() for part in domain().parts)
    expected = [first[3], first[7], second[0] + 12, second[14] + 12]
    assert len(found) == 4 and domain().num_items == 26
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_domain_ranks_each_users_item_among_those_of_their_part():
    numbers = np.random.default_rng(1).normal(size=26)

    def score(batch):
        # Of the last item, in the domain's numbers, and of the candidate.
        last = np.asarray(batch["history"])[:, -1]
        return np.cos(last[:, None] * 1.7 + numbers[None])

    found = domain().validate(score, RankConfig(), (5, 10))
    values = []
    for part, start, users in zip(domain().parts, (0, 12), domain().users, strict=True):
        histories, targets = part.split.history("valid"), part.split.target("valid")
        for user in users:
            scores = np.cos((histories[user][-1] + start) * 1.7 + numbers)[start:][: part.num_items]
            scores[histories[user]] = -np.inf
            mine = np.cos((histories[user][-1] + start) * 1.7 + numbers)[start + targets[user]]
            values.append((scores > mine).sum() - (scores[targets[user]] > mine))
    ranks = np.array(values)
    assert found["hr@5"] == pytest.approx((ranks < 5).mean())
    assert found["ndcg@10"] == pytest.approx(np.where(ranks < 10, 1 / np.log2(ranks + 2), 0).mean())


def test_the_draw_of_known_users_follows_the_seed():
    one, same, other = (known_users(50, 0.1, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert len(one) == 5 and (np.diff(one) > 0).all() and (one != other).any()
    assert len(known_users(50, 0.001, 0)) == 1
    np.testing.assert_array_equal(known_users(4, 1.0, 3), np.arange(4))


def test_a_strict_quantizer_sees_met_items_alone():
    found = domain()
    config = VqRecConfig(levels=2, size=4, rotate="none")
    other = dataclasses.replace(found, vectors=found.vectors[::-1] * 0.9)
    source, codes = vqrec._codes(config, other, found)
    met = np.unique(np.concatenate(found.histories))
    assert len(met) < found.num_items
    alone = pq.fit(found.vectors[met], 2, 4, seed=0, restarts=1)
    np.testing.assert_array_equal(codes.codes[met], alone.codes)
    # The nearest centroid of each segment, by brute force, for items that were not met too.
    centred = found.vectors - found.vectors[met].mean(axis=0)
    for level, part in enumerate(np.split(centred, 2, axis=1)):
        book = codes.codebooks[f"centroids_{level}"]
        distance = ((part[:, None] - book[None]) ** 2).sum(-1)
        np.testing.assert_array_equal(codes.codes[:, level], distance.argmin(axis=1))
    loose = vqrec._codes(dataclasses.replace(config, strict=False), None, found)[1]
    assert any((loose.codebooks[n] != codes.codebooks[n]).any() for n in codes.codebooks)
    # By another domain's quantizer the codes are those of its centroids.
    borrowed = vqrec._codes(dataclasses.replace(config, quantizer="source"), other, found)[1]
    np.testing.assert_array_equal(borrowed.codes, pq.encode(source, found.vectors))
    assert borrowed.metadata["items"] == 26


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"share": 0.0}, r"--share must be in \(0, 1\], got 0\.0"),
        ({"items": "table"}, "items table learns vectors of single items"),
        ({"begin": "texts"}, "begin texts compares codes .* rotate opq rotates"),
        ({"data": DataConfig(name="x"), "sources": ("y", "x")}, "sources .* include the target x"),
        ({"quantizer": "source", "sources": ()}, "quantizer source needs sources"),
        (
            {"eval": BaselinesConfig(baselines=("sasrec",))},
            "eval.baselines of VQ-Rec .* got 'sasrec'",
        ),
    ],
)
def test_settings_that_contradict_one_another_are_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        VqRecConfig(**settings)


@pytest.mark.parametrize("items", [pytest.param("codes", marks=pytest.mark.slow), "text"])
def test_a_run_keeps_the_vectors_and_codes_that_it_began_with(items, tmp_path, monkeypatch):
    brief = TrainConfig(steps=2, batch_size=8, warmup_steps=0, eval_every=2)
    config = VqRecConfig(
        data=tiny_config(write_tiny_csv(tmp_path)).data,
        sources=(),
        share=0.5,
        items=items,
        levels=2,
        size=4,
        rotate="none",
        text_encoder="tfidf",
        text_fields=("title",),
        model=SasrecConfig(width=8, depth=1, max_items=8, temperature=0.07, synthetic=0.75),
        train=brief,
        eval=BaselinesConfig(baselines=("popularity",), resamples=10),
    )
    directory = tmp_path / "run"
    vqrec.train(config, directory, Options())
    before = vqrec.rank(config, directory)
    encode = item_text.encode
    # As if another encoder had been installed since, and k-means had come out otherwise.
    monkeypatch.setattr(item_text, "encode", lambda *words, **more: encode(*words, **more)[::-1])
    monkeypatch.setattr(pq, "fit", None)
    report = vqrec.evaluate(config, directory, baselines=config.eval.baselines)
    for name, values in before.metrics.items():
        assert report["rows"]["model"]["metrics"][name] == pytest.approx(values.mean())
    assert "(a share 0.5 known)" in report["heading"]
    write_text(directory / "eval.json", to_json(report))
    page = render(vqrec.report(config, directory))
    assert "VQ-Rec on tiny" in page and "Item IDs" not in page
    # A user whose history training did not know is advised all the same.
    dataset = load_dataset(config.data)
    known = known_users(dataset.num_users, 0.5, config.train.seed)
    user = int(np.setdiff1d(np.arange(dataset.num_users), known)[0])
    request = RecommendRequest(str(dataset.split.train.user_ids[user]), 5)
    answer = vqrec.recommend(config, directory, request)
    history = whole_history(dataset, user)
    source, target = vqrec._domains(config, directory)
    scores = np.array(vqrec.fit(config, source, target, directory)[1]({"history": history[None]}))[
        0
    ]
    scores[history] = -np.inf
    np.testing.assert_allclose([row.score for row in answer.items], np.sort(scores)[::-1][:5])
    lists = jaxrec.open(directory).recommend(users=[request.user], top=5)
    assert lists.numbers[0].tolist() == [row.item for row in answer.items]
    said = "item texts: encoded by TF-IDF, " in " ".join(report["lines"])
    assert said == (items == "codes")
    with monkeypatch.context() as patch:
        patch.setattr(vqrec, "run_identity", lambda _: {"data": "those of another run"})
        with pytest.raises(DataError, match="belongs to a run with other data"):
            vqrec.rank(config, directory)
    vectors = item_text.load_vectors(directory)
    item_text.save_vectors(vectors[:-1], directory)
    with pytest.raises(DataError, match=r"text_vectors\.npy has changed"):
        vqrec.rank(config, directory)


def test_the_seconds_of_all_stages_count(monkeypatch, tmp_path):
    seconds = iter((1.0, 20.0, 300.0))
    tree = {"params": {"items": {"coded": {"table": np.zeros((2, 4, 3)), "assign": np.eye(4)}}}}
    tree["params"]["body"] = np.zeros(1)

    def stage(*_, **__):
        return FitResult(
            params=tree,
            best_step=1,
            metrics={},
            steps=1,
            seconds=next(seconds),
            compiles_after_warmup=0,
        ), None

    monkeypatch.setattr(vqrec, "_fit", stage)
    monkeypatch.setattr(vqrec, "take_codes", lambda coded: coded)
    config = VqRecConfig(levels=2, size=4, rotate="none")
    other = dataclasses.replace(domain(), vectors=domain().vectors[::-1])
    result, _ = vqrec.fit(config, other, domain(), tmp_path)
    assert result.seconds == 321.0


@pytest.mark.slow
def test_a_transfer_keeps_what_it_holds_and_resumes_whole(real_data, tmp_path, monkeypatch):
    real_data("movietweetings")
    monkeypatch.setenv("JAXREC_DATA", str(real_data("movietweetings").parent))
    real_data("ml-100k")
    brief = TrainConfig(steps=4, batch_size=8, warmup_steps=0, eval_every=4)
    config = VqRecConfig(
        data=DataConfig(name="ml-100k", min_count=3),
        sources=("movietweetings-10k",),
        levels=4,
        size=8,
        text_encoder="tfidf",
        hold_body=True,
        model=SasrecConfig(width=8, depth=1, max_items=8, temperature=0.07, synthetic=0.75),
        pretrain=brief,
        assign=brief,
        train=brief,
        eval=BaselinesConfig(baselines=("popularity",)),
    )
    vqrec.train(config, tmp_path, Options())
    report = vqrec.evaluate(config, tmp_path, baselines=config.eval.baselines)
    assert set(report["rows"]) == {"model", "popularity"}
    assert report["protocol"]["known_users"] == 94
    assert 0 < report["ids"]["collision_share"] < 1
    # Nothing is trained again, and what was held is what the sources gave.
    source, target = vqrec._domains(config, tmp_path)
    result, score = vqrec.fit(config, source, target, tmp_path)
    assert result.steps == 4 and result.seconds < 60
    codes = vqrec._codes(config, source, target)[0]
    begun, _ = vqrec._fit(config, source, codes, tmp_path / "pretrain", brief, "contrastive")
    jax.tree.map(
        np.testing.assert_array_equal,
        result.params["params"]["body"],
        begun.params["params"]["body"],
    )
    rows = ranking_batches(target.parts[0], "test", True)
    again = average(evaluate(score, rows, (5, 10), TIES))
    assert again["ndcg@10"] == pytest.approx(report["rows"]["model"]["metrics"]["ndcg@10"])
    assert load_run(tmp_path) == config
    # The run alone gives the same scores, with the body that was held.
    user = str(target.parts[0].split.train.user_ids[7])
    answer = vqrec.recommend(config, tmp_path, RecommendRequest(user, 20))
    lists = jaxrec.open(tmp_path).recommend(users=[user], top=20)
    assert lists.numbers[0].tolist() == [row.item for row in answer.items]
    np.testing.assert_allclose(lists.scores[0], [r.score for r in answer.items], rtol=1e-4)
