"""`jaxrec recommend RUN --user 63 --top 10`: what a trained run recommends.

    --user 63                       to a user of the run
    --history "Heat (1995)" 50      to somebody who met these items
    --resume FILE                   of jobs to a resume, by a run that reads resumes
    --users all --out DIR           to all users, or those of a file, as shards of Parquet
    --engine ray --workers 4        the same, computed by the workers of a Ray cluster

Without any of these it lists some users instead.
"""

import dataclasses
import itertools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import tyro

from jaxrec.cli.arguments import parse
from jaxrec.cli.engine import chosen_engine, keep_to_cpu
from jaxrec.cli.run_argument import read_run
from jaxrec.core import ConfigError, Count, DataError, check_file, printable, quoted
from jaxrec.data import load_interactions, read_resumes
from jaxrec.runs import (
    Recommendations,
    RecommendRequest,
    TextRecommendations,
    listed,
    offered,
    read_kept,
    some_users,
    system_of,
)

if TYPE_CHECKING:
    from jaxrec.serve import OpenRecommender

# Users that are listed, and the fewest interactions of one whose items can be split.
_LISTED, _FEWEST = 20, 3
# Newest items of the history that are printed.
_SHOWN = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Recommend items to a user of a run, after a typed history, or to many users.

    Attributes:
      run: the run directory.
      user: the user's original ID; without one, some users are listed.
      history: items that somebody met, oldest first: original IDs, or titles that one item has.
      users: "all" for all users of the run; or a Parquet, CSV or JSON lines file with a column
        user, or a column history with items, which are separated by "|" in CSV.
      out: directory for the lists of `users`, as shards of Parquet; the same command continues.
      resume: a resume to recommend jobs for, in place of a user: a text file, or a labeled resume
        in XML.
      top: how many items.
      include_seen: also recommend items that the history holds.
      allowed: text file with the only items that `users` may get, an ID or title on each line.
      exclude: text file with items that `users` must not get.
      shard_users: number of users of each shard.
      baseline: recommend by this baseline beside the run, such as item_knn, instead of its model.
      engine: what computes the lists of `users`: "local" for this process, or "ray" for the
        workers of a Ray cluster.
      workers: number of Ray's workers, each with an accelerator of its own.
      address: HOST:PORT of a Ray cluster that runs; without it one is started on this machine.
    """

    run: Annotated[Path, tyro.conf.Positional]
    user: str | None = None
    history: tuple[str, ...] = ()
    users: str = ""
    out: Path | None = None
    resume: Path | None = None
    top: Count = 10
    include_seen: bool = False
    allowed: str = ""
    exclude: str = ""
    shard_users: Count = 8192
    baseline: str = ""
    engine: Literal["local", "ray"] = "local"
    workers: Count | None = None
    address: str = ""


def run(arguments: list[str]) -> None:
    """Print the end of the user's history, and the recommended items with titles and scores."""
    options = parse(Arguments, arguments, prog="jaxrec recommend")
    _reject_empty(arguments)
    _check(options)
    chosen_engine(options.engine, options.workers, options.address)  # bad words first of all
    config = read_run(options.run)
    if options.resume is not None:
        recommend_text = offered(config, "recommend_text")
        text = read_resume(options.resume)
        show_for_text(recommend_text(config, options.run, text, options.top))
        return
    if options.users:
        _to_many(options)
        return
    if options.history:
        _after_history(options)
        return
    opens = bool(options.baseline) or hasattr(system_of(config), "open_ranker")
    recommend = None if opens else offered(config, "recommend")
    if options.user is None:
        list_users(config, options.run)
        return
    request = RecommendRequest(options.user, options.top, options.include_seen)
    answer = recommend(config, options.run, request) if recommend else _answer(options, request)
    show(answer)
    print(f"next: jaxrec report {quoted(options.run)}")


def _answer(options: Arguments, request: RecommendRequest) -> Recommendations:
    """Recommend to a user by the run alone."""
    model = _open(options)
    lists = model.recommend(users=[request.user], top=request.top, seen=request.include_seen)
    assert model.kept is not None
    (history,) = model.kept.histories(model.kept.find([request.user]))
    return listed(
        request,
        model.names.labels.tolist(),
        history,
        lists.numbers[0],
        lists.scores[0],
        score=lists.meaning,
        codes=getattr(model.ranker, "codes", None),
    )


def _open(options: Arguments) -> "OpenRecommender":
    from jaxrec.serve import open_recommender  # slow to import

    return open_recommender(options.run, baseline=options.baseline)


def _reject_empty(arguments: list[str]) -> None:
    """Reject options with an empty value, as a shell gives for a variable that is not set.

    They would count as left out: `--allowed "$ITEMS"` would allow all items.
    """
    for word, value in itertools.zip_longest(arguments, arguments[1:], fillvalue="--"):
        name, _, inside = word.partition("=")
        none = name == "--history" and "=" not in word and value.startswith("--")
        if name.startswith("--") and (none or ("=" in word and not inside) or value == ""):
            raise ConfigError(f"{name} was given without a value; give one, or leave {name} out")


