"""The instructions of a run: its names, its data, its tasks in words, and their mixture."""

from collections.abc import Sequence

from jaxrec.core import DataError
from jaxrec.data import Dataset, Mixture
from jaxrec.ids import ItemCodes, simple
from jaxrec.systems.instructrec.config import InstructRecConfig
from jaxrec.systems.instructrec.tasks import TASKS, InstructData, InstructTask
from jaxrec.systems.instructrec.wishes import Wishes
from jaxrec.texts import Names, find_tasks, make_names, training_stream

# What instructions call a user, whom they never name.
ANYONE = "someone"
# Between titles, none of which has it.
BETWEEN = " ; "


def name_items(dataset: Dataset, codes: ItemCodes, titles: bool) -> Names:
    """Name the items of a data set: by one token each, or by their titles.

    Several items may have one title; from the second on they get a number: "Alien (1979) #2".

    Args:
      dataset: the data.
      codes: of one token for each item.
      titles: whether titles are written.

    Raises:
      DataError: a title has the separator of lists in it.

    Example:
      >>> from jaxrec.data import Dataset, leave_one_out
      >>> from jaxrec.testing import tiny_interactions
      >>> data = tiny_interactions()
      >>> dataset = Dataset(data, leave_one_out(data))
      >>> name_items(dataset, simple.independent(30), titles=True).items[:2]
      ['Film 000 (1950)', 'Film 001 (1951)']
    """
    users = [ANYONE] * dataset.num_users
    if not titles:
        return Names(
            users=users, items=make_names("tokens", "numbers", codes, 0).items, separator=""
        )
    labels = dataset.interactions.items.labels()
    return Names(users=users, items=distinct(labels), separator=BETWEEN)


def distinct(labels: Sequence[str]) -> list[str]:
    """Number the labels that are there already.

    Raises:
      DataError: a label has the separator of lists in it, or reads like a numbered one.

    Example:
      >>> distinct(["Heat", "Alien", "Heat"])
      ['Heat', 'Alien', 'Heat #2']
    """
    counts: dict[str, int] = {}
    names = []
    for label in (" ".join(label.split()) for label in labels):
        if BETWEEN.strip() in label.split(" ") or BETWEEN in label:
            raise DataError(
                f"the title {label!r} has {BETWEEN!r} in it, which stands between titles; write "
                "--item-names tokens"
            )
        counts[label] = counts.get(label, 0) + 1
        names.append(label if counts[label] == 1 else f"{label} #{counts[label]}")
    if len(set(names)) < len(names):
        double = next(name for name in names if names.count(name) > 1)
        raise DataError(f"two items would be called {double!r}; write --item-names tokens")
    return names


def instruct_data(config: InstructRecConfig, dataset: Dataset, codes: ItemCodes) -> InstructData:
    """Collect what the instructions of a run are made of.

    Raises:
      DataError: the items have no genres, or titles that cannot be listed.
    """
    return InstructData(
        dataset=dataset,
        names=name_items(dataset, codes, config.item_names == "titles"),
        ratings=None,
        reviews=None,
        max_items=config.max_items,
        candidates=config.candidates,
        max_targets=config.max_targets,
        wishes=Wishes.of(dataset, config.genre_field, config.like_from),
    )


def tasks_of(config: InstructRecConfig, data: InstructData) -> dict[str, InstructTask]:
    """The tasks of a run by name, worded for its names."""
    return {task.name: task.fit(data.names) for task in find_tasks(config.tasks, TASKS)}


def mix(config: InstructRecConfig, tasks: dict[str, InstructTask], data: InstructData) -> Mixture:
    """The training streams of a run.

    Raises:
      DataError: no user has two training interactions.
    """
    streams = tuple(training_stream(task, data) for task in tasks.values())
    return Mixture(streams, config.rows, config.train.seed)


def one_token_each(dataset: Dataset) -> ItemCodes:
    """IDs of one code, the item's number."""
    return simple.independent(dataset.num_items)
