"""A run that is aligned with preferences or rewards, from the model of another run on.

    prompts on the host --roll--> items, rewards and the reference's log-probabilities --> the step

`roll` and the step are two compiled programs, and nothing between them leaves the device. For
preferences the items are the target and its negatives; for GRPO they are what the policy itself
recommends. The reference is the model that training starts from.
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.align import (
    ItemPrompts,
    ItemReward,
    ItemRollout,
    RolloutBatches,
    beam_negatives,
    dpo,
    draw_negatives,
    grpo,
    importance_ratio,
    is_clipped,
    item_log_probs,
    item_rewards,
    item_tokens,
    k3,
    roll_items,
    sdpo,
)
from jaxrec.baselines import cooccurrence, markov
from jaxrec.core import ConfigError, batch_sharding, global_batch, sharded
from jaxrec.data import Dataset, Prefixes, padded_batches
from jaxrec.decode import Catalogue, Prompts
from jaxrec.ids import PAD, ItemCodes, ItemIndex, pad_items, write_histories
from jaxrec.items import text as item_text
from jaxrec.models import CausalLM
from jaxrec.objectives import Loss
from jaxrec.systems.generative.config import Config
from jaxrec.systems.generative.model import make_model, vocabulary
from jaxrec.train import FAULT, Plan

# Most items of a history that a rollout leaves out; older ones may be recommended again, and cost.
_SEEN = 1024
_BAD_REWARD = f"{FAULT}rewards_that_are_not_finite"


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Pairs:
    """A target and its negatives after each history.

    Attributes:
      tokens: `[B, S]` int32 histories as tokens.
      items: `[B, 1 + N, L]` int32 tokens of the target and of the negatives; PAD for none.
      reference: `[B, 1 + N]` float32, their log-probabilities under the reference.
    """

    tokens: jax.Array
    items: jax.Array
    reference: jax.Array


def batch_shapes(config: Config, codes: ItemCodes) -> Any:
    """Return the shapes of what an update reads: a `Pairs` or a `ItemRollout` of shapes."""
    align, rows, levels = config.align, config.train.batch_size, codes.levels

    def shape(dtype: Any, *size: int) -> Any:
        return jax.ShapeDtypeStruct((rows, *size), dtype)

    tokens = shape(jnp.int32, 1 + config.items_read * levels)
    if not align.by_groups:
        count = 1 + align.negatives
        return Pairs(
            tokens=tokens,
            items=shape(jnp.int32, count, levels),
            reference=shape(jnp.float32, count),
        )
    group = align.group
    per_code = shape(jnp.float32, group, levels)
    return ItemRollout(
        tokens=tokens,
        items=shape(jnp.int32, group, levels),
        advantages=shape(jnp.float32, group),
        rewards=shape(jnp.float32, group),
        hit=shape(jnp.bool_),
        old=per_code if align.updates > 1 else None,
        reference=per_code if align.kl else None,
    )


def make_loss(config: Config, codes: ItemCodes) -> Callable[[Any, Any, jax.Array], Loss]:
    """Return the loss of an update, a function of the policy's variables, a batch and a key."""
    model, words, align = make_model(config, codes), vocabulary(config, codes), config.align

    def log_probs(params: Any, batch: Any) -> jax.Array:
        return item_log_probs(model, params, batch.tokens, batch.items, vocabulary=words)

    def preferences(params: Any, batch: Pairs, key: jax.Array) -> Loss:
        del key
        policy, reference = log_probs(params, batch).sum(axis=-1), batch.reference
        there = (batch.items[:, 1:, 0] != PAD).astype(jnp.float32)
        given = policy[:, 0], policy[:, 1:], reference[:, 0], reference[:, 1:]
        ratio = policy - reference
        margin = (ratio[:, :1] - ratio[:, 1:]) * there
        # A row counts once, however many negatives it has; one without any does not count.
        share = there / jnp.maximum(there.sum(axis=1, keepdims=True), 1.0)
        if align.method == "sdpo":
            losses = sdpo(*given, beta=align.beta, valid=there > 0)
        else:
            pairs = [jnp.broadcast_to(x[:, None], there.shape) for x in (given[0], given[2])]
            apart = dpo(pairs[0], given[1], pairs[1], given[3], beta=align.beta)
            losses = (apart * share).sum(axis=1)
        return Loss(
            total=losses.sum(),
            weight=(share.sum(axis=1) > 0).astype(jnp.float32).sum(),
            parts={
                "margin": (margin * share).sum(),
                "preferred": ((margin > 0).astype(jnp.float32) * share).sum(),
            },
        )

    def groups(params: Any, batch: ItemRollout, key: jax.Array) -> Loss:
        del key
        new, valid = log_probs(params, batch), batch.valid
        mask = jnp.broadcast_to(valid[:, :, None], new.shape)
        losses = grpo(
            new,
            batch.advantages,
            mask,
            old=batch.old,
            reference=batch.reference,
            clip=align.clip,
            beta=align.kl,
            per_length=align.method == "grpo",
        )

        def total(values: jax.Array) -> jax.Array:
            return jnp.where(valid, values.astype(jnp.float32), 0.0).sum()

        bad = ~jnp.isfinite(batch.rewards)
        parts = {
            "reward": total(batch.rewards),
            "groups_without_hit": total(jnp.broadcast_to(~batch.hit[:, None], valid.shape)),
            _BAD_REWARD: bad.astype(jnp.float32).sum(),
        }
        if batch.old is not None:
            ratio = importance_ratio(new, batch.old)
            clipped = is_clipped(ratio, batch.advantages[:, :, None], align.clip)
            parts["clipped"] = total(clipped.astype(jnp.float32).mean(axis=-1))
        if batch.reference is not None:
            parts["kl"] = total(k3(new, batch.reference).sum(axis=-1))
        return Loss(
            total=jnp.where(valid, losses, 0.0).sum(),
            weight=valid.astype(jnp.float32).sum(),
            parts=parts,
        )

    return groups if align.by_groups else preferences


