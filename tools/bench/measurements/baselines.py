"""Baselines fitted on a data set, in one table: ranking metrics, seconds, parameters.

    python tools/bench baselines [NAMES] [--data ml-100k] [--steps 1200] [--seed 0] [--json FILE]
        [--lr 1e-3] [--dropout 0.2]

Leave-one-out; the whole catalogue is ranked without the items of the history, and tied scores get
their mean rank. NDCG@10 of the validation items chooses the checkpoint.

Results on the test items of MovieLens-100K, seed 0. Settings were compared on validation alone:
1,200 steps, and 3,000 for the last three, whose metric still rose at 1,200; for sasrec_ce also a
rate of 1e-3 and dropout .35, which gave .171 and .169 HR@10. Seconds are those of 2 CPU cores that
other jobs shared, so they say little.

                     valid NDCG@10   HR@10   NDCG@10   fit s
    als                   .079        .147     .078       11
    bpr                   .057        .110     .057       14
    neumf                 .049        .101     .048       45
    gru4rec               .108        .194     .097       68
    caser                 .104        .190     .100       81
    sasrec_ce             .113        .175     .094      159
    dros                  .110        .175     .096      210
    gru_text              .105        .162     .084      169
    sasrec_bce            .111        .190     .095       96   --steps 3000; .149 HR@10 at 1,200
    sasrec_sampled        .112        .180     .095      133   --steps 3000; .158 HR@10 at 1,200
    bert4rec              .108        .173     .090      233   --steps 3000; .149 HR@10 at 1,200

With 943 users the standard error of HR@10 near .18 is .0125.
"""

import dataclasses
import functools
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import tyro
from support.header import choose, print_header
from support.table import Table

from jaxrec.baselines import (
    Bert4RecConfig,
    BprConfig,
    CaserConfig,
    Gru4RecConfig,
    NeuMfConfig,
    SasrecConfig,
    cooccurrence,
    dros,
    item_knn,
    markov,
    mf_als,
    pairwise,
    popularity,
    sequential,
)
from jaxrec.data import DataConfig, Dataset, load_dataset
from jaxrec.eval import average, evaluate
from jaxrec.items import IdConfig, text as item_text
from jaxrec.models import find_sentence_encoder
from jaxrec.runs import METRIC, TIES, ranking_batches
from jaxrec.train import TrainConfig, Validation

