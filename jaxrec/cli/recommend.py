"""`jaxrec recommend RUN --user 63 --top 10`: what a trained run recommends to one user.

Without `--user` it lists some users instead.
"""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from jaxrec.cli.arguments import parse
from jaxrec.cli.run_argument import read_run
from jaxrec.core import Count, printable, quoted
from jaxrec.data import load_interactions
from jaxrec.runs import Recommendations, RecommendRequest, offered, some_users

# Users that are listed, and the fewest interactions of one whose items can be split.
_LISTED, _FEWEST = 20, 3
# Newest items of the history that are printed.
_SHOWN = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Recommend items to a user of a run.

    Attributes:
      run: the run directory.
      user: the user's original ID; without one, some users are listed.
      top: how many items.
      include_seen: also recommend items that the user's history holds.
    """

    run: Annotated[Path, tyro.conf.Positional]
    user: str | None = None
    top: Count = 10
    include_seen: bool = False


def run(arguments: list[str]) -> None:
    """Print the end of the user's history, and the recommended items with titles and scores."""
    options = parse(Arguments, arguments, prog="jaxrec recommend")
    config = read_run(options.run)
    recommend = offered(config, "recommend")
    if options.user is None:
        list_users(config, options.run)
        return
    request = RecommendRequest(options.user, options.top, options.include_seen)
    show(recommend(config, options.run, request), options.top)
    print(f"next: jaxrec report {quoted(options.run)}")


def list_users(config: Any, directory: Path) -> None:
    """Print how many users the data of a run have, and some of them."""
    data = load_interactions(config.data)
    # A run that drops users with few interactions knows only the others.
    users = data.user_ids[np.bincount(data.user, minlength=data.num_users) >= _FEWEST]
    listed = printable(", ".join(some_users(users, _LISTED)))
    print(f"{data.name}: {len(users):,} users, such as {listed}")
    print(f"next: jaxrec recommend {quoted(directory)} --user {quoted(str(users[0]))}")


def show(answer: Recommendations, top: int) -> None:
    """Print recommendations.

    Args:
      answer: of a system.
      top: number of items that were asked for.
    """
    history = answer.history
    print(
        f"user {printable(answer.user)}, last {min(_SHOWN, len(history))} of {len(history)} items:"
    )
    for title in history[-_SHOWN:]:
        print(f"  {printable(title)}")
    print(f"top {top}, with the {answer.score}:")
    for place, row in enumerate(answer.items, 1):
        print(f"  {place:2}. {printable(row.title):<48} {row.score:8.3f}  {row.code}".rstrip())
