"""Texts encoded by a sentence encoder: with progress, once for the same content, within a limit.

Encoding is the longest silent work before a training, so its result is kept in the cache directory
under a hash of the texts and of the encoder's files. Texts are encoded in pieces of 4,096, each of
which is kept as soon as it is done: work that was stopped continues, whichever engine does it.
"""

import contextlib
import dataclasses
import hashlib
import io
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from jaxrec.core import (
    LOCAL,
    Engine,
    ProgressBar,
    ResourceError,
    count_up,
    is_writer,
    read_array,
    write_bytes,
)
from jaxrec.data import cache_dir
from jaxrec.models import SentenceEncoder

# An encoder that nobody asked for may take this long.
LIMIT_SECONDS = 60.0
# So few texts are within the limit on any machine, and too few to time.
_FEW, _SAMPLE = 512, 32
# Texts of a piece. Rows of a batch are padded to the longest of them, and rounding depends on that;
# so the size of pieces must not depend on who encodes them.
_PIECE = 4096
# Vectors computed by another version of the code have other names.
_VERSION = 1


def encode_cached(encoder: Path, texts: Sequence[str], engine: Engine = LOCAL) -> np.ndarray:
    """Encode texts, or read their vectors from the cache.

    Args:
      encoder: directory of a sentence encoder.
      texts: n strings.
      engine: what encodes pieces; the vectors are the same from each.

    Returns:
      float32 `[n, E]`.

    Raises:
      ConfigError, DataError: the encoder cannot be loaded; see `SentenceEncoder.load`.
    """
    pieces = _pieces(texts)
    digest = _digest(encoder)
    places = [_place(digest, piece) for piece in pieces]
    vectors = [_read(place, len(piece)) for place, piece in zip(places, pieces, strict=True)]
    missing = [number for number, found in enumerate(vectors) if found is None]
    if missing:
        done = len(texts) - sum(len(pieces[number]) for number in missing)
        with ProgressBar("encode texts", len(texts), "text", counts=True) as bar:
            bar.reach(done)
            for at, encoded in engine.map(_Encode(encoder), [pieces[n] for n in missing]):
                number = missing[at]
                vectors[number] = encoded
                done += len(encoded)
                bar.reach(done)
                _keep(places[number], encoded)
    return np.concatenate([found for found in vectors if found is not None])


@dataclasses.dataclass(frozen=True)
class _Encode:
    """A job that encodes pieces of texts.

    Attributes:
      encoder: directory of a sentence encoder.
    """

    encoder: Path

    def __call__(self) -> Callable[[Sequence[str]], np.ndarray]:
        """Load the encoder."""
        model = SentenceEncoder.load(self.encoder.resolve())
        return lambda texts: model.encode(texts, progress=count_up())


def _pieces(texts: Sequence[str]) -> list[Sequence[str]]:
    return [texts[first : first + _PIECE] for first in range(0, max(len(texts), 1), _PIECE)]


def _keep(place: Path, vectors: np.ndarray) -> None:
    """Write vectors into the cache; one that cannot be written costs time and nothing else."""
    stream = io.BytesIO()
    np.save(stream, vectors, allow_pickle=False)
    with contextlib.suppress(ResourceError, OSError):
        if is_writer():
            write_bytes(place, stream.getvalue())


def is_affordable(encoder: Path, texts: Sequence[str]) -> bool:
    """Whether an encoder that nobody asked for may encode the texts; says so if it may not.

    The cost is estimated from a small sample of the texts, unless their vectors are in the cache.

    Args:
      encoder: directory of a sentence encoder.
      texts: n strings.

    Raises:
      ConfigError, DataError: the encoder cannot be loaded; see `SentenceEncoder.load`.
    """
    if len(texts) <= _FEW:
        return True
    digest = _digest(encoder)
    if all(_read(_place(digest, piece), len(piece)) is not None for piece in _pieces(texts)):
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
    return _place(_digest(encoder), texts)


def _digest(encoder: Path) -> "hashlib._Hash":
    """What names of files begin with: the version, and the content of the encoder."""
    digest = hashlib.sha256(f"{_VERSION}".encode())
    for file in sorted(path for path in encoder.rglob("*") if path.is_file()):
        digest.update(f"{file.relative_to(encoder)}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as content:
            while block := content.read(1 << 20):
                digest.update(block)
    return digest


def _place(encoder: "hashlib._Hash", texts: Sequence[str]) -> Path:
    digest = encoder.copy()
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
