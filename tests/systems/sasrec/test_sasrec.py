"""SASRec as a system: both protocols of seen items, against a ranking by hand."""

import numpy as np
import pytest

import jaxrec
from jaxrec.baselines.sasrec import SasrecConfig
from jaxrec.core import DataError, OutOfMemory, to_json, write_text
from jaxrec.data.dataset import DataConfig, load_dataset
from jaxrec.eval import render
from jaxrec.runs import sequential_run
from jaxrec.runs.config import BaselinesConfig
from jaxrec.runs.directory import create_run
from jaxrec.runs.requests import RecommendRequest
from jaxrec.runs.system import Options
from jaxrec.systems.sasrec import run as sasrec
from jaxrec.systems.sasrec.config import SasrecRunConfig
from jaxrec.testing import tiny_config, write_tiny_csv
from jaxrec.train import TrainConfig


def by_hand(scores, histories, targets, removed):
    """HR@10 and NDCG@10 of scores without ties."""
    places = []
    for row, history, target in zip(scores, histories, targets, strict=True):
        above = row > row[target]
        if removed:
            above[history] = False
        places.append(above.sum())
    places = np.array(places)
    gains = np.where(places < 10, 1 / np.log2(places + 2), 0.0)
    return {"hr@10": (places < 10).mean(), "ndcg@10": gains.mean()}


@pytest.mark.slow
def test_both_protocols_of_seen_items_are_measured(tmp_path):
    path = write_tiny_csv(tmp_path)
    data = DataConfig(
        from_file=str(path),
        user_column="user_id",
        item_column="movie_id",
        time_column="when",
        min_count=0,
    )
    config = SasrecRunConfig(
        data=data,
        model=SasrecConfig(width=8, depth=1, max_items=12),
        train=TrainConfig(steps=20, batch_size=8, eval_every=20),
        eval=BaselinesConfig(ks=(10,), baselines=("markov",), resamples=10),
    )
    directory = tmp_path / "run"
    sasrec.train(config, directory, Options())
    report = sasrec.evaluate(config, directory, baselines=config.eval.baselines)
    dataset = load_dataset(data)
    histories, targets = dataset.split.history("test"), dataset.split.target("test")
    _, model = sequential_run.fit(config, dataset, directory)
    longest = max(map(len, histories))
    history = np.stack([np.pad(h, (longest - len(h), 0), constant_values=-1) for h in histories])
    scores = np.array(model({"history": history}))
    assert report["protocol"]["seen_items"] == "removed"
    kept = report["tables"]["seen items kept"]
    for table, removed in ((report, True), (kept, False)):
        found = table["rows"]["model"]["metrics"]
        for name, value in by_hand(scores, histories, targets, removed).items():
            assert found[name] == pytest.approx(value, abs=1e-6)
    # Histories hold no target, so that what is removed can only help.
    assert report["rows"]["model"]["metrics"]["hr@10"] > kept["rows"]["model"]["metrics"]["hr@10"]
    assert (set(report["rows"]), set(kept["rows"])) == ({"model", "markov"}, {"model"})
    assert any(line.startswith("  model: hr@10") for line in report["lines"])
    # Advice reads the held-out item too, and gives the best of the rest.
    user = str(dataset.split.train.user_ids[4])
    answer = sasrec.recommend(config, directory, RecommendRequest(user, 6))
    known = np.append(histories[4], targets[4])
    row = np.array(model({"history": known[None]}))[0]
    row[known] = -np.inf
    assert [item.item for item in answer.items] == np.argsort(-row)[:6].tolist()
    assert len(answer.history) == len(known)
    opened = jaxrec.open(directory).recommend(users=[user], top=6)
    assert opened.numbers[0].tolist() == np.argsort(-row)[:6].tolist()
    write_text(directory / "eval.json", to_json(report))
    page = render(sasrec.report(config, directory))
    assert "seen items kept" in page and "The strongest baseline, markov," in page


def test_a_dry_run_refuses_what_cannot_fit_before_it_compiles(tmp_path, monkeypatch):
    data = tiny_config(write_tiny_csv(tmp_path)).data
    config = SasrecRunConfig(data=data, model=SasrecConfig(width=8, depth=1, max_items=10**6))
    monkeypatch.setattr("jaxrec.train.plan.device_memory", lambda: 2**20)
    with pytest.raises(OutOfMemory, match=r"body/position \[1000001, 8\] 30\.5 MiB"):
        sasrec.train(config, tmp_path / "run", Options(dry=True))
    assert not (tmp_path / "run").exists()


def test_a_run_that_was_not_trained_recommends_nothing_and_trains_nothing(tmp_path):
    config = SasrecRunConfig(
        data=tiny_config(write_tiny_csv(tmp_path)).data, model=SasrecConfig(width=8, depth=1)
    )
    create_run(config, load_dataset(config.data), None, tmp_path / "run")
    with pytest.raises(DataError, match=r"train\.json is missing"):
        sasrec.recommend(config, tmp_path / "run", RecommendRequest("u001"))
    assert not (tmp_path / "run" / "checkpoints").exists()
