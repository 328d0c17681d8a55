"""Training and scoring of RPG's network.

Shapes: `B` batch, `H` history length, `T` items of a row, `I` items, `L` places, `C` codes a place.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.baselines import (
    Problem,
    add_to_read,
    history_tokens,
    load_baseline,
    plan_baseline,
    train_baseline,
)
from jaxrec.core import DataError
from jaxrec.data import Buckets, Dataset, Encode, Windows, bucketed_batches
from jaxrec.decode import code_scores
from jaxrec.eval import average
from jaxrec.ids import ItemCodes, pad_items
from jaxrec.objectives import Loss
from jaxrec.runs import METRIC, rank_users, run_identity
from jaxrec.systems.rpg.config import RpgConfig
from jaxrec.systems.rpg.network import FIXED, RpgNetwork, next_codes, rpg_loss
from jaxrec.systems.rpg.repeats import repeat_bias
from jaxrec.train import FitResult, Plan, Start, Validation

# Users of the validations during training, drawn by the seed of training and this word.
_DRAW = 0x29


def make_network(config: RpgConfig) -> RpgNetwork:
    """Return the network of a run."""
    return RpgNetwork(config.model, config.codes.levels, config.codes.size)


def scores(network: RpgNetwork, variables: Any, batch: Mapping[str, jax.Array]) -> jax.Array:
    """Score every item: a batch with "history" `[B, H]`, padded with -1, to `[B, I]` float32."""
    history, codes = jnp.asarray(batch["history"]), variables[FIXED]["codes"]
    found = code_scores(next_codes(network, variables, history), codes)
    if not network.config.repeat_bias:
        return found
    tokens = history_tokens(history, network.config.max_items, len(codes))
    return add_to_read(found, tokens, repeat_bias(variables["params"], network.levels))


def fit(config: RpgConfig, dataset: Dataset, codes: ItemCodes, directory: Path) -> FitResult:
    """Train in `directory`, or resume the training there.

    Raises:
      DataError: no user has two training items.
    """
    network = make_network(config)
    score = jax.jit(functools.partial(scores, network))
    users = _validated(config, dataset)

    def validate(variables: Any) -> dict[str, float]:
        scored = functools.partial(score, variables)
        ranked = rank_users(scored, dataset, "valid", config.decode, config.eval.ks, users)
        return average(ranked)

    return train_baseline(
        _problem(config, dataset, codes),
        config.train,
        Validation(validate, METRIC, (len(users), "user")),
        directory,
        Start(run=run_identity(directory)),
    )


def plan(config: RpgConfig, dataset: Dataset, codes: ItemCodes) -> Plan:
    """Plan the training, without allocating anything.

    Raises:
      DataError: no user has two training items.
    """
    return plan_baseline(_problem(config, dataset, codes), config.train)[0]


def load_variables(config: RpgConfig, codes: ItemCodes, directory: Path) -> Any:
    """Read the variables of the best checkpoint.

    Raises:
      DataError: not trained yet, damaged, or of another model.
    """
    start = Start(run=run_identity(directory))
    network, fixed = make_network(config), _fixed(codes)
    return load_baseline(network, _example(config), fixed, config.train, directory, start)


def _validated(config: RpgConfig, dataset: Dataset) -> np.ndarray:
    """Numbers of the users of a validation."""
    count = config.eval.validated(dataset.num_users)
    rng = np.random.default_rng([config.train.seed, _DRAW])
    return np.sort(rng.choice(dataset.num_users, count, replace=False))


def _fixed(codes: ItemCodes) -> dict[str, Any]:
    small = np.uint8 if max(codes.sizes) <= 256 else np.int32
    return {"codes": codes.codes.astype(small)}


def _example(config: RpgConfig) -> tuple[jax.ShapeDtypeStruct, ...]:
    shape = (1, config.model.max_items)
    codes = jax.ShapeDtypeStruct((*shape, config.codes.levels), jnp.int32)
    return codes, jax.ShapeDtypeStruct(shape, jnp.bool_)


def _problem(config: RpgConfig, dataset: Dataset, codes: ItemCodes) -> Problem:
    """The network, its loss and its batches."""
    # A row has no token before its first item, so a single item predicts nothing.
    histories = [items for items in dataset.split.train.sequences() if len(items) > 1]
    if not histories:
        raise DataError(
            f"{dataset.interactions.name}: no user has two training items, and RPG learns from "
            "pairs of an item and the next one; the last two items of each user are held out, so "
            "users need at least four interactions"
        )
    longest = config.model.max_items + 1
    windows = Windows.of(histories, length=longest, seed=config.train.seed)
    network = make_network(config)

    def loss(variables: Any, batch: Mapping[str, jax.Array], key: jax.Array) -> Loss:
        return rpg_loss(network, variables, batch["items"], key)

    def padded_to(length: int) -> Encode:
        def encode(items: np.ndarray, rng: np.random.Generator) -> Mapping[str, np.ndarray]:
            del rng
            return {"items": pad_items([items], length)[0]}

        return encode

    rows, multiple = config.train.batch_size, config.train.accumulate * jax.device_count()
    buckets = Buckets.of(windows, count=config.model.buckets, batch_size=rows, multiple=multiple)
    return Problem(
        title="rpg",
        model=network,
        example=_example(config),
        loss=loss,
        batches=bucketed_batches(buckets, encode=padded_to),
        shapes=[
            {"items": jax.ShapeDtypeStruct(size, jnp.int32)}
            for size in zip(buckets.rows, buckets.lengths, strict=True)
        ],
        fixed=_fixed(codes),
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Trained:
    """The network of a run with its variables.

    Attributes:
      network: the network.
      variables: as `fit` returned them.
    """

    network: RpgNetwork
    variables: Any

    @property
    def codes(self) -> jax.Array:
        """The IDs of all items, `[I, L]`."""
        return self.variables[FIXED]["codes"]

    @property
    def parameters(self) -> int:
        """Number of trained numbers."""
        return sum(leaf.size for leaf in jax.tree.leaves(self.variables["params"]))

    @functools.cached_property
    def score(self) -> Callable[[Mapping[str, Any]], jax.Array]:
        """The function from a batch to scores of all items."""
        return functools.partial(jax.jit(functools.partial(scores, self.network)), self.variables)
