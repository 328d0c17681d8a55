"""Item texts as vectors, by a sentence encoder if its weights are on this machine, or by TF-IDF.

Shapes: `I` items, `D` columns that IDs are made of (`ids.dim`), `E` width of a sentence encoder.
"""

import dataclasses
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.core import (
    LOCAL,
    ConfigError,
    DataError,
    DivergedError,
    Engine,
    nearest,
    read_array,
    write_bytes,
)
from jaxrec.data import Dataset, files
from jaxrec.ids import reduced_vectors, text_vectors
from jaxrec.items.config import IdConfig
from jaxrec.items.encoding import encode_cached, is_affordable
from jaxrec.models import VARIABLE, find_sentence_encoder

TFIDF, AUTO = _WORDS = ("tfidf", "auto")
_FILE = "text_vectors.npy"


@dataclasses.dataclass(frozen=True, eq=False)
class ItemText:
    """Text vectors of all items, with a description of how they were made.

    Attributes:
      vectors: float32 [I, D]; rows of unit length, or zeros for items without text.
      facts: JSON-able: "encoder" ("TF-IDF", or the last two names of the encoder's directory),
        "directory" (None for TF-IDF), "width" (D), "encoder_width" (E; None for TF-IDF) and
        "without_text", the number of items that have none.
    """

    vectors: np.ndarray
    facts: dict[str, Any]


def fields_used(config: IdConfig, dataset: Dataset) -> list[str]:
    """Return the item fields whose texts the IDs use; an empty list if they use none."""
    if not config.reads("text_fields") or config.text_weight == 0:
        return []
    return [name for name in config.text_fields if name in dataset.interactions.items.fields]


def check_fields(config: IdConfig, dataset: Dataset) -> None:
    """Reject text fields that the items do not have, unless they are those of the default.

    Raises:
      ConfigError: the message lists the fields that exist.
    """
    known = dataset.interactions.items.fields
    missing = [name for name in config.text_fields if name not in known]
    if missing and config.text_fields != IdConfig.text_fields:
        raise ConfigError(
            f"--ids.text-fields names {missing[0]!r}, a field that the items of "
            f"{dataset.interactions.name} do not have{nearest(missing[0], known)}; their fields: "
            f"{files.listed(known)}"
        )


def choose(config: IdConfig, dataset: Dataset | None = None) -> Path | None:
    """Return the directory of the configured sentence encoder; None for TF-IDF or no texts.

    Args:
      config: the settings of the IDs.
      dataset: the items; None to leave out the cost of encoding their texts.

    Raises:
      ConfigError: the setting is neither a known word nor a directory with a model.
    """
    if not config.reads("text_encoder"):
        return None
    fields = fields_used(config, dataset) if dataset else []
    texts = dataset.interactions.items.text(*fields) if dataset and fields else ()
    return encoder_of(config.text_encoder, "ids.text_encoder", texts)


def encoder_of(setting: str, name: str, texts: Sequence[str] = ()) -> Path | None:
    """Return the directory of the sentence encoder that a setting asks for; None for TF-IDF.

    Args:
      setting: value of the setting: "tfidf", "auto" or a directory.
      name: full name of the setting, for error messages.
      texts: texts to be encoded. With "auto", an encoder that no environment variable names is not
        taken if they would take more than a minute.

    Raises:
      ConfigError: the setting is neither a known word nor a directory with a model.
    """
    if setting == TFIDF:
        return None
    if setting == AUTO:
        found = find_sentence_encoder()
        if found is None or os.environ.get(VARIABLE) or is_affordable(found, texts):
            return found
        return None
    directory = Path(setting).expanduser()
    if not directory.is_dir():
        hint = nearest(setting, _WORDS)
        raise ConfigError(
            f"{name} is {setting!r}, which is not a directory{hint}; give {AUTO!r}, "
            f"{TFIDF!r}, or the directory of a sentence encoder"
        )
    if not any((directory / name).is_file() for name in ("config.json", "modules.json")):
        raise ConfigError(
            f"{name} is {setting!r}, a directory with neither config.json nor "
            "modules.json; give the directory of a sentence encoder in Hugging Face's format"
        )
    return directory


