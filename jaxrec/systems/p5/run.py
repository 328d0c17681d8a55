"""P5 and OpenP5: recommendation as language processing, all tasks as text by one encoder-decoder.

data set -> item IDs -> prompts of every task -> T5 with whole words -> items, stars, words, text

The tasks are those of P5, conversations, and descriptions of items with their facts. Together they
cover the seven tasks of generative recommendation; the guide "Tasks as text" lists them.

Sources: Geng et al., RecSys 2022, arXiv:2203.13366; Hua et al., SIGIR-AP 2023, arXiv:2305.06569; Xu
et al., SIGIR 2024, arXiv:2306.11134.

A run is made of item IDs, the text tasks of `tasks.py`, whole-word embeddings (`models.words`), the
next-token loss and a beam search over the trie of all IDs. It differs from the publications in
three ways. The model is trained from scratch. A batch has a fixed number of rows of each task.
Held-out items are left out of the rating and review prompts of the training too;
`held_out_reviews` keeps them in.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxrec.core import LOCAL, Engine, make_mesh
from jaxrec.data import (
    Dataset,
    Mixture,
    group_tasks,
    load_dataset,
    load_tokenizer,
    random_split,
    read_reviews,
    save_tokenizer,
    synthetic_reviews,
)
from jaxrec.decode import check_beams
from jaxrec.eval import RunParts, SystemFacts
from jaxrec.ids import ItemCodes
from jaxrec.items import ids as item_ids, text as item_text
from jaxrec.models import Opened
from jaxrec.runs import (
    TEST_FILE,
    Kept,
    Measured,
    Options,
    Recommendations,
    RecommendRequest,
    check_run,
    create_run,
    heading,
    is_run,
    load_codes,
    protocol_of,
    read_parts,
    with_filter_seen,
)
from jaxrec.systems.p5 import serving, tables
from jaxrec.systems.p5.config import P5Config
from jaxrec.systems.p5.questions import METRIC, tasks_of, validate, validation
from jaxrec.systems.p5.tasks import ANYONE, TASKS
from jaxrec.systems.p5.tested import UNSEEN, Tested, rank_main
from jaxrec.texts import (
    Facts,
    Names,
    PromptData,
    Prompted,
    PromptParts,
    PromptRanker,
    check_data,
    check_readable,
    find_tasks,
    held_out,
    load_trained,
    make_names,
    make_tokenizer,
    open_once,
    train_parts,
    training_stream,
)
from jaxrec.train import (
    Validation,
    check_batch,
)

# Number of prompts of each task that the tokenizer is trained on.
_CORPUS = 2000


Parts = PromptParts[PromptData]


def prompt_data(config: P5Config, dataset: Dataset, codes: ItemCodes) -> PromptData:
    """Collect what the prompts of a run are made of.

    Raises:
      DataError: the reviews cannot be read, or belong to other data.
    """
    ratings = reviews = None
    needs = {need for task in find_tasks(config.tasks, TASKS) for need in task.source.needs}
    if "ratings" in needs:
        ratings = random_split(dataset.interactions)
        if not config.held_out_reviews:
            kept = ratings.train[~held_out(dataset)[ratings.train]]
            ratings = dataclasses.replace(ratings, train=kept)
    if "reviews" in needs:
        reviews = (
            read_reviews(Path(config.reviews).expanduser(), dataset.interactions)
            if config.reviews
            else synthetic_reviews(dataset.interactions)
        )
    return PromptData(
        dataset=dataset,
        names=names_of(config, codes, dataset.num_users),
        ratings=ratings,
        reviews=reviews,
        max_items=config.max_items,
        candidates=config.candidates,
        max_targets=config.max_targets,
        facts=check_readable(Facts.read(dataset.interactions.items)) if "facts" in needs else None,
    )


def names_of(config: P5Config, codes: ItemCodes, num_users: int) -> Names:
    """What the prompts of a run call users and items."""
    names = make_names(config.item_names, config.user_names, codes, num_users)
    return names if config.history_users else dataclasses.replace(names, anyone=ANYONE)


def open_run(
    config: P5Config,
    dataset: Dataset,
    directory: Path,
    *,
    write: bool = True,
    engine: Engine = LOCAL,
) -> Parts:
    """Fit and save the IDs and the tokenizer of a new run, or check and read those of an old one.

    Args:
      config: of the run.
      dataset: its data.
      directory: of the run.
      write: save what a new run needs; without it nothing is written.
      engine: what encodes the texts of items and assigns their codes, by rows.

    Raises:
      ConfigError: the settings contradict the data, or the run in the directory has others.
      DataError: the run in the directory has other data, or the data lack what a task needs.
    """
    return open_once(lambda write: _open_run(config, dataset, directory, write, engine), write)


def _open_run(
    config: P5Config, dataset: Dataset, directory: Path, write: bool, engine: Engine
) -> Parts:
    known = is_run(directory)
    if known:
        check_run(config, dataset, directory)
        codes = load_codes(directory)
    else:
        check_batch(config.train, make_mesh(config.mesh), config.sharding)
        check_data(dataset, find_tasks(config.tasks, TASKS), config.candidates)
        check_beams(dataset.num_items, config.decode.beams)
        item_ids.check_ids(config.ids, dataset)
        encoder = item_text.choose(config.ids, dataset)
        text = item_text.read(config.ids, dataset, encoder, engine=engine)
        codes = item_ids.fit_ids(config.ids, dataset, text, engine)
        print(item_ids.describe(codes))
    data = prompt_data(config, dataset, codes)
    tasks = tasks_of(config, data)
    streams = tuple(training_stream(task, data) for task in tasks.values())
    mixture = Mixture(streams, config.rows, config.train.seed)
    if known:
        tokenizer = load_tokenizer(directory / "tokenizer")
    else:
        corpus = [*mixture.corpus(_CORPUS), *data.names.items, *data.names.users]
        tokenizer = make_tokenizer(corpus, data.names, codes, config.text_tokens)
        if write:
            save_tokenizer(tokenizer, directory / "tokenizer")
            create_run(config, dataset, codes, directory)
    prompted = Prompted.build(config.model, tokenizer, data.names, codes, config.decode.batch_size)
    groups = group_tasks(mixture, tokenizer, config.groups)
    return Parts(data=data, tasks=tasks, mixture=mixture, groups=groups, prompted=prompted)


def train(config: P5Config, directory: Path, options: Options) -> None:
    """See `System`."""
    dataset = load_dataset(config.data)
    print(dataset)
    parts = open_run(config, dataset, directory, write=not options.dry)

    def validates() -> Validation:
        questions = validation(config, parts.data)
        return Validation(
            lambda params: validate(parts.prompted.with_params(params), questions, config),
            METRIC,
            (sum(len(asked.prompts) for asked in questions.values()), "question"),
        )

    train_parts(config, parts, directory, options, validation=validates)


def load(config: P5Config, directory: Path) -> Tested:
    """Open a run with the parameters of its best checkpoint.

    Raises:
      ConfigError: the run in the directory has other settings.
      DataError: the run is not trained yet, damaged, or has other data.
    """
    parts = open_run(config, load_dataset(config.data), directory)
    trained = load_trained(config, parts.prompted, directory)
    return Tested(config=config, data=parts.data, tasks=parts.tasks, **vars(trained))


def open_ranker(config: P5Config, directory: Path, kept: Kept) -> PromptRanker:
    """See `System`: the first task that ranks the whole catalogue, in a wording of the training."""
    dataset, codes = kept.dataset(), load_codes(directory)
    names = names_of(config, codes, dataset.num_users)
    # A prompt about a history tells no ratings, reviews or facts.
    data = PromptData(
        dataset=dataset,
        names=names,
        ratings=None,
        reviews=None,
        max_items=config.max_items,
        candidates=config.candidates,
    )
    tokenizer = load_tokenizer(directory / "tokenizer")
    prompted = Prompted.build(config.model, tokenizer, names, codes, config.decode.batch_size)
    trained = load_trained(config, prompted, directory)
    tested = Tested(config=config, data=data, tasks=tasks_of(config, data), **vars(trained))
    return serving.ranker(tested, kept, codes.codes)


def evaluate(config: P5Config, directory: Path, *, baselines: Sequence[str]) -> dict[str, Any]:
    """See `System`; also writes `test.npz` if the run ranks the whole catalogue."""
    tested = load(config, directory)
    measured = tables.measure(tested, directory, baselines)
    dataset = tested.data.dataset
    protocol = protocol_of(config, dataset)
    leaks = tables.leaks(tested.data, load_codes(directory))
    if config.ranks:
        rank_main(tested).save(directory / TEST_FILE, protocol)
    return measured | {
        "protocol": protocol,
        "heading": heading(protocol),
        "leaks": leaks,
        "lines": [*measured["lines"], *tables.plain_lines("leak audit", {"share of users": leaks})],
    }


def rank(config: P5Config, directory: Path, filter_seen: bool | None = None) -> Measured:
    """See `System`: the first task that ranks the whole catalogue, in a wording of the training."""
    tested = load(config, directory)
    asked = with_filter_seen(config, filter_seen)
    return rank_main(dataclasses.replace(tested, config=asked))


def recommend(config: P5Config, directory: Path, request: RecommendRequest) -> Recommendations:
    """See `System`."""
    return serving.recommend(load(config, directory), load_codes(directory), request)


def report(config: P5Config, directory: Path) -> RunParts:
    """See `System`."""
    return read_parts(config, directory, FACTS)


def fit_ids(config: P5Config, directory: Path, engine: Engine = LOCAL) -> tuple[Dataset, ItemCodes]:
    """See `System`."""
    dataset = load_dataset(config.data)
    open_run(config, dataset, directory, engine=engine)
    return dataset, load_codes(directory)


def open_model(config: P5Config, directory: Path) -> Opened:
    """See `System`."""
    return serving.open_model(load(config, directory), load_codes(directory))


CONFIG = P5Config
FACTS = SystemFacts(
    name="P5",
    summary=(
        "One encoder-decoder reads prompts about users and items and answers every task as text; a "
        "beam search over the trie of all item IDs turns its answers into items."
    ),
    tags=("prompt-based-recommendation",),
    metric=METRIC,
    variants=(UNSEEN, tables.FREE, tables.SHUFFLED, tables.ALONE, tables.ANSWER),
)
INSTEAD = {
    "open_adapter": "P5 trains all parameters; use jaxrec export --to hf",
    "add_items": "P5 names items by the IDs of its training; train it again with the new items",
}
