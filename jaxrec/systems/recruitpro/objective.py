"""The loss of RecruitPro: the task's, the similarity of skill prompts, and their comparison.

    L = L_task + λ₁ L_sim + λ₂ L_com
    L_sim = -mean_k cos(hᵗ_k, hˢ_k)
    L_com = mean_k of `supervised_contrast` of hˢ and the labels

hᵗ and hˢ are the mean states of the skill prompt beside a text and beside its skill sentence. The
publication sums over the batch; means keep λ independent of the size of a batch. It also multiplies
by τ in the denominator of L_com, where supervised contrast divides (Khosla et al. 2020,
arXiv:2004.11362), as is done here. With `--auxiliary.center`, h is what it differs by from the mean
of its batch, on each side.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.objectives import Loss, crf_loss, supervised_contrast
from jaxrec.systems.recruitpro.config import AuxiliaryConfig
from jaxrec.systems.recruitpro.network import Network, task_of


def make_loss(network: Network, config: AuxiliaryConfig, numbers: tuple[bool, ...]) -> Any:
    """Return the loss, a function of variables, a batch and a dropout key.

    Args:
      network: the module.
      config: weights of the losses beside the task's.
      numbers: of each task, whether it predicts a number.
    """
    is_number = np.array(numbers)

    def loss(variables: Any, batch: Mapping[str, jax.Array], key: jax.Array | None) -> Loss:
        task = task_of(batch)
        table = network.prompts(variables, task)
        if "tags" in batch:
            return _tagging(network, variables, table, batch, key)
        if batch["tokens"].ndim == 3:
            chunks, skill = network.chunk_vectors(variables, table, batch)
            valid = batch["sizes"] > 0
            vectors = network.match(variables, chunks, valid)
            score = network.logits(variables, vectors, task, key)[:, 0]
            losses = jax.nn.softplus(score) - score * batch["labels"].astype(jnp.float32)
            skill = _mean(skill, valid)
        else:
            states = network.states(variables, table, batch["tokens"], batch["sizes"])
            scores = network.logits(variables, network.read(states), task, key)
            log_p = jax.nn.log_softmax(scores)
            # Bins of a number are no classes of its head.
            labels = jnp.minimum(batch["labels"], scores.shape[1] - 1)
            nats = -jnp.take_along_axis(log_p, labels[:, None], axis=1)[:, 0]
            errors = (scores[:, 0] - batch["values"]) ** 2
            losses = jnp.where(jnp.asarray(is_number)[task], errors, nats)
            skill = network.skill(states)
        weight = jnp.float32(len(losses))
        parts = {"task": losses.sum()}
        total = parts["task"]
        if config.similarity or config.comparison:
            parts |= {
                name: weight * value
                for name, value in _auxiliary(
                    network, config, variables, table, batch, skill
                ).items()
            }
            total = (
                total
                + jnp.float32(config.similarity) * parts["similarity"]
                + jnp.float32(config.comparison) * parts["comparison"]
            )
        return Loss(total, weight, parts)

    return loss


def _tagging(
    network: Network, variables: Any, table: Any, batch: Mapping[str, jax.Array], key: Any
) -> Loss:
    """The CRF's loss for a word; skill extraction has no skill sentence of its own."""
    states = network.states(variables, table, batch["tokens"], batch["sizes"])
    emissions = network.emissions(variables, network.drop(states, key), batch["first"])
    present = batch["present"]
    losses = crf_loss(network.crf(variables), emissions, batch["tags"], present)
    weight = jnp.float32(len(losses))
    words = jnp.maximum(present.sum(), 1).astype(jnp.float32)
    total = losses.sum() * weight / words
    return Loss(total, weight, {"task": total})


def _auxiliary(
    network: Network,
    config: AuxiliaryConfig,
    variables: Any,
    table: Any,
    batch: Mapping[str, jax.Array],
    skill: jax.Array,
) -> dict[str, jax.Array]:
    """Both losses as means over the rows that have them."""
    labels = batch["labels"]
    if "skill_tokens" not in batch:
        every = jnp.ones(len(labels), bool)
        if config.center:
            skill = centered(skill, every)
        return {
            "similarity": jnp.float32(0),
            "comparison": _contrast(skill, labels, every, config.temperature),
        }
    tokens, sizes = batch["skill_tokens"], batch["skill_sizes"]
    shape = tokens.shape[:-1]
    states = network.states(
        variables, table, tokens.reshape(-1, tokens.shape[-1]), sizes.reshape(-1)
    )
    sentence, there = network.skill(states), sizes > 0
    if len(shape) == 2:
        # A pair has the skill sentences of both sides.
        sentence = _mean(sentence.reshape(*shape, -1), there)
        there = there.any(axis=1)
    if config.center:
        skill, sentence = centered(skill, there), centered(sentence, there)
    other = jax.lax.stop_gradient(sentence) if config.detach else sentence
    similar = cosine(skill, other)
    return {
        "similarity": -jnp.where(there, similar, 0.0).sum() / _count(there),
        "comparison": _contrast(sentence, labels, there, config.temperature),
    }


def cosine(a: jax.Array, b: jax.Array) -> jax.Array:
    """The cosine of each row's two vectors: two `[B, D]` to `[B]`.

    Args:
      a: vectors; one of zeros has the cosine 0 to any other.
      b: vectors.

    Example:
      >>> cosine(jnp.array([[3.0, 0.0]]), jnp.array([[2.0, 0.0]])).tolist()
      [1.0]
    """
    lengths = [jnp.sqrt((x * x).sum(axis=1) + jnp.float32(1e-12)) for x in (a, b)]
    return (a * b).sum(axis=1) / (lengths[0] * lengths[1])


def centered(vectors: jax.Array, there: jax.Array) -> jax.Array:
    """Subtract the mean of the rows that count: `[B, D]` and `[B]` bool to `[B, D]`.

    Args:
      vectors: rows.
      there: which rows count; the others have the mean subtracted too.

    Example:
      >>> rows = jnp.array([[1.0], [3.0], [9.0]])
      >>> centered(rows, jnp.array([True, True, False]))[:, 0].tolist()
      [-1.0, 1.0, 7.0]
    """
    weight = there.astype(jnp.float32)[:, None]
    return vectors - (vectors * weight).sum(axis=0, keepdims=True) / _count(there)


def _contrast(
    vectors: jax.Array, labels: jax.Array, there: jax.Array, temperature: float
) -> jax.Array:
    losses = supervised_contrast(vectors, labels, there, temperature)
    return losses.sum() / _count(there)


def _count(there: jax.Array) -> jax.Array:
    return jnp.maximum(there.sum(), 1).astype(jnp.float32)


def _mean(vectors: jax.Array, there: jax.Array) -> jax.Array:
    """The mean of some vectors of each row: `[B, K, D]` and `[B, K]` bool to `[B, D]`."""
    weight = there.astype(jnp.float32)[..., None]
    return (vectors * weight).sum(axis=1) / jnp.maximum(weight.sum(axis=1), 1.0)
