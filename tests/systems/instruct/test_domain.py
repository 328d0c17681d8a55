"""The recipe of a domain: pre-training, tuning and preferences by one command, which resumes."""

import json

import pytest

from jaxrec.cli.main import main

CONFIG = """
from jaxrec.models import TransformerConfig
from jaxrec.peft import TuneConfig
from jaxrec.systems.dpo import *
from jaxrec.systems.instruct import *
from jaxrec.systems.pretrain import PretrainDataConfig, PretrainConfig
from jaxrec.train import TrainConfig

TRAIN = TrainConfig(steps=2, batch_size=2, eval_every=2, warmup_steps=1)

def get_stages():
    return {{"pretrain": PretrainConfig(
        data=PretrainDataConfig(
            name="jobs", paths=({place!r} + "/corpus.txt",), valid=0.2, test=0.2),
        vocab_size=400, length=16, train=TRAIN,
        model=TransformerConfig(width=16, depth=1, num_heads=2),
    ), "instruct": InstructConfig(
        data=InstructDataConfig(records=({place!r} + "/records.json",), valid_share=0.2),
        writing=WritingConfig(frame="plain", max_length=64),
        tune=TuneConfig(method="full", base="stage:pretrain"), train=TRAIN,
        eval=InstructEvalConfig(test_instances=3, max_tokens=2, resamples=20),
    )}}

def get_config():
    return DpoConfig(
        data=PreferenceConfig(
            name="jobs", records=({place!r} + "/pairs.jsonl",), valid=0.2, test=0.2),
        frame="plain", max_length=64, tune=TuneConfig(base="stage:instruct"), train=TRAIN,
        eval=DpoEvalConfig(max_tokens=2, shown=1, resamples=20),
    )
"""


@pytest.mark.slow
def test_a_domain_model_is_pretrained_tuned_and_preferred_by_one_command(tmp_path):
    jobs = [f"Bakers of kind {n} mix and bake ingredients." for n in range(40)]
    (tmp_path / "corpus.txt").write_text("\n".join(jobs))
    records = [{"instruction": f"Name job {n}.", "output": f"Baker {n}"} for n in range(40)]
    (tmp_path / "records.json").write_text(json.dumps(records))
    pairs = [
        {"prompt": f"Name job {n}.", "chosen": f"Baker {n}", "rejected": f"Cook {n}"}
        for n in range(40)
    ]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    config, run = tmp_path / "jobs.py", tmp_path / "run"
    config.write_text(CONFIG.format(place=str(tmp_path)))
    assert main(["train", str(config), "--run-dir", str(run)]) == 0
    bases = {"instruct": run / "pretrain", ".": run / "instruct"}
    for place, base in bases.items():
        assert json.loads((run / place / "config.json").read_text())["tune"]["base"] == str(base)
    trained = {name: (run / name / "train.json").read_text() for name in ("pretrain", *bases)}
    # The same command checks the stages, and none of them is trained again.
    assert main(["train", str(config), "--run-dir", str(run)]) == 0
    for name, before in trained.items():
        after = json.loads((run / name / "train.json").read_text())
        assert after["best_step"] == json.loads(before)["best_step"] == 2
    assert main(["eval", str(run)]) == 0
    assert list(json.loads((run / "eval.json").read_text())["rows"])[1] == "start"
    assert main(["eval", str(run / "instruct")]) == 0
    assert list(json.loads((run / "instruct" / "eval.json").read_text())["rows"])[1] == "untuned"
