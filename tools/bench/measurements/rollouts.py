"""Rollouts of items and GRPO updates against the trainer of trl, in PyTorch.

    python tools/bench rollouts [--batch 16] [--group 16] [--repeats 5]

The same small decoder, histories, catalogue and rewards on both sides, in one process. A rollout is
a constrained beam search, the rewards and advantages of its groups, and the log-probabilities of
the reference. Theirs is made by `trl.GRPOTrainer`, whose hook for rollouts calls `generate` with
`prefix_allowed_tokens_fn` (see `support.grpo_peer`). An update is the loss of GRPO, its gradient
and a step of AdamW: ours reads a history once for all items of its group, trl once for each item.

Log-probabilities are over the whole vocabulary, as trl has them. Rows agree if both find the same
legal items with the same advantages and log-probabilities of the reference, and if losses and
log-probabilities are equal after three updates. The goal is a ratio of 5 each.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from support.catalogues import distinct_codes
from support.header import print_header, require, use_threads
from support.table import Table
from support.timing import Times, measure

from jaxrec.align import group_advantages, grpo, item_log_probs, item_tokens
from jaxrec.core import keep_memory
from jaxrec.decode import Catalogue, Prompts, SearchOptions, beam_search
from jaxrec.ids import IdVocabulary, ItemIndex, write_histories
from jaxrec.models import ModelSpec, TransformerConfig

SETTINGS = {"lr": 1e-3, "beta2": 0.999, "eps": 1e-8, "clip": 0.2, "kl": 0.04}
GOAL = 5.0
TOLERANCE = 1e-4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """What is rolled out.

    Attributes:
      batch: histories.
      group: items of each.
      history: items of a history.
      items: number of items of the catalogue.
      levels: codes of an ID.
      size: codes of a level.
      width: width of the model.
      depth: layers.
      repeats: turns of each side.
      threads: threads of each side; 0 for all cores.
    """

    batch: int = 16
    group: int = 16
    history: int = 30
    items: int = 1500
    levels: int = 3
    size: int = 64
    width: int = 64
    depth: int = 2
    repeats: int = 5
    threads: int = 1


class Ours:
    """Our rollout and our update, each one compiled program."""

    def __init__(self, options: Options, codes: np.ndarray) -> None:
        vocabulary = IdVocabulary(sizes=(options.size,) * options.levels)
        config = TransformerConfig(
            vocab_size=vocabulary.size,
            width=options.width,
            depth=options.depth,
            num_heads=2,
            max_length=256,
        )
        self.spec, self.vocabulary = ModelSpec("causal", config), vocabulary
        self.catalogue = Catalogue(ItemIndex.build(codes, vocabulary.sizes), vocabulary)
        rng = np.random.default_rng(0)
        self.params = jax.tree.map(
            lambda s: jnp.asarray(0.2 * rng.normal(size=s.shape), s.dtype),
            nn.meta.unbox(self.spec.shapes()),
        )
        lengths = rng.integers(options.history // 2, options.history + 1, options.batch)
        histories = [rng.integers(0, len(codes), length) for length in lengths]
        tokens_of = vocabulary.tokens(codes)
        self.tokens = jnp.asarray(write_histories(histories, tokens_of, options.history))
        model, search = (
            self.spec.build(),
            SearchOptions(beams=options.group, normalize="vocabulary"),
        )
        optimizer = optax.adamw(
            SETTINGS["lr"], b2=SETTINGS["beta2"], eps=SETTINGS["eps"], weight_decay=0.0
        )
        self.state = (self.params, optimizer.init(self.params))

        # Rewards that no two items share, so that groups in another order would be found out.
        self.table = np.random.default_rng(1).permutation(len(codes)).astype(np.float32) / len(
            codes
        )
        reference, table = self.params, jnp.asarray(self.table)

        def log_probs(params: Any, items: jax.Array) -> jax.Array:
            words = {"vocabulary": vocabulary, "normalize": "vocabulary"}
            return item_log_probs(model, params, self.tokens, items, **words)

        @jax.jit
        def rollout(params: Any, tokens: jax.Array) -> Any:
            found = beam_search(model, params, self.catalogue, Prompts(tokens=tokens), search)
            items = item_tokens(self.catalogue, found.items)
            advantages = group_advantages(table[found.items])
            return items, advantages, log_probs(reference, items)

        def loss(params: Any, items: jax.Array, advantages: jax.Array, reference: Any) -> Any:
            new = log_probs(params, items)
            there = jnp.ones(new.shape, bool)
            more = {"clip": SETTINGS["clip"], "beta": SETTINGS["kl"]}
            return grpo(new, advantages, there, reference=reference, **more).mean()

        @jax.jit
        def update(state: Any, *batch: jax.Array) -> Any:
            params, moments = state
            value, gradient = jax.value_and_grad(loss)(params, *batch)
            with jax.numpy_dtype_promotion("standard"):
                updates, moments = optimizer.update(gradient, moments, params)
                return (optax.apply_updates(params, updates), moments), value

        self.rollout, self.update, self.log_probs = rollout, update, jax.jit(log_probs)

    def roll(self) -> Any:
        """A rollout: items `[B, G, L]`, advantages `[B, G]`, log-probabilities of the reference."""
        return self.rollout(self.params, self.tokens)

    def step(self, batch: Any) -> jax.Array:
        """One update on a rollout; the loss before it."""
        self.state, value = self.update(self.state, *batch)
        return value


def run(options: Options) -> Table:
    """Measure both sides of a rollout and of an update."""
    require("torch", "transformers", "trl")
    use_threads(options.threads)
    keep_memory()
    busy = print_header("torch", "transformers", "trl")
    from support.grpo_peer import GrpoPeer
    from support.peers_decode import Peer

    codes = distinct_codes(options.items, options.levels, options.size, "uniform")
    ours = Ours(options, codes)
    peer = Peer(
        ours.spec,
        ours.params,
        codes,
        ours.vocabulary,
        np.asarray(ours.tokens),
        options.group,
        "vocabulary",
    )
    ids = map(tuple, ours.vocabulary.tokens(codes).tolist())
    theirs = GrpoPeer(peer, dict(zip(ids, ours.table.tolist(), strict=True)), SETTINGS)
    batch = ours.roll()
    theirs.roll()
    names = ("completion_ids", "advantages", "ref_per_token_logps")
    items, *numbers = [
        (np.asarray(cells), theirs.rolled(name)) for cells, name in zip(batch, names, strict=True)
    ]
    same_rollout = np.array_equal(*items) and all(
        np.allclose(*pair, atol=TOLERANCE, rtol=TOLERANCE) for pair in numbers
    )
    rolls = measure({"ours": ours.roll, "trl": theirs.roll}, options.repeats)
    losses = [(float(ours.step(batch)), theirs.step()) for _ in range(3)]
    now, before = ours.log_probs(ours.state[0], batch[0]), np.asarray(batch[2])
    # Without a difference the comparison would say nothing.
    assert np.abs(now - before).mean() > 10 * TOLERANCE
    same_update = bool(
        np.allclose(*np.transpose(losses), rtol=TOLERANCE, atol=TOLERANCE / 100)
        and np.allclose(now, theirs.log_probs(), atol=TOLERANCE, rtol=TOLERANCE)
    )
    steps = measure({"ours": lambda: ours.step(batch), "trl": theirs.step}, options.repeats)
    agree = {
        "rollout": same_rollout,
        "update": same_update,
    }
    rows = [
        row(name, times, busy, agree[name])
        for name, times in {"rollout": rolls, "update": steps}.items()
    ]
    lines = [
        f"{r['name']:8} ours {r['ours_ms']:9.1f} ms  trl {r['trl_ms']:9.1f} ms  ratio "
        f"{r['ratio']:6.1f}  {'rows agree' if r['rows_agree'] else 'ROWS DIFFER'}"
        for r in rows
    ]
    failures = tuple(f"{name}: both sides differ" for name, same in agree.items() if not same)
    return Table({"rows": rows, "goal": GOAL, "busy": busy}, "\n".join(lines), failures)


def row(name: str, times: dict[str, Times], busy: bool, agree: bool) -> dict[str, Any]:
    """One line of the record, in milliseconds."""
    ours, trl = (1e3 * times[side].typical(busy) for side in ("ours", "trl"))
    return {
        "name": name,
        "ours_ms": round(ours, 3),
        "trl_ms": round(trl, 3),
        "ratio": round(trl / ours, 2),
        "rows_agree": float(agree),
    }
