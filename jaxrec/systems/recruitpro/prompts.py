"""The layout of a text among prompts, and the network that computes the prompts' vectors.

    [CLS]  task₁ task₁  skill skill skill  task₂ task₂  [MASK]  task₃ task₃  text text text  [SEP]

Prompt slot `i` of a row is token `V + i`, beyond the vocabulary; see `jaxrec/nn/kernel.py`. The
skill prompt is the same for all tasks, and each task has its own task prompts. One BiLSTM reads the
vectors of all slots in their order, and an MLP gives what the encoder reads.

Shapes: `N` tasks, `P` slots, `S` slots of the skill prompt, `D` width, `V` vocabulary.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.core import ConfigError
from jaxrec.data import ReservedTokens
from jaxrec.peft import PromptNetwork, make_network
from jaxrec.systems.recruitpro.config import InputConfig


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Layout:
    """Which tokens stand around a text, and where its states are read.

    Attributes:
      before: `[H]` int32, tokens in front of the text.
      end: number of the token after it.
      pad: number of the token that fills a row.
      read: place of the state that a head reads.
      skill: places of the skill prompt.
      shared: whether the skill prompt is the same for all tasks.

    Example:
      >>> from jaxrec.data import train_reserved
      >>> reserved = ReservedTokens.of(train_reserved(["a job"], 370))
      >>> layout = Layout.of(InputConfig(slots=(1, 2, 1, 1)), reserved, 370)
      >>> layout.read, layout.skill, len(layout.before)
      (5, (2, 4), 7)
    """

    before: np.ndarray
    end: int
    pad: int
    read: int
    skill: tuple[int, int]
    shared: bool

    @classmethod
    def of(cls, config: InputConfig, reserved: ReservedTokens, vocab_size: int) -> "Layout":
        """The layout of a form.

        Raises:
          ConfigError: the tokenizer lacks the ends of a text, or the mask of a prompt.
        """
        prompted = config.form != "cls"
        needs = {"bos": reserved.bos, "eos": reserved.eos}
        needs |= {"mask": reserved.mask} if prompted else {}
        if lacking := [name for name, number in needs.items() if number < 0]:
            raise ConfigError(
                f"the tokenizer of --encoder.base has no {', no '.join(lacking)} token, which "
                f"--input.form {config.form} needs; give another encoder"
            )
        first, skill, second, third = config.slots if prompted else (0, 0, 0, 0)
        slots = vocab_size + np.arange(first + skill + second + third)
        ahead = first + skill + second
        before = [reserved.bos, *slots[:ahead], *([reserved.mask] if prompted else [])]
        return cls(
            before=np.array([*before, *slots[ahead:]], np.int32),
            end=reserved.eos,
            pad=max(reserved.pad, 0),
            read=1 + ahead if prompted else 0,
            skill=(1 + first, 1 + first + skill),
            shared=config.form == "skill_prompt",
        )

    @property
    def around(self) -> int:
        """Number of tokens around a text."""
        return len(self.before) + 1

    def fill(self, texts: list[list[int]], most: int) -> tuple[np.ndarray, np.ndarray]:
        """Lay texts out in rows.

        Args:
          texts: tokens of each; what is beyond `most` is left out.
          most: tokens of a text.

        Returns:
          `[n, H + most + 1]` int32 tokens, and `[n]` int32 numbers of tokens of each row.
        """
        rows = np.full((len(texts), self.around + most), self.pad, np.int32)
        sizes = np.zeros(len(texts), np.int32)
        for number, text in enumerate(texts):
            row = [*self.before, *text[:most], self.end]
            rows[number, : len(row)] = row
            sizes[number] = len(row)
        return rows, sizes


def init_prompts(key: jax.Array, config: InputConfig, tasks: int, width: int) -> PromptNetwork:
    """Draw the network of all prompts, boxed.

    Its embedding has the shared skill prompt first, if the form has one, and then the task prompts
    of each task: `[S + N (P - S), D]`, or `[N P, D]`.

    Args:
      key: random key.
      config: of the input.
      tasks: N.
      width: D.
    """
    shared = config.slots[1] if config.form == "skill_prompt" else 0
    own = sum(config.slots) - shared
    return make_network(key, shared + tasks * own, width)


def prompt_table(network: PromptNetwork, config: InputConfig, task: jax.Array) -> jax.Array:
    """The vectors of all slots of a task's rows, in their order: `[P, D]`.

    Args:
      network: of `init_prompts`.
      config: of the input.
      task: int32 scalar, number of the task.

    Example:
      >>> from flax import linen as nn
      >>> config = InputConfig(slots=(1, 2, 1, 1))
      >>> network = nn.meta.unbox(init_prompts(jax.random.key(0), config, 4, 8))
      >>> network.embedding.shape, prompt_table(network, config, jnp.int32(3)).shape
      ((14, 8), (5, 8))
    """
    first, skill, *_ = config.slots
    shared = skill if config.form == "skill_prompt" else 0
    own = sum(config.slots) - shared
    rows = network.embedding
    mine = jax.lax.dynamic_slice_in_dim(rows, shared + task * own, own)
    if shared:
        mine = jnp.concatenate([mine[:first], rows[:shared], mine[first:]])
    return dataclasses.replace(network, embedding=mine).table()


def with_prompts(encoder: Any, table: jax.Array | None) -> dict[str, Any]:
    """The variables of an encoder whose virtual tokens read a table; None for no prompts."""
    if table is None:
        return {"params": encoder}
    return {"params": encoder, "tuned": {"embedding": {"prompt": table}}}