def prompt_batches(config: Config, histories: list[np.ndarray], codes: ItemCodes) -> Any:
    """Return an endless Grain dataset of prompts, as dictionaries with the fields of `ItemPrompts`.

    Every item of a history but the first is the target once an epoch. With negatives from the
    catalogue a row also has "negatives".

    Args:
      config: the config of the run, resolved.
      histories: of the training part, one array of items per user.
      codes: item IDs.
    """
    align, tokens_of = config.align, vocabulary(config, codes).tokens(codes.codes)
    room = min(max(map(len, histories)), _SEEN)
    examples = Prefixes.of(histories, length=room + 1, seed=config.train.seed)
    counts = np.bincount(examples.items, minlength=codes.num_items)
    drawn = not align.by_groups and align.negatives_from != "beams"
    weights = counts if align.negatives_from == "popularity" else None

    def encode(items: np.ndarray, rng: np.random.Generator) -> Mapping[str, np.ndarray]:
        history, target = items[:-1], items[-1]
        seen = history[history != target] if config.decode.filter_seen else history[:0]
        row = {
            "tokens": write_histories([history], tokens_of, config.items_read)[0],
            "history": pad_items([history], config.items_read)[0],
            "excluded": pad_items([seen], room)[0],
            "target": np.asarray(target, np.int32),
        }
        if drawn:
            barred = np.append(seen, target)
            row["negatives"] = draw_negatives(
                rng, align.negatives, codes.num_items, barred, weights
            )
        return row

    rows = config.train.batch_size * align.minibatches
    return padded_batches(examples, batch_size=rows, encode=encode)


def check_aligned(config: Config, codes: ItemCodes, dataset: Dataset) -> None:
    """Check, before any work, that the catalogue and the data can give what is asked for.

    Raises:
      ConfigError: more items than there are, similarity without texts, or several processes.
    """
    align, items = config.align, codes.num_items
    asked = {"group": align.group} if align.by_groups else {"negatives": align.negatives + 1}
    for name, count in asked.items():
        if count > items:
            raise ConfigError(
                f"align.{name} {getattr(align, name)} is too much for a catalogue of {items} "
                "items; lower it"
            )
    if align.rewards.similarity and not codes.metadata.get("text"):
        raise ConfigError(
            "align.rewards.similarity compares item texts, and the IDs of this run use none; set "
            "ids.text_fields and ids.text_weight, or align.rewards.similarity 0"
        )
    if max(map(len, dataset.split.train.sequences())) < 2:
        raise ConfigError(
            "no user has 2 items to train on; alignment needs one item to read and one to prefer"
        )
    if jax.process_count() > 1:
        raise ConfigError(
            f"align.method {align.method} runs in one process, and there are "
            f"{jax.process_count()}; start a single one"
        )


def reward_arrays(
    config: Config, dataset: Dataset, codes: ItemCodes, directory: Path
) -> dict[str, Any]:
    """Return what the rewards of the config look up, by the name of the reward.

    Raises:
      ConfigError: a table of pairs of items that does not fit in memory as a dense one.
      DataError: the run's text vectors are damaged.
    """
    weights, histories = config.align.rewards.weights, dataset.split.train.sequences()
    arrays: dict[str, Any] = {}
    if "similarity" in weights:
        arrays["similarity"] = jnp.asarray(item_text.load_vectors(directory))
    if "recommender" in weights:
        other = {"cooccurrence": cooccurrence, "markov": markov}[config.align.rewards.scored_by]
        arrays["recommender"] = other.fit(histories, codes.num_items, sparse=False)
    if "diversity" in weights:
        arrays["diversity"] = jnp.asarray(codes.codes)
    if "popularity" in weights:
        taken = np.concatenate(histories)
        arrays["popularity"] = jnp.asarray(
            np.bincount(taken, minlength=codes.num_items), jnp.float32
        )
    return arrays


