"""Forward pass and training step against Hugging Face in PyTorch, side by side in one process.

    python tools/bench/train_step.py [--rows t5,llama] [--repeats 5] [--decoder 80] [--compile]
    python tools/bench/train_step.py --preset h100      # 1B Llama at 2,048 tokens in bf16

Both sides have the same configuration, float32, all cores, AdamW, and a process that keeps its
freed memory as `jaxrec train` does (--no-keep for one that does not). Turns alternate, so that a
busy machine slows both, and ratios of medians are what to quote. A step is forward, backward and
update; the forward pass is without dropout and gradients and ends with the loss. Where JAX has an
accelerator the share of its measured matrix-product peak is printed too (MFU). Ends with one JSON
line: tokens/s of the training step.
"""

import argparse
import dataclasses
import gc
import importlib.util
import json
import statistics
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from decode_rows import T5
from timing import cores, environment, matmul_peak, measure

from jaxrec.core import MeshConfig, ShardingRules, keep_memory, make_mesh
from jaxrec.models import CausalLM, EncoderDecoder, TransformerConfig
from jaxrec.nn import SelfContext, attention_mask, positions_of
from jaxrec.objectives import Loss
from jaxrec.train import TrainConfig, make_optimizer, make_state, make_step

LR, DECAY, BETA2 = 1e-3, 0.1, 0.98
TRAIN = TrainConfig(lr=LR, warmup_steps=0, weight_decay=DECAY, beta2=BETA2, clip_norm=0.0)

LLAMA = TransformerConfig(width=384, depth=10, num_heads=6, mlp_width=1024, norm_eps=1e-6)
GPT2 = TransformerConfig(
    width=384,
    depth=10,
    num_heads=6,
    norm="layer",
    norm_eps=1e-5,
    positions="learned",
    activation="gelu_tanh",
    gated=False,
    qkv_bias=True,
    out_bias=True,
    mlp_bias=True,
)
# 1.0B parameters without the embedding, the shape of Llama 3.2 1B with its own vocabulary.
LLAMA_1B = TransformerConfig(
    vocab_size=32_768,
    width=2048,
    depth=16,
    num_heads=32,
    num_kv_heads=8,
    mlp_width=8192,
    rope_theta=500_000.0,
    dtype="bfloat16",
    remat="full",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table: a model and the shape of its batch (`decoder` 0 without one)."""

    name: str
    family: str
    config: TransformerConfig
    batch: int
    length: int
    decoder: int = 0

    @property
    def tokens(self) -> int:
        """Tokens a step, of the encoder and of the decoder."""
        return self.batch * (self.length + self.decoder)

    def arrays(self) -> tuple[np.ndarray, ...]:
        """Random tokens `[batch, length]`, and `[batch, decoder]` where there is a decoder."""
        rng = np.random.default_rng(0)
        lengths = [self.length, self.decoder] if self.decoder else [self.length]
        return tuple(
            rng.integers(2, self.config.vocab_size, (self.batch, n), np.int32) for n in lengths
        )


def rows_of(options: argparse.Namespace) -> list[Row]:
    if options.preset == "h100":
        return [
            Row(
                name="llama-1b",
                family="llama",
                config=LLAMA_1B,
                batch=options.batch or 8,
                length=2048,
            )
        ]
    vocab, half = options.vocab, dataclasses.replace
    t5 = half(T5, vocab_size=vocab)
    llama, gpt2 = half(LLAMA, vocab_size=8192), half(GPT2, vocab_size=8192, max_length=512)
    dropped = {"dropout": 0.1, "attention_dropout": 0.1}
    pairs = {"batch": options.batch or 256, "length": 80, "decoder": options.decoder}
    plain = {"batch": options.batch or 16, "length": 512}
    return [
        Row(name="t5", family="t5", config=t5, **pairs),
        Row(name="t5-dropout", family="t5", config=half(t5, mlp_dropout=0.1, **dropped), **pairs),
        Row(name="llama", family="llama", config=llama, **plain),
        Row(name="gpt2", family="gpt2", config=gpt2, **plain),
        Row(name="gpt2-dropout", family="gpt2", config=half(gpt2, **dropped), **plain),
    ]


class Ours:
    """Our model in `make_step`, the step that `jaxrec train` runs."""

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
        begin = time.perf_counter()
        self._step = step.lower(self.state, self.batch).compile()
        self.compile_seconds = time.perf_counter() - begin
        self._forward = jax.jit(lambda params, batch: loss(params, batch, None).total)

    def forward(self) -> None:
        self._forward(self.state.params, self.batch).block_until_ready()

    def step(self) -> None:
        self.state, metrics = self._step(self.state, self.batch)
        jax.block_until_ready((self.state, metrics))


class Theirs:
    """The same model of Hugging Face, with its default attention and PyTorch's fused AdamW."""

    def __init__(self, row: Row, compiled: bool) -> None:
        import torch

        self.torch, self.row = torch, row
        torch.manual_seed(0)
        self.model = peer_of(row)
        self.size = sum(p.numel() for p in self.model.parameters())
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), LR, (0.9, BETA2), weight_decay=DECAY, fused=True
        )
        arrays = [torch.tensor(x, dtype=torch.long) for x in row.arrays()]
        self.batch = {"input_ids": arrays[0], "labels": arrays[-1], "use_cache": False}
        self.run = torch.compile(self.model) if compiled else self.model

    def forward(self) -> None:
        self.model.eval()
        with self.torch.inference_mode():
            self.run(**self.batch).loss.item()

    def step(self) -> None:
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        self.run(**self.batch).loss.backward()
        self.optimizer.step()


