"""RecruitPro as a system: what it learns, its forms, resumption, bad input, and its configs."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from jaxrec.core import ConfigError, DataError
from jaxrec.data.recruitment import TaskOptions, WorldOptions, recruitment_world, write_recruitment
from jaxrec.runs import Options, make_sweep, run_sweep
from jaxrec.systems.recruitpro import (
    OFF,
    AuxiliaryConfig,
    EncoderConfig,
    RecruitmentConfig,
    RecruitProConfig,
)
from jaxrec.systems.recruitpro.data import load_tasks
from jaxrec.systems.recruitpro.opened import Opened
from jaxrec.systems.recruitpro.predict import Predictor
from jaxrec.systems.recruitpro.run import evaluate, train


def _shortened(config, steps):
    return dataclasses.replace(
        config, train=dataclasses.replace(config.train, steps=steps, eval_every=steps)
    )


def test_skill_prompts_learn_a_planted_class(tiny, planted, tmp_path, capsys):
    planted("jd_1st_class")
    config = tiny()
    train(config, tmp_path / "run", Options(dry=True))
    assert not (tmp_path / "run").exists()
    train(config, tmp_path / "run", Options())
    assert "planted (synthetic)" in capsys.readouterr().out
    report = evaluate(config, tmp_path / "run", baselines=())
    row = report["rows"]["model"]["metrics"]
    assert row["accuracy"] == row["accuracy_jd_1st_class"] > 0.85
    assert report["rows"]["most frequent label"]["metrics"]["accuracy"] == 0.5
    assert len(report["values"]["accuracy"]) == 16
    facts = json.loads((tmp_path / "run" / "train.json").read_text())
    assert facts["compiles_after_warmup"] == 0
    with pytest.raises(ConfigError, match=r"pairs was 8 and is 9"):
        train(dataclasses.replace(config, pairs=9), tmp_path / "run", Options())


@pytest.mark.slow
@pytest.mark.parametrize("form", ["cls", "prompt", "skill_prompt"])
def test_all_kinds_of_tasks_are_learned_together(tiny, planted, tmp_path, form):
    tasks = planted(
        "jd_1st_class", "person_job_fit", "job_recommendation", "salary", "skill_extraction"
    )
    config = _shortened(tiny(), 400)
    if form != "skill_prompt":
        given = dataclasses.replace(config.input, form=form)
        config = dataclasses.replace(config, input=given, auxiliary=OFF)
    train(config, tmp_path, Options())
    facts = json.loads((tmp_path / "train.json").read_text())
    assert facts["compiles_after_warmup"] == 0
    metrics = evaluate(config, tmp_path, baselines=())["rows"]["model"]["metrics"]
    assert metrics["accuracy_jd_1st_class"] > 0.85
    assert metrics["mae_salary"] < 0.5
    assert metrics["f1_skill_extraction"] > 0.7
    assert metrics["auc_person_job_fit"] > 0.6
    assert metrics["mrr_job_recommendation"] > 0.6
    assert len(tasks) == 5


@pytest.mark.slow
def test_a_frozen_encoder_stays_and_a_random_one_is_drawn(tiny, planted, encoder, tmp_path):
    tasks = planted("jd_1st_class")
    config = _shortened(tiny(encoder=EncoderConfig(base=encoder, frozen=True)), 4)
    train(config, tmp_path, Options())
    opened = Opened.of(config, tasks)
    before, after = opened.base.params, opened.trained(tmp_path)["encoder"]
    jax.tree.map(np.testing.assert_array_equal, before, after)
    random = Opened.of(tiny(encoder=EncoderConfig(base=encoder, from_scratch=True)), tasks)
    first, second = random.begin(0)["encoder"], random.begin(1)["encoder"]
    shapes = jax.tree.map(lambda x: x.shape, first)
    assert shapes == jax.tree.map(lambda x: x.shape, before)
    tables = [tree["embedding"]["table"] for tree in (before, first, second)]
    assert all(np.abs(a - b).max() > 0.01 for a in tables for b in tables if a is not b)


@pytest.mark.slow
def test_scores_do_not_depend_on_the_batch(tiny, planted):
    tasks = planted("person_job_fit", "skill_extraction")
    opened = Opened.of(tiny(), tasks)
    variables = opened.begin(0)
    for number, tables in enumerate(opened.tables):
        found = [
            Predictor(network=opened.network, batch_size=size)(variables, tables["test"], number)
            for size in (3, 16)
        ]
        np.testing.assert_allclose(*found, atol=1e-5)


@pytest.mark.slow
def test_a_sweep_compares_forms_on_paired_rows(tiny, planted, tmp_path):
    planted("jd_1st_class")
    full = _shortened(tiny(), 6)
    plain = dataclasses.replace(
        full, input=dataclasses.replace(full.input, form="cls"), auxiliary=OFF
    )
    from jaxrec.runs import Sweep

    sweep = make_sweep(Sweep(variants={"full": full, "plain": plain}, metrics=("accuracy",)))
    report = run_sweep(sweep, tmp_path, [0, 1])
    (test,) = report["tests"]
    assert (test["a"], test["b"], test["metric"]) == ("plain", "full", "accuracy")
    assert len(report["rows"][0]["by_seed"]["accuracy"]) == 2


def test_settings_that_nothing_reads_are_rejected(tiny):
    with pytest.raises(ConfigError, match="form cls has no skill prompt, so --auxiliary is not"):
        RecruitProConfig(input=dataclasses.replace(tiny().input, form="cls"))
    with pytest.raises(ConfigError, match="would leave the encoder random"):
        EncoderConfig(from_scratch=True, frozen=True)
    with pytest.raises(ConfigError, match="makes records up and reads no files"):
        RecruitmentConfig(jobs="jobs.csv")
    with pytest.raises(ConfigError, match=r"--data.name mine needs files of records"):
        RecruitmentConfig(name="mine", jobs="jobs.csv")
    with pytest.raises(ConfigError, match=r"--world is read with --data.name recruitment-world"):
        RecruitProConfig(
            data=RecruitmentConfig(name="mine", jobs="a", people="b"), world=WorldOptions(jobs=9)
        )


def test_files_of_ones_own_give_the_same_tasks_as_the_world(tmp_path):
    world, names = (
        WorldOptions(jobs=400, people=120),
        TaskOptions(names=("jd_1st_class", "person_job_fit")),
    )
    records = recruitment_world(world).recruitment
    write_recruitment(records, tmp_path)
    files = {path.stem: str(path) for path in tmp_path.iterdir()}
    config = RecruitmentConfig(
        name="mine",
        jobs=files["jobs"],
        people=files["people"],
        interviews=files["interviews"],
        matches=files["matches"],
        missing="drop",
    )
    made = load_tasks(RecruitmentConfig(), world, names)
    read = load_tasks(config, WorldOptions(), names)
    assert [task.name for task in read.tasks] == [task.name for task in made.tasks]
    assert read.tasks[0].classes == made.tasks[0].classes
    # Cleaning leaves out the few records of unusual lengths, and what names them.
    assert 0.9 < len(read.tasks[0].train) / len(made.tasks[0].train) <= 1
    assert made.describe()["fingerprint"] != read.describe()["fingerprint"]
    lines = (tmp_path / "people.jsonl").read_text().splitlines()
    (tmp_path / "people.jsonl").write_text("\n".join([*lines, '{"id": "p-empty"}']))
    with pytest.raises(DataError, match=r"p-empty|line 121"):
        load_tasks(config, WorldOptions(), names)
    skipped = load_tasks(dataclasses.replace(config, empty="skip"), WorldOptions(), names)
    assert dict(skipped.counts) == {**read.counts, "empty resume": 1}
    assert "records: 1 empty resume" in str(skipped)


def test_an_encoder_that_cannot_be_used_is_named(tiny, planted, tmp_path):
    tasks = planted("jd_1st_class")
    long = dataclasses.replace(tiny().input, text_tokens=60)
    with pytest.raises(ConfigError, match=r"rows of --input: 68 tokens.*lower its numbers"):
        Opened.of(tiny(input=long), tasks)
    with pytest.raises(DataError, match="nowhere"):
        Opened.of(tiny(encoder=EncoderConfig(base=str(tmp_path / "nowhere"))), tasks)


def test_a_tagger_that_is_no_run_is_named(tiny, planted, tmp_path):
    tasks = planted("jd_1st_class")
    auxiliary = AuxiliaryConfig(extractor="tagger", tagger=str(tmp_path))
    with pytest.raises(DataError, match="is no run directory"):
        Opened.of(tiny(auxiliary=auxiliary), tasks)
