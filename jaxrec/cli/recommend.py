"""`jaxrec recommend RUN --user 63 --top 10`: what a trained run recommends to one user."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from jaxrec.cli.arguments import parse
from jaxrec.core import Count
from jaxrec.runs import Recommendations, RecommendRequest, load_run, offered

# Newest items of the history that are printed.
_SHOWN = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Recommend items to a user of a run.

    Attributes:
      run: the run directory.
      user: the user's original ID.
      top: how many items.
      include_seen: also recommend items that the user's history holds.
    """

    run: Annotated[Path, tyro.conf.Positional]
    user: str
    top: Count = 10
    include_seen: bool = False


def run(arguments: list[str]) -> None:
    """Print the end of the user's history, and the recommended items with titles and scores."""
    options = parse(Arguments, arguments, prog="jaxrec recommend")
    request = RecommendRequest(options.user, options.top, options.include_seen)
    config = load_run(options.run)
    show(offered(config, "recommend")(config, options.run, request), options.top)
    print(f"next: jaxrec report {options.run}")


def show(answer: Recommendations, top: int) -> None:
    """Print recommendations.

    Args:
      answer: of a system.
      top: number of items that were asked for.
    """
    history = answer.history
    print(f"user {answer.user}, last {min(_SHOWN, len(history))} of {len(history)} items:")
    for title in history[-_SHOWN:]:
        print(f"  {title}")
    print(f"top {top}, with the {answer.score}:")
    for place, row in enumerate(answer.items, 1):
        print(f"  {place:2}. {row.title:<48} {row.score:8.3f}  {row.code}".rstrip())