def peer_of(row: Row) -> Any:
    import transformers

    c = row.config
    if row.family == "t5":
        return transformers.T5ForConditionalGeneration(
            transformers.T5Config(
                vocab_size=c.vocab_size,
                d_model=c.width,
                d_kv=c.head_width,
                d_ff=c.mlp_hidden,
                num_layers=c.depth,
                num_heads=c.num_heads,
                dropout_rate=c.dropout,
                feed_forward_proj=c.activation,
                decoder_start_token_id=0,
            )
        )
    if row.family == "llama":
        return transformers.LlamaForCausalLM(
            transformers.LlamaConfig(
                vocab_size=c.vocab_size,
                hidden_size=c.width,
                intermediate_size=c.mlp_hidden,
                num_hidden_layers=c.depth,
                num_attention_heads=c.num_heads,
                num_key_value_heads=c.kv_heads,
                rms_norm_eps=c.norm_eps,
                rope_parameters={"rope_type": "default", "rope_theta": c.rope_theta},
                tie_word_embeddings=True,
            )
        )
    return transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=c.vocab_size,
            n_positions=c.max_length,
            n_embd=c.width,
            n_layer=c.depth,
            n_head=c.num_heads,
            embd_pdrop=c.dropout,
            resid_pdrop=c.dropout,
            attn_pdrop=c.attention_dropout,
            bos_token_id=0,
            eos_token_id=0,
        )
    )


def flops_of(row: Row) -> float:
    """Floating-point operations of a training step: PaLM's count (Chowdhery et al. 2022, app. B).

    Six a weight and token, and 12 N H S T a layer of attention, recomputation not counted.
    """
    c = row.config
    heads, kv = c.num_heads * c.head_width, c.kv_heads * c.head_width
    mlp = (3 if c.gated else 2) * c.width * c.mlp_hidden
    block = 2 * c.width * (heads + kv) + mlp
    targets, sources = row.decoder or row.length, row.length if row.decoder else 0
    weights = targets * (c.depth * block + c.width * c.vocab_size)
    scores = c.depth * targets * (targets + sources)
    if sources:
        depth = c.encoder.depth
        weights += sources * (depth * block + c.depth * 2 * c.width * kv)
        weights += targets * c.depth * 2 * c.width * heads
        scores += depth * sources * sources
    return row.batch * (6.0 * weights + 12.0 * heads * scores)


def compile_times() -> dict[str, float]:
    """Seconds from Python to executable of a small Llama's training step, at two depths."""
    spent: dict[int, float] = {}
    for depth in (4, 24):
        config = dataclasses.replace(LLAMA, width=64, num_heads=2, mlp_width=128, depth=depth)
        row = Row(name="compile", family="llama", config=config, batch=2, length=64)
        spent[depth] = min(fresh(row) for _ in range(2))
    ratio = spent[24] / spent[4]
    print(f"compile time: 4 layers {spent[4]:.2f} s, 24 layers {spent[24]:.2f} s, x{ratio:.2f}")
    return {"4": spent[4], "24": spent[24], "ratio": ratio}


