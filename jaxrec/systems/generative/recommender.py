"""The generative recommender: item IDs, a model trained on histories, and a constrained search.

dataset -> item IDs -> histories as tokens -> decoder or encoder-decoder -> next item's ID, token by
token
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxrec.core import (
    LOCAL,
    Engine,
    MeshConfig,
    ShardingRules,
    batch_shard,
    batch_sharding,
    count_up,
    describe_shardings,
    make_mesh,
    on_writer,
)
from jaxrec.data import Dataset, training_source
from jaxrec.decode import Recommender
from jaxrec.eval import average, list_metrics
from jaxrec.ids import ItemCodes, ItemIndex
from jaxrec.items import ids as item_ids, text as item_text
from jaxrec.models import checksum
from jaxrec.objectives import Loss, id_loss, next_item_loss
from jaxrec.runs import (
    METRIC,
    TEXTUAL,
    TRAINED,
    check_run,
    create_run,
    is_run,
    load_codes,
    run_identity,
)
from jaxrec.systems.generative import aligned
from jaxrec.systems.generative.batches import measure, training_batches
from jaxrec.systems.generative.config import Config
from jaxrec.systems.generative.measure import filled_lists
from jaxrec.systems.generative.model import check_items, make_model, start_tokens, vocabulary
from jaxrec.systems.generative.parameters import load_aligned, load_start, load_variables
from jaxrec.systems.generative.trainable import shapes_of
from jaxrec.train import (
    FitResult,
    LossFunction,
    Plan,
    Start,
    Validation,
    check_batch,
    fit,
    make_plan,
)


def open_run(
    config: Config,
    dataset: Dataset,
    directory: Path,
    *,
    write: bool = True,
    engine: Engine = LOCAL,
) -> ItemCodes:
    """Return the item IDs of a run: fit and save them for a new run, or check and read them.

    Nothing is written before everything has been checked that can be checked. If there are several
    processes, the first fits the IDs, and the others read them.

    Args:
      config: the config of the run, resolved.
      dataset: its data.
      directory: where it is, or will be.
      write: False to write nothing at all.
      engine: what encodes the texts of items and assigns their codes, by rows.

    Raises:
      ConfigError: settings that contradict the data or the run that the directory holds.
      DataError: the directory holds a run on other data.
    """
    if write and jax.process_count() > 1:
        on_writer(lambda: _open_run(config, dataset, directory, write=True, engine=engine))
    return _open_run(config, dataset, directory, write=write, engine=engine)


def _open_run(
    config: Config, dataset: Dataset, directory: Path, *, write: bool, engine: Engine
) -> ItemCodes:
    if is_run(directory):
        check_run(config, dataset, directory)
        return load_codes(directory)
    item_text.choose(config.ids)  # a bad encoder is named before any work
    mesh = make_mesh(config.mesh)
    check_batch(config.train, mesh, config.sharding)
    for name in set(TRAINED) & set(config.eval.baselines):
        check_batch(getattr(config, name).train, make_mesh(MeshConfig()), ShardingRules())
        if name in TEXTUAL:
            item_text.readable(config.ids, dataset)
            item_text.encoder_of(config.ids.text_encoder, "ids.text_encoder")
    item_ids.check_ids(config.ids, dataset)
    encoder = item_text.choose(config.ids, dataset)
    text = item_text.read(config.ids, dataset, encoder, engine=engine)
    codes = item_ids.fit_ids(config.ids, dataset, text, engine)
    check_items(config, item_ids.item_rows(codes, dataset))
    shapes_of(config, codes)
    if config.align.method != "none":
        # Before anything is written, so that the corrected command can use the same directory.
        aligned.check_aligned(config, codes, dataset)
    if not write:
        return codes
    if text is not None:
        item_text.save(text, directory)
    create_run(config, dataset, codes, directory)
    return codes


def make_recommender(config: Config, codes: ItemCodes, params: Any) -> Recommender:
    """Put the model, its parameters, the index of the IDs and the devices together.

    A catalogue of fewer items than beams is searched with as many beams as it has items.

    Args:
      config: the config of the run, resolved.
      codes: its item IDs.
      params: variables of the model; None to add them later.
    """
    return Recommender(
        model=make_model(config, codes),
        params=params,
        codes=codes,
        index=ItemIndex.build(codes),
        num_special=vocabulary(config, codes).num_special,
        max_items=config.items_read,
        beams=min(config.decode.beams, codes.num_items),
        batch_size=config.decode.batch_size,
        normalize=config.decode.normalize,
        strategy=config.decode.strategy,
        draws=config.decode.draws,
        next_beams=config.decode.next_beams,
        prefix=config.architecture == "prefix",
        mesh=make_mesh(config.mesh),
        rules=config.sharding,
    )


def plan_training(config: Config, dataset: Dataset, codes: ItemCodes) -> Plan:
    """Plan the training step of a run without allocating anything of the model's size.

    Args:
      config: the config of the run, resolved.
      dataset: its data.
      codes: its item IDs.

    Raises:
      ConfigError: settings that do not fit the model or the devices.
    """
    model, words = make_model(config, codes), vocabulary(config, codes)
    if config.align.method != "none":
        batches = [aligned.batch_shapes(config, codes)]
        return _planned(config, codes, batches, aligned.make_loss(config, codes))

    def loss(params: Any, batch: Mapping[str, jax.Array], key: jax.Array) -> Loss:
        if config.architecture != "causal":
            source, target = batch["source"], batch["target"]
            return next_item_loss(model, params, source, target, key, vocabulary=words)
        segments = batch.get("segments")
        return id_loss(model, params, batch["tokens"], key, vocabulary=words, segments=segments)

    history = f"histories of max_items {config.max_items}"
    model.config.check_length(config.max_items * codes.levels, history, "lower max_items")
    histories, starts = dataset.split.train.sequences(), start_tokens(config, dataset)
    tokens_of = words.tokens(codes.codes)
    batches = training_batches(config, histories, tokens_of, starts=starts).shapes
    return _planned(config, codes, batches, loss)


def _planned(config: Config, codes: ItemCodes, batches: list[Any], loss: LossFunction) -> Plan:
    """Plan a training on batches of some shapes, the one with the longest rows last."""
    shapes = shapes_of(config, codes)
    return make_plan(
        shapes.trainable,
        loss,
        batches[-1],
        config.train,
        more=batches[:-1],
        frozen=shapes.frozen,
        join=shapes.join,
        mesh_config=config.mesh,
        rules=config.sharding,
    )


def show_shardings(config: Config, codes: ItemCodes) -> str:
    """Describe where every parameter of a run lies, trained ones first.

    Raises:
      ConfigError: settings that do not fit the model or the devices.
    """
    shapes, mesh = shapes_of(config, codes), make_mesh(config.mesh)
    trained, shown = shapes.trainable, []
    if callable(trained):
        trained = jax.eval_shape(trained, jax.random.key(0))
    for name, tree in (("trained", trained), ("frozen", shapes.frozen)):
        if tree is not None:
            shown.append(f"{name}\n{describe_shardings(tree, mesh, config.sharding)}")
    return "\n".join(shown)


def train(
    config: Config,
    dataset: Dataset,
    codes: ItemCodes,
    directory: Path,
    plan: Plan | None = None,
    profile: bool = False,
) -> FitResult:
    """Train the model below `directory`, or resume its training.

    Args:
      config: the config of the run, resolved.
      dataset: its data.
      codes: its item IDs.
      directory: where the run is.
      plan: what `plan_training` returned; None to make it here.
      profile: write a trace of some steps.

    Raises:
      ResourceError: a step needs more memory than a device has, or the disk is full.
      ConfigError, DataError: see `load_start` and `fit`.
    """
    plan = plan or plan_training(config, dataset, codes)
    plan.memory.check()
    histories, targets = dataset.split.history("valid"), dataset.split.target("valid")
    users, starts = valid_users(config, dataset), start_tokens(config, dataset)

    def evaluate(params: Any) -> dict[str, float]:
        recommender = dataclasses.replace(base, params=params)
        seen = [histories[user] for user in users]
        items, _ = recommender.recommend(
            seen,
            config.decode.removed(seen, targets[users]),
            count_up(),
            starts=None if starts is None else starts[users],
        )
        lists = filled_lists(items, max(config.eval.ks))
        return average(list_metrics(lists, targets[users], config.eval.ks))

    base = make_recommender(config, codes, None)
    if base.beams < config.decode.beams:
        print(
            f"note: decode.beams is {config.decode.beams}, and the catalogue has {base.beams} "
            "items; lists hold all of them, so that metrics at that length say little"
        )
    if len(users) < dataset.num_users:
        print(f"validation: {len(users):,} of {dataset.num_users:,} users, sampled by the seed")
    validation = Validation(evaluate, METRIC, (len(users), "user"))
    run = run_identity(directory)
    if config.align.method != "none":
        begun, reference = load_aligned(config, codes)
        batches = aligned.rollout_batches(
            config, dataset, codes, plan, reference=reference, directory=directory
        )
        # With frozen parameters, `begun.base` names the model.
        if begun.frozen is None:
            run |= {"start model": checksum(reference["params"])}
        start = Start(params=begun.trainable, frozen=begun.frozen, base=begun.base, run=run)
        return fit(plan, batches, validation, directory, start=start, profile=profile)
    source = training_source(dataset, directory / "data")
    tokens_of = vocabulary(config, codes).tokens(codes.codes)
    shard = batch_shard(batch_sharding(plan.mesh, plan.rules))
    histories_read = training_batches(config, source, tokens_of, shard, starts)
    print(histories_read)
    begun = load_start(config, codes)
    return fit(
        plan,
        iter(histories_read.dataset),
        validation,
        directory,
        start=Start(params=begun.trainable, frozen=begun.frozen, base=begun.base, run=run),
        measure=measure,
        profile=profile,
    )


def valid_users(config: Config, dataset: Dataset) -> np.ndarray:
    """Return the users of a validation: all, or a sample that depends only on the seed."""
    count = config.eval.validated(dataset.num_users)
    if count == dataset.num_users:
        return np.arange(dataset.num_users)
    chosen = np.random.default_rng(config.train.seed).choice(
        dataset.num_users, count, replace=False
    )
    return np.sort(chosen)


def load_recommender(config: Config, codes: ItemCodes, directory: Path) -> Recommender:
    """Load the best checkpoint of a run.

    Raises:
      DataError: not trained yet, damaged, or of a base that has changed since.
    """
    return make_recommender(config, codes, load_variables(config, codes, directory))
