"""Stop strings, detected on the device however the text is cut into tokens.

All strings together form one automaton over bytes (Aho and Corasick 1975). Running it from each of
its states over the bytes of each token gives a table `next_state[state, token]`. A decoding step
then looks for all strings in all rows with one gather.

Shapes: `V` tokens of the vocabulary.
"""

import dataclasses
import json
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.core import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_BYTES = 256
_HEX_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


@dataclasses.dataclass(frozen=True, eq=False)
class StopStrings:
    """Strings at which generation ends.

    Attributes:
      strings: the strings; they are not part of the text.
      table: `[states, V]` int16 or int32, the state after a token. State 0 is the state before any
        token. The last state means that a string has occurred, and is never left.

    Example:
      >>> stop = StopStrings(("User:",), jnp.asarray(stop_table(["User:"], [b"Us", b"er:", b"!"])))
      >>> stop.cut("All right. User: and")
      'All right. '
    """

    strings: tuple[str, ...]
    table: jax.Array

    @classmethod
    def build(
        cls,
        tokenizer: "PreTrainedTokenizerBase",
        strings: Sequence[str],
        vocab_size: int | None = None,
        *,
        few_shapes: bool = False,
    ) -> "StopStrings":
        """Make the table for a tokenizer.

        Args:
          tokenizer: a fast tokenizer, byte-level BPE or with SentencePiece's pieces.
          strings: strings that end a text, none of them empty.
          vocab_size: V of the model, if it has more tokens than the tokenizer.
          few_shapes: whether to round the number of states up to a power of two, so that a program
            that is compiled for one list of strings runs with most others.

        Raises:
          ConfigError: no string or an empty one, a tokenizer whose tokens have no bytes of their
            own, or a model with fewer tokens than the tokenizer.
        """
        tokens = token_bytes(tokenizer)
        size = len(tokens) if vocab_size is None else vocab_size
        # A model may lack tokens of its tokenizer that have no bytes.
        if any(tokens[size:]):
            raise ConfigError(
                f"vocab_size {vocab_size} is less than the tokenizer's {len(tokens)} tokens; give "
                "the tokenizer that the model was trained with"
            )
        tokens = (tokens + [b""] * (size - len(tokens)))[:size]
        table = stop_table(strings, tokens)
        return cls(tuple(strings), jnp.asarray(_widened(table) if few_shapes else table))

    def cut(self, text: str) -> str:
        """Return the text before the string that is complete first.

        If several strings end there, the text before the longest one is returned. What follows the
        string, such as the rest of a token, does not matter.
        """
        ends = [(text.find(s) + len(s), -len(s)) for s in self.strings if s in text]
        if not ends:
            return text
        end, length = min(ends)
        return text[: end + length]


def _widened(table: np.ndarray) -> np.ndarray:
    """Put states that are never entered before the last one, up to a power of two, at least 8."""
    final, states = len(table) - 1, 1 << max(3, (len(table) - 1).bit_length())
    dtype = np.int16 if states <= np.iinfo(np.int16).max else np.int32
    wide = np.full((states, table.shape[1]), states - 1, dtype)
    wide[:final] = np.where(table[:final] == final, states - 1, table[:final])
    return wide


def stop_table(strings: Sequence[str], tokens: Sequence[bytes]) -> np.ndarray:
    """Return the table `next_state[state, token]` of the automaton that looks for `strings`.

    Args:
      strings: strings each of which ends the text.
      tokens: the bytes of each of the V tokens.

    Returns:
      `[states, V]` int16, or int32 if there are too many states. There is one state for each
      distinct prefix of a string that does not contain a whole string. The last state means that a
      string has occurred.

    Raises:
      ConfigError: no string, or an empty one.

    Cost: O(states * bytes of all tokens), in as many numpy operations as the longest token has
    bytes.

    Example:
      The states are "", "a" and "occurred"; the tokens are "a", "b" and "ab":

      >>> stop_table(["ab"], [b"a", b"b", b"ab"]).tolist()
      [[1, 0, 2], [1, 2, 2], [2, 2, 2]]
    """
    step = _automaton(strings)
    states = len(step)
    lengths = np.array([len(token) for token in tokens], np.int64)
    flat = np.frombuffer(b"".join(tokens), np.uint8)
    starts = np.cumsum(lengths) - lengths
    # Longest tokens first, so that the tokens that have another byte are a leading slice.
    order = np.argsort(-lengths, kind="stable")
    dtype = np.int16 if states <= np.iinfo(np.int16).max else np.int32
    table = np.repeat(np.arange(states, dtype=dtype)[:, None], len(tokens), axis=1)
    longest = int(lengths.max(initial=0))
    for position in range(longest):
        count = np.count_nonzero(lengths > position)
        byte = flat[starts[order[:count]] + position]
        table[:, :count] = step[table[:, :count], byte[None, :]]
    out = np.empty_like(table)
    out[:, order] = table
    return out


