"""The layouts of training batches, in a run."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.core import ConfigError
from jaxrec.data.dataset import load_dataset
from jaxrec.decode import Recommender
from jaxrec.ids import IdVocabulary
from jaxrec.objectives import id_loss
from jaxrec.systems.generative import recommender as generative
from jaxrec.systems.generative.batches import measure, training_batches
from jaxrec.systems.generative.config import BatchConfig
from jaxrec.testing import random_params, tiny_config, write_tiny_csv
from jaxrec.train import read_metrics

LAYOUTS = [BatchConfig("pad"), BatchConfig("bucket", buckets=2), BatchConfig("pack", row_items=12)]
IDS = [layout.layout for layout in LAYOUTS]


class Killed(Exception):
    """Stands for a kill in the middle of a run."""


def ranked(recommender, histories, *_, **__):
    """In place of a search, which takes longer to compile than all else: some items for each."""
    items = np.arange(len(histories))[:, None] + np.arange(10)[None]
    return (items % 30).astype(np.int32), np.zeros(items.shape, np.float32)


def config_of(directory, layout):
    config = tiny_config(write_tiny_csv(directory))
    # The tiny histories are of 6 to 10 items, and would fill rows of 8 nearly by themselves.
    return dataclasses.replace(config, max_items=10, batches=layout)


@pytest.mark.parametrize("layout", LAYOUTS, ids=IDS)
def test_the_stated_padding_is_that_of_the_batches(tmp_path, layout):
    config = config_of(tmp_path, layout)
    source = [np.arange(n) for n in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10, 3)]
    tokens_of = IdVocabulary(sizes=(4, 4)).tokens(np.stack(np.divmod(np.arange(12), 4), axis=1))
    made = training_batches(config, source, tokens_of)
    batches = iter(made.dataset)
    held = [next(batches) for _ in range(600)]
    tokens, cells = np.sum([measure(batch) for batch in held], axis=0)
    assert 1 - tokens / cells == pytest.approx(made.padding, abs=0.01)
    assert made.baseline == pytest.approx(1 - sum(map(len, source)) / (12 * 10))
    assert (made.padding == made.baseline) == (layout.layout == "pad")
    assert f"{made.padding:.1%} padding" in str(made)


@pytest.mark.parametrize(
    ("lengths", "changes", "expected"),
    [
        ((9, 10, 10, 10), {}, "pad"),
        ((1, 2, 3, 4, 5, 2, 2, 10), {}, "pack"),
        ((1, 2, 3, 4, 5, 2, 2, 10), {"user_tokens": 4}, "bucket"),
        ((2, 3, 4, 5, 6, 3, 3, 11), {"architecture": "encoder_decoder"}, "bucket"),
        ((2, 3, 4, 5, 6, 3, 3, 11), {"architecture": "prefix"}, "bucket"),
        # Six items never share a row of ten, so packing is no better than padding.
        ((6,) * 50 + (10,), {}, "bucket"),
    ],
)
def test_auto_takes_the_layout_with_little_padding_that_the_model_can_read(
    tmp_path, lengths, changes, expected
):
    config = dataclasses.replace(config_of(tmp_path, BatchConfig()), **changes)
    source = [np.arange(n) for n in lengths] * 4
    tokens_of = IdVocabulary(sizes=(4, 4)).tokens(np.stack(np.divmod(np.arange(12), 4), axis=1))
    starts = np.full(len(source), 1, np.int32) if config.user_tokens else None

    def make(layout):
        layout = dataclasses.replace(config, batches=BatchConfig(layout))
        return training_batches(layout, source, tokens_of, starts=starts)

    auto, named = make("auto"), make(expected)
    assert (auto.chosen, named.chosen) == (expected, "")
    assert f"batches.layout auto chose {expected}" in str(auto)
    assert auto.shapes == named.shapes
    ours, theirs = iter(auto.dataset), iter(named.dataset)
    jax.tree.map(np.testing.assert_array_equal, next(ours), next(theirs))
    others = [make(layout).padding for layout in ("pad", "bucket")]
    assert auto.padding <= min(others) + 0.1


def test_an_epoch_has_the_same_loss_packed_and_padded(tmp_path):
    config = config_of(tmp_path, BatchConfig())
    dataset = load_dataset(config.data)
    codes = generative.item_ids.fit_ids(dataclasses.replace(config.ids, text_weight=0.0), dataset)
    model, vocabulary = generative.make_model(config, codes), IdVocabulary(sizes=codes.sizes)
    params, source = random_params(model), dataset.split.train.sequences()

    def losses(layout, epochs):
        """Loss of whole epochs; `tokens_of` and windows are the run's own."""
        made = training_batches(
            dataclasses.replace(
                config,
                batches=layout,
                train=dataclasses.replace(config.train, batch_size=1),
            ),
            source,
            vocabulary.tokens(codes.codes),
        )
        batches = iter(made.dataset)

        @jax.jit
        def run(batch):
            segments = batch.get("segments")
            loss = id_loss(
                model, params, batch["tokens"], None, vocabulary=vocabulary, segments=segments
            )
            return loss.total, loss.weight

        rows, items = 0, sum(map(len, source)) * epochs
        total = weight = 0.0
        while weight < items:
            found = run(jax.tree.map(jnp.asarray, next(batches)))
            total, weight, rows = total + float(found[0]), weight + float(found[1]), rows + 1
        assert weight == items
        return total, rows

    padded, packed = losses(LAYOUTS[0], 2), losses(LAYOUTS[2], 2)
    assert packed[0] == pytest.approx(padded[0], rel=1e-5)
    assert packed[1] <= padded[1]


