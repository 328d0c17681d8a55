"""Item IDs as text: a token for every code, in a text tokenizer or in one of their own.

An ID code is written `<a_3>`: the letters name the level, the number is the code. Such tokens are
either added to a text tokenizer (`add_id_tokens`, after LC-Rec, arXiv:2311.09049) or form a
tokenizer of their own (`id_tokenizer`).
"""

import itertools
import string
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from jaxrec.core import ConfigError
from jaxrec.data.tokenizers import special_names, wrap

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

# Role -> token; ids count from 0, and pad and bos come first, as in IdVocabulary.
ID_TOKENS = {"pad_token": "<pad>", "bos_token": "<s>"}


def id_tokens(codebook_sizes: Sequence[int]) -> list[str]:
    """Return the text form of every ID code, level by level: `<a_0>`, `<a_1>`, ..., `<b_0>`, ...

    The order is that of `jaxrec.ids.IdVocabulary`: number n here is token `num_special + n` there.
    After level z come aa, ab, ...

    Raises:
        ConfigError: there are no levels, or a codebook has no codes.

    Example:
        >>> id_tokens([2, 1])
        ['<a_0>', '<a_1>', '<b_0>']
    """
    sizes = [int(size) for size in codebook_sizes]
    if not sizes or min(sizes) < 1:
        raise ConfigError(f"codebook_sizes must be positive, one per level, got {sizes}")
    return [
        f"<{letters}_{c}>" for letters, n in zip(_levels(), sizes, strict=False) for c in range(n)
    ]


def add_id_tokens(tokenizer: "PreTrainedTokenizerBase", codebook_sizes: Sequence[int]) -> int:
    """Add `id_tokens` to a text tokenizer, if it lacks them, and return the id of the first one.

    ID tokens are never split or normalized, do not absorb spaces, and decoding keeps them even if
    it skips special tokens. The model then needs `len(tokenizer)` embeddings.

    Raises:
        ConfigError: the tokenizer has only some of the tokens or has them in another order, because
            tokens for other sizes were added before.

    Example:
        >>> from jaxrec.data import train_bpe
        >>> tokenizer = train_bpe(["hello hello"], vocab_size=262)
        >>> first = add_id_tokens(tokenizer, [4, 2])
        >>> [token - first for token in tokenizer.encode("<a_3><b_1>")]
        [3, 5]
    """
    from tokenizers import AddedToken

    tokens = id_tokens(codebook_sizes)
    vocabulary = tokenizer.get_vocab()
    known = [token for token in tokens if token in vocabulary]
    if not known:
        tokenizer.add_tokens([AddedToken(t, normalized=False, special=False) for t in tokens])
        vocabulary = tokenizer.get_vocab()
    elif len(known) < len(tokens):
        raise ConfigError(
            f"the tokenizer has only {len(known)} of these {len(tokens)} ID tokens ({known[0]} and "
            "so on), so IDs of other sizes were added before; start from the tokenizer without ID "
            "tokens"
        )
    first = int(vocabulary[tokens[0]])
    for expected, token in enumerate(tokens, start=first):
        if vocabulary[token] != expected:
            raise ConfigError(
                f"ID tokens must be contiguous: {tokens[0]} is {first}, so {token} should be "
                f"{expected}, but is {vocabulary[token]}; start from the tokenizer without ID "
                "tokens"
            )
    return first


def begin_with(tokenizer: "PreTrainedTokenizerBase", token: int) -> None:
    """Let a tokenizer begin each text with a token, and add nothing else; changes it in place.

    Args:
        tokenizer: a fast tokenizer.
        token: number of the token.

    Raises:
        ConfigError: the tokenizer is slow.

    Example:
        >>> tokenizer = id_tokenizer([4, 2])
        >>> begin_with(tokenizer, 1)
        >>> tokenizer("<a_3><b_1>")["input_ids"]
        [1, 5, 7]
    """
    if not tokenizer.is_fast:
        raise ConfigError(
            "this tokenizer is slow and cannot be made to begin each text with a token; give a "
            "base with a tokenizer.json"
        )
    from tokenizers import processors

    text = tokenizer.convert_ids_to_tokens(token)
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=[text, "$A"], pair=[text, "$A", "$B:1"], special_tokens=[(text, token)]
    )


def id_tokenizer(
    codebook_sizes: Sequence[int],
    *,
    special_tokens: Mapping[str, str] = ID_TOKENS,
    users: int = 0,
) -> "PreTrainedTokenizerFast":
    """Make a tokenizer that only has ID tokens, with the numbers of `jaxrec.ids.IdVocabulary`.

    `<a_3><b_7>` and `<a_3> <b_7>` encode to the same two ids, and decoding writes the first form.
    Encoding any other text or a code out of range is an error ("Missing [UNK] token"), because it
    means that the IDs are not those of the model. An unknown token would hide that.

    Args:
        codebook_sizes: number of codes of each level.
        special_tokens: role -> token, with ids from 0: pad, bos, then any others (`num_special` in
            all). If there is an unk_token, other text becomes that token.
        users: number of tokens <user_0>, <user_1>, ... between special tokens and ID tokens.

    Raises:
        ConfigError: a codebook size is invalid, a role is unknown, or pad and bos are not first.

    Example:
        >>> tokenizer = id_tokenizer([4, 2])
        >>> tokenizer.encode("<a_3><b_1>"), tokenizer.decode([5, 7])
        ([5, 7], '<a_3><b_1>')
    """
    specials = special_names(special_tokens)
    roles = list(special_tokens)[:2]
    if roles != ["pad_token", "bos_token"] or special_tokens["bos_token"] == specials[0]:
        raise ConfigError(
            "special_tokens must start with a pad_token and a different bos_token (ids 0 and 1), "
            f"got {dict(special_tokens)}"
        )
    tokens = [f"<user_{number}>" for number in range(users)] + id_tokens(codebook_sizes)
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    vocabulary = {token: number for number, token in enumerate(specials + tokens)}
    unknown = special_tokens.get("unk_token", "<unk>")
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token=unknown))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Split(Regex("<[a-z]+_[0-9]+>"), "isolated"),
        ]
    )
    backend.decoder = decoders.Fuse()
    return wrap(backend, special_tokens)


def _levels() -> Iterator[str]:
    """Yield a, b, ..., z, aa, ab, ..."""
    for length in itertools.count(1):
        yield from map("".join, itertools.product(string.ascii_lowercase, repeat=length))
