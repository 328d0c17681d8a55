"""The model of a run: a text model of any kind with a scalar head, split for training.

Shapes: `B` prompts, `K` answers to a prompt, `T` tokens.
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrec.align import (
    best_of_n_loss,
    init_head,
    last_scalars,
    pairwise_loss,
    regression_loss,
)
from jaxrec.core import ConfigError, MeshConfig, ShardingRules, make_mesh
from jaxrec.models import ModelSpec, ScalarHead, checksum
from jaxrec.objectives import Loss
from jaxrec.peft import variables
from jaxrec.runs import is_run
from jaxrec.systems.reward.config import RewardModelConfig
from jaxrec.texts import TextModel, tuned as tuned_text
from jaxrec.train import (
    Plan,
    TrainConfig,
    load_params,
    make_optimizer,
    make_plan,
    make_shapes,
)

# Parts of the text model that a reward does not depend on.
_UNREAD = ("head", "pooler")


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Network:
    """A text model with a scalar head.

    Attributes:
      text: the text model, split into what is trained and what is not.
      head: the module.
    """

    text: TextModel
    head: ScalarHead

    @classmethod
    def open(cls, config: RewardModelConfig, directory: Path, texts: list[str]) -> "Network":
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
        return cls(text=text, head=ScalarHead(text.spec.build()))

    def shapes(self) -> Any:
        """Shapes of what is trained, with the names of their axes."""
        example = jnp.zeros((1, 2), jnp.int32)
        whole = jax.eval_shape(self.head.init, jax.random.key(0), example, example == 0)
        return {"text": _read(self.text.trainable), "out": whole["params"]["out"]}

    def begin(self, seed: int) -> Callable[[], Any]:
        """What makes the arrays that training begins with, a new copy each time."""
        width = self.text.spec.config.width

        def start() -> Any:
            return {"text": _read(self.text.start()), "out": init_head(jax.random.key(seed), width)}

        return start

    def plan(self, config: RewardModelConfig, example: Any) -> Plan:
        """Plan a step of training; see `make_plan`."""
        return make_plan(
            self.shapes(),
            make_loss(self.head, config),
            example,
            config.train,
            frozen=self.text.frozen,
            join=join,
        )

    def trained(self, directory: Path, config: TrainConfig, run: Mapping[str, str]) -> Any:
        """Read the variables of the best checkpoint below a directory.

        Raises:
          DataError: not trained yet or damaged, or the base has changed since.
        """
        mesh, rules = make_mesh(MeshConfig()), ShardingRules()
        target = make_shapes(self.shapes(), make_optimizer(config), mesh, rules, config)
        trainable = load_params(directory / "checkpoints", target, self.text.base, run)[0]
        return join(trainable, self.text.frozen)


def join(trainable: Any, frozen: Any) -> Any:
    """Join what is trained with what is not into the variables of `ScalarHead`."""
    text = trainable["text"] if frozen is None else variables(trainable["text"], frozen)
    nested = {name: {"backbone": part} for name, part in text.items()}
    return nested | {"params": {"backbone": text["params"], "out": trainable["out"]}}


def _read(tree: Any) -> Any:
    """The tree of a text model without the parts that a reward does not depend on."""
    # LoRA trains none of the parameters that the base has.
    if "params" not in tree:
        return tree
    params = {name: part for name, part in tree["params"].items() if name not in _UNREAD}
    return tree | {"params": params}


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
        rewards = rewards_of(head, params, batch["tokens"], batch["valid"], key)
        return loss_of(config, rewards, batch)

    return loss


def rewards_of(
    head: ScalarHead, params: Any, tokens: jax.Array, valid: jax.Array, key: jax.Array | None
) -> jax.Array:
    """Return the rewards of all answers to prompts: `[B, K, T]` tokens to `[B, K]` float32."""
    # [B, K, T] -> [B K, T]
    rows, seen = (x.reshape(-1, x.shape[-1]) for x in (tokens, valid))
    rngs = None if key is None else {"dropout": key}
    scalars = head.apply(params, rows, seen, key is None, rngs=rngs)
    return last_scalars(scalars, seen).reshape(tokens.shape[:2])


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