def _check(options: Arguments) -> None:
    """Reject options that contradict one another."""
    given = {
        "--user": options.user,
        "--history": options.history,
        "--resume": options.resume,
        "--users": options.users,
    }
    chosen = [name for name, value in given.items() if value]
    if len(chosen) > 1:
        raise ConfigError(f"{' and '.join(chosen)} were given; give one of them")
    if options.users and options.out is None:
        raise ConfigError("--users writes files; give a directory for them: --out DIR")
    if options.resume and options.include_seen:
        raise ConfigError("--include-seen is about histories, and a resume has none; leave it out")
    if options.resume and options.baseline:
        raise ConfigError("--baseline reads histories, and a resume has none; leave it out")
    if options.users:
        return
    for name, value in (
        ("--engine", options.engine != "local"),
        ("--workers", options.workers),
        ("--address", options.address),
        ("--out", options.out),
        ("--allowed", options.allowed),
        ("--exclude", options.exclude),
    ):
        if value:
            raise ConfigError(f"{name} is read with --users FILE or --users all; give --users too")


def _after_history(options: Arguments) -> None:
    """Print recommendations after a typed history."""
    model = _open(options)
    lists = model.recommend(histories=[options.history], top=options.top, seen=options.include_seen)
    count = len(options.history)
    items = "1 item" if count == 1 else f"{count} items"
    rows = zip(lists.items[0], lists.titles[0], lists.scores[0], strict=True)
    # A list may be longer than what is left of the catalogue.
    found = [row for row in rows if row[0]]
    print(f"top {len(found)} after {items}, with the {lists.meaning}:")
    for place, (item, title, score) in enumerate(found, 1):
        # Items without a title are called by their ID alone.
        name = "" if item == title else printable(item)
        print(f"  {place:2}. {printable(title):<48} {score:8.3f}  {name}".rstrip())


def _to_many(options: Arguments) -> None:
    """Write the lists of many users, and print how many as one line of JSON."""
    from jaxrec.serve import BatchOptions, recommend_all

    assert options.out is not None
    batch = BatchOptions(
        users=options.users,
        top=options.top,
        include_seen=options.include_seen,
        allowed=options.allowed,
        exclude=options.exclude,
        shard_users=options.shard_users,
    )
    keep_to_cpu(options.engine)
    with chosen_engine(options.engine, options.workers, options.address) as engine:
        done = recommend_all(_open(options), batch, options.out, engine)
    print(f"{done.users:,} users in {done.shards} shards in {printable(str(options.out))}")
    print(json.dumps(dataclasses.asdict(done)))


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


def show_for_text(answer: TextRecommendations) -> None:
    """Print what was read and written for a text, and recommendations with their reasons.

    Args:
      answer: of a system.
    """
    print("read of the resume:")
    for line in answer.read.splitlines():
        print(f"  {printable(line)}")
    for text in answer.written[:1]:
        print(f"a suitable job, as the run describes it (1 of {len(answer.written)}):")
        for line in text.splitlines():
            print(f"  {printable(line)}")
    print(f"top {len(answer.items)}, with the {answer.score}:")
    for place, row in enumerate(answer.items, 1):
        print(f"  {place:2}. {printable(row.title):<48} {row.score:8.3f}".rstrip())
        if row.reason:
            print(f"      {printable(row.reason)}")


def list_users(config: Any, directory: Path) -> None:
    """Print how many users the data of a run have, and some of them."""
    kept = read_kept(directory)
    if kept is not None:
        users, name = kept.user_ids, kept.name
    else:
        own = getattr(system_of(config), "load_data", None)
        data = load_interactions(config.data) if own is None else own(config).data
        # A run that drops users with few interactions knows only the others.
        users = data.user_ids[np.bincount(data.user, minlength=data.num_users) >= _FEWEST]
        name = data.name
    some = printable(", ".join(some_users(users, _LISTED)))
    print(f"{name}: {len(users):,} users, such as {some}")
    print(f"next: jaxrec recommend {quoted(directory)} --user {quoted(str(users[0]))}")


def show(answer: Recommendations) -> None:
    """Print recommendations.

    Args:
      answer: of a system.
    """
    history = answer.history
    print(
        f"user {printable(answer.user)}, last {min(_SHOWN, len(history))} of {len(history)} items:"
    )
    for title in history[-_SHOWN:]:
        print(f"  {printable(title)}")
    print(f"top {len(answer.items)}, with the {answer.score}:")
    for place, row in enumerate(answer.items, 1):
        print(f"  {place:2}. {printable(row.title):<48} {row.score:8.3f}  {row.code}".rstrip())
