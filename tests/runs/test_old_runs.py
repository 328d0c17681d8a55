"""Run directories of earlier versions open, with what their systems never read left out.

`old_configs` has the `config.json` of a run of each system, as the last version wrote it whose
systems all had the same `decode` and `eval` settings.
"""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from jaxrec.core import ConfigError, DataError, flatten
from jaxrec.data import load_dataset
from jaxrec.runs.directory import check_run, create_run, is_run, load_run
from jaxrec.runs.old_names import IGNORED, current
from jaxrec.runs.system import config_class, short_name
from jaxrec.testing import tiny_config, write_tiny_csv

OLD = Path(__file__).parent / "old_configs"
NAMES = ("generative", "p5", "sasrec", "tallrec", "vqrec")


def opened(name, directory, **changes):
    """The config of a run directory that holds an old file."""
    directory.mkdir(exist_ok=True)
    settings = json.loads((OLD / f"{name}.json").read_text()) | changes
    (directory / "config.json").write_text(json.dumps(settings))
    return load_run(directory)


def leaves(settings, prefix=""):
    """Values of nested settings by their names."""
    found = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            found |= leaves(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = tuple(value) if isinstance(value, list) else value
    return found


@pytest.mark.parametrize("name", NAMES)
def test_an_old_run_opens_with_every_setting_that_its_system_reads(name, tmp_path):
    config = opened(name, tmp_path)
    assert type(config) is config_class(name)
    old = leaves(json.loads((OLD / f"{name}.json").read_text()))
    now = dict(flatten(config))
    left_out = {key for key in old if key not in now} - {"system"}
    ignored = IGNORED.get(name, ())
    assert all(any(f"{key}.".startswith(f"{part}.") for part in ignored) for key in left_out)
    # Settings that came later have their defaults.
    default = dict(flatten(config_class(name)()))
    assert {key: old.get(key, default[key]) for key in now} == now
    later = {key for key in now if key not in old and not key.startswith("data.")}
    later -= {key for key in later if key.split(".")[-1] in ("adam", "eps")}  # in every training
    # Of sampled softmax in every sequential network, off by default.
    later -= {key for key in later if key.endswith((".history_negatives", ".repeat_bias"))}
    # Of a stage, a search or a network that is off.
    off = ("align.", "search.", "hstu.", "tune.prompt_encoder", "tune.prompt_hidden", "instruction")
    later -= {key for key in later if key.startswith(off) and key not in old}
    assert later <= {"decode.repeated_target", "model.block", "model.end_tokens"}
    # Every entry of the table is needed, and names no setting of today.
    assert all(any(f"{key}.".startswith(f"{part}.") for key in left_out) for part in ignored)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_today_is_read_back(name, tmp_path):
    config = opened(name, tmp_path / "old")
    shutil.copytree(tmp_path / "old", tmp_path / "new")
    settings = {"system": short_name(config)} | dataclasses.asdict(config)
    (tmp_path / "new" / "config.json").write_text(json.dumps(settings))
    assert load_run(tmp_path / "new") == config


def test_a_setting_that_a_system_ignored_may_have_had_any_value(tmp_path):
    old = json.loads((OLD / "sasrec.json").read_text())
    changed = old["eval"] | {"valid_users": 7, "ks": [1, 10]}
    config = opened("sasrec", tmp_path, eval=changed)
    assert config.eval.ks == (1, 10) and not hasattr(config.eval, "valid_users")


def test_a_setting_that_never_was_is_refused(tmp_path):
    old = json.loads((OLD / "sasrec.json").read_text())
    with pytest.raises(ConfigError, match=r"unknown setting 'eval\.valid_user'"):
        opened("sasrec", tmp_path, eval=old["eval"] | {"valid_user": 7})
    # A search reads what a ranking by scores ignores.
    assert current({"system": "p5", "decode": {"beams": 3}}) == ("p5", {"decode": {"beams": 3}})


def test_the_earliest_runs_name_no_system(tmp_path):
    settings = json.loads((OLD / "generative.json").read_text())
    del settings["system"]
    (tmp_path / "config.json").write_text(json.dumps(settings))
    assert short_name(load_run(tmp_path)) == "generative"


def test_a_checkpoint_of_hugging_face_is_no_run(tmp_path):
    path = tmp_path / "config.json"
    assert not is_run(tmp_path)
    path.write_text('{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}')
    assert not is_run(tmp_path)
    path.write_text((OLD / "sasrec.json").read_text())
    assert is_run(tmp_path)
    # A damaged run is a run, so nothing is written over it.
    path.write_text("{")
    assert is_run(tmp_path)
    with pytest.raises(DataError, match=r"config\.json is not valid JSON"):
        load_run(tmp_path)


def test_a_run_that_wrote_out_the_default_positions_resumes_without_them(tmp_path):
    config = tiny_config(write_tiny_csv(tmp_path))
    dataset, run = load_dataset(config.data), tmp_path / "run"
    create_run(config, dataset, None, run)
    settings = json.loads((run / "config.json").read_text())
    assert settings["model"].pop("block") == "transformer"
    for positions in ("rope", "learned"):
        settings["model"]["positions"] = positions
        (run / "config.json").write_text(json.dumps(settings))
        if positions == "rope":
            check_run(config, dataset, run)
        else:
            with pytest.raises(ConfigError, match=r"model\.positions was 'learned' and is None"):
                check_run(config, dataset, run)
