"""Tokens that a vocabulary reserves for pre-training: ends, the mask, sentinels and modes.

T5 marks removed spans by 100 sentinels, of which `<extra_id_0>` has the highest number (Raffel et
al., arXiv:1910.10683). UL2 begins an input with the mode of its denoiser (Tay et al.,
arXiv:2205.05131); the released model writes R, S and X as [NLU], [S2S] and [NLG].
"""

import dataclasses
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Literal

import numpy as np

from jaxrec.core import ConfigError
from jaxrec.data.tokenizers import BPE_TOKENS, UNIGRAM_ALPHABET, train_bpe, train_unigram

SENTINELS = 100
MODES = {"R": "[NLU]", "S": "[S2S]", "X": "[NLG]"}
MASK = "<mask>"
# Ends of a text and its halves are one token each, so that BERT's layout needs no further ones.
_SPACES = "Ġ▁Ċĉ"  # a space, a new line and a tab, as byte-level BPE and Unigram write them
_ROLES = BPE_TOKENS | {"mask_token": MASK}


def sentinel_names(count: int = SENTINELS) -> list[str]:
    """Return T5's names of sentinels, in the order in which spans use them.

    Example:
      >>> sentinel_names(2)
      ['<extra_id_0>', '<extra_id_1>']
    """
    return [f"<extra_id_{number}>" for number in range(count)]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ReservedTokens:
    """Numbers of reserved tokens; -1 for one that the tokenizer does not have.

    Attributes:
      pad, bos, eos, mask: numbers of single tokens.
      sentinels: `[K]` int32, in the order in which spans use them.
      modes: number of each mode, by "R", "S" and "X".
      ordinary: `[V']` int32, all tokens that stand for text.

    Example:
      >>> reserved = ReservedTokens.of(train_reserved(["a film"], 400), needs=["sentinels"])
      >>> len(reserved.sentinels), int(reserved.sentinels[0] - reserved.sentinels[99])
      (100, 99)
    """

    pad: int
    bos: int
    eos: int
    mask: int
    sentinels: np.ndarray
    modes: dict[str, int]
    ordinary: np.ndarray

    @classmethod
    def of(cls, tokenizer: Any, needs: Collection[str] = ()) -> "ReservedTokens":
        """Read the reserved tokens of a tokenizer.

        Args:
          tokenizer: of transformers.
          needs: what it must have: some of bos, eos, pad, mask, sentinels and modes.

        Raises:
          ConfigError: it lacks one of these, or has no fast backend. The message names the tokens
            and how to add them.
        """
        if not tokenizer.is_fast:
            raise ConfigError(
                "pre-training needs a fast tokenizer (a tokenizer.json), and this one is slow; "
                "convert it by transformers' AutoTokenizer"
            )
        vocabulary = tokenizer.get_vocab()
        sentinels = [vocabulary[n] for n in sentinel_names() if n in vocabulary]
        modes = {mode: vocabulary.get(name, -1) for mode, name in MODES.items()}

        def single(*roles: str) -> int:
            numbers = [getattr(tokenizer, f"{role}_token_id", None) for role in roles]
            return next((int(number) for number in numbers if number is not None), -1)

        # BERT's tokenizers call the ends of a text otherwise.
        found = {
            "pad": single("pad"),
            "bos": single("bos", "cls"),
            "eos": single("eos", "sep"),
            "mask": single("mask"),
        }
        lacking = [role for role, number in found.items() if role in needs and number < 0]
        if "sentinels" in needs and not sentinels:
            lacking.append("sentinels (<extra_id_0> to <extra_id_99>)")
        if "modes" in needs and min(modes.values()) < 0:
            lacking.append(f"modes ({', '.join(MODES.values())})")
        if lacking:
            raise ConfigError(
                f"the tokenizer has no {', no '.join(lacking)}; add what it lacks by "
                "jaxrec.data.add_reserved(tokenizer), or train one that has them by "
                "jaxrec.data.train_reserved"
            )
        special = {*found.values(), *sentinels, *modes.values(), *tokenizer.all_special_ids}
        special.discard(-1)
        ordinary = sorted(set(vocabulary.values()) - special)
        return cls(
            **found,
            sentinels=np.array(sentinels, np.int32),
            modes=modes,
            ordinary=np.array(ordinary, np.int32),
        )


