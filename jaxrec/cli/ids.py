"""`jaxrec ids CONFIG [--run-dir DIR]`: fit the item IDs, show how well they use their codes.

--engine ray --workers 4 [--address HOST:PORT]   encode texts and assign codes on Ray
"""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from jaxrec.cli.arguments import take_config
from jaxrec.cli.engine import take_engine
from jaxrec.core import check_name, check_writable, printable, quoted, write_bytes
from jaxrec.eval import code_use_png
from jaxrec.ids import opened
from jaxrec.items import ids as item_ids, text as item_text
from jaxrec.runs import offered, system_of


def run(arguments: list[str]) -> None:
    """Fit, print and save."""
    words, chosen = take_engine(arguments)
    config, _, directory = take_config(words, "ids")
    fit_ids = offered(config, "fit_ids")
    check_name(directory)
    check_writable(directory)
    with chosen as engine, warnings.catch_warnings():
        # The first line says so, also of IDs that were fitted earlier.
        warnings.filterwarnings("ignore", message="codebook collapse")
        dataset, codes = fit_ids(config, directory, engine)
    # END codes are left out, because they would count as codes that most items use.
    own = opened(codes)
    facts: dict[str, Any] = own.metadata
    repair = facts.get("repair", {})
    before = repair.get("before", facts)
    if hasattr(system_of(config), "describe_ids"):
        print("\n".join(offered(config, "describe_ids")(codes)))
    else:
        print(item_ids.describe(codes))
        print(item_text.describe(facts))
    if repair:
        _show("before repair", before["sizes"], before)
    _show(f"after repair ({repair['method']})" if repair else "", own.sizes, facts)
    if facts.get("warning") and not hasattr(system_of(config), "describe_ids"):
        print(f"warning: {facts['warning']}")
    labels = dataset.interactions.items.labels()
    for item, row in enumerate(own.codes[:5].tolist()):
        print(f"  {'-'.join(str(code) for code in row if code >= 0):<12} {labels[item]}")
    title = f"{codes.scheme}: {codes.num_items:,} items of {dataset.interactions.name}"
    plot = directory / "ids" / "code_use.png"
    write_bytes(plot, code_use_png(own.codes, own.sizes, before, facts, title))
    print(f"plot: {plot}; items and their IDs: {directory / 'ids' / 'item_ids.json'}")
    # With the same settings, because others would be refused.
    print(f"saved in {printable(str(directory / 'ids'))}")
    print(f"next: jaxrec train {' '.join(map(quoted, words))}")


def _show(title: str, sizes: Sequence[int], facts: Mapping[str, Any]) -> None:
    """Print the statistics of each level of the IDs."""
    table = Table(
        *("level", "codes", "in use", "entropy (bits)", "perplexity", "ID shared"),
        title=title,
        title_justify="left",
    )
    for level, size in enumerate(sizes):
        table.add_row(
            str(level),
            f"{size:,}",
            f"{facts['utilization'][level]:.1%}",
            f"{facts['entropy'][level]:.2f}",
            f"{facts['perplexity'][level]:.1f}",
            f"{facts['prefix_collision_share'][level]:.1%}",
        )
    Console().print(table)