def read(
    config: IdConfig,
    dataset: Dataset,
    encoder: Path | None,
    new: Sequence[str] = (),
    engine: Engine = LOCAL,
) -> ItemText | None:
    """Turn item texts into vectors; return None if the IDs use no texts or the data have none.

    Args:
      config: names the fields, the weight of texts and the width.
      dataset: the items.
      encoder: directory of a sentence encoder; None for TF-IDF.
      new: I' texts of items outside the data set; their vectors follow those of the data set.
      engine: what encodes the texts, if there is an encoder.

    Raises:
      ConfigError, DataError: the encoder cannot be loaded; see `SentenceEncoder.load`.
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
        "without_text": sum(not text.strip() for text in texts),
    }
    if encoder is None:
        return ItemText(text_vectors(texts, config.dim, config.seed, new), facts)
    vectors = _encoded(encoder, texts, engine)
    added = _encoded(encoder, new, engine) if len(new) else None
    facts |= {"directory": str(encoder.resolve()), "encoder_width": vectors.shape[1]}
    return ItemText(reduced_vectors(vectors, config.dim, config.seed, added), facts)


def _encoded(encoder: Path, texts: Sequence[str], engine: Engine = LOCAL) -> np.ndarray:
    vectors = encode_cached(encoder, texts, engine)
    # The encoder returns a vector even for an empty text; it says nothing about the item.
    vectors[[not text.strip() for text in texts]] = 0
    return vectors


def name_of(encoder: Path | None) -> str:
    """Return the last two names of a sentence encoder's directory; "TF-IDF" for None."""
    return "TF-IDF" if encoder is None else "/".join(encoder.resolve().parts[-2:])


def encode(texts: Sequence[str], encoder: Path | None, dim: int = 64) -> np.ndarray:
    """Return text vectors at the encoder's full width, for models that learn to project them.

    Args:
      texts: I strings.
      encoder: directory of a sentence encoder; None for TF-IDF.
      dim: width of TF-IDF vectors; a sentence encoder has a width of its own.

    Returns:
      float32 `[I, E]`: rows of unit length, or zeros for texts without words.

    Raises:
      ConfigError, DataError: the encoder cannot be loaded; see `SentenceEncoder.load`.

    Example:
      >>> vectors = encode(["blue shoes", "red shoes", ""], None, dim=2)
      >>> vectors.shape, bool(vectors[2].any())
      ((3, 2), False)
    """
    if encoder is None:
        return text_vectors(texts, dim)
    vectors = _encoded(encoder, texts)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def readable(config: IdConfig, dataset: Dataset) -> list[str]:
    """Return the `text_fields` that the items have, for models that read texts themselves.

    Raises:
      ConfigError: a field that the config names, other than the default ones, does not exist.
      DataError: the items have none of these fields.
    """
    fields = [name for name in config.text_fields if name in dataset.interactions.items.fields]
    if not fields:
        raise DataError(
            f"items of {dataset.interactions.name} have none of the text fields "
            f"{', '.join(config.text_fields)} (ids.text_fields); add texts with data.item_table, "
            "or leave out baselines that read texts"
        )
    check_fields(config, dataset)
    return fields


def wide(config: IdConfig, dataset: Dataset, directory: Path) -> np.ndarray:
    """Return the text vectors of all items at the encoder's full width, as `encode` makes them.

    Args:
      config: only its `text_fields` and `text_encoder` are read, whatever the scheme.
      dataset: the items.
      directory: run directory that stores the vectors. If it has some, they are used again.

    Raises:
      ConfigError: the encoder of the config does not exist.
      DataError: the items have none of the fields, or the encoder or the stored vectors cannot be
        read.
    """
    if (directory / "ids" / _FILE).exists():
        return load_vectors(directory)
    texts = dataset.interactions.items.text(*readable(config, dataset))
    vectors = encode(texts, encoder_of(config.text_encoder, "ids.text_encoder", texts))
    save_vectors(vectors, directory)
    return vectors


