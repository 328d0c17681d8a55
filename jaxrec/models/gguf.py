"""Llama weights and tokenizers from GGUF files, as llama.cpp and its quantizers write them.

ggml-org/ggml's docs/gguf.md describes the format. The `gguf` package reads the file, which it maps
into memory. This module undoes the differences from Hugging Face's layout: tensor names, the order
of the rows of queries and keys, and a tokenizer stored as lists instead of a tokenizer.json.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.core import DataError, check_file
from jaxrec.models.gguf_header import check_header
from jaxrec.models.llama2c import (
    fast_tokenizer,
    find_tensor,
    half_split,
    llama_shapes,
    need_package,
    rotary_heads,
    sentencepiece_bpe,
)

_TOP = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_BLOCK = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
# All settings of a plain Llama. A setting outside this list may change what the model computes (a
# mixture of experts, a stretched rotary table), so it is rejected rather than ignored.
_SETTINGS = (
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.layer_norm_rms_epsilon",
    "attention.value_length",
    "block_count",
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "rope.dimension_count",
    "rope.freq_base",
    "tensor_data_layout",
    "vocab_size",
)
_NEUTRAL = {"expert_count": 0, "expert_used_count": 0, "rope.scaling.type": "none"}
# How text is split before BPE, under the names in llama.cpp's src/llama-vocab.cpp.
_LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_SPLITS = {
    "gpt-2": "gpt2",
    "smollm": "digits",
    "llama-bpe": "llama3",
    "llama-v3": "llama3",
    "llama3": "llama3",
}
# Values of tokenizer.ggml.token_type (docs/gguf.md).
_NORMAL, _CONTROL, _USER_DEFINED = 1, 3, 4


class GgufSource:
    """Reads a Llama model from a GGUF file, one tensor at a time.

    Attributes:
      path: the file.
      config: the contents of an equivalent config.json of Hugging Face.

    Raises:
      ConfigError: the package `gguf` is not installed.
      DataError: the file does not exist, is not a GGUF file or not a plain Llama, or a tensor is
        unknown, missing or of a shape that contradicts the settings.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).expanduser()
        self._gguf = need_package("gguf", "jaxrec[gguf]", "reading a GGUF file")
        check_file(self.path, missing=True)
        try:
            check_header(self.path)
            reader = self._gguf.GGUFReader(self.path)
        except DataError:
            raise
        except OSError as error:
            raise DataError(f"{self.path}: {error.strerror or error}; check the path") from error
        except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
            raise DataError(
                f"{self.path}: not a whole GGUF file of version 2 or 3, {self.path.stat().st_size} "
                f"bytes ({error}); download it again"
            ) from error
        if reader.byte_order != "I":
            raise DataError(
                f"{self.path}: the file has the other byte order, expected that of this machine; "
                "convert the model again here"
            )
        self._fields = reader.fields
        stored = {tensor.name: tensor for tensor in reader.tensors}
        self._check_settings()
        if (depth := self._number("llama.block_count")) > len(stored):
            raise DataError(
                f"{self.path}: llama.block_count is {depth}, but the file holds {len(stored)} "
                "tensors; download it again"
            )
        names = _hugging_face_names(depth)
        self._check_names(stored, names)
        self.config: dict[str, Any] = self._read_config(stored)
        self._tensors = {names[name]: tensor for name, tensor in stored.items()}
        self._shapes = llama_shapes(self.config)
        for name, shape in self._shapes.items():
            # GGUF lists the sizes from the innermost axis outwards.
            stored_shape = tuple(int(size) for size in reversed(self._tensors[name].shape))
            if stored_shape != shape:
                raise DataError(
                    f"{self.path}: tensor {self._tensors[name].name!r} has shape {stored_shape}, "
                    f"expected {shape} from the settings"
                )

    def names(self) -> list[str]:
        """Hugging Face names of the tensors."""
        return list(self._shapes)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor in Hugging Face's layout; DataError if the name is unknown."""
        return find_tensor(self._shapes, name, self.path)

    def read(self, name: str) -> np.ndarray:
        """Read and dequantize one tensor, as float32 in Hugging Face's row order.

        Raises:
          DataError: the name is unknown, or `gguf` cannot dequantize the tensor's type.
        """
        shape = self.shape(name)
        tensor = self._tensors[name]
        try:
            values = np.asarray(self._gguf.dequantize(tensor.data, tensor.tensor_type))
        except NotImplementedError as error:
            raise DataError(
                f"{self.path}: tensor {tensor.name!r} is of type {tensor.tensor_type.name}, which "
                "the gguf package cannot dequantize; take another quantization of the model"
            ) from error
        if heads := rotary_heads(name, self.config):
            values = half_split(values, heads)
        elif not values.flags.writeable:
            # A float32 tensor is a view of the mapped file and must not outlive the source.
            values = values.copy()
        return values.reshape(shape)

    def save_tokenizer(self, directory: str | os.PathLike[str]) -> None:
        """Write the file's tokenizer to `directory` in Hugging Face's format.

        Transformers can read it from a GGUF file too, but needs PyTorch for that. Version 5.23 also
        separates the spaces before a digit in SmolLM's vocabulary, which llama.cpp keeps together.

        Raises:
          ConfigError: `transformers` is not installed.
          DataError: the file has no tokenizer, or its tokenizer is of an unknown kind.
        """
        self._tokenizer().save_pretrained(Path(directory).expanduser())

    def _tokenizer(self) -> Any:
        tokens = self._array("tokens", str)
        if not tokens:
            raise DataError(f"{self.path}: holds no tokenizer (tokenizer.ggml.tokens)")
        types = self._array("token_type", int, len(tokens)) or [_NORMAL] * len(tokens)
        kind, pre = self._value("tokenizer.ggml.model"), self._value("tokenizer.ggml.pre")
        unknown = self._token("unknown", tokens)
        if kind == "llama":
            backend = sentencepiece_bpe(
                tokens,
                self._array("scores", float, len(tokens)),
                [number == _NORMAL for number in types],
                unknown=unknown,
                space_prefix=bool(self._value("tokenizer.ggml.add_space_prefix", True)),
            )
        elif kind == "gpt2" and pre in _SPLITS:
            merges = [tuple(merge.split(" ")) for merge in self._array("merges", str)]
            known = set(tokens)
            for merge in merges:
                if len(merge) != 2 or not {*merge, "".join(merge)} <= known:
                    raise DataError(
                        f"{self.path}: tokenizer.ggml.merges has {' '.join(merge)!r}, expected two "
                        "tokens that make a third"
                    )
            backend = _byte_level_bpe(tokens, merges, _SPLITS[pre])
        elif kind == "gpt2":
            raise DataError(
                f"{self.path}: tokenizer.ggml.pre {pre!r} is not a known way to split text; "
                f"known: {', '.join(_SPLITS)}. Take the tokenizer of the original model"
            )
        else:
            raise DataError(
                f"{self.path}: tokenizer.ggml.model is {kind!r}, expected 'llama' or 'gpt2'; take "
                "the tokenizer of the original model"
            )
        # Files without these settings have llama.cpp's defaults.
        begins = kind == "llama" or _SPLITS.get(pre) == "llama3"
        return fast_tokenizer(
            backend,
            special=[
                token for token, number in zip(tokens, types, strict=True) if number == _CONTROL
            ],
            whole=[
                token
                for token, number in zip(tokens, types, strict=True)
                if number == _USER_DEFINED
            ],
            add_bos=bool(self._value("tokenizer.ggml.add_bos_token", begins)),
            add_eos=bool(self._value("tokenizer.ggml.add_eos_token", False)),
            bos_token=self._token("bos", tokens),
            eos_token=self._token("eos", tokens),
            unk_token=unknown,
            pad_token=self._token("padding", tokens),
            chat_template=self._value("tokenizer.chat_template"),
        )

    def _check_settings(self) -> None:
        architecture = self._value("general.architecture")
        if architecture != "llama":
            raise DataError(
                f"{self.path}: general.architecture is {architecture!r}, only 'llama' is supported"
            )
        if self._value("split.count", 1) > 1:
            raise DataError(
                f"{self.path}: one of {self._value('split.count')} parts of a model; join them "
                "with llama.cpp's gguf-split --merge"
            )
        for key in self._fields:
            prefix, _, setting = key.partition(".")
            if prefix != "llama" or setting in _SETTINGS:
                continue
            if setting not in _NEUTRAL or self._value(key) != _NEUTRAL[setting]:
                raise DataError(
                    f"{self.path}: {key} = {self._value(key)!r} is not supported: it may change "
                    "what the model computes"
                )

    def _check_names(self, stored: Mapping[str, Any], names: Mapping[str, str]) -> None:
        unknown = [name for name in stored if name not in names]
        if unknown:
            stretched = unknown[0] == "rope_freqs.weight"
            reason = " (rotary positions stretched as in Llama 3.1)" if stretched else ""
            raise DataError(
                f"{self.path}: tensor {unknown[0]!r}{reason} is not part of a plain Llama of "
                f"{self._number('llama.block_count')} blocks; {len(unknown)} such tensors in all"
            )
        missing = [name for name in names if name not in stored and name != "output.weight"]
        if missing:
            raise DataError(
                f"{self.path}: no tensor {missing[0]!r}; {len(missing)} of {len(names)} missing"
            )

    def _read_config(self, stored: Mapping[str, Any]) -> dict[str, Any]:
        width = self._number("llama.embedding_length")
        heads = self._number("llama.attention.head_count")
        head_size = self._number("llama.attention.key_length", width // heads)
        if head_size % 2:
            raise DataError(
                f"{self.path}: rotary positions need an even head size, not {head_size}"
            )
        for key in ("attention.value_length", "rope.dimension_count"):
            if (size := self._number(f"llama.{key}", head_size)) != head_size:
                raise DataError(
                    f"{self.path}: llama.{key} is {size}, expected the head size {head_size}"
                )
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": self._number(
                "llama.vocab_size", int(stored["token_embd.weight"].shape[-1])
            ),
            "hidden_size": width,
            "intermediate_size": self._number("llama.feed_forward_length"),
            "num_hidden_layers": self._number("llama.block_count"),
            "num_attention_heads": heads,
            "num_key_value_heads": self._number("llama.attention.head_count_kv", heads),
            "head_dim": head_size,
            "hidden_act": "silu",
            "attention_bias": False,
            "mlp_bias": False,
            "max_position_embeddings": self._number("llama.context_length"),
            "rms_norm_eps": self._real("llama.attention.layer_norm_rms_epsilon"),
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": self._real("llama.rope.freq_base", 10_000.0),
            },
            "tie_word_embeddings": "output.weight" not in stored,
            "bos_token_id": self._value("tokenizer.ggml.bos_token_id"),
            "eos_token_id": self._value("tokenizer.ggml.eos_token_id"),
            "pad_token_id": self._value("tokenizer.ggml.padding_token_id"),
        }

    def _value(self, key: str, default: Any = None) -> Any:
        field = self._fields.get(key)
        try:
            return default if field is None else field.contents()
        except UnicodeDecodeError as error:
            raise DataError(f"{self.path}: {key} is not UTF-8 ({error})") from error
        except (ValueError, IndexError, KeyError, TypeError) as error:
            raise DataError(f"{self.path}: {key} cannot be read ({error})") from error

    def _number(self, key: str, default: int | None = None) -> int:
        value = self._value(key, default)
        # Some architectures list one number per block; a plain Llama has one for all blocks.
        if not isinstance(value, int) or value < 1:
            raise DataError(f"{self.path}: {key} is {value!r}, expected one positive integer")
        return value

    def _real(self, key: str, default: float | None = None) -> float:
        value = self._value(key, default)
        if not isinstance(value, float) or not value > 0:
            raise DataError(f"{self.path}: {key} is {value!r}, expected a positive number")
        # The shortest decimal of the stored float32 is the 1e-05 of the original config.json.
        return float(str(np.float32(value)))

    def _array(self, key: str, kind: type, length: int | None = None) -> list[Any]:
        key = f"tokenizer.ggml.{key}"
        values = self._value(key, [])
        if not isinstance(values, list) or not all(isinstance(value, kind) for value in values):
            raise DataError(f"{self.path}: {key} is not a list of {kind.__name__}")
        # Only token types may be absent: without scores the order of merges is unknown.
        absent = kind is int and not values
        if length is not None and len(values) != length and not absent:
            raise DataError(f"{self.path}: {key} has {len(values)} entries for {length} tokens")
        return values

    def _token(self, role: str, tokens: Sequence[str]) -> str | None:
        number = self._value(f"tokenizer.ggml.{role}_token_id")
        if number is not None and not (isinstance(number, int) and 0 <= number < len(tokens)):
            raise DataError(
                f"{self.path}: tokenizer.ggml.{role}_token_id is {number!r:.60}, but there are "
                f"only {len(tokens)} tokens"
            )
        return None if number is None else tokens[number]