@pytest.mark.parametrize("layout", LAYOUTS[1:], ids=IDS[1:])
@pytest.mark.variants(1)
def test_a_run_learns_logs_its_padding_and_resumes_to_the_same_bits(
    tmp_path, layout, monkeypatch, capsys
):
    config = config_of(tmp_path, layout)
    dataset = load_dataset(config.data)
    plans = []
    monkeypatch.setattr(Recommender, "recommend", ranked)

    def train(directory):
        codes = generative.open_run(config, dataset, directory)
        plans.append(plans[0] if plans else generative.plan_training(config, dataset, codes))
        return generative.train(config, dataset, codes, directory, plans[0])

    whole = train(tmp_path / "whole")
    assert "% padding, " in capsys.readouterr().out
    assert whole.compiles_after_warmup == 0
    rows = [row for row in read_metrics(tmp_path / "whole" / "metrics.jsonl") if "loss" in row]
    assert len(rows) == 4 and all(0 <= row["padding"] < 0.35 for row in rows)
    assert rows[-1]["loss"] < rows[0]["loss"]
    average, calls = generative.average, []

    def dying(metrics):
        calls.append(1)
        if len(calls) == 2:
            raise Killed
        return average(metrics)

    monkeypatch.setattr(generative, "average", dying)
    with pytest.raises(Killed):
        train(tmp_path / "broken")
    resumed = train(tmp_path / "broken")
    for ours, theirs in zip(
        jax.tree.leaves(resumed.params), jax.tree.leaves(whole.params), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_micro_batches_of_buckets_divide(tmp_path):
    """A step that its micro-batches do not divide would not compile."""
    config = config_of(tmp_path, LAYOUTS[1])
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, accumulate=4))
    dataset = load_dataset(config.data)
    codes = generative.open_run(config, dataset, tmp_path / "run")
    plan = generative.plan_training(config, dataset, codes)
    rows = {shapes[0][0] for shapes in plan.steps}
    assert len(rows) == 2 and all(count % 4 == 0 for count, _ in rows)


def test_layouts_that_hold_nothing_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"batches\.buckets must be at least 1, got 0"):
        BatchConfig("bucket", buckets=0)
    with pytest.raises(ConfigError, match=r"--batches\.row-items must be at least 0, got -1"):
        BatchConfig("pack", row_items=-1)
    with pytest.raises(ConfigError, match=r"batches\.row_items 9 cannot hold .* max_items 10"):
        config_of(tmp_path, BatchConfig("pack", row_items=9))
