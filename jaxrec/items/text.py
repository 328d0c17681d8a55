"""Item texts as vectors: by a sentence encoder where its weights are at hand, or by TF-IDF.

Shapes: `I` items, `D` columns that go into the IDs (`ids.dim`), `E` width of a sentence encoder.
"""

import dataclasses
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.core import ConfigError, DataError, nearest, write_bytes
from jaxrec.data import Dataset
from jaxrec.ids import reduced_vectors, text_vectors
from jaxrec.items.config import IdConfig
from jaxrec.models import VARIABLE, SentenceEncoder, find_sentence_encoder

TFIDF, AUTO = _WORDS = ("tfidf", "auto")
_FILE = "text_vectors.npy"


@dataclasses.dataclass(frozen=True, eq=False)
class ItemText:
    """Text vectors of all items, and what made them.

    Attributes:
      vectors: float32 [I, D]; unit rows, or zeros for items without text.
      facts: JSON-able: "encoder" ("TF-IDF", or the last names of a directory), "directory" (None
        for TF-IDF), "width" (D) and "encoder_width" (E; None for TF-IDF).
    """

    vectors: np.ndarray
    facts: dict[str, Any]


def fields_used(config: IdConfig, dataset: Dataset) -> list[str]:
    """Item fields whose texts go into the IDs; none where the scheme or the data use none."""
    if not config.reads("text_fields") or config.text_weight == 0:
        return []
    return [name for name in config.text_fields if name in dataset.interactions.items.fields]


def choose(config: IdConfig) -> Path | None:
    """Directory of the sentence encoder that the config asks for; None for TF-IDF or no texts.

    Raises:
      ConfigError: neither a known word nor a directory with a model.
    """
    if not config.reads("text_encoder"):
        return None
    return encoder_of(config.text_encoder, "ids.text_encoder")


def encoder_of(setting: str, name: str) -> Path | None:
    """Directory of the sentence encoder that a setting of this name asks for; None for TF-IDF.

    Raises:
      ConfigError: neither a known word nor a directory with a model.
    """
    if setting == TFIDF:
        return None
    if setting == AUTO:
        return find_sentence_encoder()
    directory = Path(setting).expanduser()
    if not directory.is_dir():
        hint = nearest(setting, _WORDS)
        raise ConfigError(
            f"{name} is {setting!r}, which is no directory{hint}; give {AUTO!r}, "
            f"{TFIDF!r}, or the directory of a sentence encoder"
        )
    if not any((directory / name).is_file() for name in ("config.json", "modules.json")):
        raise ConfigError(
            f"{name} is {setting!r}, a directory with neither config.json nor "
            "modules.json; give that of a sentence encoder in Hugging Face's format"
        )
    return directory


def read(
    config: IdConfig, dataset: Dataset, encoder: Path | None, new: Sequence[str] = ()
) -> ItemText | None:
    """Turn the item texts into vectors; None where the IDs use none, or the data have none.

    Args:
      config: fields, weight and width.
      dataset: the items.
      encoder: directory of a sentence encoder; None for TF-IDF.
      new: I' texts of items that are not in the data set, whose vectors follow the others.

    Raises:
      ConfigError, DataError: see `SentenceEncoder.load`.
    """
    fields = fields_used(config, dataset)
    if not fields:
        return None
    texts = dataset.interactions.items.text(*fields)
    facts = {
        "encoder": name_of(encoder),
        "directory": None,
        "width": config.dim,
        "encoder_width": None,
    }
    if encoder is None:
        return ItemText(text_vectors(texts, config.dim, config.seed, new), facts)
    model = SentenceEncoder.load(encoder)

    def encode(texts: Sequence[str]) -> np.ndarray:
        vectors = model.encode(texts)
        # The encoder has a vector for no text at all, which says nothing of an item.
        vectors[[not text.strip() for text in texts]] = 0
        return vectors

    facts |= {"directory": str(encoder.resolve()), "encoder_width": model.width}
    added = encode(new) if len(new) else None
    return ItemText(reduced_vectors(encode(texts), config.dim, config.seed, added), facts)


def name_of(encoder: Path | None) -> str:
    """The last names of a sentence encoder's directory; "TF-IDF" for None."""
    return "TF-IDF" if encoder is None else "/".join(encoder.resolve().parts[-2:])


