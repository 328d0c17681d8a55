"""Tokenizers in Hugging Face's format: load, train, save, and give item IDs a text form.

An ID code is written `<a_3>`: the letters say the level, the number is the code. Such tokens either
join the vocabulary of a text tokenizer (`add_id_tokens`, after LC-Rec, arXiv:2311.09049) or are the
whole of one (`id_tokenizer`). Training is done by the `tokenizers` library, and everything returned
is a `transformers` tokenizer. Both are imported inside the functions: they take seconds.
"""

import importlib.util
import itertools
import json
import math
import os
import re
import string
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxrec.core import ConfigError, DataError, nearest, write_bytes

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

# Role -> token; the first has id 0, the next id 1. Pad and bos first, as in IdVocabulary.
BPE_TOKENS = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
UNIGRAM_TOKENS = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}  # T5's ids
ID_TOKENS = {"pad_token": "<pad>", "bos_token": "<s>"}

_ROLES = tuple(f"{role}_token" for role in ("pad", "bos", "eos", "unk", "sep", "cls", "mask"))
_GPT2_FILES = ("vocab.json", "merges.txt")
_FILES = (("tokenizer.json",), _GPT2_FILES, ("vocab.txt",), ("spiece.model",), ("tokenizer.model",))
_T5_SENTINELS = 100  # Raffel et al., arXiv:1910.10683, as released: <extra_id_0> has the last id
_SPACE = "▁"  # how SentencePiece writes a space
_BYTES = 256


def load_tokenizer(path: str | os.PathLike[str]) -> "PreTrainedTokenizerBase":
    """Load a tokenizer from a local directory; never uses the network or runs code found there.

    Besides what `save_tokenizer` or `save_pretrained` wrote, a directory may hold nothing but
    GPT-2's `vocab.json` and `merges.txt`, or T5's `spiece.model`.

    Raises:
        DataError: no such directory, no tokenizer in it, or one that cannot be read.
    """
    path = Path(path).expanduser()
    if not path.is_dir():
        what = "is a file" if path.exists() else "no such directory"
        raise DataError(f"{path}: {what}; give the directory that holds the tokenizer")
    import transformers

    # Without this, transformers makes an empty tokenizer of a lone config.json.
    found = [files for files in _FILES if all((path / file).is_file() for file in files)]
    if not found:
        inside = ", ".join(sorted(p.name for p in path.iterdir())[:8]) or "nothing"
        raise DataError(
            f"{path}: no tokenizer in this directory (it holds {inside}); expected "
            f"{' or '.join(' with '.join(files) for files in _FILES)}. "
            "Write one there with save_tokenizer, or copy these files from the model"
        )
    try:
        name = _loader(path, found[0])
        if name == "spiece.model":
            return _t5_tokenizer(path / name)
        tokenizer = getattr(transformers, name).from_pretrained(
            str(path), local_files_only=True, trust_remote_code=False
        )
        tokenizer.init_kwargs.pop("local_files_only", None)  # would be saved with the tokenizer
        return tokenizer
    except DataError:
        raise
    except Exception as error:  # `tokenizers` raises bare Exceptions
        fix = "copy the tokenizer's files again"
        if found[0][0].endswith(".model") and importlib.util.find_spec("sentencepiece") is None:
            fix = "pip install sentencepiece"
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path}: cannot read the tokenizer ({reason}); {fix}") from error


def save_tokenizer(tokenizer: "PreTrainedTokenizerBase", directory: str | os.PathLike[str]) -> None:
    """Write a tokenizer so that `AutoTokenizer.from_pretrained(directory)` gives the same ids.

    Not so beside a config.json of model_type qwen2: there AutoTokenizer takes Qwen2Tokenizer
    whatever was saved (transformers 5.23); `load_tokenizer` does not.

    Raises:
        ResourceError: the disk is full or the directory cannot be written.
    """
    with tempfile.TemporaryDirectory() as scratch:
        tokenizer.save_pretrained(scratch)
        for file in sorted(p for p in Path(scratch).rglob("*") if p.is_file()):
            target = Path(directory).expanduser() / file.relative_to(scratch)
            write_bytes(target, file.read_bytes())


