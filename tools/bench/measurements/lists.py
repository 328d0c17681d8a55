"""Lists of one trained run by each strategy: beam search, sampling, Next-K.

    python tools/bench lists runs/gptrec [--lists next_k ...] [--places 10] [--seed 0]
        [--markdown FILE]

Measured on the test items, in the protocol of the run. "misses" is the share of places that stay
empty; "differs" is the share of users whose list is not that of the beam search. Next-K reads fewer
items of a history, because what it appends must fit beside them (`Config.items_read`); the row
"beam, short" is the beam search on what Next-K reads.
"""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from support.header import print_header
from support.table import Table

from jaxrec.core import ConfigError, nearest, write_text
from jaxrec.data import load_dataset
from jaxrec.decode import Draws
from jaxrec.eval import bootstrap_interval
from jaxrec.runs import check_run, load_codes
from jaxrec.systems.generative import Config, load_config, measure_model, recommender as generative

METRICS = ("hr@10", "ndcg@10")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Which lists of which run.

    Attributes:
      run: the run directory.
      lists: strategies to measure beside the beam search; all by default.
      places: length of the lists.
      seed: seed of the draws.
      markdown: file to write the table to.
    """

    run: Annotated[Path, tyro.conf.Positional]
    lists: tuple[str, ...] = ()
    places: int = 10
    seed: int = 0
    markdown: Path | None = None


def run(options: Options) -> Table:
    """Measure the lists of every chosen strategy."""
    config = load_config(options.run)
    if not isinstance(config, Config):
        raise ConfigError(f"{options.run} is a run of {type(config).__name__}, which has no lists")
    configs = variants(config, options.places, options.seed)
    for name in options.lists:
        if name not in configs:
            raise ConfigError(
                f"no list {name!r}{nearest(name, configs)}; lists: {', '.join(configs)}"
            )
    print_header()
    dataset, codes = load_dataset(config.data), load_codes(options.run)
    check_run(config, dataset, options.run)
    recommender = generative.load_recommender(config, codes, options.run)
    rows: dict[str, dict[str, Any]] = {}
    beam_items = np.empty(0)
    for name, changed in configs.items():
        if name not in ("beam", *(options.lists or configs)):
            continue
        max_items = changed.items_read if name != "beam, short" else short(config, options.places)
        changed_recommender = dataclasses.replace(
            generative.make_recommender(changed, codes, recommender.params), max_items=max_items
        )
        measured, facts = measure_model(changed_recommender, changed, dataset, 0.0)
        items = measured.items[:, : options.places]
        beam_items = beam_items if rows else items
        rows[name] = {
            "metrics": {
                metric: list(bootstrap_interval(measured.metrics[metric])) for metric in METRICS
            },
            "misses": float((items < 0).mean()),
            "differs": float((items != beam_items).any(axis=1).mean()),
            "repeated": facts["repeated_items"],
            "reads": max_items,
            "seconds": measured.test_seconds,
        }
        print(f"{name}: {np.mean(measured.metrics['ndcg@10']):.4f}", flush=True)
    text = markdown(rows)
    if options.markdown:
        write_text(options.markdown, text)
    return Table({"run": str(options.run), "rows": rows}, f"\n{text}")


def variants(config: Config, places: int, seed: int) -> dict[str, Config]:
    """The config of the run with each strategy, by the name of the row."""

    def with_decoding(**settings: Any) -> Config:
        return dataclasses.replace(config, decode=dataclasses.replace(config.decode, **settings))

    configs = {"beam": with_decoding(strategy="beam")}
    for merge in ("logprob", "probability"):
        draws = Draws(merge=merge, seed=seed)
        configs[f"sample, {merge}"] = with_decoding(strategy="sample", draws=draws)
    if config.architecture == "causal":
        configs["beam, short"] = configs["beam"]
        configs["next_k"] = with_decoding(strategy="next_k", beams=places)
    return configs


def short(config: Config, places: int) -> int:
    """Number of items of a history that Next-K reads."""
    decode = dataclasses.replace(config.decode, strategy="next_k", beams=places)
    return dataclasses.replace(config, decode=decode).items_read


def markdown(rows: dict[str, dict[str, Any]]) -> str:
    """The table in Markdown."""
    lines = [
        "| list | items read | HR@10 | NDCG@10 | misses | differs | s |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        shown = [
            "{:.3f} [{:.3f}, {:.3f}]".format(*row["metrics"][metric]).replace("0.", ".")
            for metric in METRICS
        ]
        lines.append(
            f"| {name} | {row['reads']} | {shown[0]} | {shown[1]} | {row['misses']:.1%} | "
            f"{row['differs']:.1%} | {row['seconds']:.1f} |"
        )
    return "\n".join(lines) + "\n"
