"""AUC of the sequential baselines in click mode, few-shot and full, beside the like-count control.

    python tools/bench/click_baselines.py DIRECTORY [names] [--shots 16 64 256 0] [--seeds 1]

DIRECTORY holds TALLRec's movie split, `train.json.gz` and `valid.json.gz`; the latter is measured.
Few-shot runs have a fixed number of steps, and nothing is chosen by what is measured. `--shots 0`
trains on all examples but the last tenth, by which the checkpoint is chosen.

Result, seed 0, AUC pooled (within users); liked titles counted .689 (.595), mean rating of the item
in all training examples .634 (.654):

                  16            64           256           all
    gru4rec    .497 (.494)   .482 (.472)   .543 (.545)   .638 (.630)
    caser                                  .538 (.535)   .628 (.633)
    sasrec     .521 (.520)   .525 (.518)   .527 (.534)   .609 (.611)
    dros                                   .540 (.546)   .628 (.632)
    gru_text   .486 (.507)   .617 (.560)   .619 (.580)   .709 (.639)
    dros_text                              .620 (.598)   .679 (.633)

There are 14 users, so intervals are some .1 wide; as published, the baselines of few examples are
near chance, unless they read titles by a sentence encoder (MiniLM here, in place of BERT).
"""

import argparse
import dataclasses
import functools
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxrec.baselines.caser import CaserConfig
from jaxrec.baselines.clicks import Clicks, click_scores, fit_clicks
from jaxrec.baselines.dros import dros
from jaxrec.baselines.gru4rec import Gru4RecConfig
from jaxrec.baselines.sasrec import SasrecConfig
from jaxrec.data.instructions import read_instructions
from jaxrec.eval.clicks import click_metrics, pooled_auc
from jaxrec.models.sentences import find_sentence_encoder
from jaxrec.systems.click_records import clicks_of, number_titles
from jaxrec.systems.item_text import encode
from jaxrec.systems.tallrec import like_counts, users_of
from jaxrec.train import TrainConfig

SIZES: dict[str, Any] = {"max_items": 10, "dropout": 0.2}
SASREC = SasrecConfig(**SIZES, depth=1, num_heads=1)
SYSTEMS: dict[str, Any] = {
    "gru4rec": Gru4RecConfig(**SIZES),
    "caser": CaserConfig(**SIZES),
    "sasrec": SASREC,
    "dros": dros(SASREC, alpha=0.1),
    # Tied, so that a title that no example had is scored by its text.
    "gru_text": Gru4RecConfig(**SIZES, tied=True),
    "dros_text": dros(SASREC, alpha=0.1),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("names", nargs="*", default=list(SYSTEMS))
    parser.add_argument("--shots", type=int, nargs="*", default=[16, 64, 256, 0])
    parser.add_argument("--seeds", type=int, default=1)
    words = parser.parse_args()
    train = read_instructions(words.directory / "train.json.gz")
    valid = read_instructions(words.directory / "valid.json.gz")
    numbers = number_titles(train, valid)
    examples, held = clicks_of(train, numbers), clicks_of(valid, numbers)
    users = users_of(valid)
    print(f"like count: {show(held.label, like_counts(valid), users)}", flush=True)
    for name in words.names:
        text = encode(list(numbers), find_sentence_encoder()) if name.endswith("_text") else None
        for shots in words.shots:
            for seed in range(words.seeds):
                found = run(SYSTEMS[name], examples, held, len(numbers), shots, seed, text)
                print(f"{name} {shots or 'all'} seed {seed}: {show(held.label, found, users)}")


def run(
    config: Any,
    examples: Clicks,
    held: Clicks,
    num_items: int,
    shots: int,
    seed: int,
    text: np.ndarray | None,
) -> np.ndarray:
    """Scores of the held examples."""
    split = len(examples) * 9 // 10
    chosen = np.random.default_rng(seed).choice(len(examples), shots, False)
    train = part(examples, chosen if shots else np.arange(split))
    steps = 200 if shots else 1500
    settings = TrainConfig(
        steps=steps,
        batch_size=min(256, len(train)),
        lr=1e-3,
        weight_decay=1e-2,
        eval_every=steps if shots else 100,
        patience=5,
        seed=seed,
    )
    config = dataclasses.replace(config, train=settings)
    score = jax.jit(functools.partial(click_scores, config=config, num_items=num_items))
    choice = part(examples, np.arange(split, len(examples)))

    def auc(params: Any) -> dict[str, float]:
        found = np.asarray(score(params, choice.take(np.arange(len(choice)))))
        return {"auc": pooled_auc(choice.label, found)}

    with tempfile.TemporaryDirectory() as directory:
        result = fit_clicks(config, train, num_items, auc, Path(directory), text=text)
    return np.asarray(score(result.params, held.take(np.arange(len(held)))))


def part(clicks: Clicks, rows: np.ndarray) -> Clicks:
    return Clicks(**clicks.take(rows))


def show(labels: np.ndarray, scores: np.ndarray, users: np.ndarray) -> str:
    found = click_metrics(labels, scores, users, resamples=300)
    pooled = found.auc
    interval = f"[{pooled.low:.4f}, {pooled.high:.4f}]"
    return f"AUC {pooled.mean:.4f} {interval} within {found.within_user:.4f}"


if __name__ == "__main__":
    main()