def fresh(row: Row) -> float:
    jax.clear_caches()
    return Ours(row).compile_seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", help="names, separated by commas; all by default")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batch", type=int, help="sequences; 256 for T5, 16 for the others")
    parser.add_argument("--decoder", type=int, default=8, help="target tokens of T5")
    parser.add_argument("--vocab", type=int, default=8192, help="of T5; the others have 8,192")
    parser.add_argument("--compile", action="store_true", help="torch.compile the peer")
    parser.add_argument("--no-peer", action="store_true", help="ours alone, without PyTorch")
    parser.add_argument("--no-forward", action="store_true", help="time the training step alone")
    parser.add_argument("--no-depths", action="store_true", help="skip the compile times")
    parser.add_argument("--preset", choices=["cpu", "h100"], default="cpu")
    parser.add_argument("--no-keep", action="store_true", help="give freed memory back")
    options = parser.parse_args()
    if not options.no_keep:
        keep_memory()
    accelerated = jax.default_backend() != "cpu"
    if options.preset == "h100" and not accelerated:
        sys.exit("--preset h100 needs an accelerator; JAX found only a CPU here")
    peer = not options.no_peer and options.preset == "cpu"
    missing = [m for m in ("torch", "transformers") if importlib.util.find_spec(m) is None]
    if peer and missing:
        sys.exit(
            f"the peer needs {' and '.join(missing)}: pip install {' '.join(missing)}, "
            "or pass --no-peer to measure ours alone"
        )
    jax.config.update("jax_enable_compilation_cache", False)
    if peer:
        import torch

        torch.set_num_threads(cores())
    environment(peer)
    rows = rows_of(options)
    if options.rows:
        chosen = options.rows.split(",")
        names = [row.name for row in rows]
        if unknown := set(chosen) - set(names):
            sys.exit(f"no row {', '.join(sorted(unknown))}; rows: {', '.join(names)}")
        rows = [row for row in rows if row.name in chosen]
    peak = matmul_peak() if accelerated else None
    if peak:
        print(f"bfloat16 products: {peak / 1e12:.0f} TFLOP/s")
    results = [run_row(row, options, peer, peak) for row in rows]
    found: dict[str, Any] = {"rows": results}
    if not options.no_depths:
        found["compile"] = compile_times()
    print(json.dumps(found))


def run_row(row: Row, options: argparse.Namespace, peer: bool, peak: float | None) -> dict:
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
        theirs = Theirs(row, options.compile)
        if theirs.size != ours.size:
            sys.exit(f"{row.name}: {ours.size} parameters of ours, {theirs.size} of the peer")
        runs = {
            "forward ours": ours.forward,
            "forward peer": theirs.forward,
            "step ours": ours.step,
            "step peer": theirs.step,
        }
    if options.no_forward:
        runs = {name: run for name, run in runs.items() if name.startswith("step")}
    # The heap that both sides share takes a few turns to reach its size.
    times = measure(runs, options.repeats, warmups=3)
    rates = {name: row.tokens / statistics.median(t.wall) for name, t in times.items()}
    for kind in sorted({name.split()[0] for name in runs}):
        line = f"  {kind:8} ours {rates[f'{kind} ours']:9,.0f} tokens/s"
        if peer:
            a, b = times[f"{kind} ours"], times[f"{kind} peer"]
            line += (
                f"   peer {rates[f'{kind} peer']:9,.0f}   "
                f"x{statistics.median(b.wall) / statistics.median(a.wall):.2f} "
                f"(fastest x{min(b.wall) / min(a.wall):.2f}, "
                f"CPU time x{min(b.cpu) / min(a.cpu):.2f})"
            )
        print(line, flush=True)
    mine, other = rates["step ours"], rates.get("step peer")
    result = {"name": row.name, "ours": mine, "peer": other}
    result["ratio"] = None if other is None else mine / other
    if peak:
        result["mfu"] = flops_of(row) * mine / row.tokens / peak
        print(f"  {result['mfu']:.1%} of the peak in the training step")
    gc.collect()
    return result


if __name__ == "__main__":
    main()
