"""Lists of one trained run by each strategy: beam search, sampling, Next-K.

    python tools/bench/lists.py runs/gptrec [--lists next_k ...] [--places 10] [--seed 0]
        [--markdown FILE]

On the test items, in the run's protocol. "misses" are the unfilled places of the lists; "differs"
is the share of users whose list is another one than that of the beam search. Next-K reads fewer
items of a history, as what it appends must fit beside them (`Config.items_read`); the row "beam,
short" is the beam search on what Next-K reads. Ends with one JSON line.
"""

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.core import nearest, write_text
from jaxrec.data import load_dataset
from jaxrec.decode import Draws
from jaxrec.eval import bootstrap_interval
from jaxrec.runs import check_run, load_codes
from jaxrec.systems.generative import Config, load_config, measure_model, recommender as generative

METRICS = ("hr@10", "ndcg@10")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--lists", nargs="+", help="some of them beside beam; all by default")
    parser.add_argument("--places", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the draws")
    parser.add_argument("--markdown", type=Path, help="file to write the table to")
    options = parser.parse_args()
    config = load_config(options.run)
    if not isinstance(config, Config):
        parser.error(f"{options.run} is a run of {type(config).__name__}, which has no lists")
    dataset, codes = load_dataset(config.data), load_codes(options.run)
    check_run(config, dataset, options.run)
    recommender = generative.load_recommender(config, codes, options.run)
    rows: dict[str, dict[str, Any]] = {}
    found = variants(config, options.places, options.seed)
    for name in options.lists or ():
        if name not in found:
            parser.error(f"no list {name!r}{nearest(name, found)}")
    for name, changed in found.items():
        if name not in ("beam", *(options.lists or found)):
            continue
        asked = dataclasses.replace(
            generative.make_recommender(changed, codes, recommender.params),
            max_items=changed.items_read
            if name != "beam, short"
            else short(config, options.places),
        )
        measured, facts = measure_model(asked, changed, dataset, 0.0)
        items = measured.items[:, : options.places]
        best = rows["beam"]["items"] if rows else items
        rows[name] = {
            "metrics": {
                metric: list(bootstrap_interval(measured.metrics[metric])) for metric in METRICS
            },
            "misses": float((items < 0).mean()),
            "differs": float((items != best).any(axis=1).mean()),
            "repeated": facts["repeated_items"],
            "reads": asked.max_items,
            "seconds": measured.test_seconds,
            "items": items,
        }
        print(f"{name}: {np.mean(measured.metrics['ndcg@10']):.4f}", flush=True)
    for row in rows.values():
        del row["items"]
    text = markdown(rows)
    print("\n" + text)
    if options.markdown:
        write_text(options.markdown, text)
    print(json.dumps({"run": str(options.run), "rows": rows}))


def variants(config: Config, places: int, seed: int) -> dict[str, Config]:
    """The run's config with each strategy."""

    def with_decoding(**settings: Any) -> Config:
        return dataclasses.replace(config, decode=dataclasses.replace(config.decode, **settings))

    found = {"beam": with_decoding(strategy="beam")}
    for merge in ("logprob", "probability"):
        draws = Draws(merge=merge, seed=seed)
        found[f"sample, {merge}"] = with_decoding(strategy="sample", draws=draws)
    if config.architecture == "causal":
        found["beam, short"] = found["beam"]
        found["next_k"] = with_decoding(strategy="next_k", beams=places)
    return found


def short(config: Config, places: int) -> int:
    """Items of a history that Next-K reads."""
    decode = dataclasses.replace(config.decode, strategy="next_k", beams=places)
    return dataclasses.replace(config, decode=decode).items_read


def markdown(rows: dict[str, dict[str, Any]]) -> str:
    """The table as a reader wants it."""
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


if __name__ == "__main__":
    main()
