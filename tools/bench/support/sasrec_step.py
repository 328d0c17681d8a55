"""Our SASRec in the training step of the baselines, in the interface of the timing."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from jaxrec.baselines import SasrecConfig, make_model, prediction_losses, sequence_loss
from jaxrec.core import MeshConfig, ShardingRules, make_mesh
from jaxrec.objectives import Loss
from jaxrec.train import make_optimizer, make_state, make_step
from support.sasrec_batch import Shape

# Number of tokens before the first item.
_FIRST = 2


class Ours:
    """Our model in the step of `make_step`, with which the baselines train."""

    def __init__(self, config: SasrecConfig, shape: Shape, last: bool = False) -> None:
        model = make_model(config, shape.items)
        batch = {"tokens": jnp.asarray(shape.histories() + _FIRST, jnp.int32)}
        if config.objective == "bce":
            batch["negative"] = jnp.asarray(shape.negatives()[..., None], jnp.int32)
        frequency = jnp.ones(shape.items)

        def loss(params: Any, batch: Any, key: jax.Array) -> Loss:
            variables = params | {"fixed": {"frequency": frequency}}
            if not last:
                return sequence_loss(config, model, variables, batch, key)
            tokens = batch["tokens"]
            states, table, bias = model.apply(
                variables, tokens[:, :-1], None, False, rngs={"dropout": key}
            )
            losses = prediction_losses(
                config, states[:, -1], table, bias, tokens[:, -1] - _FIRST, None, frequency, key
            )
            return Loss(losses.sum(), jnp.float32(len(losses)), {})

        train = dataclasses.replace(config.train, batch_size=shape.rows)
        mesh, rules = make_mesh(MeshConfig(data=1)), ShardingRules()
        optimizer = make_optimizer(train)
        self.state = make_state(
            lambda key: model.init(key, batch["tokens"][:1, :-1]), optimizer, mesh, rules, train
        )
        self.batch = batch
        step = make_step(loss, optimizer, train, mesh, rules)
        self._step = step.lower(self.state, batch).compile()

    def step(self) -> None:
        self.state, metrics = self._step(self.state, self.batch)
        jax.block_until_ready((self.state, metrics))
