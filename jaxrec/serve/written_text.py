"""From tokens to text while they are written: whole characters, stop strings, offsets.

Bytes of a character that is not complete are held back. So is text that may be the beginning of a
stop string. Whatever is released is final, and all pieces together are the text of a request that
does not stream.
"""

import codecs
import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jaxrec.decode import drop_first_space, token_bytes

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_BROKEN = "\N{REPLACEMENT CHARACTER}"


class TokenTexts:
    """The bytes and the names of a tokenizer's tokens.

    Args:
      tokenizer: of transformers: byte-level BPE or with SentencePiece's pieces.

    Attributes:
      longest: most bytes of a token.
      first_space: whether a text begins with a space that is not part of it.

    Raises:
      ConfigError: a tokenizer of another kind.

    Example:
      >>> from jaxrec.data import train_bpe
      >>> tokenizer = train_bpe(["one word"], vocab_size=300)
      >>> texts = TokenTexts(tokenizer)
      >>> texts.name(tokenizer.convert_tokens_to_ids("o")), texts.name(tokenizer.eos_token_id)
      ('o', '</s>')
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        self._bytes = token_bytes(tokenizer)
        # Names are asked for while another thread tokenizes.
        bare = [token for token, raw in enumerate(self._bytes) if not raw]
        self._names = dict(zip(bare, map(str, tokenizer.convert_ids_to_tokens(bare)), strict=True))
        self.longest = max(map(len, self._bytes), default=1)
        self.first_space = drop_first_space(tokenizer, " ") == ""

    def raw(self, token: int) -> bytes:
        """Return the bytes that a token adds to a text; none for special and unknown tokens."""
        return self._bytes[token] if token < len(self._bytes) else b""

    def name(self, token: int) -> str:
        r"""Return a text for a token on its own, such as "bytes:\xe2" for a part of a character."""
        raw = self.raw(token)
        if not raw:
            return self._names.get(token, "")
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)


@dataclasses.dataclass(frozen=True, kw_only=True)
class WrittenToken:
    """A token of a prompt or of a continuation, with its scores.

    Attributes:
      token: its number.
      text: what it adds to the text. The last token of a character that is cut into several tokens
        has the character, and the others a replacement character; special tokens have none.
      raw: its bytes.
      offset: number of characters before it.
      end: number of whole characters with it.
      logprob: log-probability in nats; None for the first token of a prompt.
      best: likeliest tokens at its place with their log-probabilities, best first.
      special: whether it is an end token or another special token.
    """

    token: int
    text: str
    raw: bytes
    offset: int
    end: int
    logprob: float | None
    best: tuple[tuple[int, float], ...] = ()
    special: bool = False


class TextWriter:
    """The text of one row, token by token.

    Args:
      texts: of the tokenizer.
      stop: strings that end the text and are not part of it.
      trim: whether to drop SentencePiece's space before the first word.

    Attributes:
      text: so far, without an incomplete character at its end.
      stopped: whether a stop string has occurred; the text is then cut before it.

    Example:
      >>> from jaxrec.data import train_bpe
      >>> tokenizer = train_bpe(["one word"], vocab_size=300)
      >>> writer = TextWriter(TokenTexts(tokenizer), stop=("wo",))
      >>> pieces = []
      >>> for token in tokenizer("one word")["input_ids"]:
      ...     if not writer.stopped:
      ...         writer.add(token)
      ...         pieces.append(writer.release()[0])
      >>> "".join(pieces)
      'one '
    """

    def __init__(self, texts: TokenTexts, stop: Sequence[str] = (), *, trim: bool = False) -> None:
        self._texts, self._stop = texts, tuple(stop)
        self._longest = max(map(len, self._stop), default=0)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._trim = trim and texts.first_space
        self._tokens: list[WrittenToken] = []
        self._released = 0
        self.text = ""
        self.stopped = False

    def add(
        self,
        token: int,
        logprob: float | None = None,
        best: Sequence[tuple[int, float]] = (),
    ) -> None:
        """Append a token."""
        self._add(token, self._texts.raw(token), logprob, best)

    def add_end(self, token: int, logprob: float, best: Sequence[tuple[int, float]] = ()) -> None:
        """Append an end token, whose text does not count: it may be a newline."""
        self._add(token, b"", logprob, best)

    def _add(
        self, token: int, raw: bytes, logprob: float | None, best: Sequence[tuple[int, float]]
    ) -> None:
        before = len(self.text)
        new = self._decoder.decode(raw)
        if self._trim and new:
            new, self._trim = new.removeprefix(" "), False
        self._append(new)
        broken = _BROKEN if raw and not new and self._decoder.getstate()[0] else ""
        self._tokens.append(
            WrittenToken(
                token=token,
                text=new or broken,
                raw=raw,
                offset=before,
                end=before + len(new),
                logprob=logprob,
                best=tuple(best),
                special=not raw,
            )
        )

    def release(self, *, final: bool = False) -> tuple[str, tuple[WrittenToken, ...]]:
        """Return text and tokens that are certain and were not returned before.

        Args:
          final: whether no token will follow, so that nothing is held back.
        """
        if final and not self.stopped:
            self._append(self._decoder.decode(b"", final=True))
        final = final or self.stopped
        end = len(self.text) if final else len(self.text) - self._held()
        new, self._released = self.text[self._released : end], max(end, self._released)
        if self.stopped:
            sure = sum(token.offset < end for token in self._tokens)
        elif final:
            sure = len(self._tokens)
        else:
            ends = [token.end <= end for token in self._tokens]
            sure = ends.index(False) if False in ends else len(ends)
        tokens, self._tokens = self._tokens[:sure], self._tokens[sure:]
        return new, tuple(tokens)

    def _append(self, new: str) -> None:
        start = max(0, len(self.text) - self._longest + 1)
        self.text += new
        found = [(self.text.find(s, start) + len(s), -len(s)) for s in self._stop]
        # A string that is missing has an end below its length.
        found = [(end, minus) for end, minus in found if end + minus >= 0]
        if found:
            # The first complete string counts; of several that end there, the longest.
            self.text, self.stopped = self.text[: sum(min(found))], True

    def _held(self) -> int:
        """Number of characters at the end that may be the beginning of a stop string."""
        most = min(self._longest - 1, len(self.text))
        for size in range(most, 0, -1):
            end = self.text[-size:]
            if any(len(s) > size and s.startswith(end) for s in self._stop):
                return size
        return 0
