"""Quick variants: shorter in every stage, and marked wherever their figures stand."""

import json

import pytest

from jaxrec.core import ConfigError
from jaxrec.runs import SampledEvalConfig
from jaxrec.runs.config import check_unread, unread_of, without_unread
from jaxrec.runs.quick import LIMITS, MARK, WARNING, is_quick, label_results, make_quick, marked
from jaxrec.systems.generative import Config
from jaxrec.systems.sasrec import SasrecRunConfig
from jaxrec.systems.tallrec import TallrecConfig
from jaxrec.systems.vqrec import VqRecConfig


def test_every_stage_and_baseline_is_limited_and_the_model_is_not():
    config = Config()
    short = make_quick(config)
    assert short.train.steps == short.sasrec.train.steps == short.ids.rqvae.steps == LIMITS["steps"]
    assert (short.model, short.data, short.decode) == (config.model, config.data, config.decode)
    assert (short.train.lr, short.train.batch_size) == (config.train.lr, config.train.batch_size)
    moved = make_quick(VqRecConfig())
    assert {moved.pretrain.steps, moved.assign.steps, moved.train.steps} == {100}


def test_zero_that_means_all_is_limited_and_zero_that_means_none_is_not():
    short = make_quick(TallrecConfig())
    assert (short.shots, short.eval.test_windows) == (256, 200)
    assert short.title_steps == 0
    assert make_quick(TallrecConfig(shots=16)).shots == 16


def test_a_validation_takes_all_users_up_to_five_thousand_unless_told():
    assert [Config().eval.validated(n) for n in (3, 5000, 5001, 10**6)] == [3, 5000, 5000, 5000]
    every, few = SampledEvalConfig(valid_users=0), SampledEvalConfig(valid_users=40)
    assert (every.validated(10**6), few.validated(10**6), few.validated(7)) == (10**6, 40, 7)
    assert make_quick(Config()).eval.valid_users == LIMITS["valid_users"]


def test_a_short_config_stays_as_it_is():
    short = make_quick(Config())
    assert make_quick(short) == short


def test_a_quick_variant_and_an_old_run_agree_on_what_a_class_does_not_read():
    config = SasrecRunConfig()
    named = list(unread_of(SasrecRunConfig))
    assert named == ["model.train"]
    assert make_quick(config).model.train == config.model.train
    assert without_unread(SasrecRunConfig, {"model": {"train": {"lr": 9.0}}}) == {"model": {}}

    # A name on an instance is no statement about its class, so nobody reads it.
    object.__setattr__(config, "unread", {"train": "nothing"})
    check_unread(config)
    assert make_quick(config).train.steps == LIMITS["steps"]
    assert make_quick(config).model.train == config.model.train


def begin_run(directory):
    directory.mkdir(exist_ok=True)
    (directory / "config.json").write_text("{}")
    (directory / "train.json").write_text('{"steps": 3}')


def test_a_quick_run_is_marked_and_its_results_carry_the_warning(tmp_path):
    run = tmp_path / "run"
    with marked(run, True):
        assert is_quick(run)
        begin_run(run)
    assert json.loads((run / "train.json").read_text()) == {"warning": WARNING, "steps": 3}
    (run / "eval.json").write_text("{}")
    label_results(run)
    assert json.loads((run / "eval.json").read_text()) == {"warning": WARNING}


def test_the_results_of_a_full_run_are_not_touched(tmp_path):
    run = tmp_path / "run"
    with marked(run, False):
        begin_run(run)
    assert (run / "train.json").read_text() == '{"steps": 3}'
    assert not (run / MARK).exists()


@pytest.mark.parametrize("quick", [False, True])
def test_full_and_quick_runs_do_not_resume_each_other(tmp_path, quick):
    run = tmp_path / "run"
    with marked(run, quick):
        begin_run(run)
    with (
        pytest.raises(ConfigError, match=f"holds a {'quick' if quick else 'full'} run.*--run-dir"),
        marked(run, not quick),
    ):
        raise AssertionError("never reached")
    assert is_quick(run) == quick


def test_a_failure_before_the_run_begins_leaves_no_mark(tmp_path):
    with pytest.raises(ValueError, match="bad data"), marked(tmp_path, True):
        raise ValueError("bad data")
    assert not is_quick(tmp_path)
