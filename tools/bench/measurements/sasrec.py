"""The training step of SASRec against RecBole's and against the original's network in PyTorch.

    python tools/bench sasrec [--rows bce,recbole-last,recbole-all] [--repeats 9]

Both sides of a row have the same batch, width, depth, heads, dropouts, objective and optimizer
(Adam), in float32 with one thread (`--threads`). Turns alternate.

bce           the original's objective, binary cross-entropy with one negative at every position,
              against the paper's network in PyTorch, as its PyTorch ports write it
              (`torch.nn.MultiheadAttention`, point-wise convolutions)
recbole-last  RecBole's own class and objective: cross-entropy over the catalogue at the last
              position of every row, each row a prefix; ours predicts only that position too
recbole-all   the same network with the same objective at every position, as ours is trained
as trained    ours at every position against RecBole at the last one: the rows are not the same
              work, but it shows what a target costs in either library

RecBole's model file runs as it is installed; without RecBole only the first row is measured.
"""

import dataclasses
import importlib.util
from typing import Any

import numpy as np
from support.header import choose, machine_cores, print_header, require, use_threads
from support.sasrec_batch import Shape
from support.sasrec_step import Ours
from support.table import Table
from support.timing import Times, measure

from jaxrec.baselines import SasrecConfig
from jaxrec.core import keep_memory
from jaxrec.train import TrainConfig

ROWS = ("bce", "recbole-last", "recbole-all")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """What to train.

    Attributes:
      rows: names of rows, separated by commas.
      repeats: turns of each side.
      threads: threads of each side; 0 for all cores.
      batch: rows of a batch.
      length: items of a row.
      items: items of the catalogue.
      width: width of the model.
    """

    rows: str = ",".join(ROWS)
    repeats: int = 9
    threads: int = 1
    batch: int = 128
    length: int = 50
    items: int = 3416
    width: int = 64


def show(name: str, ours: Times, theirs: Times, targets: tuple[int, int]) -> dict[str, Any]:
    """Print a row: targets a second of both sides, and the ratio of seconds a target."""
    rates = [count / times.median for count, times in zip(targets, (ours, theirs), strict=True)]
    cpu = [
        count / np.median(times.cpu) for count, times in zip(targets, (ours, theirs), strict=True)
    ]
    fastest = min(theirs.wall) / targets[1] / (min(ours.wall) / targets[0])
    print(
        f"{name:13} step {ours.median * 1e3:8.1f} ms, peer {theirs.median * 1e3:8.1f} ms; "
        f"targets/s {rates[0]:10,.0f}, peer {rates[1]:10,.0f}: x{rates[0] / rates[1]:.2f} "
        f"(fastest x{fastest:.2f}, CPU time x{cpu[0] / cpu[1]:.2f})",
        flush=True,
    )
    return {
        "name": name,
        "ours": rates[0],
        "peer": rates[1],
        "ratio": rates[0] / rates[1],
        "cpu_ratio": cpu[0] / cpu[1],
    }


def settings_of(options: Options) -> dict[str, SasrecConfig]:
    """The configuration of each row."""
    train = TrainConfig(lr=1e-3, warmup_steps=0, weight_decay=0.0, beta2=0.999, clip_norm=0.0)
    base = SasrecConfig(width=options.width, max_items=options.length, train=train)
    original = dataclasses.replace(
        base, objective="bce", blocks="sasrec", num_heads=1, dropout=0.2, attention_dropout=0.2
    )
    recbole = dataclasses.replace(
        base,
        mlp_width=4 * options.width,
        activation="gelu",
        dropout=0.5,
        attention_dropout=0.5,
    )
    return dict(zip(ROWS, (original, recbole, recbole), strict=True))


def run(options: Options) -> Table:
    """Measure the chosen rows, and the row that compares both libraries as they are trained."""
    names = choose(options.rows, list(ROWS))
    require("torch")
    from support.sasrec_peers import make_peer

    keep_memory()
    use_threads(options.threads)
    busy = print_header("torch")
    shape = Shape(options.batch, options.length, options.items)
    settings = settings_of(options)
    print(f"{shape.rows} rows of {shape.length} items, {shape.items} items, width {options.width}")
    results, measured = [], {}
    for name in names:
        if name != "bce" and importlib.util.find_spec("recbole") is None:
            print(f"{name}: needs RecBole's files: pip install --no-deps recbole")
            continue
        last = name == "recbole-last"
        ours, theirs = Ours(settings[name], shape, last), make_peer(name, settings[name], shape)
        times = measure({"ours": ours.step, "theirs": theirs.step}, options.repeats, warmups=3)
        targets = shape.rows * (1 if last else shape.length)
        results.append(show(name, times["ours"], times["theirs"], (targets, targets)))
        busy = busy or times["ours"].disturbed(machine_cores())
        measured[name] = times, targets
    if {"recbole-last", "recbole-all"} <= set(measured):
        (every, many), (one, few) = measured["recbole-all"], measured["recbole-last"]
        results.append(show("as trained", every["ours"], one["theirs"], (many, few)))
    if busy:
        print("other work was running: quote no ratio from this run")
    return Table({"rows": results, "busy": busy})
