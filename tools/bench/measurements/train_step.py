"""Forward pass and training step against Hugging Face in PyTorch, side by side in one process.

    python tools/bench train_step [--rows t5,llama] [--repeats 5] [--decoder 80] [--compile]
    python tools/bench train_step --preset h100      # 1B Llama at 2,048 tokens in bfloat16

Both sides have the same configuration, float32, one thread (`--threads`), AdamW, and a process that
keeps its freed memory as `jaxrec train` does (--no-keep for one that does not). Turns alternate, so
that a busy machine slows both sides; quote ratios of medians. A step is forward, backward and
update. The forward pass is without dropout and gradients, and ends with the loss. If JAX has an
accelerator, the share of its measured matrix-product peak is printed too (MFU). The last line has
the tokens/s of the training step.
"""

import dataclasses
import gc
import sys
from typing import Any, Literal

import jax
import jax.numpy as jnp
from support.header import (
    choose,
    machine_cores,
    print_header,
    require,
    require_accelerator,
    use_threads,
)
from support.table import Table
from support.timing import matmul_peak, measure, timed
from support.train_rows import LLAMA, TRAIN, Row, flops_of, rows_of

from jaxrec.core import MeshConfig, ShardingRules, keep_memory, make_mesh
from jaxrec.models import CausalLM, EncoderDecoder
from jaxrec.nn import SelfContext, attention_mask, positions_of
from jaxrec.objectives import Loss
from jaxrec.train import make_optimizer, make_state, make_step


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """What to train.

    Attributes:
      rows: names of rows, separated by commas; empty for all of the preset.
      repeats: turns of each side.
      threads: threads of each side; 0 for all cores.
      batch: sequences; 256 for T5 and 16 for the others by default.
      decoder: target tokens of T5.
      vocab: vocabulary of T5; that of the others is 8,192.
      compile: use `torch.compile` for the peer.
      peer: measure Hugging Face too, which needs PyTorch.
      forward: time the forward pass too.
      depths: measure the compile times at two depths.
      preset: which rows: those that a CPU can measure, or that of one H100.
      keep: keep freed memory in the process, as `jaxrec train` does.
    """

    rows: str = ""
    repeats: int = 5
    threads: int = 1
    batch: int | None = None
    decoder: int = 8
    vocab: int = 8192
    compile: bool = False
    peer: bool = True
    forward: bool = True
    depths: bool = True
    preset: Literal["cpu", "h100"] = "cpu"
    keep: bool = True


class Ours:
    """Our model in the step of `make_step`, which `jaxrec train` runs."""

    def __init__(self, row: Row) -> None:
        arrays = tuple(map(jnp.asarray, row.arrays()))
        model = (EncoderDecoder if row.decoder else CausalLM)(row.config)

        def loss(params: Any, batch: tuple[jax.Array, ...], key: jax.Array | None) -> Loss:
            *source, labels = batch
            rngs = None if key is None else {"dropout": key}

            def run(*arguments: Any, method: str, **options: Any) -> Any:
                return model.apply(params, *arguments, method=method, rngs=rngs, **options)

            # T5 starts the decoder with token 0; a causal model reads what it predicts.
            inputs = jnp.pad(labels[:, :-1], ((0, 0), (1, 0))) if source else labels
            there = jnp.ones(inputs.shape, bool)
            context, read = SelfContext(attention_mask(there), causal=True), ()
            if source:
                seen = jnp.ones(source[0].shape, bool)
                states = run(source[0], seen, key is None, method="encode")
                read = (run(states, method="memory"), seen)
            hidden, _ = run(
                inputs,
                positions_of(there),
                context,
                *read,
                deterministic=key is None,
                method="hidden",
            )
            weights = jnp.ones(labels.shape, jnp.float32)
            if not source:
                labels, weights = jnp.roll(labels, -1, 1), weights.at[:, -1].set(0.0)
            return Loss(run(hidden, labels, weights, method="loss"), weights.sum(), {})

        def init(key: jax.Array) -> Any:
            seen = [y for x in arrays for y in (x[:1], jnp.ones((1, x.shape[1]), bool))]
            return model.init(key, *seen)

        mesh, rules = make_mesh(MeshConfig(data=1)), ShardingRules()
        train = dataclasses.replace(TRAIN, batch_size=row.batch)
        optimizer = make_optimizer(train)
        self.batch = arrays
        self.state = make_state(init, optimizer, mesh, rules, train)
        self.size = sum(x.size for x in jax.tree.leaves(self.state.params))
        step = make_step(loss, optimizer, train, mesh, rules)
        self.compile_seconds, self._step = timed(
            lambda: step.lower(self.state, self.batch).compile()
        )
        self._forward = jax.jit(lambda params, batch: loss(params, batch, None).total)

    def forward(self) -> None:
        self._forward(self.state.params, self.batch).block_until_ready()

    def step(self) -> None:
        self.state, metrics = self._step(self.state, self.batch)
        jax.block_until_ready((self.state, metrics))


