"""The generative recommender: item IDs, a causal decoder trained on histories, beam search.

dataset -> item IDs -> histories as tokens -> decoder -> next item's ID, token by token
"""

import dataclasses
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.core.mesh import make_mesh
from jaxrec.decode import Recommender, check_beams
from jaxrec.eval import average, list_metrics
from jaxrec.ids import IdVocabulary, ItemCodes, ItemIndex
from jaxrec.models import CausalLM
from jaxrec.objectives import Loss, id_loss
from jaxrec.systems import item_ids, item_text, run
from jaxrec.systems.batches import measure, training_batches
from jaxrec.systems.config import Config
from jaxrec.systems.dataset import Dataset, training_source
from jaxrec.train import FitResult, check_batch, fit, load_params, make_optimizer, make_state

METRIC = "ndcg@10"


def open_run(config: Config, dataset: Dataset, directory: Path) -> ItemCodes:
    """Return the item IDs of a run: fitted and kept for a new one, checked and read for an old one.

    Nothing is written before everything that can be checked has been.

    Raises:
      ConfigError: settings that contradict the data or the run that the directory holds.
      DataError: other data than the run's.
    """
    if run.exists(directory):
        run.check(config, dataset, directory)
        return run.load_codes(directory)
    encoder = item_text.choose(config.ids)
    check_beams(dataset.num_items, config.decode.beams)
    mesh = make_mesh(config.mesh)
    check_batch(config.train, mesh)
    check_batch(config.sasrec.train, mesh)
    item_ids.check_ids(config.ids, dataset)
    text = item_text.read(config.ids, dataset, encoder)
    codes = item_ids.fit_ids(config.ids, dataset, text)
    if text is not None:
        item_text.save(text, directory)
    run.create(config, dataset, codes, directory)
    return codes


def make_model(config: Config, codes: ItemCodes) -> CausalLM:
    """Build the decoder whose vocabulary the IDs are."""
    size = IdVocabulary(codes.sizes).size
    length = 1 + (config.max_items + 1) * codes.levels
    return CausalLM(
        dataclasses.replace(
            config.model, vocab_size=size, max_length=max(config.model.max_length, length)
        )
    )


def init_function(model: CausalLM) -> Callable[[jax.Array], Any]:
    """From a key to the model's variables, with their axis names."""
    example = jnp.zeros((1, 2), jnp.int32)
    return lambda key: model.init(key, example, example == 0)


def make_recommender(config: Config, codes: ItemCodes, params: Any) -> Recommender:
    """Put model, parameters and index together."""
    return Recommender(
        model=make_model(config, codes),
        params=params,
        codes=codes,
        index=ItemIndex.build(codes),
        max_items=config.max_items,
        beams=config.decode.beams,
        batch_size=config.decode.batch_size,
        normalize=config.decode.normalize,
    )


def train(config: Config, dataset: Dataset, codes: ItemCodes, directory: Path) -> FitResult:
    """Train the decoder, or go on training it, below `directory`."""
    model, vocabulary = make_model(config, codes), IdVocabulary(codes.sizes)

    def loss(params: Any, batch: Mapping[str, jax.Array], key: jax.Array) -> Loss:
        segments = batch.get("segments")
        return id_loss(
            model, params, batch["tokens"], key, vocabulary=vocabulary, segments=segments
        )

    histories, targets = dataset.split.history("valid"), dataset.split.target("valid")
    users = valid_users(config, dataset)

    def evaluate(params: Any) -> dict[str, float]:
        recommender = dataclasses.replace(base, params=params)
        seen = [histories[user] for user in users]
        items, _ = recommender.recommend(seen, seen if config.decode.filter_seen else None)
        return average(list_metrics(items, targets[users], config.eval.ks))

    base = make_recommender(config, codes, None)
    source = training_source(dataset, directory / "data")
    batches = training_batches(config, source, vocabulary.tokens(codes.codes))
    print(batches, file=sys.stderr)
    return fit(
        init_function(model),
        loss,
        iter(batches.dataset),
        evaluate,
        config.train,
        directory,
        metric=METRIC,
        mesh_config=config.mesh,
        rules=config.sharding,
        measure=measure,
    )


def valid_users(config: Config, dataset: Dataset) -> np.ndarray:
    """Users of a validation: all, or a sample that depends on the seed alone."""
    count = config.eval.valid_users
    if not count or count >= dataset.num_users:
        return np.arange(dataset.num_users)
    chosen = np.random.default_rng(config.train.seed).choice(
        dataset.num_users, count, replace=False
    )
    return np.sort(chosen)


def load_recommender(config: Config, codes: ItemCodes, directory: Path) -> Recommender:
    """Load the best checkpoint of a run.

    Raises:
      DataError: not trained yet, or damaged.
    """
    model = make_model(config, codes)
    target = jax.eval_shape(
        lambda: make_state(
            init_function(model),
            make_optimizer(config.train),
            make_mesh(config.mesh),
            config.sharding,
            config.train,
        )
    )
    params, _ = load_params(directory / "checkpoints", METRIC, target)
    return make_recommender(config, codes, params)
