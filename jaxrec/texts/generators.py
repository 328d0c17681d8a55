"""What writes texts for instruction data: a language model behind one function.

A generator is any function from prompts and settings to completions, such as `model_generator` of a
model of this library, a client of a service, or a script in a test.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax

from jaxrec.core import ConfigError
from jaxrec.decode import GREEDY, Completion, Sampling, TextOptions, completions


@dataclasses.dataclass(frozen=True, kw_only=True)
class GenerateSettings:
    """How a language model continues prompts.

    Attributes:
      max_tokens: most tokens of a completion.
      temperature: 0 takes the likeliest token.
      top_p: share of the probability that tokens are drawn from.
      presence_penalty: what the logits of tokens that a completion already has are lowered by.
      stop: strings that end a completion and are not part of it.
      seed: of the draws; each request has its own.

    Raises:
      ConfigError: a number out of range.

    Example:
      >>> from jaxrec.texts import GenerateSettings
      >>> GenerateSettings(max_tokens=3).temperature
      0.0
    """

    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    presence_penalty: float = 0.0
    stop: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        _ = self.text_options, self.sampling

    @property
    def text_options(self) -> TextOptions:
        """The settings as `decode.complete` takes them."""
        return TextOptions(max_tokens=self.max_tokens, presence_penalty=self.presence_penalty)

    @property
    def sampling(self) -> Sampling:
        """The settings as `decode.complete` takes them."""
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p must lie in (0, 1], got {self.top_p}")
        if self.temperature == 0:
            return GREEDY
        return Sampling(self.temperature, top_p=None if self.top_p == 1 else self.top_p)


Generator = Callable[[Sequence[str], GenerateSettings], Sequence[Completion]]


def model_generator(model: Any, params: Any, tokenizer: Any, *, batch_size: int = 32) -> Generator:
    """Let a language model of this library write.

    Args:
      model: a decoder, such as `Opened.model.spec.build()`.
      params: its variables.
      tokenizer: of transformers.
      batch_size: most prompts in one call of the model.

    Example:
      >>> from jaxrec.data import train_bpe
      >>> from jaxrec.models import CausalLM
      >>> from jaxrec.testing import random_params, tiny_model
      >>> from jaxrec.texts import GenerateSettings, model_generator
      >>> tokenizer = train_bpe(["one word"], vocab_size=300)
      >>> model = CausalLM(tiny_model(len(tokenizer)))
      >>> generate = model_generator(model, random_params(model), tokenizer)
      >>> len(generate(["one", "word"], GenerateSettings(max_tokens=2, temperature=0.7)))
      2
    """

    def generate(prompts: Sequence[str], settings: GenerateSettings) -> list[Completion]:
        return completions(
            model,
            params,
            tokenizer,
            prompts,
            settings.text_options,
            sampling=settings.sampling,
            key=jax.random.key(settings.seed),
            stop=settings.stop or None,
            batch_size=batch_size,
        )

    return generate
