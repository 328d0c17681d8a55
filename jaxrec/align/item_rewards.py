"""Rewards of recommended items: pure functions of a group of items, traced into the rollout.

A group is the list of items that a model gave one user, in the order of their log-probabilities. A
reward function maps an `ItemGroup` to one number per item, `[B, G]`; `total_reward` adds several up
with weights. Everything stays on the device.

Shapes: `B` users, `G` items of a group, `I` items of the catalogue, `L` levels, `D` width.
"""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from jaxrec.core import ConfigError


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class ItemGroup:
    """A list of items for each user, and the item that the user took.

    Attributes:
      items: `[B, G]` int32, best first; -1 where a list is shorter.
      target: `[B]` int32, the item that followed the history.
      history: `[B, H]` int32, items of the history, padded with -1, the newest last.

    Example:
      >>> some = ItemGroup(
      ...     items=jnp.array([[7, 5, -1]]), target=jnp.array([5]), history=jnp.array([[1]])
      ... )
      >>> some.hits.tolist(), some.valid.tolist()
      ([[False, True, False]], [[True, True, False]])
    """

    items: jax.Array
    target: jax.Array
    history: jax.Array

    @property
    def valid(self) -> jax.Array:
        """Which places hold an item, `[B, G]` bool."""
        return self.items >= 0

    @property
    def hits(self) -> jax.Array:
        """Which items are the target, `[B, G]` bool."""
        return self.valid & (self.items == self.target[:, None])

    @property
    def safe(self) -> jax.Array:
        """The items, with 0 in empty places, to look things up: `[B, G]` int32."""
        return jnp.maximum(self.items, 0)


ItemReward = Callable[[ItemGroup], jax.Array]


def hit(group: ItemGroup) -> jax.Array:
    """1 for the target and 0 for every other item, `[B, G]` float32.

    Example:
      >>> some = ItemGroup(
      ...     items=jnp.array([[7, 5, 9]]), target=jnp.array([5]), history=jnp.array([[1]])
      ... )
      >>> hit(some).tolist()
      [[0.0, 1.0, 0.0]]
    """
    return group.hits.astype(jnp.float32)


def rank_aware(group: ItemGroup) -> jax.Array:
    """Reward the target for its rank and punish the items above it, `[B, G]` float32.

    With the weights w_k = 1 / log2(k + 2) of the ranks k = 0, 1, ..., divided by their sum over the
    group: w_k for the target, -w_k for an item above it, and 0 for an item below it. A group
    without the target has the rewards 0.

    Example:
      >>> some = ItemGroup(
      ...     items=jnp.array([[7, 5, 9]]), target=jnp.array([5]), history=jnp.array([[1]])
      ... )
      >>> [[round(x, 3) for x in row] for row in rank_aware(some).tolist()]
      [[-0.469, 0.296, 0.0]]
    """
    weight = jnp.where(group.valid, _discounts(group), 0.0)
    share = weight / jnp.maximum(weight.sum(axis=1, keepdims=True), 1e-9)
    return jnp.where(group.hits, share, jnp.where(_above(group), -share, 0.0))


def listwise(group: ItemGroup) -> jax.Array:
    """What each item adds to the NDCG of its list, `[B, G]` float32.

    This is the NDCG of the list minus the NDCG of the list without the item, in which later items
    move up. The NDCG itself is the same for all items of a group, so it would favour none of them.
    With the target at rank k it is 1 / log2(k + 2), so the target adds that, an item above it adds
    1 / log2(k + 2) - 1 / log2(k + 1), and an item below it adds nothing.

    Example:
      >>> some = ItemGroup(
      ...     items=jnp.array([[7, 5, 9]]), target=jnp.array([5]), history=jnp.array([[1]])
      ... )
      >>> [[round(x, 3) for x in row] for row in listwise(some).tolist()]
      [[-0.369, 0.631, 0.0]]
    """
    hits, discount = group.hits, _discounts(group)
    ndcg = jnp.where(hits, discount, 0.0).sum(axis=1, keepdims=True)
    # One rank further up; nothing stands above the first rank.
    moved = jnp.concatenate([jnp.ones_like(discount[:, :1]), discount[:, :-1]], axis=1)
    without = jnp.where(hits, moved, 0.0).sum(axis=1, keepdims=True)
    return jnp.where(hits, ndcg, jnp.where(_above(group), ndcg - without, 0.0))


def similarity(vectors: jax.Array) -> ItemReward:
    """Return the reward that is the cosine of an item's vector with the target's.

    Args:
      vectors: `[I, D]`, such as text vectors; an item without any has zeros and the reward 0.

    Example:
      >>> some = ItemGroup(
      ...     items=jnp.array([[0, 1, -1]]), target=jnp.array([0]), history=jnp.array([[1]])
      ... )
      >>> similarity(jnp.array([[3.0, 0.0], [-2.0, 0.0]]))(some).tolist()
      [[1.0, -1.0, 0.0]]
    """
    unit = _unit(vectors)

    def reward(group: ItemGroup) -> jax.Array:
        same = jnp.einsum("bgd,bd->bg", unit[group.safe], unit[group.target])
        return jnp.where(group.valid, same, 0.0)

    return reward