def add_reserved(tokenizer: Any) -> int:
    """Add the reserved tokens that a tokenizer lacks, in place, after all of its tokens.

    Args:
      tokenizer: of transformers.

    Returns:
      The number of new tokens; a model needs as many new rows (`models.extend_vocabulary`).

    Example:
      >>> from jaxrec.data import train_bpe
      >>> tokenizer = train_bpe(["a film"], 300)
      >>> add_reserved(tokenizer), add_reserved(tokenizer)
      (104, 0)
    """
    before = len(tokenizer)
    roles = {
        role: token for role, token in _ROLES.items() if getattr(tokenizer, role, None) is None
    }
    tokenizer.add_special_tokens(roles)
    _add_last(tokenizer, tuple(MODES.values()), SENTINELS)
    return len(tokenizer) - before


def train_reserved(
    texts: Iterable[str],
    vocab_size: int,
    *,
    kind: Literal["bpe", "unigram"] = "bpe",
    sentinels: int = SENTINELS,
    modes: Sequence[str] = tuple(MODES.values()),
    split_digits: bool = False,
) -> Any:
    """Train a tokenizer that has the tokens of pre-training.

    Args:
      texts: the corpus.
      vocab_size: number of all tokens, reserved ones included.
      kind: "bpe" is byte-level, "unigram" has byte fallback.
      sentinels: number of sentinels.
      modes: names of the modes.
      split_digits: make every digit a token.

    Raises:
      ConfigError: `vocab_size` cannot hold the bytes and the reserved tokens, or text would contain
        a mode by chance.
      DataError: the corpus is empty.

    Example:
      >>> tokenizer = train_reserved(["low lower lowest"], 370)
      >>> tokenizer.mask_token, tokenizer.decode(tokenizer.encode("slow"))
      ('<mask>', 'slow')
    """
    _check_modes(modes)
    later = len(modes) + sentinels
    # Bytes are not all that Unigram must hold.
    characters = len(UNIGRAM_ALPHABET) if kind == "unigram" else 0
    least = 256 + characters + len(_ROLES) + later
    if vocab_size < least:
        held = f"256 bytes, {characters} characters" if characters else "256 bytes"
        raise ConfigError(
            f"vocab_size {vocab_size} cannot hold {held} and {len(_ROLES) + later} reserved "
            f"tokens; give at least {least}"
        )
    train = train_bpe if kind == "bpe" else train_unigram
    tokenizer = train(texts, vocab_size - later, special_tokens=_ROLES, split_digits=split_digits)
    _add_last(tokenizer, modes, sentinels)
    return tokenizer


def _add_last(tokenizer: Any, modes: Sequence[str], sentinels: int) -> None:
    """Add the modes and sentinels that are lacking; as in T5, sentinel 0 has the highest number."""
    known = tokenizer.get_vocab()
    more = [*modes, *reversed(sentinel_names(sentinels))]
    tokenizer.add_tokens([name for name in more if name not in known], special_tokens=True)


def _check_modes(modes: Sequence[str]) -> None:
    """Reject mode tokens that text would contain by chance, or that are reserved already."""
    for token in modes:
        usable = len(token) > 1 and token.isascii() and token.isprintable() and " " not in token
        if not usable or token in _ROLES.values() or token.startswith("<extra_id_"):
            raise ConfigError(
                f"the mode {token!r} must be at least two printable ASCII characters without a "
                "space, and no other reserved token"
            )


def word_starts(tokenizer: Any) -> np.ndarray:
    """Return which tokens begin a word, `[V]` bool, for masking whole words.

    In byte-level BPE and in Unigram a word begins with a space or with a sign of ASCII; in
    WordPiece, all pieces but those with ## begin one.

    Args:
      tokenizer: of transformers.

    Example:
      >>> tokenizer = train_reserved(["films, films"] * 9, 380)
      >>> starts = word_starts(tokenizer)
      >>> [bool(starts[n]) for n in tokenizer.encode(" x,s")]
      [True, False, True, False]
    """
    names = {number: name for name, number in tokenizer.get_vocab().items()}
    wordpiece = any(name.startswith("##") for name in names.values())
    starts = np.ones(vocabulary_size(tokenizer), bool)
    for number, name in names.items():
        if wordpiece:
            starts[number] = not name.startswith("##")
        elif name:
            # Bytes of letters beyond ASCII are written as signs beyond ASCII.
            sign = name[0].isascii() and not name[0].isalnum()
            starts[number] = sign or name[0] in _SPACES
    return starts


def vocabulary_size(tokenizer: Any) -> int:
    """Return V, the number of rows that a model needs for a tokenizer, whose ids may have gaps."""
    return 1 + max(tokenizer.get_vocab().values(), default=-1)