def make_rewards(config: Config, arrays: Mapping[str, Any]) -> list[tuple[float, ItemReward]]:
    """Return the weights and functions of the rewards, which read `reward_arrays`."""
    settings = config.align.rewards
    other = {"cooccurrence": cooccurrence.scores, "markov": markov.scores}[settings.scored_by]

    def scores(history: jax.Array) -> jax.Array:
        return other(arrays["recommender"], {"history": history})

    made: dict[str, Callable[[], ItemReward]] = {
        "hit": lambda: item_rewards.hit,
        "rank": lambda: item_rewards.rank_aware,
        "listwise": lambda: item_rewards.listwise,
        "similarity": lambda: item_rewards.similarity(arrays["similarity"]),
        "recommender": lambda: item_rewards.recommender(scores),
        "diversity": lambda: item_rewards.diversity(arrays["diversity"]),
        "popularity": lambda: item_rewards.popularity(arrays["popularity"]),
    }
    return [(weight, made[name]()) for name, weight in settings.weights.items()]


def rollout_batches(
    config: Config,
    dataset: Dataset,
    codes: ItemCodes,
    plan: Plan,
    *,
    reference: Any,
    directory: Path,
) -> "RolloutBatches | PairBatches":
    """Return the batches of an aligned run, for `fit`.

    Args:
      config: the config of the run, resolved.
      dataset: its data.
      codes: its item IDs.
      plan: what `plan_training` returned.
      reference: variables of the model that training starts from.
      directory: where the run is.
    """
    place = batch_sharding(plan.mesh, plan.rules)
    catalogue = Catalogue(ItemIndex.build(codes), vocabulary(config, codes))
    arrays = reward_arrays(config, dataset, codes, directory) if config.align.by_groups else {}
    # The search reads beams, not the tokens of a long row, so none are split.
    rules = dataclasses.replace(plan.rules, sequence=None)

    model = make_model(config, codes)
    prompts = iter(prompt_batches(config, dataset.split.train.sequences(), codes))

    @jax.jit
    def pair_up(start: Any, catalogue: Catalogue, read: Any) -> Pairs:
        with sharded(plan.mesh, rules):
            return _pairs(config, model, start, catalogue, read)

    @jax.jit
    def compute(
        constant: tuple[Any, Catalogue, Any], policy: Any, read: Any, number: Any
    ) -> ItemRollout:
        with sharded(plan.mesh, rules):
            start, catalogue, arrays = constant
            return roll_items(
                model,
                policy,
                start if config.align.kl else None,
                catalogue,
                ItemPrompts(**read),
                jax.random.fold_in(jax.random.key(config.train.seed), number),
                rewards=make_rewards(config, arrays),
                options=config.align.options,
            )

    if not config.align.by_groups:
        return PairBatches(
            prompts, lambda read: pair_up(reference, catalogue, global_batch(read, place))
        )
    constant = (reference, catalogue, arrays)

    def roll(policy: Any, read: Any, number: Any) -> Any:
        return compute(constant, policy, global_batch(read, place), number)

    return RolloutBatches(
        prompts,
        roll,
        epochs=config.align.epochs,
        minibatches=config.align.minibatches,
        seed=config.train.seed,
        summary=_summary,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class PairBatches:
    """Prompts with their negatives, which do not depend on the policy.

    Attributes:
      prompts: an iterator over prompts, whose position is that of the batches.
      pair_up: maps prompts to `Pairs`.
    """

    prompts: Any
    pair_up: Callable[[Any], Pairs]

    def __next__(self) -> Pairs:
        return self.pair_up(next(self.prompts))

    def get_state(self) -> Any:
        """Return the position of the prompts."""
        return self.prompts.get_state()

    def set_state(self, state: Any) -> None:
        """Continue from a position that `get_state` returned."""
        self.prompts.set_state(state)


def _summary(rollout: ItemRollout) -> dict[str, float]:
    """The mean reward of a rollout."""
    rewards, items = jax.device_get((rollout.rewards, rollout.items))
    return {"reward": float(rewards.sum() / max(np.count_nonzero(items[:, :, 0]), 1))}


def _pairs(
    config: Config,
    model: CausalLM,
    reference: Any,
    catalogue: Catalogue,
    prompts: Mapping[str, jax.Array],
) -> Pairs:
    """The target and its negatives, with their log-probabilities under the reference."""
    target = prompts["target"][:, None]
    if config.align.negatives_from == "beams":
        out = jnp.concatenate([prompts["excluded"], target], axis=1)
        count = config.align.negatives
        read = catalogue, Prompts(tokens=prompts["tokens"]), out
        negatives = beam_negatives(model, reference, *read, count=count)
        short = count - negatives.shape[1]
        negatives = jnp.pad(negatives, ((0, 0), (0, short)), constant_values=-1)
    else:
        negatives = prompts["negatives"]
    tokens = item_tokens(catalogue, jnp.concatenate([target, negatives], axis=1))
    histories, words = prompts["tokens"], catalogue.vocabulary
    scores = item_log_probs(model, reference, histories, tokens, vocabulary=words)
    return Pairs(tokens=histories, items=tokens, reference=scores.sum(axis=-1))
