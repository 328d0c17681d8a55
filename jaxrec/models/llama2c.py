"""Llama weights and tokenizers in the formats of karpathy/llama2.c.

Checkpoints have the legacy format, version 0 (export.py, `legacy_export`): seven int32, then the
weights in float32 without names. Tokenizers are those that tokenizer.py exports from SentencePiece.
"""

import importlib
import math
import os
import struct
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.core import ConfigError, DataError, check_file, nearest

_HEADER = ("dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "seq_len")
_HEADER_BYTES = 4 * len(_HEADER)
# "ak42", the first four bytes of files of later versions.
_MAGIC = 0x616B3432
# Each kind of weight is stored for all the blocks before the next kind begins.
_KINDS = (
    "input_layernorm",
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "post_attention_layernorm",
    "mlp.gate_proj",
    "mlp.down_proj",
    "mlp.up_proj",
)
# The numbers of Llama's special tokens; the 256 byte tokens follow.
_UNKNOWN, _BOS, _EOS, _BYTES = 0, 1, 2, 3


class Llama2cSource:
    """Reads a Llama model from a llama2.c checkpoint, one tensor at a time.

    The file is mapped into memory. Its tables of rotary angles are skipped, because llama2.c always
    uses the base 10,000.

    Attributes:
      path: the file.
      config: the contents of an equivalent config.json of Hugging Face.

    Raises:
      DataError: the file does not exist, has another format, or its size contradicts its header.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).expanduser()
        self.config = _read_config(self.path)
        self._check_size(self.path.stat().st_size)
        self._shapes = llama_shapes(self.config)
        self._offsets = {}
        end = _HEADER_BYTES
        for name, size in _layout(self.config, self._shapes):
            self._offsets[name] = end
            end += 4 * size

    def _check_size(self, actual: int) -> None:
        """Compare the file's size with what the header asks for, before that is laid out."""
        none, one = (
            sum(size for _, size in _layout(config, llama_shapes(config)))
            for config in (self.config | {"num_hidden_layers": depth} for depth in (0, 1))
        )
        depth = self.config["num_hidden_layers"]
        end = _HEADER_BYTES + 4 * (none + depth * (one - none))
        if actual != end:
            raise DataError(
                f"{self.path}: the header asks for {end} bytes, found {actual}; download it again, "
                "or export it with llama2.c's export.py --version 0"
            )

    def names(self) -> list[str]:
        """Hugging Face names of the tensors."""
        return list(self._shapes)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor; DataError if the name is unknown."""
        return find_tensor(self._shapes, name, self.path)

    def read(self, name: str) -> np.ndarray:
        """Read one tensor, as float32 in Hugging Face's row order; DataError if it is unknown."""
        shape = self.shape(name)
        mapped = np.memmap(self.path, "<f4", "r", offset=self._offsets[name], shape=shape)
        values = np.array(mapped, np.float32)
        heads = rotary_heads(name, self.config)
        return half_split(values, heads) if heads else values


def read_llama2c_tokenizer(path: str | os.PathLike[str], vocab_size: int) -> Any:
    """Read a llama2.c tokenizer as a fast tokenizer of transformers.

    Encoding puts `<s>` and a space before the text, as llama2.c does; decoding drops that space.

    Args:
      path: a file such as tok512.bin: int32 length of the longest token, then for each token
        float32 score, int32 length, bytes.
      vocab_size: V from the model's config, since the file does not contain it.

    Raises:
      ConfigError: `transformers` is not installed.
      DataError: the file does not exist, or it does not hold exactly `vocab_size` tokens.
    """
    path = Path(path).expanduser()
    tokens, scores = _read_tokens(path, vocab_size)
    # llama2.c decorates the names of the first three tokens for printing ("\n<s>\n").
    tokens[:_BYTES] = ["<unk>", "<s>", "</s>"]
    pieces = _BYTES + 256
    if twice := [token for token, count in Counter(tokens).items() if count > 1]:
        raise DataError(f"{path}: token {twice[0]!r} is there twice; copy the file again")
    if not all(map(math.isfinite, scores)):
        raise DataError(f"{path}: a token's score is not finite; copy the file again")
    expected = [f"<0x{byte:02X}>" for byte in range(256)]
    if tokens[_BYTES:pieces] != expected:
        raise DataError(
            f"{path}: tokens {_BYTES} to {pieces - 1} are not the bytes <0x00> to <0xFF>"
        )
    tokens[pieces:] = [token.replace(" ", "▁") for token in tokens[pieces:]]
    backend = sentencepiece_bpe(
        tokens, scores, [number >= pieces for number in range(vocab_size)], unknown=tokens[_UNKNOWN]
    )
    return fast_tokenizer(
        backend,
        special=tokens[:_BYTES],
        add_bos=True,
        bos_token=tokens[_BOS],
        eos_token=tokens[_EOS],
        unk_token=tokens[_UNKNOWN],
    )


def llama_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor, by name, of a Llama with Hugging Face's `config`."""
    D, F, V = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    NH = config["num_attention_heads"] * config["head_dim"]
    GH = config["num_key_value_heads"] * config["head_dim"]
    block = {
        "input_layernorm": (D,),
        "self_attn.q_proj": (NH, D),
        "self_attn.k_proj": (GH, D),
        "self_attn.v_proj": (GH, D),
        "self_attn.o_proj": (D, NH),
        "post_attention_layernorm": (D,),
        "mlp.gate_proj": (F, D),
        "mlp.up_proj": (F, D),
        "mlp.down_proj": (D, F),
    }
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (V, D)}
    for layer in range(config["num_hidden_layers"]):
        shapes |= {f"model.layers.{layer}.{name}.weight": shape for name, shape in block.items()}
    shapes["model.norm.weight"] = (D,)
    if not config["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (V, D)
    return shapes


def find_tensor(shapes: Mapping[str, tuple[int, ...]], name: str, path: Path) -> tuple[int, ...]:
    """Return a tensor's shape; an unknown name is a DataError that suggests the nearest one."""
    if name not in shapes:
        raise DataError(f"{path}: no tensor {name!r}{nearest(name, shapes)}")
    return shapes[name]


def rotary_heads(name: str, config: Mapping[str, Any]) -> int:
    """Return the number of heads if `name` projects to queries or keys, which rotate; else 0."""
    if name.endswith("self_attn.q_proj.weight"):
        return config["num_attention_heads"]
    return config["num_key_value_heads"] if name.endswith("self_attn.k_proj.weight") else 0


def half_split(rows: np.ndarray, heads: int) -> np.ndarray:
    """Reorder the rows of a query or key matrix from interleaved rotary pairs to halves.

    Meta's code, llama.cpp and llama2.c rotate rows (2i, 2i+1) of a head together; Hugging Face
    rotates rows (i, i+H/2). For H = 6 and one head:

    rows of pair 0, 1, 2:  [a0 b0 a1 b1 a2 b2]  ->  [a0 a1 a2 b0 b1 b2]

    Args:
      rows: `[N H, D]`, H even.
      heads: N, or G for keys.

    Returns:
      A new array of the same shape.
    """
    # [N H, D] -> [N, H/2, 2, D] -> [N, 2, H/2, D] -> [N H, D]
    pairs = rows.reshape(heads, -1, 2, *rows.shape[1:])
    return np.ascontiguousarray(np.einsum("nhp...->nph...", pairs)).reshape(rows.shape)


def sentencepiece_bpe(
    tokens: Sequence[str],
    scores: Sequence[float],
    mergeable: Sequence[bool],
    *,
    unknown: str | None,
    space_prefix: bool = True,
) -> Any:
    """Build a `tokenizers.Tokenizer` that behaves like SentencePiece's BPE with byte fallback.

    SentencePiece merges the pair whose result has the best score, whereas `tokenizers` follows a
    ranked list of pairs. Every way to cut a token in two is therefore listed, by descending score
    of the token. The text is not split at spaces first, because tokens may span them.

    Args:
      tokens: the pieces; "▁" stands for a space, and "<0x0A>" for a byte.
      scores: score of each token.
      mergeable: whether a token may result from a merge; False for bytes and control tokens.
      unknown: token for characters whose bytes are not in the vocabulary.
      space_prefix: whether to put a space before each text and drop it when decoding.
    """
    tokenizers = need_package("tokenizers", "transformers", "building a tokenizer")
    vocabulary = {token: number for number, token in enumerate(tokens)}
    parts = {token for token, merge in zip(tokens, mergeable, strict=True) if merge}
    merges = []
    # Sorting is stable, so that of tokens with equal scores the lower number comes first.
    for number in sorted(range(len(tokens)), key=lambda number: -scores[number]):
        token = tokens[number]
        if mergeable[number]:
            cuts = [(token[:cut], token[cut:]) for cut in range(1, len(token))]
            merges += [cut for cut in cuts if cut[0] in parts and cut[1] in parts]
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.BPE(
            vocab=vocabulary, merges=merges, unk_token=unknown, fuse_unk=True, byte_fallback=True
        )
    )
    # The Metaspace pre-tokenizer would not add a prefix to a text that begins with a space, as
    # SentencePiece does; a normalizer does.
    replace = [tokenizers.normalizers.Replace(" ", "▁")]
    prefix = [tokenizers.normalizers.Prepend("▁")] if space_prefix else []
    tokenizer.normalizer = tokenizers.normalizers.Sequence(prefix + replace)
    decoders = tokenizers.decoders
    strip = [decoders.Strip(" ", 1, 0)] if space_prefix else []
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
    )
    return tokenizer


