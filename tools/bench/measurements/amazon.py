"""The training steps of SASRec and RPG on Amazon Beauty against the same networks in PyTorch.

    python tools/bench amazon [--rows sasrec,rpg,means] [--repeats 5]

The sizes are those of `amazon/sasrec` and `amazon/rpg`, with a batch of `--batch` rows of one
length. Both sides of a row have the same batch, sizes and dropouts, and AdamW, in float32 with one
thread (`--threads`); neither has the bias of items that were read. Turns alternate. A ratio above 1
means that ours is faster.

sasrec  one block of the original, and a softmax over the target and 1,024 random items
rpg     written in PyTorch as the published code is: one embedding table for all places, whose rows
        are averaged, and a linear layer and a cross-entropy for each place
means   what a step of RPG spends on the mean of code embeddings with its gradient: as a take of all
        places at once, as here, place by place, and as a product with a matrix of zeros and ones
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from support import sasrec_batch
from support.header import choose, machine_cores, print_header, require, use_threads
from support.sasrec_step import Ours
from support.table import Table
from support.timing import measure

from jaxrec.baselines import SasrecConfig
from jaxrec.core import MeshConfig, ShardingRules, keep_memory, make_mesh
from jaxrec.nn import mean_of_codes
from jaxrec.objectives import Loss
from jaxrec.systems.rpg import FIXED, NetworkConfig, RpgNetwork, rpg_loss
from jaxrec.train import TrainConfig, make_optimizer, make_state, make_step

ROWS = ("sasrec", "rpg", "means")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """What to train.

    Attributes:
      rows: names of rows, separated by commas.
      width: width of the models.
      levels: codes of an ID.
      size: codes a place.
      items: items of the catalogue.
      batch: rows of a batch.
      length: items of a row.
      repeats: turns of each side.
      threads: threads of each side; 0 for all cores.
    """

    rows: str = ",".join(ROWS)
    width: int = 128
    levels: int = 16
    size: int = 256
    items: int = 12_101
    batch: int = 128
    length: int = 12
    repeats: int = 5
    threads: int = 1


@dataclasses.dataclass(frozen=True)
class Coded:
    """The batch and the IDs on which both sides of RPG train.

    Attributes:
      items: `[B, 1 + T]` full histories with the item after them.
      codes: `[I, L]`.
    """

    items: np.ndarray
    codes: np.ndarray


def batch_of(options: Options) -> Coded:
    """Random histories, and random IDs."""
    rng = np.random.default_rng(0)
    return Coded(
        rng.integers(0, options.items, (options.batch, options.length + 1)),
        rng.integers(0, options.size, (options.items, options.levels)),
    )


def make_ours(options: Options, config: NetworkConfig, shape: Coded) -> Callable[[], None]:
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


def means(options: Options, shape: Coded) -> dict[str, Callable[[], jax.Array]]:
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


def rpg_sides(options: Options) -> dict[str, Callable[[], None]]:
    """Both sides of RPG's step."""
    from support.rpg_peer import make_peer

    shape = batch_of(options)
    config = NetworkConfig(width=options.width, mlp_width=512, max_items=options.length)
    return {
        "ours": make_ours(options, config, shape),
        "theirs": make_peer(options, config, shape),
    }


def sasrec_sides(options: Options) -> dict[str, Callable[[], None]]:
    """Both sides of SASRec's step."""
    from support.sasrec_peers import make_peer

    shape = sasrec_batch.Shape(options.batch, options.length, options.items)
    config = SasrecConfig(
        width=options.width,
        max_items=options.length,
        blocks="sasrec",
        depth=1,
        num_heads=1,
        dropout=0.5,
        attention_dropout=0.2,
        objective="sampled_softmax",
        negatives=1024,
        train=TrainConfig(lr=1e-3, warmup_steps=0, weight_decay=0.0, clip_norm=0.0),
    )
    return {
        "ours": Ours(config, shape).step,
        "theirs": make_peer("sampled", config, shape).step,
    }


def run(options: Options) -> Table:
    """Measure the chosen rows."""
    names = choose(options.rows, list(ROWS))
    require("torch")
    keep_memory()
    use_threads(options.threads)
    busy = print_header("torch")
    rows: dict[str, Any] = {}
    for name, sides in {"sasrec": sasrec_sides, "rpg": rpg_sides}.items():
        if name not in names:
            continue
        times = measure(sides(options), options.repeats, warmups=2)
        busy = busy or times["ours"].disturbed(machine_cores())
        ours, theirs = (times[side].typical(busy) * 1e3 for side in ("ours", "theirs"))
        cpu = min(times["theirs"].cpu) / min(times["ours"].cpu)
        rows[name] = {
            "step_ms": ours,
            "peer_ms": theirs,
            "ratio": theirs / ours,
            "cpu_ratio": cpu,
        }
        print(
            f"{name:7} step {ours:.1f} ms, PyTorch {theirs:.1f} ms: x{theirs / ours:.2f} "
            f"(CPU x{cpu:.2f})",
            flush=True,
        )
    if "means" in names:
        forms = measure(means(options, batch_of(options)), options.repeats, warmups=2)
        rows["means"] = {name: side.typical(busy) * 1e3 for name, side in forms.items()}
        for name, value in rows["means"].items():
            print(f"mean of codes with its gradient, {name:14} {value:8.2f} ms")
    if busy:
        print("other work was running: times are of CPU time")
    return Table(rows | {"busy": busy})
