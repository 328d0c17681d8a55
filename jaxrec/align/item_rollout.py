"""Rollouts of items: the groups that a policy recommends, their rewards and their advantages.

A rollout is a pure function of parameters, histories and a key, and stays on the device: a
constrained search or a sample without replacement, the rewards, and the advantages within a group.
Every item is legal, and no group holds an item twice.

The estimator: a group counts as a plain set. Its items are not weighted by the probability with
which a search or a sample without replacement includes them (Kool et al. 2019, arXiv:1903.06059,
section 4), so the gradient is that of the objective on these groups, which is a biased estimate of
the gradient of the expected reward. The log-probabilities in the loss are those of the sequential
model, over all codes of a level.

Shapes: `B` histories, `S` tokens, `H` items of a history, `E` excluded items, `G` items of a group,
`L` levels.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxrec.align.group import group_advantages
from jaxrec.align.item_rewards import ItemGroup, ItemReward, total_reward
from jaxrec.align.teacher_forcing import item_log_probs
from jaxrec.core import ConfigError
from jaxrec.decode import Catalogue, Prompts, Request, SearchOptions, Strategy, beam_search
from jaxrec.ids import PAD
from jaxrec.models import CausalLM

Sampler = Literal["beams", "stochastic"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class ItemPrompts:
    """Histories to recommend after, and the items that followed them.

    Attributes:
      tokens: `[B, S]` int32 histories as tokens, padded on the left.
      history: `[B, H]` int32, their items, padded on the left with -1.
      excluded: `[B, E]` int32, items that are not recommended, padded with -1.
      target: `[B]` int32, the item that followed.
    """

    tokens: jax.Array
    history: jax.Array
    excluded: jax.Array
    target: jax.Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class GroupOptions:
    """How groups are made. Hashable, so that it is a static argument under `jax.jit`.

    Attributes:
      group: G, items of a group.
      sampler: "beams": the G best items of a constrained beam search. "stochastic": G items drawn
        without replacement (stochastic beam search).
      redraws: how often groups without the target are drawn anew; only for "stochastic".
      scaled: divide advantages by the standard deviation of the group (GRPO) or not (Dr. GRPO).
      keep_log_probs: also return the policy's log-probabilities, for several updates on one
        rollout. A single update does not need them, because its ratio is 1.

    Raises:
      ConfigError: a group of one item, which has no advantage, or redraws of a search that would
        find the same items again.

    Example:
      >>> GroupOptions(group=16).sampler
      'beams'
    """

    group: int
    sampler: Sampler = "beams"
    redraws: int = 0
    scaled: bool = True
    keep_log_probs: bool = False

    def __post_init__(self) -> None:
        if self.group < 2:
            raise ConfigError(
                f"align.group must be at least 2, got {self.group}: the advantage of an item is "
                "its difference from the others of its group"
            )
        if self.redraws and self.sampler == "beams":
            raise ConfigError(
                f"align.redraws {self.redraws} would search the same beams again; set "
                "align.sampler stochastic, or align.redraws 0"
            )

    @property
    def search(self) -> SearchOptions:
        """The search that makes a group."""
        if self.sampler == "beams":
            return SearchOptions(beams=self.group)
        strategy = Strategy(kind="stochastic")
        return SearchOptions(beams=self.group, normalize="legal", strategy=strategy)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class ItemRollout:
    """What the updates on a rollout read; the rows are those of its prompts.

    Attributes:
      tokens: `[B, S]` int32 histories as tokens.
      items: `[B, G, L]` int32 tokens of the items, best first; PAD where a group is shorter.
      advantages: `[B, G]` float32, 0 in empty places.
      rewards: `[B, G]` float32, 0 in empty places.
      hit: `[B]` bool, which groups hold the target.
      old: `[B, G, L]` float32 log-probabilities of the policy that made the rollout; None if they
        were not asked for.
      reference: `[B, G, L]` float32 log-probabilities of the reference; None without one.
    """

    tokens: jax.Array
    items: jax.Array
    advantages: jax.Array
    rewards: jax.Array
    hit: jax.Array
    old: jax.Array | None = None
    reference: jax.Array | None = None

    @property
    def valid(self) -> jax.Array:
        """Which places hold an item, `[B, G]` bool."""
        return self.items[:, :, 0] != PAD


def roll_items(
    model: CausalLM,
    params: Any,
    reference: Any,
    catalogue: Catalogue,
    prompts: ItemPrompts,
    key: jax.Array,
    *,
    rewards: Sequence[tuple[float, ItemReward]],
    options: GroupOptions,
) -> ItemRollout:
    """Make a group for every history, with rewards and advantages: one traceable function.

    Args:
      model: the decoder.
      params: variables of the policy.
      reference: variables of the reference; None for no reference.
      catalogue: what can be generated.
      prompts: B histories.
      key: typed random key.
      rewards: weights and reward functions.
      options: how groups are made.

    Raises:
      ConfigError: a group is larger than the catalogue, or a reward has another shape.

    Example:
      >>> from jaxrec.align.item_rewards import hit
      >>> from jaxrec.testing.brute_force import make_case
      >>> case = make_case(0, sizes=(6,), share=1.0)
      >>> none = jnp.full((3, 1), -1)
      >>> prompts = ItemPrompts(
      ...     tokens=case.tokens, history=none, excluded=none, target=jnp.array([0, 3, 5])
      ... )
      >>> def roll(params):
      ...     given = (case.model, params, None, case.catalogue, prompts, jax.random.key(0))
      ...     return roll_items(*given, rewards=[(1.0, hit)], options=GroupOptions(group=6))
      >>> rollout = jax.jit(roll)(case.params)  # six beams find all six items
      >>> rollout.hit.tolist(), rollout.rewards.sum(axis=1).tolist()
      ([True, True, True], [1.0, 1.0, 1.0])
    """
    if options.group > catalogue.index.num_items:
        raise ConfigError(
            f"align.group {options.group} is larger than the catalogue's "
            f"{catalogue.index.num_items} items; lower it"
        )
    items = _drawn(model, params, catalogue, prompts, key, options)

    def log_probs(variables: Any, items: jax.Array) -> jax.Array:
        tokens = item_tokens(catalogue, items)
        return item_log_probs(
            model, variables, prompts.tokens, tokens, vocabulary=catalogue.vocabulary
        )

    old = None
    if options.sampler == "stochastic" or options.keep_log_probs:
        old = log_probs(params, items)
    if old is not None and options.sampler == "stochastic":
        # A sample comes in the order of its noise; ranks are those of the log-probabilities.
        total = jnp.where(items >= 0, old.sum(-1), -jnp.inf)
        order = jnp.argsort(-total, axis=1)
        items = jnp.take_along_axis(items, order, axis=1)
        old = jnp.take_along_axis(old, order[:, :, None], axis=1)
    group = ItemGroup(items=items, target=prompts.target, history=prompts.history)
    reward = jnp.where(group.valid, total_reward(group, rewards), 0.0)
    return ItemRollout(
        tokens=prompts.tokens,
        items=item_tokens(catalogue, items),
        advantages=group_advantages(reward, group.valid, scaled=options.scaled),
        rewards=reward,
        hit=group.hits.any(axis=1),
        old=old if options.keep_log_probs else None,
        reference=None if reference is None else log_probs(reference, items),
    )


def item_tokens(catalogue: Catalogue, items: jax.Array) -> jax.Array:
    """Return the tokens of items, int32 `[..., L]` of `[...]`; PAD for -1.

    Example:
      >>> from jaxrec.ids import simple
      >>> catalogue = Catalogue.of_codes(simple.independent(3))
      >>> item_tokens(catalogue, jnp.array([2, -1])).tolist()
      [[4], [0]]
    """
    tokens = catalogue.vocabulary.tokens(catalogue.index.codes_of(items))
    return jnp.where((items >= 0)[..., None], tokens, PAD)


def _drawn(
    model: CausalLM,
    params: Any,
    catalogue: Catalogue,
    prompts: ItemPrompts,
    key: jax.Array,
    options: GroupOptions,
) -> jax.Array:
    """The items of every group, `[B, G]`; groups without the target are drawn anew if asked."""
    search = options.search

    def draw(number: jax.Array | int) -> jax.Array:
        own = jax.random.fold_in(key, number) if search.strategy.random else None
        request = Request(excluded=prompts.excluded, key=own)
        read = Prompts(tokens=prompts.tokens)
        found = beam_search(model, params, catalogue, read, search, request).items
        return jnp.pad(found, ((0, 0), (0, options.group - found.shape[1])), constant_values=-1)

    def missed(items: jax.Array) -> jax.Array:
        return ~(items == prompts.target[:, None]).any(axis=1, keepdims=True)

    first = draw(0)
    if not options.redraws:
        return first

    def unfinished(carry: tuple[jax.Array, jax.Array]) -> jax.Array:
        number, items = carry
        return (number <= options.redraws) & missed(items).any()

    def again(carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        number, items = carry
        return number + 1, jnp.where(missed(items), draw(number), items)

    return jax.lax.while_loop(unfinished, again, (jnp.int32(1), first))[1]
