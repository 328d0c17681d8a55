"""What Toolformer asks of a language model: tokens, their chances, and texts that go on.

It is more than `LanguageModel` gives: how likely a call begins at each place of a text, and how
likely each token is. A call begins with the marker, which is one token.
"""

import dataclasses
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from jaxrec.prompting.language_model import GenerateOptions

MARKER = " ["


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Reading:
    """What a model expects at each place of a text of n tokens, which follows some prefix.

    Attributes:
      logprobs: `[n]` float64, log P(token i | prefix and the tokens before), in nats.
      marker: `[n + 1]` float64, log-probability of the marker in place of token i; the last one
        after the whole text.
      ranks: `[n + 1]` int64, number of tokens that are likelier than the marker there.
    """

    logprobs: np.ndarray
    marker: np.ndarray
    ranks: np.ndarray


class MarkingModel(Protocol):
    """A language model with a token that begins calls."""

    def pieces(self, texts: Sequence[str]) -> list[tuple[str, ...]]:
        """Return the tokens of each text as texts, which give the text when they are joined."""
        ...

    def read(self, prefixes: Sequence[str], texts: Sequence[str]) -> list[Reading]:
        """Read each text after its prefix, token by token as `pieces` cuts it."""
        ...

    def write(
        self, prompts: Sequence[str], options: GenerateOptions, *, marker: bool
    ) -> list[list[tuple[str, bool]]]:
        """Continue each prompt `options.n` times.

        Args:
          prompts: texts; one may end with the marker.
          options: how.
          marker: whether the marker may be written.

        Returns:
          For each prompt, `n` pairs: a text without what stopped it, and whether it is cut because
          it has `max_tokens`.
        """
        ...
