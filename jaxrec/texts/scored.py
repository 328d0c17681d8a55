"""A text model with a scalar head, split for training: a reward model of texts.

Shapes: `B` prompts, `K` answers to a prompt, `T` tokens.
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from jaxrec.align import init_head, last_scalars
from jaxrec.core import MeshConfig, ShardingRules, make_mesh
from jaxrec.models import ScalarHead
from jaxrec.peft import variables
from jaxrec.texts.tuned import TextModel
from jaxrec.train import (
    LossFunction,
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
class ScoredText:
    """A text model with a scalar head.

    Attributes:
      text: the text model, split into what is trained and what is not.
      head: the module.
    """

    text: TextModel
    head: ScalarHead

    @classmethod
    def of(cls, text: TextModel, *, summed: bool = False) -> "ScoredText":
        """Put a head on a text model; see `ScalarHead` for `summed`."""
        return cls(text=text, head=ScalarHead(text.spec.build(), summed=summed))

    def shapes(self) -> Any:
        """Shapes of what is trained, with the names of their axes."""
        example = jnp.zeros((1, 2), jnp.int32)
        whole = jax.eval_shape(self.head.init, jax.random.key(0), example, example == 0)
        return {"text": _read(self.text.trainable), "out": whole["params"]["out"]}

    def begin(self, seed: int, start: Callable[[], Any] | None = None) -> Callable[[], Any]:
        """What makes the arrays that training begins with, a new copy each time.

        Args:
          seed: of the head.
          start: makes a new copy of the trained part of the text model; None for the one that the
            text model begins with.
        """
        width, body = self.text.spec.config.width, start or self.text.start

        def begin() -> Any:
            return {"text": _read(body()), "out": init_head(jax.random.key(seed), width)}

        return begin

    def plan(self, loss: LossFunction, example: Any, config: TrainConfig) -> Plan:
        """Plan a step of training; see `make_plan`."""
        frozen = self.text.frozen
        return make_plan(self.shapes(), loss, example, config, frozen=frozen, join=join)

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


def scores_of(
    head: ScalarHead, params: Any, tokens: jax.Array, valid: jax.Array, key: jax.Array | None
) -> jax.Array:
    """Return the scalars of all answers to prompts: `[B, K, T]` tokens to `[B, K]` float32.

    Args:
      head: the module.
      params: its variables.
      tokens: prompts with their answers.
      valid: `[B, K, T]` bool, False for padding.
      key: of the dropout; None for none.

    Example:
      >>> from jaxrec.models import CausalLM
      >>> from jaxrec.testing import tiny_model
      >>> head, tokens = ScalarHead(CausalLM(tiny_model())), jnp.zeros((2, 3, 4), jnp.int32)
      >>> params = head.init(jax.random.key(0), tokens[0], tokens[0] == 0)
      >>> scores_of(head, params, tokens, tokens == 0, None).shape
      (2, 3)
    """
    # [B, K, T] -> [B K, T]
    rows, seen = (x.reshape(-1, x.shape[-1]) for x in (tokens, valid))
    rngs = None if key is None else {"dropout": key}
    scalars = head.apply(params, rows, seen, key is None, rngs=rngs)
    return last_scalars(scalars, seen).reshape(tokens.shape[:2])
