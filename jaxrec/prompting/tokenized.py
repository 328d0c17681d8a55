"""Texts as the tokens that a model reads, by the rules of EleutherAI's `lm-eval`.

A prompt and its continuation are encoded together and then divided at the number of the prompt's
own tokens, because a tokenizer may cut a text differently where another text stands before it.
Spaces at the end of a prompt move to its continuation: most tokenizers write a space and the word
after it as one token. The rules are those of `lm_eval.api.model.TemplateLM` and
`lm_eval.utils.get_rolling_token_windows` (version 0.4.13).
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from jaxrec.core import ConfigError, DataError
from jaxrec.decode import encode_prompts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Overflow = Literal["refuse", "cut"]


@dataclasses.dataclass(frozen=True)
class Window:
    """Tokens that are scored together.

    Attributes:
      context: tokens that are only read, at least one.
      scored: tokens that are scored after them.
    """

    context: tuple[int, ...]
    scored: tuple[int, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenRules:
    """How texts become tokens for one model.

    Attributes:
      tokenizer: of transformers.
      vocab_size: V of the model.
      context: most tokens of a prompt and its continuation together.
      overflow: what becomes of a prompt that leaves too little room: "refuse" is an error, and
        "cut" drops its first tokens. A begin token that the tokenizer writes is kept.
      encoder: whether the prompts are for an encoder, which reads them with their end token.
    """

    tokenizer: "PreTrainedTokenizerBase"
    vocab_size: int
    context: int
    overflow: Overflow = "refuse"
    encoder: bool = False

    @property
    def start(self) -> int | None:
        """The token that an empty prompt consists of: the begin token, else the end token."""
        begin = self.tokenizer.bos_token_id
        return self.tokenizer.eos_token_id if begin is None else begin

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of whole texts, with those that the tokenizer adds at the beginning.

        Raises:
          ConfigError: a single string, or a tokenizer that does not belong to the model.
          DataError: something else than a text, or half a character.
        """
        check_texts(texts)
        return encode_prompts(self.tokenizer, texts, self.vocab_size, keep_eos=self.encoder)

    def prompts(self, texts: Sequence[str], room: int) -> list[list[int]]:
        """Return the tokens of prompts that are continued by up to `room` tokens.

        Raises:
          ConfigError: a prompt that is too long, or an empty one without a token to begin with.
        """
        rows = [row or self._begin() for row in self.encode(texts)]
        return [self.fit(row, room, f"prompt {number}") for number, row in enumerate(rows)]

    def fit(self, tokens: list[int], room: int, what: str) -> list[int]:
        """Return a prompt that leaves room for so many tokens, cut at its beginning if need be.

        Args:
          tokens: of the prompt.
          room: most tokens of its continuation.
          what: names the prompt in an error message.

        Raises:
          ConfigError: the prompt is too long and `overflow` is "refuse", or there is no room for
            any prompt.
        """
        # An encoder's prompt takes no room of what the decoder writes.
        most = self.context - (0 if self.encoder else room)
        if len(tokens) <= most:
            return tokens
        if most < 1:
            raise ConfigError(
                f"{what}: a continuation of {room} tokens leaves no room for a prompt in the "
                f"model's context of {self.context} tokens; ask for fewer "
                "tokens, or give a larger context"
            )
        if self.overflow == "refuse":
            raise ConfigError(
                f"{what} has {len(tokens)} tokens, and a continuation of {room} tokens leaves room "
                f"for {most} in the model's context of {self.context}; shorten it, or open the "
                'model with overflow="cut" (--overflow cut) to drop the first tokens of long '
                "prompts"
            )
        begins = tokens[0] == self.tokenizer.bos_token_id and most > 1
        return [tokens[0], *tokens[len(tokens) - most + 1 :]] if begins else tokens[-most:]

    def pairs(
        self, prompts: Sequence[str], continuations: Sequence[Sequence[str]]
    ) -> list[tuple[list[int], list[list[int]]]]:
        """Return the tokens of prompts and of their continuations, without a limit of length.

        Args:
          prompts: texts.
          continuations: the continuations of each prompt, as many rows as prompts.

        Raises:
          ConfigError: an empty continuation, or a text in the place of a row.
          DataError: see `check_texts`.
        """
        check_texts(prompts)
        for number, row in enumerate(continuations):
            if isinstance(row, str):
                raise ConfigError(f"continuations of prompt {number}: a list is needed, got a text")
            if "" in row:
                raise ConfigError(
                    f"continuation {list(row).index('')} of prompt {number} is empty and has no "
                    "tokens to score; leave it out"
                )
            check_texts(row)
        both = list(zip(prompts, continuations, strict=True))
        if self.encoder:
            read = self.encode(prompts)
            written = [[self.plain(text) for text in row] for row in continuations]
            return list(zip(read, written, strict=True))
        spaces = [prompt[len(prompt.rstrip()) :] for prompt in prompts]
        # One call for all texts: each call of a tokenizer costs as much as a few hundred tokens.
        texts = [
            text
            for prompt, row in both
            for text in (prompt.rstrip(), *(prompt + continuation for continuation in row))
        ]
        encoded = iter(self.encode(texts))
        found = []
        for space, row in zip(spaces, continuations, strict=True):
            own = next(encoded)
            # A continuation that merges into the prompt's last token counts on its own.
            rows = [next(encoded)[len(own) :] or self.plain(space + text) for text in row]
            found.append((own or self._begin(), rows))
        return found

    def plain(self, text: str) -> list[int]:
        """Return the tokens of a text alone, without any that the tokenizer adds."""
        check_texts([text])
        return list(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def windows(self, text: str) -> Iterator[Window]:
        """Divide a text into windows that score each of its tokens once.

        A window has at most `context` tokens to read. The first one begins with the begin token, or
        the end token of a model without a begin token. Each further window scores the next
        `context` tokens after the token before them. The last one scores what is left after as
        much text as the context holds.

        Raises:
          ConfigError: a tokenizer with neither a begin nor an end token.
        """
        tokens = self.plain(text)
        before, end = self._begin(), 0
        while end < len(tokens):
            first, end = end, min(end + self.context, len(tokens))
            # All tokens but the last one are read: `context` of them.
            read = tokens[end - self.context - 1 : first] if first else before
            yield Window(tuple(read), tuple(tokens[first:end]))

    def _begin(self) -> list[int]:
        if self.start is None:
            raise ConfigError(
                "an empty prompt, and the beginning of a scored text, need a token to begin with, "
                "but the tokenizer has neither a begin token nor an end token; set one of "
                "tokenizer.bos_token and tokenizer.eos_token"
            )
        return [self.start]


def check_texts(texts: Sequence[str]) -> None:
    """Reject what no tokenizer reads.

    Raises:
      ConfigError: one text in the place of a list.
      DataError: something else than a text, or half a character, as damaged files contain; the
        message names it.

    Example:
      >>> check_texts(["a film"])
    """
    if isinstance(texts, str):
        raise ConfigError(f"expected a list of texts, got one text: [{texts[:20]!r}]")
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(f"text {number} must be a text, got {text!r:.60}")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"text {number} has half a character, {text[error.start]!r}, at place "
                f"{error.start}, which no tokenizer reads; remove it"
            ) from error
