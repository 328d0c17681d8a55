"""Shell completion, and what `jaxrec doctor` finds wrong with a machine."""

import shlex
import shutil
import subprocess
import types

import pytest

from jaxrec.cli import completion, doctor
from jaxrec.cli.main import COMMANDS, main


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    path = tmp_path_factory.mktemp("completion") / "jaxrec.bash"
    path.write_text(completion.bash(completion.words_of_commands()))
    return path


def completed(script, *words):
    """What bash offers after the words of a command line; the last one is unfinished."""
    line = " ".join(map(shlex.quote, ("jaxrec", *words)))
    code = f"source {script}; COMP_WORDS=({line}); COMP_CWORD={len(words)}; _jaxrec; "
    code += 'printf "%s\\n" "${COMPREPLY[@]}"'
    shown = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
    return shown.stdout.split()


def test_bash_completes_commands_configs_and_options(script):
    assert completed(script, "") == [*COMMANDS, "--help", "--version"]
    assert completed(script, "do") == ["doctor"]
    assert completed(script, "train", "gptrec/") == ["gptrec/ml100k", "gptrec/ml100k_svd"]
    assert completed(script, "train", "--wa") == ["--wandb"]
    assert completed(script, "train", "quickstart", "--train.warm") == ["--train.warmup-steps"]
    assert completed(script, "export", "runs/a", "--sh") == ["--shard-mb"]
    assert completed(script, "data", "ch") == ["check"]
    # Run directories are files, which bash completes by itself where no word fits.
    assert completed(script, "eval", "runs/") == []


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_accept_their_script(shell, tmp_path):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    path = tmp_path / "script"
    path.write_text(completion.SCRIPTS[shell]({"list": ["configs"], "train": ["--quick"]}))
    subprocess.run([shell, "-n", str(path)], check=True)


def test_a_shell_that_is_not_known_is_named(capsys):
    assert main(["completion", "bashh"]) == 2
    assert "did you mean" in capsys.readouterr().err
    assert main(["completion"]) == 0
    assert "~/.bashrc" in capsys.readouterr().out


def test_doctor_names_a_full_disk(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("JAXREC_CACHE", str(tmp_path / "new" / "cache"))
    monkeypatch.setattr(doctor, "hidden_gpus", lambda platforms: "")
    monkeypatch.setattr(doctor, "bad_pairs", lambda installed: [])
    usage = types.SimpleNamespace(free=5 * 10**8)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert main(["doctor"]) == 4
    error = capsys.readouterr().err
    assert "runs has 500 MB of free disk for runs" in error and "JAXREC_CACHE" in error
    usage.free = 5 * 10**9
    assert main(["doctor"]) == 0
    assert "free for downloads   5.0 GB" in capsys.readouterr().out


def test_doctor_names_a_gpu_that_jax_does_not_see(monkeypatch, tmp_path, capsys):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA H200 (UUID: GPU-1)'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert doctor.hidden_gpus(["cpu"]) == "GPU 0: NVIDIA H200"
    assert doctor.hidden_gpus(["gpu"]) == ""
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    monkeypatch.setattr(doctor, "bad_pairs", lambda installed: [])
    assert main(["doctor"]) == 4
    assert "has GPU 0: NVIDIA H200, and JAX does not see it" in capsys.readouterr().err
    # Whoever asks for the CPU is not told so again.
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert main(["doctor"]) == 0
    tool.write_text("#!/bin/sh\necho 'no devices were found'; exit 6\n")
    assert doctor.hidden_gpus(["cpu"]) == ""