def save(text: ItemText, directory: Path) -> None:
    """Store the vectors beside the IDs of a run, whose metadata stores the facts.

    Raises:
      ResourceError: the file cannot be written.
    """
    save_vectors(text.vectors, directory)


def save_vectors(vectors: np.ndarray, directory: Path) -> None:
    """Store text vectors `[I, E]` beside the IDs of a run.

    Raises:
      ResourceError: the file cannot be written.
    """
    stream = io.BytesIO()
    np.save(stream, vectors, allow_pickle=False)
    write_bytes(directory / "ids" / _FILE, stream.getvalue())


def load(facts: Mapping[str, Any], directory: Path) -> ItemText:
    """Read the text vectors that `save` stored in a run.

    Args:
      facts: the entry "text" in the metadata of the run's IDs.
      directory: the run directory.

    Raises:
      DataError: the file is missing or damaged.
    """
    return ItemText(load_vectors(directory), dict(facts))


def load_vectors(directory: Path) -> np.ndarray:
    """Read the vectors that `save_vectors` stored in a run.

    Raises:
      DataError: the file is missing or damaged.
      DivergedError: a vector holds an infinity or a NaN.
    """
    path = directory / "ids" / _FILE
    try:
        vectors = read_array(path)
    except (OSError, ValueError, EOFError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path} cannot be read: {reason}; start the run over") from error
    if vectors.ndim != 2 or vectors.dtype.kind != "f":
        raise DataError(
            f"{path} holds {vectors.dtype}{list(vectors.shape)}, expected a row of numbers for "
            "each item; start the run over"
        )
    if not np.isfinite(vectors).all():
        raise DivergedError(
            f"{path} holds infinities or NaN in the vector of item "
            f"{np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0]}; start the run over"
        )
    return vectors


def at_hand(used: Mapping[str, Any] | None, setting: str) -> list[Path | None]:
    """Return the encoders that can be compared: None for TF-IDF, and directories of others.

    Args:
      used: the entry "text" in the metadata of a run's IDs, or None. Its directory is listed even
        if it no longer exists, because the run stores its vectors.
      setting: the value of `ids.text_encoder`; a directory that does not exist is left out.
    """
    directories = [Path(used["directory"])] if used and used["directory"] else []
    if setting not in _WORDS and Path(setting).expanduser().is_dir():
        directories.append(Path(setting).expanduser())
    automatic = find_sentence_encoder()
    if automatic is not None:
        directories.append(automatic)
    return [None, *dict.fromkeys(directory.resolve() for directory in directories)]


def describe(codes_metadata: Mapping[str, Any]) -> str:
    """Return one line about the text vectors of a run's IDs, and how to choose others."""
    if "text" not in codes_metadata:
        return "item texts: the run does not record what encoded them"
    facts = codes_metadata["text"]
    if facts is None:
        return "item texts: not used by the IDs"
    if facts["directory"] is not None:
        line = (
            f"item texts: encoded by {facts['encoder']}, {facts['encoder_width']} wide, reduced to "
            f"{facts['width']}; --ids.text-encoder {TFIDF} does without it"
        )
    else:
        line = (
            f"item texts: encoded by {facts['encoder']}, {facts['width']} wide; for a sentence "
            f"encoder set {VARIABLE} or --ids.text-encoder to its directory"
        )
    # Runs that were begun before this was counted lack it.
    if missing := facts.get("without_text", 0):
        line += (
            f"\nwarning: items without text: {missing:,}; texts do not tell these apart; give "
            "their texts with --data.item-table, or leave these items out"
        )
    return line