def recommender(scores: Callable[[jax.Array], jax.Array]) -> ItemReward:
    """Return the reward that another recommender's scores give, from 0 to 1 within each group.

    Scores of different recommenders have different scales, so those of a group are moved to that
    range: 0 for the item with the lowest score, 1 for the one with the highest.

    Args:
      scores: maps histories `[B, H]` int32, padded with -1 on the left, to scores `[B, I]`.

    Example:
      >>> some = ItemGroup(
      ...     items=jnp.array([[2, 0, 1]]), target=jnp.array([0]), history=jnp.array([[1]])
      ... )
      >>> recommender(lambda history: jnp.array([[3.0, 5.0, 1.0]]))(some).tolist()
      [[0.0, 0.5, 1.0]]
    """

    def reward(group: ItemGroup) -> jax.Array:
        own = jnp.take_along_axis(scores(group.history), group.safe, axis=1)
        low = jnp.where(group.valid, own, jnp.inf).min(axis=1, keepdims=True)
        high = jnp.where(group.valid, own, -jnp.inf).max(axis=1, keepdims=True)
        spread = high - low
        scaled = (own - low) / jnp.where(spread > 0, spread, 1.0)
        return jnp.where(group.valid, scaled, 0.0).astype(jnp.float32)

    return reward


def diversity(codes: jax.Array) -> ItemReward:
    """Return the penalty of an item for being like the others of its group, from -1 to 0.

    Two items are alike to the extent that their IDs begin with the same codes: the length of the
    common prefix over the number of levels. The penalty is the mean over the other items.

    Args:
      codes: `[I, L]` int32 item IDs.

    Example:
      >>> some = ItemGroup(
      ...     items=jnp.array([[0, 1, 2]]), target=jnp.array([0]), history=jnp.array([[1]])
      ... )
      >>> diversity(jnp.array([[4, 0], [4, 1], [5, 0]]))(some).tolist()
      [[-0.25, -0.25, 0.0]]
    """

    def reward(group: ItemGroup) -> jax.Array:
        own = codes[group.safe]
        same = own[:, :, None] == own[:, None]
        # [B, G, G]
        alike = jnp.cumprod(same.astype(jnp.float32), axis=-1).mean(axis=-1)
        pairs = group.valid[:, :, None] & group.valid[:, None]
        pairs = pairs & ~jnp.eye(own.shape[1], dtype=bool)[None]
        others = jnp.maximum(pairs.sum(axis=2), 1).astype(jnp.float32)
        # Without negative zeros.
        return 0.0 - jnp.where(pairs, alike, 0.0).sum(axis=2) / others

    return reward


def popularity(counts: jax.Array) -> ItemReward:
    """Return the penalty of an item for its popularity, from -1 to 0.

    It is -log(1 + n) / log(1 + max n) for an item with n training interactions.

    Args:
      counts: `[I]` numbers of training interactions.

    Example:
      >>> some = ItemGroup(
      ...     items=jnp.array([[0, 1, 2]]), target=jnp.array([0]), history=jnp.array([[1]])
      ... )
      >>> popularity(jnp.array([8.0, 2.0, 0.0]))(some).tolist()
      [[-1.0, -0.5, 0.0]]
    """
    penalty = jnp.log1p(counts.astype(jnp.float32))
    penalty = penalty / jnp.maximum(penalty.max(), 1e-9)

    def reward(group: ItemGroup) -> jax.Array:
        return 0.0 - jnp.where(group.valid, penalty[group.safe], 0.0)

    return reward


def total_reward(group: ItemGroup, parts: Sequence[tuple[float, ItemReward]]) -> jax.Array:
    """Return the weighted sum of rewards, `[B, G]` float32.

    Args:
      group: a list of items for each user.
      parts: weights and reward functions, at least one.

    Raises:
      ConfigError: there is no reward, or a function returns nothing or another shape than `[B, G]`.
        Shapes are known while the function is traced, so this is raised before any work.

    Example:
      >>> some = ItemGroup(
      ...     items=jnp.array([[7, 5, 9]]), target=jnp.array([5]), history=jnp.array([[1]])
      ... )
      >>> total_reward(some, [(2.0, hit), (0.5, lambda group: group.items)]).tolist()
      [[3.5, 4.5, 4.5]]
      >>> total_reward(some, [(1.0, lambda group: group.target)])
      Traceback (most recent call last):
      jaxrec.core.errors.ConfigError: the reward <lambda> returned shape (1,), and 1 users with ...
    """
    if not parts:
        raise ConfigError("there is no reward; give at least one with a weight")
    total = jnp.zeros(group.items.shape, jnp.float32)
    for weight, function in parts:
        name = getattr(function, "__name__", repr(function))
        returned = function(group)
        if returned is None:
            raise ConfigError(f"the reward {name} returned nothing; return one number per item")
        reward = jnp.asarray(returned)
        if reward.shape != total.shape:
            raise ConfigError(
                f"the reward {name} returned shape {reward.shape}, and {total.shape[0]} users with "
                f"{total.shape[1]} items each need {total.shape}; return one number per item"
            )
        total = total + weight * reward.astype(jnp.float32)
    return total


def _discounts(group: ItemGroup) -> jax.Array:
    """1 / log2(k + 2) of each place k, `[B, G]` float32."""
    ranks = jnp.arange(group.items.shape[1], dtype=jnp.float32)
    return jnp.broadcast_to((1.0 / jnp.log2(ranks + 2.0))[None], group.items.shape)


def _above(group: ItemGroup) -> jax.Array:
    """Which items stand above the target of their list, `[B, G]` bool."""
    hits = group.hits.astype(jnp.int32)
    after = hits[:, ::-1].cumsum(axis=1)[:, ::-1] - hits
    return group.valid & (after > 0)


def _unit(vectors: jax.Array) -> jax.Array:
    norm = jnp.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / jnp.where(norm > 0, norm, 1.0)
