"""`jaxrec ids CONFIG [--run-dir DIR]`: fit the item IDs, show how well they use their codes."""

from typing import Any

from rich.console import Console
from rich.table import Table

from jaxrec.cli.arguments import take_config
from jaxrec.systems import generative, item_text
from jaxrec.systems.dataset import load_dataset


def run(arguments: list[str]) -> None:
    """Fit, print and save."""
    config, path, directory = take_config(arguments, "ids")
    dataset = load_dataset(config.data)
    codes = generative.open_run(config, dataset, directory)
    facts: dict[str, Any] = codes.metadata
    repair = facts.get("repair", {})
    before = repair.get("before", facts)
    print(
        f"{codes.scheme}: {codes.num_items:,} items, {codes.levels} codes each of "
        f"{' x '.join(map(str, codes.sizes))}; {before['collision_share']:.1%} of items shared an "
        f"ID, {repair.get('moved', 0):,} were given another; all {codes.num_items:,} are distinct"
    )
    print(item_text.describe(facts))
    table = Table("level", "codes", "in use", "entropy (bits)", "perplexity")
    for level, size in enumerate(codes.sizes):
        table.add_row(
            str(level),
            str(size),
            f"{facts['utilization'][level]:.1%}",
            f"{facts['entropy'][level]:.2f}",
            f"{facts['perplexity'][level]:.1f}",
        )
    Console().print(table)
    labels = dataset.interactions.items.labels()
    for item in range(min(5, codes.num_items)):
        print(f"  {'-'.join(map(str, codes.codes[item].tolist())):<12} {labels[item]}")
    print(f"saved in {directory / 'ids'}\nnext: jaxrec train {path} --run-dir {directory}")
