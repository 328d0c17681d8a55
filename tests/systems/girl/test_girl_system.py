"""GIRL as a system: a tiny run is trained, measured and asked; its figures by brute force."""

import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from jaxrec.align import PpoSettings, encode_answers
from jaxrec.cli.main import main
from jaxrec.cli.recommend import read_resume
from jaxrec.core import ConfigError, DataError
from jaxrec.data import train_bpe
from jaxrec.data.corpora import encode_documents
from jaxrec.data.recruitment import WorldOptions
from jaxrec.models import TransformerConfig
from jaxrec.runs import Options, load_run, open_reward
from jaxrec.systems.girl import GirlConfig, GirlDataConfig, GirlEvalConfig, MatchConfig
from jaxrec.systems.girl.data import load_data
from jaxrec.systems.girl.fact_reward import FactReward
from jaxrec.systems.girl.models import Models
from jaxrec.systems.girl.prompts import Writer
from jaxrec.systems.girl.stages import Stages
from jaxrec.train import FitResult, TrainConfig

CONFIG = """
from jaxrec.align import PpoSettings
from jaxrec.data.recruitment import WorldOptions
from jaxrec.models import TransformerConfig
from jaxrec.systems.girl import GirlConfig, GirlDataConfig, GirlEvalConfig, MatchConfig
from jaxrec.train import TrainConfig


def stage(steps, **changed):
    settings = dict(steps=steps, batch_size=8, lr=3e-3, warmup_steps=0, eval_every=2, log_every=2)
    return TrainConfig(**settings | changed)


def get_config():
    return GirlConfig(
        data=GirlDataConfig(
            world=WorldOptions(people=240, jobs=160, applications=12, interviews=0.0),
            reward=0.2,
            gold=0.15,
            prompts=0.1,
            held_out=0.2,
        ),
        model=TransformerConfig(width=16, depth=1, num_heads=2),
        vocab_size=1000,
        max_prompt=128,
        sft=stage(4),
        reward=stage(2),
        gold_reward=stage(2),
        reward_head="sum",
        ppo=PpoSettings(response=160, temperature=1.0, epochs=1, unended_penalty=1.0),
        train=stage(2, max_loss_ratio=0.0),
        critic="reward",
        match=MatchConfig(
            lsa=8, residual=True, descriptions=2, epochs=2, seeds=2, batch_size=16
        ),
        eval=GirlEvalConfig(
            valid_prompts=4, valid_texts=8, batch_size=16, resamples=20, grounded_people=2,
            grounded_jobs=10,
        ),
    )
"""
TEMPLATE = "{resume}\nSuitable job:\n"


@pytest.fixture(scope="module")
def writer():
    tokenizer = train_bpe(
        [TEMPLATE, "I bake bread and cakes.", "Title: Baker\nSalary: 30,000"], 300
    )
    return Writer(template=TEMPLATE, tokenizer=tokenizer, max_prompt=64)


def test_prompts_end_where_descriptions_begin(writer):
    resumes, jobs = ["I bake bread.", "Cakes."], ["Title: Baker", "Title: Chef\nSalary: 9"]
    cells = writer.targets(resumes, jobs, 48)
    place = cells["tokens"].shape[1] - 48
    end = [writer.tokenizer.eos_token_id]
    for n, (resume, job) in enumerate(zip(resumes, jobs, strict=True)):
        there = cells["valid"][n]
        whole = cells["tokens"][n][there].tolist()
        # The reward model reads the same tokens, and so does a tokenizer that sees the whole text.
        assert (
            whole
            == encode_documents(writer.tokenizer, [TEMPLATE.format(resume=resume) + job])[0] + end
        )
        (read,) = encode_answers(writer.tokenizer, writer.texts([resume]), [job], 200)
        assert whole == list(read)
        learned = cells["tokens"][n, place:][cells["weights"][n] > 0].tolist()
        assert writer.tokenizer.decode(learned[:-1]) == job
        assert learned[-1:] == end
    tokens, valid = writer.prompts(resumes)
    assert valid[:, -1].all()
    np.testing.assert_array_equal(cells["tokens"][:, :place], tokens)


