"""Which beams a search keeps: the best ones, diverse groups, or samples of two kinds.

All strategies choose among the same legal continuations (`level.candidates`). All report the
model's own log-probabilities, whatever they select by.

Shapes: `B` users, `K` beams, `W` beams kept, `M` continuations of a beam, `C` codes of the level.
"""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp

from jaxrec.core import ConfigError
from jaxrec.decode.level import Candidates, Step, TrieLevel, descend, pick
from jaxrec.decode.sampling import Sampling, filter_logits
from jaxrec.kernels import grouped_top_k

Kind = Literal["best", "diverse", "stochastic", "sample"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Strategy:
    """Which beams are kept.

    Attributes:
      kind: "best": the best beams. "diverse": `groups` of beams that avoid one another's codes
        (Vijayakumar et al. 2018, diverse beam search with Hamming distance); places that the groups
        leave empty get the best other items. "stochastic": a sample
        of items without replacement (Kool et al. 2019, stochastic beam search). "sample":
        independent samples, which may repeat.
      groups: number of groups of "diverse"; the beams are divided among them.
      strength: penalty of "diverse" in nats: what a code loses for each beam of an earlier group
        that took it. `Request.strength` replaces it for each user.
      in_turns: "diverse" lists the best item of each group, then the second of each, and so on, so
        that any beginning of the list is diverse; otherwise items are in the order of scores.
      temperature: "sample" divides the log-probabilities by it.
      top_k: "sample" draws only from the k best codes of a beam; None for all.
      top_p: "sample" draws only from the fewest codes that have this probability together, after
        `top_k`; None for all.
      free: "sample" also draws illegal codes, as from a model that knows of no catalogue; a path
        that leaves the catalogue gives no item.

    Raises:
      ConfigError: a value out of range, or a setting that the kind does not read.

    Example:
      >>> Strategy(kind="diverse", groups=5, strength=1.0).random
      False
      >>> Strategy(kind="sample", top_k=50).random
      True
    """

    kind: Kind = "best"
    groups: int = 1
    strength: float = 0.5
    in_turns: bool = False
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    free: bool = False

    def __post_init__(self) -> None:
        if self.kind not in ("best", "diverse", "stochastic", "sample"):
            raise ConfigError(
                f"no strategy {self.kind!r}; use 'best', 'diverse', 'stochastic' or 'sample'"
            )
        if self.groups < 1 or (self.groups > 1 and self.kind != "diverse"):
            raise ConfigError(
                f"strategy.groups must be at least 1, and 1 unless the kind is 'diverse'; got "
                f"{self.groups} with {self.kind!r}"
            )
        # Not a number is neither.
        if not self.strength >= 0:
            raise ConfigError(f"strategy.strength must not be negative, got {self.strength}")
        if self.in_turns and self.kind != "diverse":
            raise ConfigError(
                f"strategy.in_turns is only for the kind 'diverse', got {self.kind!r}; drop it"
            )
        if self.temperature <= 0 or (self.temperature != 1 and self.kind != "sample"):
            raise ConfigError(
                f"strategy.temperature must be positive, and 1 unless the kind is 'sample'; got "
                f"{self.temperature} with {self.kind!r}"
            )
        if self.kind != "sample" and (self.top_k, self.top_p, self.free) != (None, None, False):
            raise ConfigError(
                "strategy.top_k, strategy.top_p and strategy.free are only for the kind 'sample'; "
                f"got {self.top_k}, {self.top_p} and {self.free} with {self.kind!r}"
            )
        _ = self.sampling

    @property
    def sampling(self) -> Sampling:
        """How "sample" draws a code."""
        return Sampling(self.temperature, self.top_k, self.top_p)

    @property
    def random(self) -> bool:
        """Whether a search needs a random key."""
        return self.kind in ("stochastic", "sample")


BEST = Strategy()


def diverse_step(
    level: TrieLevel,
    node: jax.Array,
    score: jax.Array,
    each: Candidates,
    width: int,
    strategy: Strategy,
    strength: jax.Array | None = None,
) -> Step:
    """Keep `width` beams, one group after the other: `[B, W]` in the order of groups.

    A group's continuation loses `strength` for every beam of an earlier group that took the same
    code at this level. At the last level no item is taken twice.

    Args:
      level: the level of the trie.
      node: `[B, K]` states, in the order of groups, or one beam for all groups.
      score: `[B, K]` log-probabilities of the paths.
      each: continuations `[B, K, M]`.
      width: W, a multiple of the number of groups.
      strategy: number of groups and penalty.
      strength: `[B]` penalty of each user; None for that of the strategy.

    Cost a user: O(K M), and at the last level O(K M W) comparisons.
    """
    batch, beams = each.code.shape[:2]
    own, kept = max(beams // strategy.groups, 1), width // strategy.groups
    used = jnp.zeros((batch, level.size), jnp.float32)
    weight = jnp.float32(strategy.strength) if strength is None else strength[:, None]
    rows = jnp.arange(batch, dtype=jnp.int32)[:, None]
    steps: list[Step] = []
    for group in range(strategy.groups):
        first = group * own if beams > 1 else 0
        part = jax.tree.map(lambda x: x[:, first : first + own], each)  # noqa: B023
        mine, path = node[:, first : first + own], score[:, first : first + own]
        total = path[:, :, None] + part.logprob
        if level.last:
            total = jnp.where(_taken(node, steps, mine, part), -jnp.inf, total)
        flat = total.reshape(batch, -1)
        penalty = pick(used, part.code.reshape(batch, -1)) * weight
        rank, place = grouped_top_k(flat - penalty, min(kept, flat.shape[1]))
        free = ((0, 0), (0, kept - rank.shape[1]))
        place, there = jnp.pad(place, free), jnp.pad(jnp.isfinite(rank), free)
        step = descend(level, mine, part, place, jnp.where(there, pick(flat, place), -jnp.inf))
        steps.append(dataclasses.replace(step, parent=step.parent + first))
        used = used.at[rows, step.code].add(there.astype(jnp.float32))
    return jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=1), *steps)