def compile_times() -> dict[str, float]:
    """Seconds from Python to executable, of the training step of a small Llama at two depths."""
    spent: dict[int, float] = {}
    for depth in (4, 24):
        config = dataclasses.replace(LLAMA, width=64, num_heads=2, mlp_width=128, depth=depth)
        row = Row(name="compile", family="llama", config=config, batch=2, length=64)
        spent[depth] = min(fresh(row) for _ in range(2))
    ratio = spent[24] / spent[4]
    print(f"compile time: 4 layers {spent[4]:.2f} s, 24 layers {spent[24]:.2f} s, x{ratio:.2f}")
    return {"4": spent[4], "24": spent[24], "ratio": ratio}


def fresh(row: Row) -> float:
    """Seconds of a compilation for which nothing is cached."""
    jax.clear_caches()
    return Ours(row).compile_seconds


def run_row(row: Row, options: Options, peer: bool, peak: float | None) -> dict[str, Any]:
    """Measure one row and print it."""
    c = row.config
    ours = Ours(row)
    shape = f"{row.batch} x {row.length}" + (f" + {row.decoder}" if row.decoder else "")
    print(
        f"\n{row.name}: {ours.size / 1e6:.1f}M parameters, {shape} tokens, width {c.width}, "
        f"MLP {c.mlp_hidden}, {c.num_heads} heads of {c.head_width}, depth {c.depth}, "
        f"vocabulary {c.vocab_size}, dropout {c.dropout}, {c.dtype}; "
        f"compiled in {ours.compile_seconds:.1f} s"
    )
    runs = {"forward ours": ours.forward, "step ours": ours.step}
    if peer:
        from support.train_peer import Theirs

        theirs = Theirs(row, options.compile)
        if theirs.size != ours.size:
            sys.exit(f"{row.name}: {ours.size} parameters of ours, {theirs.size} of the peer")
        runs = {
            "forward ours": ours.forward,
            "forward peer": theirs.forward,
            "step ours": ours.step,
            "step peer": theirs.step,
        }
    if not options.forward:
        runs = {name: run for name, run in runs.items() if name.startswith("step")}
    # The heap that both sides share needs a few turns to reach its size.
    times = measure(runs, options.repeats, warmups=3)
    rates = {name: row.tokens / t.median for name, t in times.items()}
    for kind in sorted({name.split()[0] for name in runs}):
        line = f"  {kind:8} ours {rates[f'{kind} ours']:9,.0f} tokens/s"
        if peer:
            a, b = times[f"{kind} ours"], times[f"{kind} peer"]
            line += (
                f"   peer {rates[f'{kind} peer']:9,.0f}   "
                f"x{b.median / a.median:.2f} "
                f"(fastest x{min(b.wall) / min(a.wall):.2f}, "
                f"CPU time x{min(b.cpu) / min(a.cpu):.2f})"
            )
        print(line, flush=True)
    mine, other = rates["step ours"], rates.get("step peer")
    result = {"name": row.name, "ours": mine, "peer": other}
    result["ratio"] = None if other is None else mine / other
    result["busy"] = times["step ours"].disturbed(machine_cores())
    if peak:
        result["mfu"] = flops_of(row) * mine / row.tokens / peak
        print(f"  {result['mfu']:.1%} of the peak in the training step")
    gc.collect()
    return result


def run(options: Options) -> Table:
    """Measure the chosen rows, and the compile times."""
    if options.keep:
        keep_memory()
    accelerated = require_accelerator(options.preset)
    peer = options.peer and options.preset == "cpu"
    available = rows_of(options.preset, options.batch, options.decoder, options.vocab)
    chosen = choose(options.rows, [row.name for row in available])
    jax.config.update("jax_enable_compilation_cache", False)
    if peer:
        require("torch", "transformers", otherwise=", or pass --no-peer to measure ours alone")
        import torch  # noqa: F401, `use_threads` sets its threads
    use_threads(0 if accelerated else options.threads)
    busy = print_header(*(("torch", "transformers") if peer else ()))
    peak = matmul_peak() if accelerated else None
    if peak:
        print(f"bfloat16 products: {peak / 1e12:.0f} TFLOP/s")
    rows = [row for row in available if row.name in chosen]
    record: dict[str, Any] = {"rows": [run_row(row, options, peer, peak) for row in rows]}
    busy = busy or any(row.pop("busy") for row in record["rows"])
    record["busy"] = busy
    if busy:
        print("other work was running: quote no ratio from this run")
    if options.depths:
        record["compile"] = compile_times()
    return Table(record)
