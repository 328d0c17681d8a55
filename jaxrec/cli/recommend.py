"""`jaxrec recommend RUN --user 63 --top 10`: what a trained run recommends to one user.

Without `--user` it lists some users instead. A run that reads resumes takes one by `--resume FILE`.
"""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from jaxrec.cli.arguments import parse
from jaxrec.cli.run_argument import read_run
from jaxrec.core import ConfigError, Count, DataError, check_file, printable, quoted
from jaxrec.data import load_interactions, read_resumes
from jaxrec.runs import (
    Recommendations,
    RecommendRequest,
    TextRecommendations,
    offered,
    some_users,
)

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
      resume: a resume to recommend jobs for, in place of a user: a text file, or a labeled resume
        in XML.
      top: how many items.
      include_seen: also recommend items that the user's history holds.
    """

    run: Annotated[Path, tyro.conf.Positional]
    user: str | None = None
    resume: Path | None = None
    top: Count = 10
    include_seen: bool = False


def run(arguments: list[str]) -> None:
    """Print the end of the user's history, and the recommended items with titles and scores."""
    options = parse(Arguments, arguments, prog="jaxrec recommend")
    config = read_run(options.run)
    if options.resume is not None:
        if options.user is not None or options.include_seen:
            raise ConfigError(
                f"--resume {options.resume} stands in place of a user; leave --user and "
                "--include-seen out"
            )
        recommend_text = offered(config, "recommend_text")
        text = read_resume(options.resume)
        show_for_text(recommend_text(config, options.run, text, options.top), options.top)
        return
    recommend = offered(config, "recommend")
    if options.user is None:
        list_users(config, options.run)
        return
    request = RecommendRequest(options.user, options.top, options.include_seen)
    show(recommend(config, options.run, request), options.top)
    print(f"next: jaxrec report {quoted(options.run)}")


def read_resume(path: Path) -> str:
    """Read the text of a resume.

    Args:
      path: a text file in UTF-8, or a file that ends in .xml with one labeled resume.

    Raises:
      DataError: no such file, one that is not text or XML, or an empty one.

    Example:
      >>> import tempfile
      >>> path = Path(tempfile.mkdtemp()) / "resume.txt"
      >>> _ = path.write_text("I bake bread.")
      >>> read_resume(path)
      'I bake bread.'
    """
    if path.suffix == ".xml":
        return read_resumes(path)[0].text
    check_file(path)
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not a text in UTF-8 ({error.reason} at byte {error.start}); save the "
            "resume as plain text"
        ) from error
    if not text.strip():
        raise DataError(f"{path} is empty; give a file with the text of a resume")
    return text


def show_for_text(answer: TextRecommendations, top: int) -> None:
    """Print what was read and written for a text, and recommendations with their reasons.

    Args:
      answer: of a system.
      top: number of items that were asked for.
    """
    print("read of the resume:")
    for line in answer.read.splitlines():
        print(f"  {printable(line)}")
    for text in answer.written[:1]:
        print(f"a suitable job, as the run describes it (1 of {len(answer.written)}):")
        for line in text.splitlines():
            print(f"  {printable(line)}")
    print(f"top {top}, with the {answer.score}:")
    for place, row in enumerate(answer.items, 1):
        print(f"  {place:2}. {printable(row.title):<48} {row.score:8.3f}".rstrip())
        if row.reason:
            print(f"      {printable(row.reason)}")


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
