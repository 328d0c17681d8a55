"""Text tokenizers in Hugging Face's format: load, train and save them.

The `tokenizers` library trains, and all functions return `transformers` tokenizers. Both libraries
take seconds to import, so functions import them.
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
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

from jaxrec.core import ConfigError, DataError, check_file, nearest, read_json, write_bytes

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

# Role -> token; ids count from 0.
BPE_TOKENS = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
UNIGRAM_TOKENS = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}  # T5's ids

_ROLES = tuple(f"{role}_token" for role in ("pad", "bos", "eos", "unk", "sep", "cls", "mask"))
_GPT2_FILES = ("vocab.json", "merges.txt")
_FILES = (("tokenizer.json",), _GPT2_FILES, ("vocab.txt",), ("spiece.model",), ("tokenizer.model",))
_T5_SENTINELS = 100  # Raffel et al., arXiv:1910.10683, as released: <extra_id_0> has the last id
_SPACE = "▁"  # SentencePiece's form of a space
_BYTES = 256
# All characters that spell a byte piece ("<0x41>") must be in; see `_unigram_pieces`.
UNIGRAM_ALPHABET = (*string.ascii_letters, *string.digits, *string.punctuation, _SPACE)


def load_tokenizer(path: str | os.PathLike[str]) -> "PreTrainedTokenizerBase":
    """Load a tokenizer from a local directory, without the network and without running its code.

    The directory may come from `save_tokenizer` or `save_pretrained`. It may also hold only GPT-2's
    `vocab.json` and `merges.txt`, or only T5's `spiece.model`.

    Raises:
        DataError: the directory does not exist, or it has no readable tokenizer.

    Example:
        >>> from jaxrec.data import id_tokenizer
        >>> directory = tempfile.mkdtemp()
        >>> save_tokenizer(id_tokenizer([4, 2]), directory)
        >>> load_tokenizer(directory).encode("<a_3><b_1>")
        [5, 7]
    """
    path = Path(path).expanduser()
    if not path.is_dir():
        what = "this is a file" if path.exists() else "no such directory"
        raise DataError(f"{path}: {what}; give the directory that holds the tokenizer")
    import transformers

    # Without this check, transformers makes an empty tokenizer from a lone config.json.
    present = _present(path)
    if not present:
        inside = ", ".join(sorted(p.name for p in path.iterdir())[:8]) or "nothing"
        raise DataError(
            f"{path}: this directory has no tokenizer (it holds {inside}); expected "
            f"{' or '.join(' with '.join(files) for files in _FILES)}. "
            "Write a tokenizer there with save_tokenizer, or copy these files from the model"
        )
    for file in (*present[0], "tokenizer_config.json", "special_tokens_map.json"):
        check_file(path / file, missing=True)
    try:
        name = _loader(path, present[0])
        if name == "spiece.model":
            return _t5_tokenizer(path / name)
        tokenizer = getattr(transformers, name).from_pretrained(
            str(path), local_files_only=True, trust_remote_code=False
        )
        tokenizer.init_kwargs.pop("local_files_only", None)  # else saved with the tokenizer
        return tokenizer
    except DataError:
        raise
    except Exception as error:  # `tokenizers` raises bare Exceptions
        fix = "copy the tokenizer's files again"
        if present[0][0].endswith(".model") and importlib.util.find_spec("sentencepiece") is None:
            fix = "pip install sentencepiece"
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path}: cannot read the tokenizer ({reason}); {fix}") from error


def has_tokenizer(path: str | os.PathLike[str]) -> bool:
    """Return whether a directory holds the files of a tokenizer, damaged or not.

    Example:
        >>> has_tokenizer(tempfile.mkdtemp())
        False
    """
    return bool(_present(Path(path).expanduser()))


def _present(path: Path) -> list[tuple[str, ...]]:
    return [files for files in _FILES if all((path / file).exists() for file in files)]


def save_tokenizer(tokenizer: "PreTrainedTokenizerBase", directory: str | os.PathLike[str]) -> None:
    """Write a tokenizer such that `AutoTokenizer.from_pretrained(directory)` gives the same ids.

    There is one exception: if the directory also has a config.json of model_type qwen2,
    AutoTokenizer always takes Qwen2Tokenizer (transformers 5.23). `load_tokenizer` does not.

    Raises:
        ResourceError: the disk is full or the directory cannot be written.

    Example:
        >>> from jaxrec.data import id_tokenizer
        >>> directory = tempfile.mkdtemp()
        >>> save_tokenizer(id_tokenizer([4, 2]), directory)
        >>> (Path(directory) / "tokenizer.json").is_file()
        True
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
    split_digits: bool = False,
) -> "PreTrainedTokenizerFast":
    """Train a byte-level BPE like GPT-2's: `decode(encode(x)) == x` for any Unicode text.

    Args:
        texts: the corpus. It is read once, so an iterator is enough.
        vocab_size: total number of tokens; the result has fewer if no pair is frequent enough.
        special_tokens: role -> token, with ids from 0 in this order. Encoding adds none of them.
        min_frequency: smallest number of occurrences of a pair that is merged.
        split_digits: make every digit a token, so that numbers are spelled one way alone.

    Raises:
        ConfigError: `vocab_size` cannot hold the 256 bytes and the special tokens, a role is
            unknown, or a special token is unusable.
        DataError: the corpus is empty, or it contains something that is not text.

    Source: Radford et al., Language Models are Unsupervised Multitask Learners, 2019, section 2.2.

    Example:
        >>> tokenizer = train_bpe(["low lower lowest"], vocab_size=265)
        >>> tokenizer.decode(tokenizer.encode("slow"))
        'slow'
    """
    specials = special_names(special_tokens)
    _check_vocab_size(vocab_size, len(specials), {"bytes": _BYTES})
    corpus = _corpus(texts)
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = _with_digits(
        pre_tokenizers.ByteLevel(add_prefix_space=False), split_digits, first=True
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=specials,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(corpus, trainer)
    return wrap(backend, special_tokens)


def train_unigram(
    texts: Iterable[str],
    vocab_size: int,
    *,
    words: Iterable[str] = (),
    special_tokens: Mapping[str, str] = UNIGRAM_TOKENS,
    split_digits: bool = False,
) -> "PreTrainedTokenizerFast":
    """Train a Unigram model like SentencePiece's for T5, with byte fallback: nothing is unknown.

    Decoding returns the text, with three changes: it is in NFKC form, "▁" (U+2581) becomes a space,
    and one leading space is removed. Encoding ends with eos, as in T5.

    Args:
        texts: the corpus. It is read once, so an iterator is enough.
        vocab_size: total number of tokens; a small corpus gives fewer.
        words: words of the corpus that become tokens in any case. Without them, training prefers
            pieces that many words share, and so splits the words of a small vocabulary.
        special_tokens: role -> token, with ids from 0 in this order; unk_token is required.
        split_digits: make every digit a token, so that numbers are spelled one way alone.

    Raises:
        ConfigError: `vocab_size` cannot hold the special tokens, the 256 bytes and every character
            of the corpus; a role is unknown; or a special token is unusable.
        DataError: the corpus is empty, or it contains something that is not text.

    Source: Kudo, arXiv:1804.10959; Kudo and Richardson, arXiv:1808.06226.

    Example:
        >>> tokenizer = train_unigram(["a film", "a good film"], 400, words=["film"])
        >>> tokenizer.tokenize("film")
        ['▁film']
    """
    specials = special_names(special_tokens)
    if "unk_token" not in special_tokens:
        raise ConfigError(
            f"special_tokens must name an unk_token, got {', '.join(special_tokens) or 'nothing'}"
        )
    alphabet = UNIGRAM_ALPHABET
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
    # With "first", a text after an added token does not get an additional space.
    backend.pre_tokenizer = _with_digits(
        pre_tokenizers.Metaspace(_SPACE, prepend_scheme="first"), split_digits, first=False
    )
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
            f"vocab_size={vocab_size}: {error}. The corpus needs about {characters} characters, "
            f"{_BYTES} bytes and {len(specials)} special tokens; give at least "
            f"{characters + _BYTES + len(specials)}, or remove rare characters from the texts"
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
    return wrap(backend, special_tokens, add_eos_token="eos_token" in special_tokens)


def _with_digits(splitter: Any, split_digits: bool, *, first: bool) -> Any:
    """Return a pre-tokenizer that also splits between digits, before it works or after."""
    from tokenizers import pre_tokenizers

    if not split_digits:
        return splitter
    digits = pre_tokenizers.Digits(individual_digits=True)
    return pre_tokenizers.Sequence([digits, splitter] if first else [splitter, digits])


class _Settings(TypedDict):
    """What is read of a `tokenizer_config.json`."""

    tokenizer_class: NotRequired[str | None]


def _loader(path: Path, files: tuple[str, ...]) -> str:
    """Return the name of the transformers class that reads these files, or "spiece.model"."""
    config = path / "tokenizer_config.json"
    if not config.is_file() and not (path / "config.json").is_file():
        if files == _GPT2_FILES:
            return "GPT2Tokenizer"
        return "spiece.model" if files == ("spiece.model",) else "AutoTokenizer"
    named = read_json(config, _Settings).get("tokenizer_class") if config.exists() else None
    # With a config.json of qwen2 and some other models, AutoTokenizer replaces this class by one of
    # its own with other ids. A tokenizer with this class name is complete in tokenizer.json.
    complete = named == "TokenizersBackend" and files == ("tokenizer.json",)
    return "PreTrainedTokenizerFast" if complete else "AutoTokenizer"


def wrap(backend: Any, roles: Mapping[str, str], **options: Any) -> "PreTrainedTokenizerFast":
    """Make a `transformers` tokenizer of a `tokenizers` one, with special tokens in their roles."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=backend, clean_up_tokenization_spaces=False, **roles, **options
    )


def special_names(roles: Mapping[str, str]) -> list[str]:
    """Return the distinct special tokens in order (one token may have two roles), checked."""
    for role, token in roles.items():
        if role not in _ROLES:
            raise ConfigError(
                f"no special token role {role!r}{nearest(role, _ROLES)}; roles: {', '.join(_ROLES)}"
            )
        # A single character would match in every text, the byte-level decoder reads characters
        # outside ASCII as bytes, and the excluded forms are item codes and bytes.
        if not re.fullmatch(r"(?!<([a-z]+_\d+|0x[0-9A-F]{2})>$)[!-~]{2,}", token):
            raise ConfigError(
                f"{role} must be at least two printable ASCII characters without a space, and not "
                f"have the form <a_0> or <0x41>, got {token!r}"
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
    """Return the checked texts, each of which is passed to `watch`; an empty corpus raises here."""
    if isinstance(texts, str):
        raise DataError(f"texts is one string ({texts[:20]!r}); give an iterable of texts: [text]")

    def checked() -> Iterator[str]:
        for number, text in enumerate(texts):
            try:
                text.encode()  # the errors of `tokenizers` do not say which text is wrong
            except (AttributeError, UnicodeEncodeError) as error:
                raise DataError(
                    f"texts: number {number} is not Unicode text ({error}); convert it to str, or "
                    "read its file with errors='replace'"
                ) from error
            watch(text)
            if text:
                yield text

    corpus = checked()
    first = next(corpus, None)
    if first is None:
        raise DataError(
            "texts: there is nothing to train on because there are no texts or only empty ones; "
            "check their source"
        )
    return itertools.chain([first], corpus)


def _unigram_pieces(learned: Mapping[str, float], specials: list[str]) -> list[tuple[str, float]]:
    """Return special tokens and bytes, followed by learned pieces (piece -> log-probability).

    The trainer iterates over hash maps, so its order and last digits differ between runs:
    characters that EM dropped are added again with scores just above the least, in any order.
    Rounding and sorting make two trainings on the same corpus agree.
    """
    least = min(learned.values())
    # The trainer adds 0.0001 for each character that it adds again.
    margin = least + 1e-4 * sum(len(piece) == 1 for piece in learned)
    scores = {
        piece: round(least if len(piece) == 1 and score <= margin else score, 4)
        for piece, score in learned.items()
    }
    # The score is below that of the six characters that spell "<0x41>", so that this text is never
    # read as a byte.
    never = round(7 * min(0.0, *scores.values()) - 1.0, 4)
    reserved = [*specials, *(f"<0x{byte:02X}>" for byte in range(_BYTES))]
    pieces = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
    return [(piece, never) for piece in reserved] + [p for p in pieces if p[0] not in reserved]


def _t5_tokenizer(file: Path) -> "PreTrainedTokenizerBase":
    """Read T5's SentencePiece model with protobuf, without the sentencepiece package."""
    from tokenizers import normalizers
    from transformers import T5Tokenizer
    from transformers.convert_slow_tokenizer import import_protobuf

    model = import_protobuf().ModelProto()
    model.ParseFromString(file.read_bytes())
    pieces = [(piece.piece, piece.score) for piece in model.pieces]
    first = [piece for piece, _ in pieces[:3]]
    if first != list(UNIGRAM_TOKENS.values()):
        raise DataError(
            f"{file}: this is not T5's model, which starts with "
            f"{', '.join(UNIGRAM_TOKENS.values())}, but it starts with {', '.join(first)}; add the "
            "model's config.json, which names its type"
        )
    pieces += [(f"<extra_id_{n}>", 0.0) for n in reversed(range(_T5_SENTINELS))]
    tokenizer = T5Tokenizer(vocab=pieces, extra_ids=_T5_SENTINELS)
    if charsmap := model.normalizer_spec.precompiled_charsmap:
        tokenizer.backend_tokenizer.normalizer = normalizers.Precompiled(charsmap)
    return tokenizer
