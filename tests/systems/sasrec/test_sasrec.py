"""SASRec as a system: both protocols of seen items, against a ranking by hand."""

import numpy as np
import pytest

from jaxrec.baselines.sasrec import SasrecConfig
from jaxrec.data.dataset import DataConfig, load_dataset
from jaxrec.runs.config import BaselinesConfig
from jaxrec.runs.system import Options
from jaxrec.systems.sasrec import run as sasrec
from jaxrec.systems.sasrec.config import SasrecRunConfig
from jaxrec.testing import write_tiny_csv
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
    report = sasrec.evaluate(config, directory, baselines=True)
    dataset = load_dataset(data)
    histories, targets = dataset.split.history("test"), dataset.split.target("test")
    _, model = sasrec._fit(config, dataset, directory)
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
