"""`jaxrec recommend RUN --user 63 --top 10`: what the model generates for one user."""

import dataclasses
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from jaxrec.cli.arguments import parse
from jaxrec.core import ConfigError, nearest
from jaxrec.data import load_dataset
from jaxrec.runs import check_run, load_codes
from jaxrec.systems.generative import load_config, recommender as generative, start_tokens


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Recommend items to a user of a run.

    Attributes:
      run: the run directory.
      user: the user's original ID.
      top: how many items.
      include_seen: also items that the user's history holds.
    """

    run: Annotated[Path, tyro.conf.Positional]
    user: str
    top: int = 10
    include_seen: bool = False


def run(arguments: list[str]) -> None:
    """Print the end of the user's history and the generated items with titles and scores."""
    options = parse(Arguments, arguments, prog="jaxrec recommend")
    config = load_config(options.run)
    dataset = load_dataset(config.data)
    users = dataset.split.train.user_ids.astype(str)
    if options.user not in users:
        raise ConfigError(
            f"no user {options.user!r} in {dataset.interactions.name}"
            f"{nearest(options.user, users.tolist())}; users: {users[0]} .. {users[-1]}"
        )
    if not 1 <= options.top <= config.decode.beams:
        raise ConfigError(
            f"--top must lie between 1 and the run's {config.decode.beams} beams, got {options.top}"
        )
    check_run(config, dataset, options.run)
    recommender = generative.load_recommender(config, load_codes(options.run), options.run)
    recommender = dataclasses.replace(recommender, batch_size=recommender.devices)
    row = int(np.flatnonzero(users == options.user)[0])
    # Everything known of the user, held-out items included: this is advice, not evaluation.
    history = dataset.split.history("test")[row]
    history = np.append(history, dataset.split.target("test")[row])
    starts = start_tokens(config, dataset)
    items, scores = recommender.recommend(
        [history],
        None if options.include_seen else [history],
        starts=None if starts is None else starts[[row]],
    )
    labels = dataset.interactions.items.labels()
    print(f"user {options.user}, last {min(8, len(history))} of {len(history)} items:")
    for item in history[-8:]:
        print(f"  {labels[item]}")
    print(f"top {options.top}, with the log-probability of each ID:")
    for place, (item, score) in enumerate(
        zip(items[0, : options.top], scores[0, : options.top], strict=True), 1
    ):
        if item >= 0:
            code = "-".join(map(str, recommender.codes.codes[item].tolist()))
            print(f"  {place:2}. {labels[item]:<48} {score:8.3f}  {code}")
    print(f"next: jaxrec report {options.run}")