def _taken(node: jax.Array, steps: list[Step], mine: jax.Array, part: Candidates) -> jax.Array:
    """Which continuations `[B, K, M]` an earlier group has chosen."""
    taken = jnp.zeros(part.code.shape, bool)
    for step in steps:
        # [B, K, M, W]
        same = pick(node, step.parent)[:, None, None] == mine[:, :, None, None]
        same = same & (step.code[:, None, None] == part.code[..., None])
        taken = taken | (same & (step.node >= 0)[:, None, None]).any(-1)
    return taken


def stochastic_step(
    level: TrieLevel,
    node: jax.Array,
    score: jax.Array,
    rank: jax.Array,
    each: Candidates,
    width: int,
    key: jax.Array,
) -> tuple[Step, jax.Array]:
    """Keep the beams with the largest perturbed log-probabilities: a sample without replacement.

    Let phi be the log-probability of a continuation and g ~ Gumbel(phi), conditioned on the largest
    g of a beam being the beam's own G (Kool et al. 2019, section 4.3 and appendix B.3)::

        v = G - g + log(1 - exp(g - max g))        G' = G - max(0, v) - log(1 + exp(-|v|))

    Args:
      level: the level of the trie.
      node: `[B, K]` states.
      score: `[B, K]` log-probabilities of the paths.
      rank: `[B, K]` their G; 0 at the root.
      each: continuations `[B, K, M]`, normalized over legal codes.
      width: W.
      key: typed random key.

    Returns:
      The step, in the order of G', and G' `[B, W]`.
    """
    phi = score[:, :, None] + each.logprob
    there = jnp.isfinite(phi)
    drawn = phi + jax.random.gumbel(key, phi.shape, phi.dtype)
    top = drawn.max(-1, keepdims=True)
    # Places without a continuation are overwritten below; until then they must not be NaN.
    gap = jnp.where(there, drawn - top, -1.0)
    v = jnp.where(there, rank[:, :, None] - drawn, 0.0) + jnp.log1p(-jnp.exp(gap))
    perturbed = rank[:, :, None] - jnp.maximum(v, 0.0) - jnp.log1p(jnp.exp(-jnp.abs(v)))
    perturbed = jnp.where(there, perturbed, -jnp.inf)
    flat = perturbed.reshape(perturbed.shape[0], -1)
    best, place = grouped_top_k(flat, min(width, flat.shape[1]))
    free = ((0, 0), (0, width - best.shape[1]))
    best, place = jnp.pad(best, free, constant_values=-jnp.inf), jnp.pad(place, free)
    path = jnp.where(jnp.isfinite(best), pick(phi.reshape(flat.shape), place), -jnp.inf)
    return descend(level, node, each, place, path), best


def sample_step(
    level: TrieLevel,
    node: jax.Array,
    score: jax.Array,
    each: Candidates,
    width: int,
    sampling: Sampling,
    key: jax.Array,
) -> Step:
    """Draw one continuation of every beam, or `width` of a single beam: independent paths.

    A draw is the code with the largest sum of filtered logit and Gumbel noise. A path that takes an
    illegal code is dead.

    Args:
      level: the level of the trie.
      node: `[B, K]` states.
      score: `[B, K]` log-probabilities of the paths.
      each: continuations `[B, K, M]`, legal ones only or all codes.
      width: W, equal to K unless K is 1.
      sampling: temperature, top k and top p.
      key: typed random key.
    """
    batch, beams, most = each.code.shape
    drawn = filter_logits(each.logprob, sampling)
    if beams < width:
        drawn = jnp.broadcast_to(drawn[:, :1], (batch, width, most))
    noise = jax.random.gumbel(key, drawn.shape, drawn.dtype)
    code = jnp.argmax(drawn + noise, axis=-1).astype(jnp.int32)
    parent = jnp.arange(width, dtype=jnp.int32) if beams == width else jnp.zeros(width, jnp.int32)
    parent = jnp.broadcast_to(parent[None], (batch, width))
    place = parent * most + code
    total = score[:, :, None] + each.logprob
    step = descend(level, node, each, place, pick(total.reshape(batch, -1), place))
    return dataclasses.replace(step, score=jnp.where(step.node >= 0, step.score, -jnp.inf))