COUNTING: dict[str, Any] = {
    "popularity": popularity,
    "item_knn": item_knn,
    "markov": markov,
    "cooccurrence": cooccurrence,
    "als": mf_als,
}
# The variants of SASRec differ only in their objective.
SEQUENCE = {"max_items": 30, "dropout": 0.2}
SASREC = SasrecConfig(**SEQUENCE)
SEQUENTIAL_TRAINING = TrainConfig(batch_size=64, lr=2e-3, ema_decay=0.995)
NEURAL: dict[str, Any] = {
    "bpr": BprConfig(),
    "neumf": NeuMfConfig(),
    "gru4rec": Gru4RecConfig(**SEQUENCE),
    "caser": CaserConfig(**SEQUENCE),
    "bert4rec": Bert4RecConfig(**SEQUENCE),
    "sasrec_bce": dataclasses.replace(SASREC, objective="bce"),
    "sasrec_sampled": dataclasses.replace(SASREC, objective="sampled_softmax", negatives=256),
    "sasrec_ce": SASREC,
    "dros": dros(SASREC, alpha=0.1),
    "gru_text": Gru4RecConfig(**SEQUENCE, tied=True),
    "dros_text": dros(SASREC, alpha=0.1),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Which baselines on which data, and how they are trained.

    Attributes:
      names: the baselines; all by default.
      data: name of the data set.
      from_file: directory to read it from; empty for the usual places.
      steps: training steps of each baseline that is trained.
      seed: seed of the training.
      json: file that gets the rows after every baseline.
      lr: learning rate of the sequential baselines, instead of their own.
      dropout: dropout of the sequential baselines, instead of their own.
    """

    names: Annotated[tuple[str, ...], tyro.conf.Positional] = (*COUNTING, *NEURAL)
    data: str = "ml-100k"
    from_file: str = ""
    steps: int = 1200
    seed: int = 0
    json: Path | None = None
    lr: float | None = None
    dropout: float | None = None


def run(options: Options) -> Table:
    """Fit and measure the chosen baselines, one after the other."""
    choose(",".join(options.names), [*COUNTING, *NEURAL], "baseline")
    print_header()
    dataset = load_dataset(DataConfig(name=options.data, from_file=options.from_file))
    rows = {}
    for name in options.names:
        rows[name] = row = measure(name, dataset, options)
        print(name, " ".join(f"{key} {value:.4g}" for key, value in row.items()), flush=True)
        if options.json:
            options.json.write_text(json.dumps(rows))
    return Table({"rows": rows}, markdown(rows))


def measure(name: str, dataset: Dataset, options: Options) -> dict[str, float]:
    """Fit one baseline; its metrics, seconds and parameters."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        score, parameters = fitted(name, dataset, options, Path(directory))
    seconds = time.monotonic() - started
    row = {"valid_ndcg@10": ranked(dataset, "valid", score)["ndcg@10"]}
    started = time.monotonic()
    test = ranked(dataset, "test", score)
    row |= {key: test[key] for key in ("hr@5", "ndcg@5", "hr@10", "ndcg@10")}
    return row | {
        "fit_s": seconds,
        "test_s": time.monotonic() - started,
        "parameters": parameters,
    }


def fitted(
    name: str, dataset: Dataset, options: Options, directory: Path
) -> tuple[Callable[..., Any], int]:
    """Fit one baseline; the function that scores a batch, and the number of trained parameters."""
    train, items = dataset.split.train.sequences(), dataset.num_items
    if name in COUNTING:
        params = COUNTING[name].fit(train, items)
        return functools.partial(jax.jit(COUNTING[name].scores), params), 0
    config = NEURAL[name]
    pairs = isinstance(config, pairwise.PairwiseConfig)
    settings = dataclasses.replace(
        config.train if pairs else SEQUENTIAL_TRAINING,
        steps=options.steps,
        eval_every=250,
        patience=4,
        seed=options.seed,
    )
    if options.lr and not pairs:
        settings = dataclasses.replace(settings, lr=options.lr)
    if options.dropout is not None and not pairs:
        config = dataclasses.replace(config, dropout=options.dropout)
    config = dataclasses.replace(config, train=settings)
    if pairs:
        score = jax.jit(
            functools.partial(
                pairwise.scores, config=config, num_users=dataset.num_users, num_items=items
            )
        )
        fit: Callable[..., Any] = pairwise.fit_pairwise
    else:
        score = jax.jit(functools.partial(sequential.scores, config=config, num_items=items))
        vectors = text_vectors(dataset) if name.endswith("_text") else None
        fit = functools.partial(sequential.fit_sequential, text=vectors)

    def validate(params: Any) -> dict[str, float]:
        return ranked(dataset, "valid", functools.partial(score, params))

    result = fit(config, train, items, Validation(validate, METRIC), directory)
    size = sum(leaf.size for leaf in jax.tree.leaves(result.params["params"]))
    print(f"{name}: best step {result.best_step} of {result.steps}", flush=True)
    return functools.partial(score, result.params), size


def ranked(dataset: Dataset, stage: Any, score: Callable[..., Any]) -> dict[str, float]:
    """Mean metrics over the users of a stage."""
    return average(evaluate(score, ranking_batches(dataset, stage, True), (5, 10), TIES))


def text_vectors(dataset: Dataset) -> np.ndarray:
    """Vectors of titles and genres, by the sentence encoder that is installed or by TF-IDF."""
    items = dataset.interactions.items
    fields = [name for name in IdConfig().text_fields if name in items.fields]
    encoder = find_sentence_encoder()
    print("texts:", ", ".join(fields), "by", encoder or "TF-IDF", flush=True)
    return item_text.encode(items.text(*fields), encoder)


def markdown(rows: dict[str, dict[str, float]]) -> str:
    """The table, in Markdown."""
    names = list(next(iter(rows.values())))
    lines = ["| system | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for name, row in rows.items():
        cells = [
            f"{value:.1f}"
            if key.endswith("_s")
            else f"{value:,}"
            if key == "parameters"
            else f"{value:.4f}"
            for key, value in row.items()
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
