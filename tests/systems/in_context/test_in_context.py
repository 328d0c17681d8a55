"""In-context learning as a system: it trains, is measured, and opens as a language model."""

import dataclasses

import numpy as np
import pytest

from jaxrec import runs
from jaxrec.core import ConfigError
from jaxrec.runs import Options
from jaxrec.systems.in_context import (
    InContextConfig,
    InContextDataConfig,
    InContextEvalConfig,
    make_tasks,
    run,
)
from jaxrec.systems.in_context.measure import answered
from jaxrec.train import TrainConfig

CONFIG = InContextConfig(
    data=InContextDataConfig(texts=64, tasks=8, length=4),
    train=TrainConfig(steps=2, batch_size=8, warmup_steps=1, eval_every=2),
    eval=InContextEvalConfig(demonstrations=(1, 2), candidates=3, valid_tasks=8, resamples=50),
)


@pytest.mark.slow
def test_a_run_is_measured_and_opens_as_the_model_that_was_measured(tmp_path):
    run.train(CONFIG, tmp_path / "run", Options())
    report = run.evaluate(CONFIG, tmp_path / "run", baselines=())
    names = [f"{select}, k = {k}" for k in (1, 2) for select in ("random", "nearest")]
    orders = [f"nearest, k = 2, {order} order" for order in ("descending", "random")]
    assert list(report["rows"]) == ["model", "no demonstrations", *names, *orders]
    model = runs.open_language_model(tmp_path / "run")
    tasks = make_tasks(CONFIG.data, CONFIG.eval.candidates)
    right = answered(model, tasks.words, tasks.test, 2, "nearest")
    np.testing.assert_array_equal(right, report["values"]["accuracy"])
    assert report["rows"]["model"]["metrics"]["accuracy"] == pytest.approx(right.mean())


def test_texts_that_the_model_cannot_read_are_refused(tmp_path):
    short = dataclasses.replace(CONFIG, model=dataclasses.replace(CONFIG.model, max_length=12))
    with pytest.raises(ConfigError, match=r"--data.length 4 examples do not fit"):
        run.train(short, tmp_path / "run", Options())
    assert not (tmp_path / "run").exists()