def fast_tokenizer(
    backend: Any,
    *,
    special: Sequence[str] = (),
    whole: Sequence[str] = (),
    add_bos: bool = False,
    add_eos: bool = False,
    bos_token: str | None = None,
    eos_token: str | None = None,
    **settings: Any,
) -> Any:
    """Wrap a `tokenizers.Tokenizer` as a transformers tokenizer.

    Args:
      backend: the tokenizer; its vocabulary must contain all tokens below.
      special: control tokens, which decoding with `skip_special_tokens` leaves out.
      whole: tokens that are matched in the text before it is cut into pieces.
      add_bos: whether to put `bos_token` before each text.
      add_eos: whether to put `eos_token` after each text.
      bos_token: token that begins a text.
      eos_token: token that ends a text.
      settings: further settings of `PreTrainedTokenizerFast`; those that are None are ignored.
    """
    transformers = need_package("transformers", "transformers", "building a tokenizer")
    tokenizers = need_package("tokenizers", "transformers", "building a tokenizer")
    plain = {"normalized": False}
    backend.add_tokens([tokenizers.AddedToken(t, special=False, **plain) for t in whole])
    backend.add_special_tokens([tokenizers.AddedToken(t, special=True, **plain) for t in special])
    before = [bos_token] if add_bos and bos_token is not None else []
    after = [eos_token] if add_eos and eos_token is not None else []
    if before or after:
        second = [f"{token}:1" for token in before], [f"{token}:1" for token in after]
        backend.post_processor = tokenizers.processors.TemplateProcessing(
            single=[*before, "$A", *after],
            pair=[*before, "$A", *after, *second[0], "$B:1", *second[1]],
            special_tokens=[(token, backend.token_to_id(token)) for token in {*before, *after}],
        )
    settings = {name: value for name, value in settings.items() if value is not None}
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=bos_token,
        eos_token=eos_token,
        clean_up_tokenization_spaces=False,
        **settings,
    )