def _automaton(strings: Sequence[str]) -> np.ndarray:
    """Build the Aho-Corasick automaton, `[states, 256]` int32; the last state is never left."""
    if isinstance(strings, str):
        raise ConfigError(
            f"stop must be a list of strings, got the string {strings!r}: [{strings!r}]"
        )
    if not strings or not all(strings):
        raise ConfigError(
            f"stop needs at least one string, and no empty one, got {list(strings)!r}"
        )
    # Nodes of the trie: children by byte, and whether a string ends there.
    children: list[dict[int, int]] = [{}]
    final = [False]
    for string in strings:
        node = 0
        for byte in string.encode():
            if byte not in children[node]:
                children[node][byte] = len(children)
                children.append({})
                final.append(False)
            node = children[node][byte]
        final[node] = True
    # Breadth first: a byte without a child leads where it leads from the node's longest suffix.
    # That suffix is shorter than the node, so its transitions are complete.
    step = np.zeros((len(children), _BYTES), np.int32)
    suffix = [0] * len(children)
    queue = [0]
    for node in queue:
        if node:
            final[node] |= final[suffix[node]]
            step[node] = step[suffix[node]]
        for byte, child in children[node].items():
            suffix[child] = int(step[node, byte]) if node else 0
            step[node, byte] = child
            queue.append(child)
    # What follows a whole string does not matter: these nodes and all below them are one state.
    alive = np.flatnonzero(~np.array(final))
    number = np.full(len(children), len(alive), np.int32)
    number[alive] = np.arange(len(alive), dtype=np.int32)
    step = number[step[alive]]
    return _reachable(np.concatenate([step, np.full((1, _BYTES), len(alive), np.int32)]))


def _reachable(step: np.ndarray) -> np.ndarray:
    """Drop the states that are never entered: prefixes that contain a whole string."""
    seen = np.zeros(len(step), bool)
    seen[[0, -1]] = True
    queue = [0]
    for state in queue:
        for after in np.unique(step[state]):
            if not seen[after]:
                seen[after] = True
                queue.append(int(after))
    return (np.cumsum(seen) - 1).astype(np.int32)[step[seen]]


def token_bytes(tokenizer: "PreTrainedTokenizerBase") -> list[bytes]:
    """Return the bytes that each token adds to a text, by token number; none for special tokens.

    SentencePiece's space before the first word of a text counts as a byte here, although decoding
    a whole text drops it.

    Args:
      tokenizer: a fast tokenizer, byte-level BPE or with SentencePiece's pieces.

    Raises:
      ConfigError: the tokenizer is slow, or the text of its tokens depends on their neighbours.

    Example:
      >>> from jaxrec.data import train_bpe
      >>> tokenizer = train_bpe(["one word"], vocab_size=300)
      >>> token_bytes(tokenizer)[tokenizer.convert_tokens_to_ids("o")]
      b'o'
    """
    read = _Reader(tokenizer)
    vocabulary = tokenizer.get_vocab()
    tokens = [b""] * (max(vocabulary.values(), default=-1) + 1)
    for token, number in vocabulary.items():
        tokens[number] = read(token)
    return tokens


def text_of(tokenizer: "PreTrainedTokenizerBase", tokens: Iterable[int]) -> str:
    """Return the text that tokens add to the text before them; broken UTF-8 becomes U+FFFD.

    Unlike `tokenizer.decode`, it keeps SentencePiece's space before the first word.

    Raises:
      ConfigError: the tokenizer is slow, or the text of its tokens depends on their neighbours.
    """
    read = _Reader(tokenizer)
    size = len(tokenizer)
    names = tokenizer.convert_ids_to_tokens([int(t) for t in tokens if t < size])
    return b"".join(read(name) for name in names if name is not None).decode(errors="replace")


def drop_first_space(tokenizer: "PreTrainedTokenizerBase", text: str) -> str:
    """Return a whole text without the space that SentencePiece puts before its first word."""
    return text.removeprefix(" ") if _Reader(tokenizer).space else text


class _Reader:
    """Turns a token's name into bytes by the decoder that the tokenizer's file describes."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise ConfigError(
                f"{type(tokenizer).__name__} is not a fast tokenizer, so the bytes of its tokens "
                "are unknown; load it with jaxrec.data.load_tokenizer"
            )
        added = tokenizer.added_tokens_decoder.values()
        self.special = {str(token) for token in added if token.special}
        self.special |= set(tokenizer.all_special_tokens)
        self.map: dict[str, int] | None = None
        self.replace: list[tuple[str, str]] = []
        self.byte_fallback = False
        self.space = False
        decoder = backend.decoder
        description = None if decoder is None else json.loads(decoder.__getstate__())
        parts = [] if description is None else description.get("decoders", [description])
        for part in parts:
            kind = part["type"]
            if kind == "ByteLevel":
                self.map = byte_map()
            elif kind == "Metaspace":
                self.replace.append((part["replacement"], " "))
                self.space = part["prepend_scheme"] != "never"
            elif kind == "Replace" and "String" in part["pattern"]:
                self.replace.append((part["pattern"]["String"], part["content"]))
            elif kind == "ByteFallback":
                self.byte_fallback = True
            elif kind == "Strip":
                self.space |= part["content"] == " " and part["start"] == 1
            elif kind != "Fuse":
                parts = []
                break
        if not parts:
            name = "none" if description is None else description["type"]
            raise ConfigError(
                f"the bytes of a token are unknown for a tokenizer with decoder {name}; expected "
                "byte-level BPE or SentencePiece's pieces (ByteLevel, Metaspace, Replace, "
                "ByteFallback, Fuse, Strip)"
            )

    def __call__(self, token: str) -> bytes:
        if token in self.special:
            return b""
        if self.map is not None:
            # Like the decoder: a token with any other character stands for its own characters.
            known = [self.map.get(character, -1) for character in token]
            return token.encode() if -1 in known else bytes(known)
        if self.byte_fallback and (match := _HEX_BYTE.fullmatch(token)):
            return bytes([int(match[1], 16)])
        for old, new in self.replace:
            token = token.replace(old, new)
        return token.encode()


def byte_map() -> dict[str, int]:
    """Map the printable characters of byte-level BPE to bytes (GPT-2, `encoder.py`)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(_BYTES) if byte not in printable]
    characters = {chr(byte): byte for byte in printable}
    return characters | {chr(_BYTES + n): byte for n, byte in enumerate(others)}