def _byte_level_bpe(tokens: Sequence[str], merges: Sequence[tuple[str, ...]], split: str) -> Any:
    """Build a byte-level BPE like GPT-2's; `split` is one of the values of `_SPLITS`."""
    tokenizers = need_package("tokenizers", "transformers", "building a tokenizer")
    cut = tokenizers.pre_tokenizers
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.BPE(
            vocab={token: number for number, token in enumerate(tokens)},
            merges=merges,
            # Llama 3's vocabulary has words that no sequence of merges produces.
            ignore_merges=split == "llama3",
        )
    )
    if split == "llama3":
        steps = [
            cut.Split(tokenizers.Regex(_LLAMA3_SPLIT), behavior="isolated"),
            cut.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    else:
        digits = [cut.Digits(individual_digits=True)] if split == "digits" else []
        steps = [*digits, cut.ByteLevel(add_prefix_space=False)]
    tokenizer.pre_tokenizer = cut.Sequence(steps)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    return tokenizer


def _hugging_face_names(depth: int) -> dict[str, str]:
    """Map GGUF's tensor names to Hugging Face's, for a Llama of `depth` blocks."""
    names = {f"{ours}.weight": f"{theirs}.weight" for ours, theirs in _TOP.items()}
    for layer in range(depth):
        for ours, theirs in _BLOCK.items():
            names[f"blk.{layer}.{ours}.weight"] = f"model.layers.{layer}.{theirs}.weight"
    return names
