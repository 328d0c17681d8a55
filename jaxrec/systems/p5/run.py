"""P5 and OpenP5: recommendation as language processing, all tasks as text by one encoder-decoder.

dataset -> item IDs -> prompts of every task -> T5 with whole words -> items, stars, words, text

(Geng et al., RecSys 2022, arXiv:2203.13366; Hua et al., SIGIR-AP 2023, arXiv:2305.06569; Xu et al.,
SIGIR 2024, arXiv:2306.11134.) The parts: item IDs, `data.prompts`, `models.words`, the next-token
loss, a beam search over the trie of all IDs. Where this differs from the publications: the model is
trained from scratch; a batch has a fixed number of rows of each task; held-out items are kept out
of the rating and review prompts of the training too (`held_out_reviews` puts them in).
"""

import dataclasses
from pathlib import Path
from typing import Any

import jax

from jaxrec.core import (
    batch_shard,
    batch_sharding,
    describe_shardings,
    is_writer,
    make_mesh,
    on_writer,
    read_json,
)
from jaxrec.data import (
    Dataset,
    Group,
    Mixture,
    group_tasks,
    load_dataset,
    load_tokenizer,
    prompt_batches,
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
    write_summary,
)
from jaxrec.systems.p5 import questions as p5_measure, serving, tables
from jaxrec.systems.p5.config import P5Config
from jaxrec.systems.p5.prompts import ANYONE, TEMPLATES
from jaxrec.texts import (
    NEEDS_RATINGS,
    NEEDS_REVIEWS,
    PromptData,
    Prompted,
    check_data,
    fitted,
    held_out,
    make_names,
    make_task,
    make_tokenizer,
    measure,
    plan_prompts,
)
from jaxrec.train import (
    FitResult,
    Plan,
    Validation,
    check_batch,
    fit,
    load_params,
    make_optimizer,
    make_shapes,
)

# Prompts of each task that the tokenizer is trained on.
_CORPUS = 2000


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Parts:
    """All of a run but its parameters."""

    data: PromptData
    mixture: Mixture
    groups: list[Group]
    prompted: Prompted


def prompt_data(config: P5Config, dataset: Dataset, codes: ItemCodes) -> PromptData:
    """What the prompts are made of.

    Raises:
      DataError: reviews that cannot be read or are of other data.
    """
    ratings = reviews = None
    if set(config.tasks) & {*NEEDS_RATINGS, *NEEDS_REVIEWS}:
        ratings = random_split(dataset.interactions)
        if not config.held_out_reviews:
            kept = ratings.train[~held_out(dataset)[ratings.train]]
            ratings = dataclasses.replace(ratings, train=kept)
    if set(config.tasks) & set(NEEDS_REVIEWS):
        reviews = (
            read_reviews(Path(config.reviews).expanduser(), dataset.interactions)
            if config.reviews
            else synthetic_reviews(dataset.interactions)
        )
    names = make_names(config.item_names, config.user_names, codes, dataset.num_users)
    if not config.history_users:
        names = dataclasses.replace(names, anyone=ANYONE)
    return PromptData(
        dataset=dataset,
        names=names,
        ratings=ratings,
        reviews=reviews,
        max_items=config.max_items,
        candidates=config.candidates,
        max_targets=config.max_targets,
    )


def open_run(config: P5Config, dataset: Dataset, directory: Path, *, write: bool = True) -> Parts:
    """Fit and keep the IDs and the tokenizer of a new run, or check and read those of an old one.

    Raises:
      ConfigError: settings that contradict the data or the run that the directory holds.
      DataError: other data than the run's, or data that lack what a task needs.
    """
    if write and jax.process_count() > 1:
        on_writer(lambda: _open_run(config, dataset, directory, write=True))
    return _open_run(config, dataset, directory, write=write)


def _open_run(config: P5Config, dataset: Dataset, directory: Path, *, write: bool) -> Parts:
    known = is_run(directory)
    if known:
        check_run(config, dataset, directory)
        codes = load_codes(directory)
    else:
        check_batch(config.train, make_mesh(config.mesh), config.sharding)
        check_data(dataset, config.tasks, config.candidates)
        check_beams(dataset.num_items, config.decode.beams)
        item_ids.check_ids(config.ids, dataset)
        text = item_text.read(config.ids, dataset, item_text.choose(config.ids))
        codes = item_ids.fit_ids(config.ids, dataset, text)
    data = prompt_data(config, dataset, codes)
    tasks = tuple(
        make_task(name, fitted(TEMPLATES[name], data.names), data) for name in config.tasks
    )
    mixture = Mixture(tasks, config.rows, config.train.seed)
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
    return Parts(data=data, mixture=mixture, groups=groups, prompted=prompted)


