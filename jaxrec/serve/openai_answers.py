"""Answers in the form of OpenAI's completions and chats, whole or in pieces."""

import dataclasses
import time
from collections.abc import Iterable, Sequence
from typing import Any

from jaxrec.serve.openai_requests import Asked
from jaxrec.serve.text_engine import Piece
from jaxrec.serve.written_text import TokenTexts, WrittenToken

# JSON has no infinity; OpenAI's service sends this for a probability of 0.
_LEAST = -9999.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Frame:
    """What all parts of an answer begin with, and how its tokens are written.

    Attributes:
      asked: the request.
      texts: of the tokenizer.
      answer_id: of the answer.
      prompt_texts: text of each prompt.
      prompt_tokens: number of tokens of each prompt.
      created: seconds since 1970.
    """

    asked: Asked
    texts: TokenTexts
    answer_id: str
    prompt_texts: Sequence[str]
    prompt_tokens: Sequence[int]
    created: int = dataclasses.field(default_factory=lambda: int(time.time()))

    def whole(self, pieces: Sequence[Sequence[Piece]]) -> dict[str, Any]:
        """Return the answer of all pieces of each choice."""
        choices = []
        for index, parts in enumerate(pieces):
            text = "".join(part.text for part in parts)
            logprobs = self._logprobs(index, parts)
            choice: dict[str, Any] = {"index": index}
            if self.asked.chat:
                choice["message"] = {"role": "assistant", "content": text, "refusal": None}
            else:
                choice["text"] = self._prompt(index) + text
            choices.append(
                choice | {"logprobs": logprobs, "finish_reason": parts[-1].finish or "length"}
            )
        written = [parts[-1].written for parts in pieces]
        kind = "chat.completion" if self.asked.chat else "text_completion"
        return self._head(kind) | {"choices": choices, "usage": self.usage(written)}

    def first(self, index: int) -> dict[str, Any] | None:
        """Return what comes before the first piece of a choice: the role, or the prompt."""
        if self.asked.chat:
            delta = {"role": "assistant", "content": "", "refusal": None}
            return self._part({"index": index, "delta": delta, "finish_reason": None})
        # With log-probabilities the prompt comes with those of its tokens.
        if not self.asked.echo or self.asked.logprobs is not None:
            return None
        text = self._prompt(index)
        choice = {"index": index, "text": text, "logprobs": None, "finish_reason": None}
        return self._part(choice)

    def part(self, index: int, piece: Piece) -> dict[str, Any]:
        """Return a piece of a choice."""
        choice: dict[str, Any] = {"index": index, "logprobs": self._logprobs(index, [piece])}
        if self.asked.chat:
            choice["delta"] = {"content": piece.text} if piece.text else {}
        else:
            choice["text"] = (self._prompt(index) if piece.prompt else "") + piece.text
        return self._part(choice | {"finish_reason": piece.finish})

    def last(self, written: Iterable[int]) -> dict[str, Any]:
        """Return the last piece of a stream, which has the counts of tokens."""
        return self._part(None) | {"usage": self.usage(written)}

    def usage(self, written: Iterable[int]) -> dict[str, int]:
        """Return the counts of tokens; a prompt of several choices counts once."""
        prompt, completion = sum(self.prompt_tokens), sum(written)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        }

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": self.answer_id,
            "object": kind,
            "created": self.created,
            "model": self.asked.model,
        }

    def _part(self, choice: dict[str, Any] | None) -> dict[str, Any]:
        kind = "chat.completion.chunk" if self.asked.chat else "text_completion"
        return self._head(kind) | {"choices": [] if choice is None else [choice]}

    def _prompt(self, index: int) -> str:
        return self.prompt_texts[index // self.asked.n] if self.asked.echo else ""

    def _logprobs(self, index: int, pieces: Sequence[Piece]) -> dict[str, Any] | None:
        if self.asked.logprobs is None:
            return None
        written = [token for piece in pieces for token in piece.tokens]
        if self.asked.chat:
            chosen = [token for token in written if not token.special]
            return {"content": [self._chat_token(token) for token in chosen], "refusal": None}
        read = [token for piece in pieces for token in piece.prompt]
        # Offsets count from the beginning of the prompt, whether it is echoed or not.
        start = len(self.prompt_texts[index // self.asked.n])
        tokens = [*read, *written]
        return {
            "tokens": [token.text for token in tokens],
            "token_logprobs": [_number(token.logprob) for token in tokens],
            "top_logprobs": [self._top(token) for token in tokens],
            "text_offset": [
                *(token.offset for token in read),
                *(start + token.offset for token in written),
            ],
        }

    def _top(self, token: WrittenToken) -> dict[str, float | None] | None:
        """Return the likeliest tokens by their texts, the token itself among them."""
        if token.logprob is None:
            return None
        found: dict[str, float | None] = {token.text: _number(token.logprob)}
        for other, logprob in token.best:
            if other != token.token:
                name = self.texts.name(other)
                # Two tokens may have one text; the second must not replace the first.
                found[name if name not in found else f"token:{other}"] = _number(logprob)
        return dict(sorted(found.items(), key=lambda pair: -(pair[1] or 0.0)))

    def _chat_token(self, token: WrittenToken) -> dict[str, Any]:
        best = [self._chat_entry(other, logprob) for other, logprob in token.best]
        return self._chat_entry(token.token, token.logprob) | {"top_logprobs": best}

    def _chat_entry(self, token: int, logprob: float | None) -> dict[str, Any]:
        return {
            "token": self.texts.name(token),
            "logprob": _number(logprob),
            "bytes": list(self.texts.raw(token)),
        }


def _number(logprob: float | None) -> float | None:
    return None if logprob is None else max(logprob, _LEAST)
