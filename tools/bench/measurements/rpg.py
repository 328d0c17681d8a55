"""The training step of RPG against the same network in PyTorch, and the mean of code embeddings.

    python tools/bench rpg [--width 128] [--levels 16] [--repeats 5]

Both sides have the same batch, sizes, dropouts and optimizer (AdamW without decay), in float32 with
one thread (`--threads`). The other side is written as the published code is: one embedding table
for all places, whose rows are averaged, and a linear layer and a cross-entropy for each place.
Turns alternate. A second table times what a step spends on the mean of code embeddings: as a take
of all places at once, as here, place by place, and as a product with a matrix of zeros and ones.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from support.header import machine_cores, print_header, require, use_threads
from support.table import Table
from support.timing import measure

from jaxrec.core import MeshConfig, ShardingRules, keep_memory, make_mesh
from jaxrec.nn import mean_of_codes
from jaxrec.objectives import Loss
from jaxrec.systems.rpg import FIXED, NetworkConfig, RpgNetwork, rpg_loss
from jaxrec.train import TrainConfig, make_optimizer, make_state, make_step


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """What to train.

    Attributes:
      width: width of the model.
      levels: codes of an ID.
      size: codes a place.
      items: items of the catalogue.
      batch: rows of a batch.
      length: items of a row.
      repeats: turns of each side.
      threads: threads of each side; 0 for all cores.
    """

    width: int = 128
    levels: int = 16
    size: int = 256
    items: int = 12_101
    batch: int = 128
    length: int = 12
    repeats: int = 5
    threads: int = 1


@dataclasses.dataclass(frozen=True)
class Shape:
    """The batch and the IDs on which both sides train.

    Attributes:
      items: `[B, 1 + T]` full histories with the item after them.
      codes: `[I, L]`.
    """

    items: np.ndarray
    codes: np.ndarray


def make_ours(options: Options, config: NetworkConfig, shape: Shape) -> Callable[[], None]:
    """Our step, as training runs it."""
    network = RpgNetwork(config, options.levels, options.size)
    codes = jnp.asarray(shape.codes, jnp.uint8)

    def loss(params: Any, batch: Any, key: jax.Array) -> Loss:
        variables = {"params": params["params"], FIXED: {"codes": codes}}
        return rpg_loss(network, variables, batch["items"], key)

    def init(key: jax.Array) -> Any:
        read = jnp.asarray(shape.codes[shape.items[:1, :-1]], jnp.int32)
        return {"params": network.init(key, read, jnp.ones(read.shape[:2], bool))["params"]}

    train = TrainConfig(lr=1e-3, warmup_steps=0, weight_decay=0.0, batch_size=options.batch)
    mesh, rules, optimizer = make_mesh(MeshConfig(data=1)), ShardingRules(), make_optimizer(train)
    state = make_state(init, optimizer, mesh, rules, train)
    batch = {"items": jnp.asarray(shape.items, jnp.int32)}
    compiled = make_step(loss, optimizer, train, mesh, rules).lower(state, batch).compile()
    held = [state]

    def step() -> None:
        held[0], metrics = compiled(held[0], batch)
        jax.block_until_ready((held[0], metrics))

    return step


def means(options: Options, shape: Shape) -> dict[str, Callable[[], jax.Array]]:
    """The gradient of the mean of code embeddings with respect to the table, in three forms."""
    levels, size, width = options.levels, options.size, options.width
    rng = np.random.default_rng(1)
    codes = jnp.asarray(shape.codes[shape.items[:, :-1].reshape(-1)], jnp.int32)
    table = jnp.asarray(rng.normal(size=(levels, size, width)), jnp.float32)
    slope = jnp.asarray(rng.normal(size=(len(codes), width)), jnp.float32)

    def at_once(table: jax.Array, codes: jax.Array) -> jax.Array:
        rows = codes + jnp.arange(levels, dtype=jnp.int32)[None] * size
        return jnp.take(table.reshape(-1, width), rows, axis=0, mode="clip").mean(1)

    def product(table: jax.Array, codes: jax.Array) -> jax.Array:
        chosen = codes[:, :, None] == jnp.arange(size, dtype=jnp.int32)[None, None]
        counts = chosen.astype(jnp.float32).reshape(len(codes), -1)
        return counts @ table.reshape(-1, width) / levels

    def timed(mean: Callable[..., jax.Array]) -> Callable[[], jax.Array]:
        def loss(table: jax.Array, codes: jax.Array, slope: jax.Array) -> jax.Array:
            return (mean(table, codes) * slope).sum()

        run = jax.jit(jax.grad(loss))
        return lambda: run(table, codes, slope)

    forms = {"at once": at_once, "place by place": mean_of_codes, "product": product}
    return {name: timed(mean) for name, mean in forms.items()}


def run(options: Options) -> Table:
    """Measure the step of both sides, and the forms of the mean."""
    require("torch")
    from support.rpg_peer import make_peer

    keep_memory()
    use_threads(options.threads)
    busy = print_header("torch")
    rng = np.random.default_rng(0)
    shape = Shape(
        rng.integers(0, options.items, (options.batch, options.length + 1)),
        rng.integers(0, options.size, (options.items, options.levels)),
    )
    config = NetworkConfig(
        width=options.width, mlp_width=4 * options.width, max_items=options.length
    )
    sides = {
        "ours": make_ours(options, config, shape),
        "theirs": make_peer(options, config, shape),
    }
    times = measure(sides, options.repeats, warmups=2)
    busy = busy or times["ours"].disturbed(machine_cores())
    ours, theirs = (times[name].typical(busy) * 1e3 for name in ("ours", "theirs"))
    cpu = min(times["theirs"].cpu) / min(times["ours"].cpu)
    print(f"step {ours:.1f} ms, PyTorch {theirs:.1f} ms: x{theirs / ours:.2f} (CPU x{cpu:.2f})")
    forms = measure(means(options, shape), options.repeats, warmups=2)
    spent = {name: side.typical(busy) * 1e3 for name, side in forms.items()}
    for name, value in spent.items():
        print(f"  mean of codes with its gradient, {name:14} {value:8.2f} ms")
    if busy:
        print("other work was running: times are of CPU time")
    return Table(
        {
            "step_ms": ours,
            "peer_ms": theirs,
            "ratio": theirs / ours,
            "cpu_ratio": cpu,
            "mean_ms": spent,
            "busy": busy,
        }
    )