def plan_training(config: P5Config, parts: Parts) -> Plan:
    """Compile the training step of a run.

    Raises:
      ConfigError, ResourceError: as of `plan_prompts`.
    """
    return plan_prompts(
        parts.prompted, parts.mixture, parts.groups, config.train, config.mesh, config.sharding
    )


def fit_model(
    config: P5Config, parts: Parts, plan: Plan, directory: Path, profile: bool = False
) -> FitResult:
    """Train, or go on training, below `directory`.

    Raises:
      ConfigError, DataError, ResourceError: as of `fit`.
    """
    plan.memory.check()
    prompted, asked = parts.prompted, p5_measure.validation(config, parts.data)
    shard = batch_shard(batch_sharding(plan.mesh, plan.rules))
    return fit(
        plan,
        iter(prompt_batches(parts.mixture, parts.groups, prompted.tokenizer, shard)),
        Validation(
            lambda params: p5_measure.validate(prompted.with_params(params), asked, config),
            p5_measure.METRIC,
        ),
        directory,
        measure=measure,
        profile=profile,
    )


def train(config: P5Config, directory: Path, options: Options) -> None:
    """See `System`."""
    dataset = load_dataset(config.data)
    print(dataset)
    parts = open_run(config, dataset, directory, write=not options.dry)
    if options.show_shardings:
        shapes = jax.eval_shape(parts.prompted.init, jax.random.key(0))
        print(describe_shardings(shapes, make_mesh(config.mesh), config.sharding))
    plan = plan_training(config, parts)
    print(plan)
    if options.dry:
        plan.memory.check()
        return
    result = fit_model(config, parts, plan, directory, options.profile)
    if is_writer():
        write_summary(directory, result, trained_parameters=plan.size.trainable)


def load(config: P5Config, directory: Path) -> tables.Tested:
    """The run with the best checkpoint's parameters.

    Raises:
      DataError: not trained yet, damaged, or of other data.
    """
    parts = open_run(config, load_dataset(config.data), directory)
    prompted, mesh = parts.prompted, make_mesh(config.mesh)
    optimizer = make_optimizer(config.train)
    target = make_shapes(prompted.init, optimizer, mesh, config.sharding, config.train)
    params, _ = load_params(directory / "checkpoints", target)
    return tables.Tested(
        config=config,
        data=parts.data,
        prompted=prompted.with_params(prompted.join(params)),
        parameters=sum(leaf.size for leaf in jax.tree.leaves(params)),
        seconds=read_json(directory / "train.json")["seconds"],
    )


def evaluate(config: P5Config, directory: Path, *, baselines: bool) -> dict[str, Any]:
    """See `System`; writes `test.npz` too, where the run ranks the whole catalogue."""
    tested = load(config, directory)
    found = tables.measure(tested, directory, config.eval.baselines if baselines else ())
    dataset = tested.data.dataset
    protocol = protocol_of(config, dataset)
    leaks = tables.leaks(tested.data, load_codes(directory))
    if config.ranks:
        tables.rank_main(tested).save(directory / TEST_FILE, protocol)
    return found | {
        "protocol": protocol,
        "heading": heading(protocol),
        "leaks": leaks,
        "lines": [*found["lines"], *tables.plain_lines("leak audit", {"share of users": leaks})],
    }


def rank(config: P5Config, directory: Path) -> Measured:
    """See `System`: the first task that ranks the whole catalogue, in a wording of the training."""
    return tables.rank_main(load(config, directory))


def recommend(config: P5Config, directory: Path, request: RecommendRequest) -> Recommendations:
    """See `System`."""
    return serving.recommend(load(config, directory), load_codes(directory), request)


def report(config: P5Config, directory: Path) -> RunParts:
    """See `System`."""
    return read_parts(config, directory, FACTS)


def fit_ids(config: P5Config, directory: Path) -> tuple[Dataset, ItemCodes]:
    """See `System`."""
    dataset = load_dataset(config.data)
    open_run(config, dataset, directory)
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
    metric=p5_measure.METRIC,
    variants=(tables.UNSEEN, tables.FREE, tables.ALONE, tables.ANSWER),
)
INSTEAD = {"open_adapter": "P5 trains all parameters; use jaxrec export --to hf"}