def test_a_long_resume_keeps_its_end_and_what_does_not_fit_is_named(writer):
    (prompt,) = writer.texts(["word " * 400 + "bread"])
    assert prompt.endswith("bread\nSuitable job:\n")
    assert len(encode_documents(writer.tokenizer, [prompt])[0]) <= 64
    with pytest.raises(DataError, match="does not fit --max-prompt 64"):
        writer.texts(["x" * 400])
    with pytest.raises(ConfigError, match=r"--ppo.response is 3; raise it"):
        writer.targets(["I bake."], ["Title: Baker"], 3)


def test_a_resume_file_is_read_and_faults_are_named(tmp_path):
    (tmp_path / "one.xml").write_text('<cv>I know <label type="Tech">Java</label>.</cv>')
    assert read_resume(tmp_path / "one.xml") == "I know Java."
    (tmp_path / "empty.txt").write_text(" \n")
    with pytest.raises(DataError, match="is empty"):
        read_resume(tmp_path / "empty.txt")
    (tmp_path / "bad.txt").write_bytes(b"caf\xe9")
    with pytest.raises(DataError, match="is not a text in UTF-8"):
        read_resume(tmp_path / "bad.txt")
    with pytest.raises(DataError):
        read_resume(tmp_path / "none.txt")


@pytest.mark.parametrize(("head", "total"), [("facts", 301.0), ("sum", 341.0)])
def test_the_seconds_of_all_stages_count(monkeypatch, tmp_path, head, total):
    def took(seconds):
        return FitResult(
            params=None, best_step=1, metrics={}, steps=1, seconds=seconds, compiles_after_warmup=0
        )

    for name, found in (
        ("_generator", took(1.0)),
        ("_reward", ({"gain": 1.0, "bias": 0.0}, 20.0)),
        ("_policy", took(300.0)),
        ("_fact_rewards", None),
    ):
        monkeypatch.setattr(Stages, name, lambda *_, found=found: found)
    config = GirlConfig(reward_head=head, critic="shared")
    models = Models(config=config, directory=tmp_path, text=None, writer=None)
    stages = Stages(models=models, data=None, targets={}, pairs={}, prompts={})
    plans = dict.fromkeys(("sft", "reward", "gold", "ppo"))
    assert stages.train(plans, Options()).seconds == total


@pytest.mark.slow
def test_a_tiny_run_is_trained_measured_and_asked(tmp_path, capsys):
    (tmp_path / "tiny.py").write_text(CONFIG)
    run = tmp_path / "run"
    assert main(["train", str(tmp_path / "tiny.py"), "--run-dir", str(run)]) == 0
    assert main(["eval", str(run)]) == 0
    report = json.loads((run / "eval.json").read_text())
    config = load_run(run)
    data = load_data(config.data)
    stored = json.loads((run / "descriptions.json").read_text())
    # The utility and the wins are those of the stored texts.
    ours, theirs = (stored["written"][name][0]["texts"] for name in ("girl", "sft"))
    utility = [data.utilities(stored["people"], texts) for texts in (ours, theirs)]
    assert report["rows"]["model"]["metrics"]["utility"] == pytest.approx(utility[0].mean())
    assert report["rows"]["start"]["metrics"]["utility"] == pytest.approx(utility[1].mean())
    won = report["tables"]["judges"]["planted utility"]
    assert won["win"] == pytest.approx((utility[0] > utility[1]).mean())
    assert won["lose"] == pytest.approx((utility[0] < utility[1]).mean())
    # The gold reward is that of the second reward model, read as text.
    gold = open_reward(run, gold=True)
    pairs = data.pairs["test"]
    prompts = [config.template.replace("{resume}", data.resumes[p.person]) for p in pairs]
    scores = [gold.rewards(prompts, [data.jobs[getattr(p, s)] for p in pairs])
              for s in ("better", "worse")]  # fmt: skip
    hits = np.mean((np.sign(scores[0] - scores[1]) + 1) / 2)
    assert report["tables"]["reward"]["gold"]["accuracy"] == pytest.approx(hits)
    for part in ("warm", "cold"):
        rows, table = data.rows[part], report["tables"][part]["rows"]
        truth = data.row_utilities(rows)
        auc = table["planted utility"]["metrics"]["auc"]
        assert auc == pytest.approx(roc_auc_score(rows.label, truth))
        assert {"mlp base", "mlp sft", "mlp girl", "dot base", "dot calibrated"} <= set(table)
        # A calibration changes the log loss, and the order only if it turns it around.
        ends = [table[name]["metrics"]["auc"] for name in ("dot base", "dot calibrated")]
        assert ends[0] == pytest.approx(ends[1]) or sum(ends) == pytest.approx(1)
    capsys.readouterr()
    (tmp_path / "resume.txt").write_text("I know Python, C++ and wine pairing.")
    command = ["recommend", str(run), "--resume", str(tmp_path / "resume.txt"), "--top", "3"]
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "top 3, with the reward and similarity" in shown
    assert "  3. " in shown
    assert main(["recommend", str(run), "--user", "p1"]) != 0
    assert "--resume FILE" in capsys.readouterr().err
    # A finished run is only checked.
    before = (run / "predictors.npz").read_bytes()
    assert main(["train", str(tmp_path / "tiny.py"), "--run-dir", str(run)]) == 0
    assert (run / "predictors.npz").read_bytes() == before