def train_bpe(
    texts: Iterable[str],
    vocab_size: int,
    *,
    special_tokens: Mapping[str, str] = BPE_TOKENS,
    min_frequency: int = 2,
) -> "PreTrainedTokenizerFast":
    """Train a byte-level BPE as GPT-2 has: `decode(encode(x)) == x` for any Unicode text.

    Args:
        texts: the corpus; an iterator is enough, as it is read once.
        vocab_size: tokens in all; fewer come out where no pair is frequent enough.
        special_tokens: role -> token; ids from 0 in this order. Encoding adds none of them.
        min_frequency: occurrences below which a pair is not merged.

    Raises:
        ConfigError: `vocab_size` cannot hold the 256 bytes and the special tokens, or an unknown
            role or unusable special token.
        DataError: no text, or something that is not text.

    Source: Radford et al., Language Models are Unsupervised Multitask Learners, 2019, section 2.2.
    """
    specials = _specials(special_tokens)
    _check_vocab_size(vocab_size, len(specials), {"bytes": _BYTES})
    corpus = _corpus(texts)
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=specials,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(corpus, trainer)
    return _wrap(backend, special_tokens)


def train_unigram(
    texts: Iterable[str],
    vocab_size: int,
    *,
    words: Iterable[str] = (),
    special_tokens: Mapping[str, str] = UNIGRAM_TOKENS,
) -> "PreTrainedTokenizerFast":
    """Train a Unigram model as SentencePiece has for T5, with byte fallback: nothing is unknown.

    Decoding gives the text back but for three things: it is in NFKC form, "▁" (U+2581) has become a
    space, and one leading space, if there was any, is gone. Encoding ends with eos, as T5's does.

    Args:
        texts: the corpus; an iterator is enough, as it is read once.
        vocab_size: tokens in all; fewer come out of a small corpus.
        words: of the corpus, tokens whatever the training says. It begins with what different words
            have in common, and so cuts the words of a small vocabulary up.
        special_tokens: role -> token; ids from 0 in this order. Needs unk_token.

    Raises:
        ConfigError: `vocab_size` cannot hold the special tokens, the 256 bytes and every character
            of the corpus, or an unknown role or unusable special token.
        DataError: no text, or something that is not text.

    Source: Kudo, arXiv:1804.10959; Kudo and Richardson, arXiv:1808.06226.
    """
    specials = _specials(special_tokens)
    if "unk_token" not in special_tokens:
        raise ConfigError(
            f"special_tokens must name an unk_token, got {', '.join(special_tokens) or 'nothing'}"
        )
    # The characters that spell a byte piece ("<0x41>") must all be there; see `_unigram_pieces`.
    alphabet = [*string.ascii_letters, *string.digits, *string.punctuation, _SPACE]
    kept = {unicodedata.normalize("NFKC", word) for word in words}
    needed = {"bytes": _BYTES, "characters": len(alphabet)} | ({"words": len(kept)} if kept else {})
    _check_vocab_size(vocab_size, len(specials), needed)
    seen: set[str] = set()
    counts: Counter[str] = Counter()

    def watch(text: str) -> None:
        seen.update(text)
        if kept:
            counts.update(unicodedata.normalize("NFKC", text).split())

    corpus = _corpus(texts, watch)
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    backend = Tokenizer(models.Unigram())
    backend.normalizer = normalizers.NFKC()
    # "first": a text after an added token gets no space that it did not have.
    backend.pre_tokenizer = pre_tokenizers.Metaspace(_SPACE, prepend_scheme="first")
    trainer = trainers.UnigramTrainer(
        vocab_size=vocab_size - len(specials) - _BYTES - len(kept),
        initial_alphabet=alphabet,
        show_progress=False,
    )
    try:
        backend.train_from_iterator(corpus, trainer)
    except DataError:
        raise
    except Exception as error:
        characters = len(set(unicodedata.normalize("NFKC", "".join(sorted(seen)))) | set(alphabet))
        raise ConfigError(
            f"vocab_size={vocab_size}: {error}. The corpus needs about {characters} characters "
            f"beside {_BYTES} bytes and {len(specials)} special tokens; give at least "
            f"{characters + _BYTES + len(specials)}, or drop rare characters from the texts"
        ) from error
    learned = dict(json.loads(backend.to_str())["model"]["vocab"])
    for word in kept:
        learned[_SPACE + word] = math.log(max(counts[word], 1) / counts.total())
    pieces = _unigram_pieces(learned, specials)
    unk_id = specials.index(special_tokens["unk_token"])
    backend.model = models.Unigram(pieces, unk_id=unk_id, byte_fallback=True)
    backend.decoder = decoders.Sequence(
        [decoders.ByteFallback(), decoders.Metaspace(_SPACE, prepend_scheme="first")]
    )
    return _wrap(backend, special_tokens, add_eos_token="eos_token" in special_tokens)


