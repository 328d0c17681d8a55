"""Every config that comes with jaxrec: it is built, it has a quick variant, its header is true."""

import ast
import dataclasses
import json
import re

import pytest

from jaxrec.cli.configs import config_names, describe_config, run_name
from jaxrec.cli.loading import load_config_file, load_corpus_file, load_sweep_file
from jaxrec.cli.main import main
from jaxrec.core import ConfigError, check_types, flatten
from jaxrec.runs import WARNING, system_names, system_of
from jaxrec.runs.config import unread_of
from jaxrec.runs.quick import LIMITS

ALL = config_names()
CORPORA = [name for name, path in ALL.items() if describe_config(path)[1] == ["corpus"]]
NAMES = {name: path for name, path in ALL.items() if name not in CORPORA}
SWEEPS = [name for name, path in NAMES.items() if "sweep" in describe_config(path)[1]]


def test_every_system_has_a_config_in_its_own_folder():
    folders = {name.split("/")[0] for name in NAMES if "/" in name}
    assert set(system_names()) <= folders
    assert "quickstart" in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_config_and_its_quick_variant_belong_to_one_system(name):
    full, short = (load_config_file(NAMES[name], quick=quick) for quick in (False, True))
    check_types(full)
    assert type(short) is type(full)
    assert system_of(short).CONFIG is type(full)
    assert short != full


@pytest.mark.parametrize("name", NAMES)
def test_no_stage_of_a_quick_variant_is_long(name):
    config = load_config_file(NAMES[name], quick=True)
    unread = {*unread_of(type(config)), *getattr(config, "ignored", ())}
    unread = tuple(f"{setting}." for setting in unread)
    settings = {key: value for key, value in flatten(config) if not key.startswith(unread)}
    steps = {key: value for key, value in settings.items() if key.split(".")[-1] == "steps"}
    # A system that only asks a model trains nothing.
    assert steps or unread or not hasattr(config, "train")
    assert max(steps.values(), default=0) <= LIMITS["steps"]
    for key, value in settings.items():
        if key.split(".")[-1] in ("valid_users", "valid_windows", "test_windows", "test_instances"):
            assert 0 < value <= LIMITS[key.split(".")[-1]]


@pytest.mark.parametrize("name", SWEEPS)
def test_a_sweep_is_sound_and_so_is_its_quick_variant(name):
    full, short = (load_sweep_file(NAMES[name], quick=quick) for quick in (False, True))
    assert list(full.variants) == list(short.variants)
    assert len(set(map(repr, full.variants.values()))) == len(full.variants)
    trained = [config for config in short.variants.values() if hasattr(config, "train")]
    assert all(config.train.steps <= LIMITS["steps"] for config in trained)


@pytest.mark.parametrize("name", CORPORA)
def test_a_corpus_is_sound_and_its_header_shows_its_command(name):
    config = load_corpus_file(ALL[name])
    check_types(config)
    header = ast.get_docstring(ast.parse(ALL[name].read_text()))
    assert f"    jaxrec corpus {name} --source.paths " in header
    with pytest.raises(ConfigError, match=r"belongs to another command; run it by jaxrec corp"):
        load_config_file(ALL[name])


def test_the_config_of_a_system_is_no_corpus():
    with pytest.raises(ConfigError, match="returned no CorpusConfig but Config; configs of"):
        load_corpus_file(NAMES["quickstart"])


@pytest.mark.parametrize("name", NAMES)
def test_the_commands_in_a_header_are_of_this_config_and_its_directory(name):
    header = ast.get_docstring(ast.parse(NAMES[name].read_text()))
    about, commands = describe_config(NAMES[name])
    assert about.endswith(".")
    named = re.findall(r"jaxrec (train|sweep|compare) ([\w/]+)", header)
    assert (commands[0], name) in named or ("sweep", name) in named
    for command, config in named:
        if command != "compare":
            assert config in NAMES
            assert command in describe_config(NAMES[config])[1]
    for directory in re.findall(r"jaxrec eval runs/([\w.-]+)", header):
        assert directory == run_name(NAMES[name]) or f"--run-dir runs/{directory}" in header


def test_the_tuned_sweep_differs_from_the_quickstart_in_its_text_encoder_alone():
    quickstart = load_config_file(NAMES["quickstart"])
    sweep = load_sweep_file(NAMES["generative/ml100k"]).variants
    ids = dataclasses.replace(quickstart.ids, text_encoder="tfidf")
    assert sweep["quickstart"] == dataclasses.replace(quickstart, ids=ids)
    tuned = load_config_file(NAMES["generative/ml100k"])
    assert sweep["ml100k"] == dataclasses.replace(tuned, ids=ids)


def test_all_shots_are_the_run_of_the_other_config():
    sweep = load_sweep_file(NAMES["tallrec/shots"])
    assert sweep.variants["all"] == load_config_file(NAMES["tallrec/ml100k"])
    assert sweep.variants["256"] == load_config_file(NAMES["tallrec/shots"])


@pytest.mark.parametrize("name", ["p5/openp5", "p5/sequential"])
def test_the_sweep_of_indexes_differs_in_its_ids_alone(name):
    sweep, config = load_sweep_file(NAMES[name]).variants, load_config_file(NAMES[name])
    assert sweep["independent"] == config
    assert len({run.ids for run in sweep.values()}) == len(sweep) == 5
    for run in sweep.values():
        assert dataclasses.replace(run, ids=config.ids) == config


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        *("quickstart", "gptrec/ml100k", "tiger/ml100k", "tiger/beauty", "p5/openp5", "p5/rating"),
        *("tallrec/ml100k", "vqrec/transfer", "sasrec/beauty"),
        *("pretrain/mixture", "pretrain/mlm_nsp"),
    ],
)
def test_a_quick_run_trains_measures_and_says_that_it_means_nothing(
    name, real_data, tmp_path, capsys
):
    real_data(load_config_file(NAMES[name]).data.name)
    run = tmp_path / "run"
    assert main(["train", name, "--quick", "--run-dir", str(run)]) == 0
    assert capsys.readouterr().out.startswith(WARNING)
    assert main(["eval", str(run)]) == 0
    assert WARNING in capsys.readouterr().out
    for file in ("train.json", "eval.json"):
        assert json.loads((run / file).read_text())["warning"] == WARNING
