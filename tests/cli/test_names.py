"""Configs by name: how they are found, listed and copied, and what a wrong name says."""

import ast
import shlex
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from jaxrec.cli.arguments import take_config
from jaxrec.cli.configs import config_name, config_names, find_config, run_name
from jaxrec.cli.loading import load_config_file
from jaxrec.cli.main import main
from jaxrec.core import ConfigError
from jaxrec.testing import tiny_options, write_tiny_csv

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
        (
            "zzz",
            [
                "; folders of configs: align, amazon, chatgpt, corpus, domain, dpo, generative, ",
                ", vqrec",
            ],
        ),
        ("tests", ["tests is a directory, and a config is needed: its name"]),
        ("absent/tiger/beautty.py", ["no config file absent/tiger/beautty.py", "no config files"]),
        ("configs/tiger.py", ["did you mean 'amazon/tiger'"]),
    ],
)
def test_a_wrong_name_lists_near_ones(word, words, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(ConfigError) as error:
        find_config(word)
    for part in words:
        assert part in str(error.value)
    # A question is not followed by another separator.
    assert "?;" not in str(error.value)


def test_a_wrong_name_is_one_clean_message_with_the_code_of_a_usage_error(capsys):
    assert main(["train", "quickstrat"]) == main(["trian"]) == 2
    assert capsys.readouterr().err.splitlines()[0] == (
        "jaxrec train: no config 'quickstrat', did you mean 'quickstart'? All configs: jaxrec list "
        "configs"
    )


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match="no Python file"):
        find_config(str(tmp_path / "config.json"))


def test_a_copy_is_the_code_under_its_own_header_and_nothing_is_overwritten(tmp_path, capsys):
    target = tmp_path / "mine.py"
    assert main(["copy", "tiger/beauty", str(target)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"next: edit it, then jaxrec train {target}"
    copy, original = target.read_text(), find_config("tiger/beauty").read_text()
    header, code = copy.split('"""\n', 1)
    # Everything below the docstring is the same text, comments too.
    assert code == original.split('"""\n', 1)[1]
    assert "tiger/beauty" in header and f"\n    jaxrec train {target}\n" in header
    # No command and no result of the original is in the copy.
    old = ast.get_docstring(ast.parse(original)).split("\n")
    assert not [line for line in old[1:] if len(line) > 20 and line in copy]
    assert load_config_file(target) == load_config_file(find_config("tiger/beauty"))
    target.write_text("mine")
    assert main(["copy", "tiger/beauty", str(target)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert target.read_text() == "mine"
    assert main(["copy", "quickstart", str(tmp_path)]) == 0
    assert (tmp_path / "quickstart.py").exists()
    assert main(["copy", "quickstart", str(tmp_path / "absent")]) == 2
    assert "ends in .py" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("# mine\nx = 1\ndef get_config(): return x\n", "plain.py"),
        ("'''Title.\n\n    jaxrec train old.py\n'''\ndef get_config(): return 1\n", "a b'c.py"),
        ('"""Has \\\\ and \'\'\'."""\ndef get_sweep(): return 1\n', "back\\slash.py"),
    ],
)
def test_a_copy_of_any_file_has_its_code_and_commands_that_can_be_typed(
    text, name, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    Path("source.py").write_text(text)
    assert main(["copy", "source.py", name]) == 0
    trees = [ast.parse(Path(file).read_text()) for file in ("source.py", name)]
    bodies = [
        [ast.dump(node) for node in tree.body if not isinstance(node, ast.Expr)] for tree in trees
    ]
    assert bodies[0] == bodies[1]
    header = ast.get_docstring(trees[1], clean=False).splitlines()
    typed = [shlex.split(line) for line in header if line.startswith("    jaxrec")]
    assert typed[0][1] in ("train", "sweep") and typed[0][2:] == [name]
    assert capsys.readouterr().out.splitlines()[-1].endswith(shlex.join(typed[0]))


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"def f(:", "SyntaxError"), (b"\xff\xfe", "unicode"), (b"x = 1", "neither get_config nor")],
)
def test_what_is_no_config_is_not_copied(content, words, tmp_path, capsys):
    (tmp_path / "bad.py").write_bytes(content)
    assert main(["copy", str(tmp_path / "bad.py"), str(tmp_path / "to.py")]) == 2
    error = capsys.readouterr().err
    assert words in error and "bad.py" in error and len(error.splitlines()) == 1
    assert not (tmp_path / "to.py").exists()


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
    listed = jaxrec("list").stdout
    assert all(f" {name} " in listed for name in config_names())
    # Every file of the package travels too, such as the templates of reports.
    own = {p.relative_to(ROOT).as_posix() for p in (ROOT / "jaxrec").rglob("*") if p.is_file()}
    with zipfile.ZipFile(wheel) as files:
        assert {n for n in own if "__pycache__" not in n} <= set(files.namelist())
    small = [*tiny_options(write_tiny_csv(tmp_path)), "--ids.size", "8", "--decode.beams", "10"]
    dry = jaxrec("train", "quickstart", "--dry-run", *small)
    assert dry.returncode == 0, dry.stderr
    assert "tiny: 40 users, 30 items" in dry.stdout and "nothing written; next: " in dry.stdout
    assert not list(elsewhere.iterdir())
    assert jaxrec("copy", "tiger/beauty", "mine.py").returncode == 0
    for name in ("quickstart", "mine.py"):
        assert jaxrec("train", name, "--help").returncode == 0
    wrong = jaxrec("train", "tiger/beauty", "--train.stps", "5")
    assert "did you mean '--train.steps'" in wrong.stderr