def _read_config(path: Path) -> dict[str, Any]:
    check_file(path, missing=True)
    try:
        with path.open("rb") as file:
            head = file.read(_HEADER_BYTES)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}; check the path") from error
    if len(head) < _HEADER_BYTES:
        raise DataError(
            f"{path}: a llama2.c checkpoint begins with {_HEADER_BYTES} bytes, found {len(head)}"
        )
    header = dict(zip(_HEADER, struct.unpack("<7i", head), strict=True))
    shown = ", ".join(f"{name} {value}" for name, value in header.items())
    if header["dim"] == _MAGIC:
        raise DataError(
            f"{path}: a llama2.c checkpoint of version {header['hidden_dim']}, expected version 0; "
            "export it with llama2.c's export.py --version 0"
        )
    # A negative vocabulary size means that the output has its own matrix.
    tied, vocab_size = header["vocab_size"] > 0, abs(header["vocab_size"])
    width, heads, kv_heads = header["dim"], header["n_heads"], header["n_kv_heads"]
    positive = vocab_size > 0 and all(header[name] > 0 for name in _HEADER if name != "vocab_size")
    if not positive or width % (2 * heads) or heads % kv_heads:
        raise DataError(
            f"{path}: not the header of a llama2.c checkpoint ({shown}); expected positive "
            "numbers, dim a multiple of 2 n_heads, n_heads a multiple of n_kv_heads"
        )
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": vocab_size,
        "hidden_size": width,
        "intermediate_size": header["hidden_dim"],
        "num_hidden_layers": header["n_layers"],
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": width // heads,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "max_position_embeddings": header["seq_len"],
        # Constants of llama2.c's run.c: `rmsnorm` and the rotation in `forward`.
        "rms_norm_eps": 1e-5,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0},
        "tie_word_embeddings": tied,
        "bos_token_id": _BOS,
        "eos_token_id": _EOS,
        "pad_token_id": None,
    }


def _layout(
    config: dict[str, Any], shapes: dict[str, tuple[int, ...]]
) -> Iterator[tuple[str, int]]:
    """Yield the name and the number of floats of each tensor, in the order of the file."""
    names = ["model.embed_tokens.weight"]
    for kind in _KINDS:
        names += [
            f"model.layers.{layer}.{kind}.weight" for layer in range(config["num_hidden_layers"])
        ]
    for name in [*names, "model.norm.weight"]:
        yield name, math.prod(shapes[name])
    # Cosines and sines, each [T, H/2].
    yield "rotary table", config["max_position_embeddings"] * config["head_dim"]
    if not config["tie_word_embeddings"]:
        yield "lm_head.weight", math.prod(shapes["lm_head.weight"])


def _read_tokens(path: Path, vocab_size: int) -> tuple[list[str], list[float]]:
    check_file(path, missing=True)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}; check the path") from error
    tokens: list[str] = []
    scores: list[float] = []
    position = 4
    try:
        for _ in range(vocab_size):
            score, length = struct.unpack_from("<fi", content, position)
            position += 8
            token = content[position : position + length]
            if length < 0 or len(token) < length:
                raise struct.error(f"token of {length} bytes, {len(token)} found")
            tokens.append(token.decode())
            scores.append(score)
            position += length
    except (struct.error, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: expected {vocab_size} tokens, token {len(tokens)} at byte {position} of "
            f"{len(content)} is malformed ({error})"
        ) from error
    if position != len(content):
        raise DataError(
            f"{path}: {vocab_size} tokens take {position} bytes, found {len(content)}; check the "
            "model's vocabulary size"
        )
    return tokens, scores


def need_package(name: str, install: str, purpose: str) -> Any:
    """Import an optional package; if it is absent, a ConfigError says what to install."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"{purpose} needs the package {name!r}; pip install '{install}'"
        ) from error