def encode(texts: Sequence[str], encoder: Path | None, dim: int = 64) -> np.ndarray:
    """Vectors of texts at the encoder's full width, for models that learn a projection of them.

    Args:
      texts: I strings; one without words has a row of zeros.
      encoder: directory of a sentence encoder; None for TF-IDF.
      dim: width of TF-IDF vectors.

    Returns:
      float32 `[I, E]`, rows of unit length.

    Raises:
      ConfigError, DataError: see `SentenceEncoder.load`.
    """
    if encoder is None:
        return text_vectors(texts, dim)
    vectors = SentenceEncoder.load(encoder).encode(texts)
    vectors[[not text.strip() for text in texts]] = 0
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def readable(config: IdConfig, dataset: Dataset) -> list[str]:
    """Item fields of `text_fields` that the data have, for models that read texts themselves.

    Raises:
      DataError: none.
    """
    found = [name for name in config.text_fields if name in dataset.interactions.items.fields]
    if not found:
        raise DataError(
            f"items of {dataset.interactions.name} have none of the text fields "
            f"{', '.join(config.text_fields)} (ids.text_fields); give some by data.item_table, or "
            "leave out baselines that read texts"
        )
    return found


def wide(config: IdConfig, dataset: Dataset, directory: Path) -> np.ndarray:
    """Vectors of all items' texts at the encoder's full width, see `encode`.

    Args:
      config: of which `text_fields` and `text_encoder` are read, whatever the scheme.
      dataset: the items.
      directory: where the vectors are kept, so that those of the first time are used again.

    Raises:
      ConfigError, DataError: as of `encode` and `readable`.
    """
    if (directory / "ids" / _FILE).exists():
        return load_vectors(directory)
    texts = dataset.interactions.items.text(*readable(config, dataset))
    vectors = encode(texts, encoder_of(config.text_encoder, "ids.text_encoder"))
    save_vectors(vectors, directory)
    return vectors


def save(text: ItemText, directory: Path) -> None:
    """Keep the vectors of a run beside its IDs, whose metadata keep the facts.

    Raises:
      ResourceError: they cannot be written.
    """
    save_vectors(text.vectors, directory)


def save_vectors(vectors: np.ndarray, directory: Path) -> None:
    """Keep text vectors `[I, E]` of a run beside its IDs.

    Raises:
      ResourceError: they cannot be written.
    """
    stream = io.BytesIO()
    np.save(stream, vectors, allow_pickle=False)
    write_bytes(directory / "ids" / _FILE, stream.getvalue())


def load(facts: Mapping[str, Any], directory: Path) -> ItemText:
    """Read what `save` wrote.

    Args:
      facts: "text" of the metadata of the run's IDs.
      directory: of the run.

    Raises:
      DataError: missing or damaged.
    """
    return ItemText(load_vectors(directory), dict(facts))


def load_vectors(directory: Path) -> np.ndarray:
    """Read what `save_vectors` wrote below the directory of a run.

    Raises:
      DataError: missing or damaged.
    """
    path = directory / "ids" / _FILE
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} cannot be read: {error}; start the run over") from error


def at_hand(used: Mapping[str, Any] | None, setting: str) -> list[Path | None]:
    """Encoders that can be compared: TF-IDF (None), and directories of sentence encoders.

    Args:
      used: "text" of the metadata of a run's IDs, or None. Its directory may be gone, as the run
        keeps its vectors.
      setting: `ids.text_encoder`; a directory that is gone is left out.
    """
    found = [Path(used["directory"])] if used and used["directory"] else []
    if setting not in _WORDS and Path(setting).expanduser().is_dir():
        found.append(Path(setting).expanduser())
    automatic = find_sentence_encoder()
    if automatic is not None:
        found.append(automatic)
    return [None, *dict.fromkeys(directory.resolve() for directory in found)]


def describe(codes_metadata: Mapping[str, Any]) -> str:
    """One line: which text vectors the IDs of a run use, and how to use others."""
    if "text" not in codes_metadata:
        return "item texts: the run does not say what encoded them"
    facts = codes_metadata["text"]
    if facts is None:
        return "item texts: not used by the IDs"
    if facts["directory"] is not None:
        return (
            f"item texts: encoded by {facts['encoder']}, {facts['encoder_width']} wide, reduced to "
            f"{facts['width']}; --ids.text-encoder {TFIDF} does without"
        )
    return (
        f"item texts: encoded by {facts['encoder']}, {facts['width']} wide; for a sentence encoder "
        f"set {VARIABLE} or --ids.text-encoder to its directory"
    )
