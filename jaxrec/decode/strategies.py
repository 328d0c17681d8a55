"""Other ways to keep beams than the best ones: diverse groups, and samples of two kinds.

All draw from the same legal continuations (`search.candidates`), and all report the model's own
log-probabilities, whatever they select by.

Shapes: `B` users, `K` beams, `W` beams kept, `M` continuations of a beam, `C` codes of the level.
"""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp

from jaxrec.core import ConfigError
from jaxrec.decode.sampling import Sampling, filter_logits
from jaxrec.decode.search import Candidates, Step, descend, pick
from jaxrec.ids import ItemIndex
from jaxrec.kernels import grouped_top_k

Kind = Literal["best", "diverse", "stochastic", "sample"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Strategy:
    """How beams are kept.

    Attributes:
      kind: the best ones; `groups` that avoid the codes of one another (Vijayakumar et al. 2018,
        diverse beam search with Hamming distance); a sample of items without replacement (Kool et
        al. 2019, stochastic beam search); or independent samples, which may repeat.
      groups: of "diverse"; the beams are divided among them.
      strength: of "diverse": what each earlier group's use of a code takes from its score, in nats.
      temperature: of "sample": log-probabilities are divided by it.
      top_k: of "sample": only so many codes of a beam are drawn from; None for all.
      top_p: of "sample": likewise the fewest that have this probability together, after `top_k`.
      free: of "sample": draw illegal codes too, as from a model that knows of no catalogue; a path
        that leaves the catalogue is no item.

    Raises:
      ConfigError: a value out of range, or one that the kind does not read.
    """

    kind: Kind = "best"
    groups: int = 1
    strength: float = 0.5
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
        if self.strength < 0:
            raise ConfigError(f"strategy.strength must not be negative, got {self.strength}")
        if self.temperature <= 0 or (self.temperature != 1 and self.kind != "sample"):
            raise ConfigError(
                f"strategy.temperature must be positive, and 1 unless the kind is 'sample'; got "
                f"{self.temperature} with {self.kind!r}"
            )
        if self.kind != "sample" and (self.top_k, self.top_p, self.free) != (None, None, False):
            raise ConfigError(
                f"strategy.top_k, top_p and free are of the kind 'sample'; got {self.top_k}, "
                f"{self.top_p} and {self.free} with {self.kind!r}"
            )
        _ = self.sampling

    @property
    def sampling(self) -> Sampling:
        """What "sample" draws a code from."""
        return Sampling(self.temperature, self.top_k, self.top_p)

    @property
    def random(self) -> bool:
        """Whether it needs a key."""
        return self.kind in ("stochastic", "sample")


BEST = Strategy()


def diverse_step(
    index: ItemIndex,
    level: int,
    node: jax.Array,
    score: jax.Array,
    each: Candidates,
    width: int,
    strategy: Strategy,
) -> Step:
    """Keep `width` beams, group after group: `[B, W]` in the order of groups.

    A group's continuation loses `strength` for every beam of an earlier group that took the same
    code at this level. At the last level no item is taken twice.

    Args:
      index: all valid IDs.
      level: l.
      node: `[B, K]` states, in the order of groups, or one beam for all.
      score: `[B, K]`.
      each: continuations `[B, K, M]`.
      width: W, a multiple of the groups.
      strategy: groups and strength.

    Cost a user: O(K M), and at the last level O(K M W) compares.
    """
    batch, beams = each.code.shape[:2]
    own, kept = max(beams // strategy.groups, 1), width // strategy.groups
    used = jnp.zeros((batch, index.sizes[level]), jnp.float32)
    rows = jnp.arange(batch, dtype=jnp.int32)[:, None]
    steps: list[Step] = []
    for group in range(strategy.groups):
        first = group * own if beams > 1 else 0
        part = jax.tree.map(lambda x: x[:, first : first + own], each)  # noqa: B023
        mine, path = node[:, first : first + own], score[:, first : first + own]
        total = path[:, :, None] + part.logprob
        if level == index.levels - 1:
            total = jnp.where(_taken(node, steps, mine, part), -jnp.inf, total)
        flat = total.reshape(batch, -1)
        penalty = pick(used, part.code.reshape(batch, -1)) * strategy.strength
        rank, place = grouped_top_k(flat - penalty, min(kept, flat.shape[1]))
        free = ((0, 0), (0, kept - rank.shape[1]))
        place, there = jnp.pad(place, free), jnp.pad(jnp.isfinite(rank), free)
        found = jnp.where(there, pick(flat, place), -jnp.inf)
        step = descend(index, level, mine, part, place, found)
        steps.append(dataclasses.replace(step, parent=step.parent + first))
        used = used.at[rows, step.code].add(there.astype(jnp.float32))
    return jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=1), *steps)


def _taken(node: jax.Array, steps: list[Step], mine: jax.Array, part: Candidates) -> jax.Array:
    """Continuations `[B, K, M]` that an earlier group has chosen."""
    taken = jnp.zeros(part.code.shape, bool)
    for step in steps:
        # [B, K, M, W]
        same = pick(node, step.parent)[:, None, None] == mine[:, :, None, None]
        same = same & (step.code[:, None, None] == part.code[..., None])
        taken = taken | (same & (step.node >= 0)[:, None, None]).any(-1)
    return taken


def stochastic_step(
    index: ItemIndex,
    level: int,
    node: jax.Array,
    score: jax.Array,
    rank: jax.Array,
    each: Candidates,
    width: int,
    key: jax.Array,
) -> tuple[Step, jax.Array]:
    """Keep the beams with the largest perturbed log-probabilities: a sample without replacement.

    With phi a continuation's log-probability and g ~ Gumbel(phi), conditioned on that the largest
    of a beam's is the beam's own G (Kool et al. 2019, section 4.3 and appendix B.3)::

        v = G - g + log(1 - exp(g - max g))        G' = G - max(0, v) - log(1 + exp(-|v|))

    Args:
      index: all valid IDs.
      level: l.
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
    found = jnp.where(jnp.isfinite(best), pick(phi.reshape(flat.shape), place), -jnp.inf)
    return descend(index, level, node, each, place, found), best


def sample_step(
    index: ItemIndex,
    level: int,
    node: jax.Array,
    score: jax.Array,
    each: Candidates,
    width: int,
    sampling: Sampling,
    key: jax.Array,
) -> Step:
    """Draw one continuation of every beam, or `width` of a single one: independent paths.

    By the largest of filtered logits + Gumbel noise. Arguments as of `stochastic_step`; where
    `each` holds illegal codes, a path that takes one is dead.
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
    step = descend(index, level, node, each, place, pick(total.reshape(batch, -1), place))
    return dataclasses.replace(step, score=jnp.where(step.node >= 0, step.score, -jnp.inf))
