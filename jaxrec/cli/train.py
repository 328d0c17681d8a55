"""`jaxrec train CONFIG [--run-dir DIR] [FLAGS] [--SETTING VALUE ...]`; the same command resumes.

--dry-run         show what training would take, and write nothing
--show-shardings  print how every parameter is sharded over the devices
--profile         write a trace of some steps to DIR/profile
--distributed     join the other processes that run the same command, on every host
--quick           train for about a minute; the figures mean nothing
--wandb           also send the metrics to Weights & Biases (pip install 'jaxrec[wandb]')

A config file that defines `get_stages()` trains these first, each in a directory below DIR.
"""

from jaxrec.cli.arguments import FLAGS, take_config
from jaxrec.cli.configs import find_config
from jaxrec.cli.functions import train_config
from jaxrec.cli.loading import load_stages
from jaxrec.core import is_writer, keep_memory, meet, quoted
from jaxrec.runs import Options, can_evaluate

DRY, SHOW, PROFILE, DISTRIBUTED, QUICK, WANDB = FLAGS


def run(arguments: list[str]) -> None:
    """Train or resume a run; with `--dry-run` show what it would take, and write nothing."""
    flags = set(arguments) & set(FLAGS)
    dry, quick = DRY in flags, QUICK in flags
    if not dry:
        keep_memory()
    settings = [word for word in arguments if word not in FLAGS]
    config, word, directory = take_config(settings, "train", quick=quick)
    stages = load_stages(find_config(word), config, quick=quick)
    if DISTRIBUTED in flags:
        meet()
    train_config(
        config,
        directory,
        stages=stages,
        quick=quick,
        options=Options(dry, SHOW in flags, PROFILE in flags),
        wandb=WANDB in flags,
    )
    if not is_writer():
        return
    if dry:
        # With all settings that were given, because other settings make another run.
        again = [word for word in arguments if word != DRY]
        print(f"nothing written; next: jaxrec train {' '.join(map(quoted, again))}")
    elif can_evaluate(config):
        print(f"next: jaxrec eval {quoted(directory)}")