@pytest.mark.slow
def test_a_tiny_run_of_facts_scores_what_its_texts_say(tmp_path, capsys):
    text = CONFIG.replace("held_out=0.2,", "held_out=0.2, facts=True,")
    text = text.replace('reward_head="sum"', 'reward_head="facts", skill_tokens=True')
    text = text.replace('critic="reward"', 'critic="shared"').replace(
        "lsa=8,", "lsa=8, numbers=True,"
    )
    (tmp_path / "tiny.py").write_text(text)
    run = tmp_path / "run"
    assert main(["train", str(tmp_path / "tiny.py"), "--run-dir", str(run)]) == 0
    assert main(["eval", str(run)]) == 0
    report = json.loads((run / "eval.json").read_text())
    config = load_run(run)
    data = load_data(config.data)
    stored = json.loads((run / "descriptions.json").read_text())
    gold = FactReward.load(run / "gold_facts.npz")
    prompts = [data.resumes[person] for person in stored["people"]]
    for source in ("girl", "sft"):
        for lot in stored["written"][source]:
            found = gold.rewards(prompts, lot["texts"])
            np.testing.assert_allclose(lot["values"]["gold"], found, atol=1e-4)
    pairs = data.pairs["test"]
    prompts = [data.resumes[p.person] for p in pairs]
    scores = [gold.rewards(prompts, [data.jobs[getattr(p, s)] for p in pairs])
              for s in ("better", "worse")]  # fmt: skip
    hits = np.mean((np.sign(scores[0] - scores[1]) + 1) / 2)
    assert report["tables"]["reward"]["gold"]["accuracy"] == pytest.approx(hits)
    with pytest.raises(ConfigError, match="compares facts and is no network"):
        open_reward(run)
    capsys.readouterr()
    (tmp_path / "resume.txt").write_text("Seven years of Python, C++ and wine pairing.")
    command = ["recommend", str(run), "--resume", str(tmp_path / "resume.txt"), "--top", "3"]
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "Work: 7 years" in shown
    assert "  3. " in shown


def test_settings_of_the_head_are_a_config():
    config = GirlConfig(
        data=GirlDataConfig(world=WorldOptions(people=50)),
        model=TransformerConfig(width=16, depth=1, num_heads=2),
        sft=TrainConfig(steps=2),
        ppo=PpoSettings(response=16),
        match=MatchConfig(seeds=1),
        eval=GirlEvalConfig(valid_prompts=2),
    )
    assert config.longest == config.max_prompt + 17
    with pytest.raises(ConfigError, match=r"raise --model.max-length"):
        GirlConfig(model=TransformerConfig(positions="learned", max_length=64))
    with pytest.raises(ConfigError, match="have no effect"):
        GirlConfig(model=TransformerConfig(dropout=0.1))
