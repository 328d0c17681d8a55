"""Losses, shardings and collectives of training under sharding rules, as JSON.

    python tests/train/sharded_run.py '{"name": {"mesh": {...}, "rules": {...}, ...}, ...}'

Run by the tests with as many fake devices as `XLA_FLAGS` says.
"""

import dataclasses
import functools
import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxrec.core.collective_counts import collectives
from jaxrec.core.mesh import MeshConfig, ShardingRules, batch_sharding, make_mesh
from jaxrec.ids import IdVocabulary
from jaxrec.models import CausalLM, TransformerConfig
from jaxrec.objectives import id_loss, language_loss
from jaxrec.train import TrainConfig, make_optimizer, make_shapes, make_state, make_step
from jaxrec.train.step import shardings, start_state

VOCABULARY = IdVocabulary(sizes=(8, 6))
MODEL = TransformerConfig(
    vocab_size=VOCABULARY.size,
    width=16,
    depth=5,
    num_heads=4,
    mlp_width=32,
    dropout=0.1,
    attention_dropout=0.1,
    tie_embeddings=False,
    remat="full",
)
STEPS, ROWS, TOKENS = 20, 8, 16


def batches() -> list[dict[str, np.ndarray]]:
    """Histories of aligned IDs, BOS and codes of both levels in turn, some padded in front."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 6, (STEPS, ROWS, TOKENS + 1)).astype(np.int32)
    tokens[..., 1::2] += 2
    tokens[..., 2::2] += 10
    tokens[..., 0] = 1
    tokens[:, ::3, :4] = 0
    tokens[:, ::3, 4] = 1
    weights = rng.random(tokens.shape).astype(np.float32)
    return [
        {"tokens": row, "valid": row != 0, "weights": weight}
        for row, weight in zip(tokens, weights, strict=True)
    ]


@functools.cache
def first_params(module):
    example = jnp.zeros((1, 2), jnp.int32)
    variables = jax.jit(module.init)(jax.random.key(0), example, example == 0)
    # Not as arrays of JAX, which a step would be given to write over.
    return jax.device_get(nn.meta.unbox(variables))


def train(mesh, rules, objective="language", accumulate=1, model=None, draw=False):
    config = TrainConfig(
        steps=STEPS,
        batch_size=ROWS,
        accumulate=accumulate,
        lr=1e-2,
        warmup_steps=1,
        clip_norm=0.5,
        ema_decay=0.9,
    )
    module = CausalLM(dataclasses.replace(MODEL, **(model or {})))

    def loss(params, batch, key):
        if objective == "language":
            return language_loss(module, params, batch, key)
        return id_loss(module, params, batch["tokens"], key, vocabulary=VOCABULARY)

    mesh, rules = make_mesh(MeshConfig(**mesh)), ShardingRules(**rules)
    example = jnp.zeros((1, 2), jnp.int32)
    init = lambda key: module.init(key, example, example == 0)  # noqa: E731
    optimizer = make_optimizer(config)
    shapes = make_shapes(init, optimizer, mesh, rules, config)
    place, data = batch_sharding(mesh, rules), batches()
    if read_only := module.config.read_only:
        # Rows that are not padded begin with a token of their own that is only read.
        for row in range(1, ROWS, 3):
            for batch in data:
                batch["tokens"][row : row + 2, 0] = module.config.vocab_size - read_only + row
    step = make_step(loss, optimizer, config, mesh, rules, out_shardings=shardings(shapes))
    put = [jax.device_put(batch, place) for batch in data]
    compiled = step.lower(shapes, put[0]).compile()
    # Drawn for one device: compiling that for every mesh takes longer than to train.
    params = jax.device_put(first_params(module), shardings(shapes.params))
    state, losses = start_state(params, optimizer, shapes), []
    if draw:
        drawn = make_state(init, optimizer, mesh, rules, config).params
        jax.tree.map(np.testing.assert_array_equal, drawn, params)
    for batch in put:
        state, found = compiled(state, batch)
        losses.append(float(found["loss"]))
    leaves = jax.tree_util.tree_leaves_with_path((state.params, state.measured))
    return {
        "devices": mesh.size,
        "losses": losses,
        "params": {jax.tree_util.keystr(p): np.asarray(x).ravel().tolist() for p, x in leaves},
        "pieces": {
            jax.tree_util.keystr(path, simple=True, separator="/"): [
                list(leaf.shape),
                list(leaf.addressable_shards[0].data.shape),
            ]
            for path, leaf in jax.tree_util.tree_leaves_with_path(state)
        },
        "dtypes": sorted({str(x.dtype) for x in jax.tree.leaves((state.params, state.opt_state))}),
        "collectives": [dataclasses.asdict(x) for x in collectives(compiled.as_text())],
    }


if __name__ == "__main__":
    jax.config.update("jax_numpy_dtype_promotion", "strict")
    jax.config.update("jax_numpy_rank_promotion", "raise")
    runs = json.loads(sys.argv[1])
    print(json.dumps({name: train(**run) for name, run in runs.items()}))
