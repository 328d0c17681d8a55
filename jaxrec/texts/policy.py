"""The policy of a run of PPO, its value network and its reference."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxrec.align import POLICY, TEXT, VALUE, Actor, PpoSettings, ppo_loss
from jaxrec.core import ConfigError, replicated
from jaxrec.models import ScalarHead
from jaxrec.peft import variables
from jaxrec.quant import dequantize_params
from jaxrec.texts.tuned import TextModel
from jaxrec.train import Plan, TrainConfig, load_params, make_plan


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Policy:
    """What PPO trains, and what it is compared with.

    Attributes:
      text: the text model, split into what is trained and what is not.
      actor: the policy with its value network.
      settings: of PPO.
      train: optimizer of PPO; `batch_size` is the number of episodes of a minibatch.
    """

    text: TextModel
    actor: Actor
    settings: PpoSettings
    train: TrainConfig

    @classmethod
    def of(
        cls,
        text: TextModel,
        settings: PpoSettings,
        train: TrainConfig,
        *,
        separate: bool,
        summed: bool = False,
    ) -> "Policy":
        """Give a text model a value network.

        Args:
          text: the text model.
          settings: of PPO.
          train: optimizer of PPO.
          separate: whether the value network is one of its own; otherwise it is a head on the
            states of the policy.
          summed: of the head of a separate one, see `ScalarHead`.
        """
        model = text.model
        critic = ScalarHead(model, summed=summed) if separate else None
        actor = Actor(model=model, critic=critic, temperature=settings.temperature)
        return cls(text=text, actor=actor, settings=settings, train=train)

    @property
    def frozen(self) -> Any:
        """Arrays that are read and not trained; None if everything is trained."""
        return None if self.text.frozen is None else {POLICY: self.text.frozen}

    def shapes(self) -> Any:
        """Shapes of what is trained, with the names of their axes."""
        return {POLICY: self.text.trainable, VALUE: jax.eval_shape(self._value)}

    def _value(self) -> Any:
        critic = self.actor.critic
        if critic is None:
            return self.actor.value_head()
        example = jnp.zeros((1, 2), jnp.int32)
        return critic.init(jax.random.key(0), example, example == 0)

    def begin(self, start: Callable[[], Any], critic: Any = None) -> Any:
        """What training begins with: the policy as it is, and its value network.

        A separate value network begins as `critic`, or else as a copy of the policy with values of
        0. A shared one begins with values of 0.

        Args:
          start: makes a new copy of the trainable parameters of the policy.
          critic: variables of a reward model of the policy's shape (`RewardModel.params`).

        Raises:
          ConfigError: a critic without a value network of its own.
        """
        policy = start()
        if critic is not None and self.actor.critic is None:
            raise ConfigError(
                "the value network is a head on the policy's states and cannot begin as a reward "
                "model; give it a network of its own"
            )
        value = nn.meta.unbox(self._value())
        if critic is not None:
            # A language model may lack a head that its reward model does not read either.
            theirs = flatten_dict(critic["params"], sep="/")
            ours = flatten_dict(value["params"], sep="/")
            copied = {path: jnp.array(theirs[path], leaf.dtype) for path, leaf in ours.items()}
            value = {"params": unflatten_dict(copied, sep="/")}
        elif self.actor.critic is not None:
            # The critic has no language head, and a quantized base has other kernels.
            whole = dequantize_params(self.text.variables(start())["params"])
            theirs = flatten_dict(whole, sep="/")
            ours = flatten_dict(value["params"]["backbone"], sep="/")
            copied = {path: jnp.array(theirs[path], leaf.dtype) for path, leaf in ours.items()}
            value = {"params": value["params"] | {"backbone": unflatten_dict(copied, sep="/")}}
        return {POLICY: policy, VALUE: value}

    def reference(self, start: Callable[[], Any], plan: Plan) -> Any:
        """The policy that training begins with, without its tuned branch, on the plan's devices."""
        params = {"params": self.text.variables(start())["params"]}
        return jax.device_put(params, replicated(plan.mesh))

    def batch(self, prompt: int, window: int = 0) -> Any:
        """Shapes of a minibatch of `Rollouts`.

        Args:
          prompt: number of tokens of a prompt.
          window: number of tokens of a pre-training text, if there are any.
        """
        rows, length = self.train.batch_size, self.settings.response

        def cells(dtype: Any, width: int) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct((rows, width), dtype)

        names = ("weights", "logprobs", "values", "advantages", "returns")
        shapes = {name: cells(jnp.float32, length) for name in names}
        read = {"tokens": jnp.int32, "valid": jnp.bool_}
        shapes |= {name: cells(dtype, prompt + length) for name, dtype in read.items()}
        if self.settings.pretraining_weight:
            texts = read | {"weights": jnp.float32}
            shapes |= {TEXT + name: cells(dtype, window) for name, dtype in texts.items()}
        return shapes

    def variables(self, trainable: Any) -> Any:
        """Join what is trained with what is not, as the actor reads it."""
        return join(trainable, self.frozen)

    def trained(self, directory: Path, batch: Any, run: Mapping[str, str]) -> Any:
        """Read the variables of the best checkpoint of a run.

        Args:
          directory: of the run.
          batch: shapes of a minibatch.
          run: identity of the run, from `run_identity`.

        Raises:
          DataError: the run is not trained yet or damaged, or its base has changed since.
        """
        place = directory / "checkpoints"
        return self.variables(load_params(place, self.plan(batch).state, self.text.base, run)[0])

    def plan(self, batch: Any) -> Plan:
        """Plan a step of PPO; see `make_plan`."""
        return make_plan(
            self.shapes(),
            ppo_loss(self.actor, self.settings),
            batch,
            self.train,
            frozen=self.frozen,
            join=join,
        )


def join(trainable: Any, frozen: Any) -> Any:
    """Join both trees of a policy into `{"policy", "value"}`; `frozen` None has only the first."""
    if frozen is None:
        return trainable
    return {POLICY: variables(trainable[POLICY], frozen[POLICY]), VALUE: trainable[VALUE]}
