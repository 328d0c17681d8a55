"""A run of Toolformer goes through all its stages, and its measurements are what they say."""

import dataclasses
import json

import numpy as np
import pytest

from jaxrec.models import TransformerConfig
from jaxrec.prompting import Reading
from jaxrec.runs import Options
from jaxrec.systems.toolformer import (
    CallsConfig,
    ToolformerConfig,
    ToolformerDataConfig,
    ToolformerEvalConfig,
    run,
)
from jaxrec.train import TrainConfig


class Fixed:
    """A model with the same chances for every text of two tokens."""

    def read(self, prefixes, texts):
        chances = np.array([0.2, 0.4])
        marker = np.log(np.array([0.5, 0.2, 0.9]))
        return [Reading(logprobs=np.log(chances), marker=marker, ranks=np.zeros(3, int))] * len(
            texts
        )


def test_the_loss_shares_the_chance_of_the_marker_among_the_other_tokens():
    wanted = -(np.log(0.2 / 0.5) + np.log(0.4 / 0.8)) / 2
    np.testing.assert_allclose(run.text_losses(Fixed(), ["a b"] * 3), [wanted] * 3)


def tiny(**calls):
    settings = TrainConfig(steps=30, batch_size=16, eval_every=15, warmup_steps=1, lr=5e-3)
    return ToolformerConfig(
        data=ToolformerDataConfig(plain=300, lists=50, demonstrated=300, annotated=6, held=4),
        model=TransformerConfig(width=32, depth=1, num_heads=2),
        pretrain=settings,
        train=dataclasses.replace(settings, steps=2, eval_every=2),
        calls=CallsConfig(**calls),
        eval=ToolformerEvalConfig(batch_size=16, max_tokens=4, resamples=50),
    )


@pytest.mark.slow
def test_a_run_goes_through_its_stages_and_keeps_its_calls(tmp_path, capsys):
    config = tiny(min_gain=50.0, positions=1, calls=2)
    run.train(config, tmp_path, Options())
    assert "no call helps, so the tuning teaches none" in capsys.readouterr().out
    # Calls that are stored are not made again.
    made = json.loads((tmp_path / "calls.json").read_text())
    assert not any(call["kept"] for call in made["calls"])
    made["calls"].append(
        {
            "text": 0,
            "call": "[Calculator(1 + 1) -> 2]",
            "tool": "Calculator",
            "gain": 60.0,
            "kept": True,
            "right": True,
            "times": 1,
            "failure": "",
        }
    )
    (tmp_path / "calls.json").write_text(json.dumps(made))
    run.train(config, tmp_path, Options())
    report = run.evaluate(config, tmp_path, baselines=())
    assert list(report["rows"]) == ["model", "without tools", "untuned", "untuned, without tools"]
    assert report["rows"]["model"]["metrics"]["kept_right"] == 1.0
    assert set(report["rows"]["without tools"]["metrics"]) == {"accuracy", "loss"}
    assert len(report["values"]["accuracy"]) == 4
    assert "perplexity of held-out texts" in report["lines"][0]
    opened = run.open_model(config, tmp_path)
    assert opened.tokenizer.bos_token_id == opened.model.tokens["bos_token_id"]
