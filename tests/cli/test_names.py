"""Configs by name: how they are found, listed and copied, and what a wrong name says."""

import subprocess
import sys
import venv
from pathlib import Path

import pytest

from jaxrec.cli.arguments import take_config
from jaxrec.cli.configs import config_name, config_names, find_config, run_name
from jaxrec.cli.main import main
from jaxrec.core import ConfigError, DataError

ROOT = Path(__file__).parents[2]


def test_a_name_is_found_from_any_directory_and_a_path_from_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config("tiger/beauty") == ROOT / "configs" / "tiger" / "beauty.py"
    assert find_config("configs/tiger/beauty.py") == find_config("tiger/beauty")
    (tmp_path / "mine.py").write_text("")
    assert find_config("mine.py") == Path("mine.py")


@pytest.mark.parametrize(
    ("path", "name", "run"),
    [
        ("configs/tiger/beauty.py", "tiger/beauty", "tiger-beauty"),
        ("/a/configs/b/configs/quickstart.py", "quickstart", "quickstart"),
        ("/a/own/mine.py", "mine", "mine"),
        ("configs.py", "configs", "configs"),
    ],
)
def test_tables_and_run_directories_are_named_after_system_and_name(path, name, run):
    assert (config_name(Path(path)), run_name(Path(path))) == (name, run)


def test_a_path_and_a_name_give_the_same_config_and_run_directory():
    named, _, directory = take_config(["gptrec/ml100k"], "train")
    filed, _, other = take_config([str(ROOT / "configs" / "gptrec" / "ml100k.py")], "train")
    assert named == filed
    assert directory == other == Path("runs/gptrec-ml100k")
    quick = take_config(["gptrec/ml100k"], "train", quick=True)[2]
    assert quick == Path("runs/gptrec-ml100k-quick")


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("tiger/buty", ["did you mean 'tiger/beauty'", "tiger/ml100k"]),
        ("tigre", ["configs of tiger: tiger/beauty, tiger/ml100k"]),
        ("zzz", ["systems with configs: generative, gptrec", "jaxrec list configs"]),
        ("absent/tiger/beautty.py", ["no config file absent/tiger/beautty.py", "no config files"]),
        ("configs/tiger.py", ["did you mean 'tiger/"]),
    ],
)
def test_a_wrong_name_lists_near_ones(word, words, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(DataError) as error:
        find_config(word)
    for part in words:
        assert part in str(error.value)


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match="no Python file"):
        find_config(str(tmp_path / "config.json"))


def test_a_copy_is_the_file_and_nothing_is_overwritten(tmp_path, capsys):
    target = tmp_path / "mine.py"
    assert main(["copy", "tiger/beauty", str(target)]) == 0
    assert "next: edit it, then jaxrec train" in capsys.readouterr().out
    assert target.read_text() == find_config("tiger/beauty").read_text()
    target.write_text("mine")
    assert main(["copy", "tiger/beauty", str(target)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert target.read_text() == "mine"
    assert main(["copy", "quickstart", str(tmp_path)]) == 0
    assert (tmp_path / "quickstart.py").exists()
    assert main(["copy", "quickstart", str(tmp_path / "absent")]) == 2
    assert "ends in .py" in capsys.readouterr().err


def test_the_list_names_every_config_data_set_and_system(capsys):
    assert main(["list"]) == 0
    text = capsys.readouterr().out
    for word in (*config_names(), "ml-100k", "amazon-beauty", "p5", "tallrec"):
        assert f" {word} " in text
    assert "LoRA on the quickstart's model" in text
    assert main(["list", "system"]) == 2
    assert "did you mean 'systems'" in capsys.readouterr().err


def test_listing_executes_no_config_and_starts_no_backend():
    code = (
        "import sys; from jaxrec.cli.main import main; main(['list']); print('jax' in sys.modules)"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert child.stdout.splitlines()[-1] == "False"


@pytest.mark.slow
def test_an_installed_wheel_finds_its_configs_from_any_directory(tmp_path):
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "-q",
        "-w",
        str(tmp_path),
        str(ROOT),
    ]
    subprocess.run(build, check=True)
    wheel = next(tmp_path.glob("jaxrec-*.whl"))
    place = tmp_path / "venv"
    # Its dependencies are those of this environment; jaxrec itself is the wheel's.
    venv.create(place, with_pip=False)
    site = next((place / "lib").glob("python*")) / "site-packages"
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "-q", "--target", str(site)]
    subprocess.run([*install, str(wheel)], check=True)
    theirs = [path for path in sys.path if path.endswith("site-packages")]
    (site / "theirs.pth").write_text("\n".join(theirs))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    def jaxrec(*words):
        command = [str(place / "bin" / "python"), "-I", "-m", "jaxrec.cli.main", *words]
        return subprocess.run(command, capture_output=True, text=True, cwd=elsewhere)

    where = "import jaxrec; print(jaxrec.__file__)"
    found = subprocess.run(
        [str(place / "bin" / "python"), "-I", "-c", where], capture_output=True, text=True
    )
    assert found.stdout.startswith(str(site))
    assert "tiger/beauty" in jaxrec("list", "configs").stdout
    assert jaxrec("copy", "tiger/beauty", "mine.py").returncode == 0
    for name in ("quickstart", "mine.py"):
        assert jaxrec("train", name, "--help").returncode == 0
    wrong = jaxrec("train", "tiger/beauty", "--train.stps", "5")
    assert "did you mean '--train.steps'" in wrong.stderr