def id_tokens(codebook_sizes: Sequence[int]) -> list[str]:
    """Return the text form of every item ID code, level by level: `<a_0>`, `<a_1>`, ..., `<b_0>`.

    The order is that of `jaxrec.ids.IdVocabulary`: number n here is token `num_special + n` there.
    After level z come aa, ab, ...

    Raises:
        ConfigError: no level, or a codebook without a code.
    """
    sizes = [int(size) for size in codebook_sizes]
    if not sizes or min(sizes) < 1:
        raise ConfigError(f"codebook_sizes must be positive, one a level, got {sizes}")
    return [
        f"<{letters}_{c}>" for letters, n in zip(_levels(), sizes, strict=False) for c in range(n)
    ]


def add_id_tokens(tokenizer: "PreTrainedTokenizerBase", codebook_sizes: Sequence[int]) -> int:
    """Add `id_tokens` to a text tokenizer, unless they are there, and return the id of the first.

    They are never split or normalized and take no space from their neighbours, and decoding keeps
    them even where it skips special tokens. The model then needs `len(tokenizer)` embeddings.

    Raises:
        ConfigError: `tokenizer` has some of them, or has them in another order: of other sizes.
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
            f"the tokenizer has {len(known)} of these {len(tokens)} ID tokens ({known[0]} and so "
            "on), so others were added before; start from the tokenizer without ID tokens"
        )
    first = int(vocabulary[tokens[0]])
    for expected, token in enumerate(tokens, start=first):
        if vocabulary[token] != expected:
            raise ConfigError(
                f"ID tokens must be contiguous: {tokens[0]} is {first}, so {token} should be "
                f"{expected}, but is {vocabulary[token]}; start from the one without ID tokens"
            )
    return first


def id_tokenizer(
    codebook_sizes: Sequence[int],
    *,
    special_tokens: Mapping[str, str] = ID_TOKENS,
    users: int = 0,
) -> "PreTrainedTokenizerFast":
    """Make a tokenizer of ID tokens alone, numbered as `jaxrec.ids.IdVocabulary` numbers them.

    `<a_3><b_7>` and `<a_3> <b_7>` are the same two ids; decoding writes the first. Any other text,
    a code out of range too, is an error in encoding ("Missing [UNK] token"): it comes from other
    item IDs than the model's, which a silent unknown would hide.

    Args:
        codebook_sizes: codes of each level.
        special_tokens: role -> token, from id 0: pad, bos, then any more (`num_special` of them).
            With an unk_token, other text becomes that instead of an error.
        users: tokens <user_0>, <user_1>, ... between the special ones and those of the IDs.

    Raises:
        ConfigError: a bad codebook size, an unknown role, or not pad and bos first.
    """
    specials = _specials(special_tokens)
    roles = list(special_tokens)[:2]
    if roles != ["pad_token", "bos_token"] or special_tokens["bos_token"] == specials[0]:
        raise ConfigError(
            "special_tokens must start with different pad_token and bos_token (ids 0 and 1), got "
            f"{dict(special_tokens)}"
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
    return _wrap(backend, special_tokens)


def _loader(path: Path, files: tuple[str, ...]) -> str:
    """Return the name of the transformers class that reads these files, or "spiece.model"."""
    config = path / "tokenizer_config.json"
    if not config.is_file() and not (path / "config.json").is_file():
        if files == _GPT2_FILES:
            return "GPT2Tokenizer"
        return "spiece.model" if files == ("spiece.model",) else "AutoTokenizer"
    named = json.loads(config.read_text()).get("tokenizer_class") if config.is_file() else None
    # AutoTokenizer puts a class of its own over this one where a config.json says qwen2, among
    # others: other ids. What is named so is complete in tokenizer.json.
    complete = named == "TokenizersBackend" and files == ("tokenizer.json",)
    return "PreTrainedTokenizerFast" if complete else "AutoTokenizer"


def _wrap(backend: Any, roles: Mapping[str, str], **options: Any) -> "PreTrainedTokenizerFast":
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=backend, clean_up_tokenization_spaces=False, **roles, **options
    )


def _levels() -> Iterator[str]:
    """Yield a, b, ..., z, aa, ab, ..."""
    for length in itertools.count(1):
        yield from map("".join, itertools.product(string.ascii_lowercase, repeat=length))


def _specials(roles: Mapping[str, str]) -> list[str]:
    """Return the distinct special tokens in order (one token may have two roles), checked."""
    for role, token in roles.items():
        if role not in _ROLES:
            raise ConfigError(
                f"no special token role {role!r}{nearest(role, _ROLES)}; roles: {', '.join(_ROLES)}"
            )
        # One character would be a letter of every text; the byte-level decoder reads others than
        # ASCII as bytes; the excluded forms are item codes and bytes.
        if not re.fullmatch(r"(?!<([a-z]+_\d+|0x[0-9A-F]{2})>$)[!-~]{2,}", token):
            raise ConfigError(
                f"{role} must be at least two printable ASCII characters without a space, not of "
                f"the form <a_0> or <0x41>, got {token!r}"
            )
    return list(dict.fromkeys(roles.values()))


def _check_vocab_size(vocab_size: int, specials: int, needed: Mapping[str, int]) -> None:
    least = specials + sum(needed.values())
    if vocab_size < least:
        parts = ", ".join(f"{number} {what}" for what, number in needed.items())
        raise ConfigError(
            f"vocab_size={vocab_size} cannot hold {parts} and {specials} special tokens; "
            f"give at least {least}"
        )


def _corpus(
    texts: Iterable[str], watch: Callable[[str], object] = lambda text: None
) -> Iterator[str]:
    """Return the texts, each checked and shown to `watch`; an empty corpus fails here, at once."""
    if isinstance(texts, str):
        raise DataError(f"texts is one string ({texts[:20]!r}); give an iterable of them: [text]")

    def checked() -> Iterator[str]:
        for number, text in enumerate(texts):
            try:
                text.encode()  # `tokenizers` would not say which text it cannot take
            except (AttributeError, UnicodeEncodeError) as error:
                raise DataError(
                    f"texts: number {number} is no Unicode text ({error}); convert it to str, or "
                    "read its file with errors='replace'"
                ) from error
            watch(text)
            if text:
                yield text

    corpus = checked()
    first = next(corpus, None)
    if first is None:
        raise DataError("texts: nothing to train on, no text or only empty ones; check the source")
    return itertools.chain([first], corpus)


def _unigram_pieces(learned: Mapping[str, float], specials: list[str]) -> list[tuple[str, float]]:
    """Order learned pieces (piece -> log-probability) after the special tokens and the bytes.

    The trainer iterates over hash maps, so its order and its last digits differ from run to run:
    characters that EM dropped come back with scores just above the least, in any order. Rounding
    and sorting makes two trainings on the same corpus agree.
    """
    least = min(learned.values())
    # The trainer adds 0.0001 for each character that came back.
    margin = least + 1e-4 * sum(len(piece) == 1 for piece in learned)
    scores = {
        piece: round(least if len(piece) == 1 and score <= margin else score, 4)
        for piece, score in learned.items()
    }
    # Below the six characters that spell "<0x41>": the text "<0x41>" stays what it is.
    never = round(7 * min(0.0, *scores.values()) - 1.0, 4)
    reserved = [*specials, *(f"<0x{byte:02X}>" for byte in range(_BYTES))]
    pieces = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
    return [(piece, never) for piece in reserved] + [p for p in pieces if p[0] not in reserved]


def _t5_tokenizer(file: Path) -> "PreTrainedTokenizerBase":
    """Read T5's SentencePiece model, which needs protobuf only: not the sentencepiece package."""
    from tokenizers import normalizers
    from transformers import T5Tokenizer
    from transformers.convert_slow_tokenizer import import_protobuf

    model = import_protobuf().ModelProto()
    model.ParseFromString(file.read_bytes())
    pieces = [(piece.piece, piece.score) for piece in model.pieces]
    first = [piece for piece, _ in pieces[:3]]
    if first != list(UNIGRAM_TOKENS.values()):
        raise DataError(
            f"{file}: not T5's, which starts with {', '.join(UNIGRAM_TOKENS.values())} (this one: "
            f"{', '.join(first)}); add the model's config.json, which says whose it is"
        )
    pieces += [(f"<extra_id_{n}>", 0.0) for n in reversed(range(_T5_SENTINELS))]
    tokenizer = T5Tokenizer(vocab=pieces, extra_ids=_T5_SENTINELS)
    if charsmap := model.normalizer_spec.precompiled_charsmap:
        tokenizer.backend_tokenizer.normalizer = normalizers.Precompiled(charsmap)
    return tokenizer
