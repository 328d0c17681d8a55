"""The model of a run: a text model of any kind with a scalar head, and its loss.

Shapes: `B` prompts, `K` answers to a prompt.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrec.align import best_of_n_loss, pairwise_loss, regression_loss
from jaxrec.core import ConfigError
from jaxrec.models import ModelSpec, ScalarHead, checksum
from jaxrec.objectives import Loss
from jaxrec.runs import is_run
from jaxrec.systems.reward.config import RewardModelConfig
from jaxrec.texts import ScoredText, TextModel, scores_of, tuned as tuned_text


def open_network(config: RewardModelConfig, directory: Path, texts: list[str]) -> ScoredText:
    """Open the model of an existing run, or make the one that a new run begins with.

    Args:
      config: of the run.
      directory: of the run, which need not exist.
      texts: what the tokenizer of a model from scratch is trained on.

    Raises:
      ConfigError: the base is neither a decoder nor an encoder, has no tokenizer, or does not
        read `max_length` tokens.
      DataError: the base or a file of the run cannot be read.
    """
    seed = config.train.seed
    if config.tune.base:
        text = _from_base(config)
    elif is_run(directory):
        text = TextModel.load(config.tune, config.model, directory, seed)
    else:
        text = tuned_text.from_scratch(config.model, texts, config.vocab_size, (), seed)
    text.spec.config.check_length(
        config.max_length, "--max-length", "lower it, or take another base"
    )
    return ScoredText.of(text)


def _from_base(config: RewardModelConfig) -> TextModel:
    """Read the base: a decoder with any tuning, or an encoder that is trained as a whole."""
    tune = config.tune
    opened = tuned_text.open_base(tune)
    spec, params = opened.model.spec, opened.model.params["params"]
    if spec.kind not in ("encoder", "masked"):
        return tuned_text.from_base(tune, config.train.seed)
    if opened.tokenizer is None or tune.method != "full":
        what = "has no tokenizer beside it" if opened.tokenizer is None else "is an encoder"
        raise ConfigError(
            f"tune.base {tune.base} {what}; give a base with a tokenizer, and train an encoder "
            f"with tune.method full, not {tune.method}"
        )
    arrays = {"params": params["backbone"] if spec.kind == "masked" else params}
    encoder = ModelSpec("encoder", spec.config)
    return TextModel(
        spec=encoder,
        tokenizer=opened.tokenizer,
        trainable=encoder.shapes(),
        start=lambda: jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), nn.meta.unbox(arrays)),
        frozen=None,
        base=f"{tune.base} (sha256 {checksum(opened.model.params)})",
    )


def make_loss(head: ScalarHead, config: RewardModelConfig) -> Any:
    """Return the loss of a run: a function of variables, a batch of `Encoded` and a dropout key."""

    def loss(params: Any, batch: Mapping[str, jax.Array], key: jax.Array | None) -> Loss:
        rewards = scores_of(head, params, batch["tokens"], batch["valid"], key)
        return loss_of(config, rewards, batch)

    return loss


def loss_of(config: RewardModelConfig, rewards: jax.Array, batch: Mapping[str, jax.Array]) -> Loss:
    """The loss of rewards `[B, K]`: a sum over pairs, prompts or answers, and its weight."""
    if config.learn == "pairs":
        wins = batch["wins"]
        losses = pairwise_loss(rewards, wins, margin=config.margin, centering=config.centering)
        right = (rewards[:, :, None] > rewards[:, None, :]).astype(jnp.float32)
        return Loss(losses.sum(), wins.sum(), {"accuracy": (wins * right).sum()})
    if config.learn == "best":
        best = batch["best"]
        losses = best_of_n_loss(rewards, best, batch["present"])
        return Loss(losses.sum(), best.sum(), {})
    scored = batch["scored"]
    losses = regression_loss(rewards, batch["scores"], scored)
    return Loss(losses.sum(), scored.sum(dtype=jnp.float32), {})
