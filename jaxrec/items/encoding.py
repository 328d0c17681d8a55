"""Texts encoded by a sentence encoder: with progress, once for the same content, within a limit.

Encoding is the longest silent work before a training, so its result is kept in the cache directory
under a hash of the texts and of the encoder's files.
"""

import contextlib
import hashlib
import io
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxrec.core import ProgressBar, ResourceError, is_writer, read_array, write_bytes
from jaxrec.data import cache_dir
from jaxrec.models import SentenceEncoder

# An encoder that nobody asked for may take this long.
LIMIT_SECONDS = 60.0
# So few texts are within the limit on any machine, and too few to time.
_FEW, _SAMPLE = 512, 32
# Vectors computed by another version of the code have other names.
_VERSION = 1


def encode_cached(encoder: Path, texts: Sequence[str]) -> np.ndarray:
    """Encode texts, or read their vectors from the cache.

    Args:
      encoder: directory of a sentence encoder.
      texts: n strings.

    Returns:
      float32 `[n, E]`.

    Raises:
      ConfigError, DataError: the encoder cannot be loaded; see `SentenceEncoder.load`.
    """
    place = cache_file(encoder, texts)
    vectors = _read(place, len(texts))
    if vectors is not None:
        return vectors
    model = SentenceEncoder.load(encoder)
    with ProgressBar("encode texts", len(texts), "text") as bar:
        vectors = model.encode(texts, progress=bar.update)
    stream = io.BytesIO()
    np.save(stream, vectors, allow_pickle=False)
    # A cache that cannot be written costs time and nothing else.
    with contextlib.suppress(ResourceError, OSError):
        if is_writer():
            write_bytes(place, stream.getvalue())
    return vectors


def is_affordable(encoder: Path, texts: Sequence[str]) -> bool:
    """Whether an encoder that nobody asked for may encode the texts; says so if it may not.

    The cost is estimated from a small sample of the texts, unless their vectors are in the cache.

    Args:
      encoder: directory of a sentence encoder.
      texts: n strings.

    Raises:
      ConfigError, DataError: the encoder cannot be loaded; see `SentenceEncoder.load`.
    """
    if len(texts) <= _FEW or _read(cache_file(encoder, texts), len(texts)) is not None:
        return True
    seconds = estimate_seconds(SentenceEncoder.load(encoder), texts)
    if seconds <= LIMIT_SECONDS:
        return True
    if is_writer():
        print(
            f"item texts: {encoder} would take about {seconds / 60:.1f} minutes for {len(texts):,} "
            f"texts, so TF-IDF is used; to encode them, give the directory as the text encoder",
            file=sys.stderr,
        )
    return False


def estimate_seconds(model: SentenceEncoder, texts: Sequence[str]) -> float:
    """Estimate how long it takes to encode texts, from a sample that is encoded several times.

    The first time compiles; the fastest of the others counts, because other work may disturb one.

    Args:
      model: the encoder.
      texts: n strings, at least one.
    """
    by_length = sorted(texts, key=len)
    sample = [by_length[at * len(texts) // _SAMPLE] for at in range(_SAMPLE)]
    model.encode(sample)
    seconds = []
    for _ in range(3):
        begun = time.monotonic()
        model.encode(sample)
        seconds.append(time.monotonic() - begun)
    return min(seconds) * len(texts) / len(sample)


def cache_file(encoder: Path, texts: Sequence[str]) -> Path:
    """The file of the cache that holds the vectors of these texts by this encoder.

    Args:
      encoder: directory of a sentence encoder.
      texts: n strings.

    Example:
      >>> import tempfile
      >>> empty = Path(tempfile.mkdtemp())
      >>> cache_file(empty, ["ab", "c"]) == cache_file(empty, ["a", "bc"])
      False
    """
    digest = hashlib.sha256(f"{_VERSION}".encode())
    for file in sorted(path for path in encoder.rglob("*") if path.is_file()):
        digest.update(f"{file.relative_to(encoder)}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as content:
            while block := content.read(1 << 20):
                digest.update(block)
    for text in texts:
        encoded = text.encode()
        digest.update(f"{len(encoded)}\0".encode() + encoded)
    return cache_dir() / "text_vectors" / f"{digest.hexdigest()}.npy"


def _read(place: Path, count: int) -> np.ndarray | None:
    """The vectors in the cache; None if there are none, or not the right ones."""
    with contextlib.suppress(OSError, ValueError, EOFError):
        vectors = read_array(place)
        if vectors.dtype == np.float32 and vectors.ndim == 2 and len(vectors) == count:
            return np.asarray(vectors)
    return None
