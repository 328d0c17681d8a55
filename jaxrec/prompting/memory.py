"""Long-term memory of an agent: what is recent, important and relevant comes to mind.

The score of a memory is a weighted sum of three numbers, each scaled to [0, 1] over all memories
(Park et al. 2023, arXiv:2304.03442, section 4.1; the memory of RecAgent, arXiv:2306.02552, is of
this kind):

    score = w_1 · recency + w_2 · importance + w_3 · relevance
    recency = 0.995 ^ hours since the memory was last read
    importance = points from 0 to 10, divided by 10
    relevance = cosine of the vectors of the memory and of the question

A memory is a value: retrieval returns a new one, in which the memories that were read are recent.
"""

import dataclasses
import json
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.core import (
    ConfigError,
    DataError,
    NotNegative,
    PositiveShare,
    check_file,
    check_ranges,
    write_text,
)
from jaxrec.data import files

# Vectors `[N, D]` of texts; every call gives vectors of the same width.
Embed = Callable[[Sequence[str]], np.ndarray]
# What values that are all equal are scaled to, as in the code of the paper.
_EQUAL = 0.5


@dataclasses.dataclass(frozen=True, kw_only=True)
class MemoryRecord:
    """Something that an agent remembers.

    Attributes:
      text: what.
      vector: its embedding, D numbers.
      created: when it was made, in hours of any clock.
      read: when it was last retrieved, in hours of the same clock.
      importance: from 0 to 10.

    Raises:
      DataError: a value of another type or out of range.

    Example:
      >>> MemoryRecord(text="I liked Heat.", vector=(1.0, 0.0), created=5.0, read=5.0).importance
      5.0
    """

    text: str
    vector: tuple[float, ...]
    created: float
    read: float
    importance: float = 5.0

    def __post_init__(self) -> None:
        """Reject what cannot be a memory."""
        if not isinstance(self.text, str) or not self.text.strip():
            raise DataError(f"'text' must be a text, got {files.shown(self.text)}")
        vector = self.vector
        if not isinstance(vector, list | tuple) or not vector or not all(map(_is_number, vector)):
            raise DataError(f"'vector' must be finite numbers, got {files.shown(vector)}")
        object.__setattr__(self, "vector", tuple(map(float, vector)))
        for name in ("created", "read", "importance"):
            if not _is_number(getattr(self, name)):
                raise DataError(
                    f"{name!r} must be a finite number, got {files.shown(getattr(self, name))}"
                )
        if not 0 <= self.importance <= 10:
            raise DataError(f"'importance' must be in [0, 10], got {self.importance}")
        if self.read < self.created:
            raise DataError(
                f"'read' ({self.read}) is before 'created' ({self.created}); give hours of one "
                "clock"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecallOptions:
    """How memories are ranked.

    Attributes:
      recency: weight of the recency.
      importance: weight of the importance.
      relevance: weight of the relevance; all three are 1 in the paper.
      decay: factor of the recency for each hour.

    Raises:
      ConfigError: a number out of range, or weights that are all 0.

    Example:
      >>> RecallOptions(recency=0.0).decay
      0.995
    """

    recency: NotNegative = 1.0
    importance: NotNegative = 1.0
    relevance: NotNegative = 1.0
    decay: PositiveShare = 0.995

    def __post_init__(self) -> None:
        check_ranges(self, "RecallOptions.")
        if not self.recency + self.importance + self.relevance:
            raise ConfigError("the weights of RecallOptions are all 0; set one above 0")


@dataclasses.dataclass(frozen=True)
class Recalled:
    """A memory that came to mind.

    Attributes:
      record: as it was before it was read now.
      score: the weighted sum.
      place: its place among all memories.
    """

    record: MemoryRecord
    score: float
    place: int


def remember(
    memory: tuple[MemoryRecord, ...],
    texts: Sequence[str],
    importance: Sequence[float],
    now: float,
    embed: Embed,
) -> tuple[MemoryRecord, ...]:
    """Return a memory with more records.

    Args:
      memory: what is remembered so far.
      texts: what to add.
      importance: points from 0 to 10 for each text.
      now: the time in hours.
      embed: vectors of texts.

    Returns:
      The old records followed by the new ones.

    Raises:
      DataError: a text without characters, vectors of another width or number, or importance that
        is no number from 0 to 10.
      ConfigError: one text in place of a list, lengths of texts and importance that differ, or a
        time that is no number.

    Example:
      >>> embed = fit_tfidf(["a heist film", "rain in Paris"])
      >>> len(remember((), ["a film", "rain"], [8, 2], 0.0, embed))
      2
    """
    for name, values in (("texts", texts), ("importance", importance)):
        if isinstance(values, str) or not isinstance(values, Sequence | np.ndarray):
            raise ConfigError(f"{name} must be a list, got {values!r:.60}; give [{values!r:.20}]")
    if len(texts) != len(importance):
        raise ConfigError(
            f"texts and importance must have one length, got {len(texts)} and {len(importance)}; "
            "give one importance for each text"
        )
    _check_time(now)
    if not len(texts):
        return memory
    # Checked before they are embedded, whose errors are about words.
    for place, text in enumerate(texts):
        if not isinstance(text, str) or not text.strip():
            raise DataError(f"texts[{place}] must be a text with characters, got {text!r:.60}")
    points = [float(one) if isinstance(one, np.number) else one for one in importance]
    for place, one in enumerate(points):
        if not _is_number(one) or not 0 <= one <= 10:
            raise DataError(f"importance[{place}] must be a number from 0 to 10, got {one!r:.60}")
    vectors = _embedded(embed, texts, memory)
    return memory + tuple(
        MemoryRecord(
            text=text,
            vector=tuple(map(float, vector)),
            created=float(now),
            read=float(now),
            importance=float(one),
        )
        for text, vector, one in zip(texts, vectors, points, strict=True)
    )


def recall(
    memory: tuple[MemoryRecord, ...],
    question: str,
    now: float,
    embed: Embed,
    count: int = 5,
    options: RecallOptions = RecallOptions(),
) -> tuple[tuple[Recalled, ...], tuple[MemoryRecord, ...]]:
    """Return the memories that a question brings to mind.

    Args:
      memory: all memories.
      question: what the agent thinks of.
      now: the time in hours, not before any memory.
      embed: vectors of texts, the function that the memories were made with.
      count: number of memories to return; all of them where there are fewer.
      options: weights and decay.

    Returns:
      The best memories, the best first and the earlier of equal ones first; and all memories, in
      which those that were returned were read now.

    Raises:
      ConfigError: a count below 1, a question that is no text, or a time before a memory.
      DataError: a vector of another width than those of the memories, or not finite.

    Source: Park et al. 2023, arXiv:2304.03442, section 4.1.

    Example:
      >>> embed = fit_tfidf(["a heist film", "rain in Paris"])
      >>> memory = remember((), ["a heist film", "rain in Paris"], [5, 5], 0.0, embed)
      >>> found, memory = recall(memory, "which film?", 24.0, embed, count=1)
      >>> found[0].record.text, [record.read for record in memory]
      ('a heist film', [24.0, 0.0])
    """
    if not isinstance(count, int) or count < 1:
        raise ConfigError(f"count must be a whole number of at least 1, got {count!r}")
    if not isinstance(question, str):
        raise ConfigError(f"the question must be a text, got {question!r:.60}")
    if not memory:
        return (), ()
    scores = recall_scores(memory, question, now, embed, options)
    order = sorted(range(len(memory)), key=lambda place: -scores[place])[:count]
    chosen = set(order)
    touched = tuple(
        dataclasses.replace(record, read=float(now)) if place in chosen else record
        for place, record in enumerate(memory)
    )
    return tuple(Recalled(memory[n], float(scores[n]), n) for n in order), touched


def recall_scores(
    memory: tuple[MemoryRecord, ...],
    question: str,
    now: float,
    embed: Embed,
    options: RecallOptions = RecallOptions(),
) -> np.ndarray:
    """Return the score of each memory, `[N]` float64.

    Each of the three parts is scaled to [0, 1] by its smallest and largest value. A part whose
    values are all equal is 0.5 for every memory, so it does not change the order.

    Args:
      memory: N memories.
      question: see `recall`.
      now: see `recall`.
      embed: see `recall`.
      options: see `recall`.

    Raises:
      ConfigError: a time before a memory.
      DataError: a vector of another width, or not finite.

    Example:
      >>> embed = lambda texts: np.ones((len(texts), 2))
      >>> memory = remember((), ["a", "b"], [2, 8], 0.0, embed)
      >>> recall_scores(memory, "c", 1.0, embed).tolist()
      [1.0, 2.0]
    """
    read = np.array([record.read for record in memory])
    _check_time(now)
    if now < read.max():
        raise ConfigError(
            f"now is {now} hours, but a memory was read at {read.max()}; give a time that is not "
            "before it"
        )
    (asked,) = _embedded(embed, [question], memory)
    # [N, D]
    vectors = np.array([record.vector for record in memory])
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(asked)
    relevance = np.divide(vectors @ asked, lengths, out=np.zeros(len(memory)), where=lengths > 0)
    importance = np.array([record.importance for record in memory]) / 10
    return (
        options.recency * _scaled(options.decay ** (now - read))
        + options.importance * _scaled(importance)
        + options.relevance * _scaled(relevance)
    )


def fit_tfidf(texts: Sequence[str]) -> Embed:
    """Return TF-IDF vectors as an embedding; words that are not in `texts` have no weight.

    Args:
      texts: where the words and their frequencies come from, such as all texts of a simulation.

    Returns:
      A function from N texts to vectors `[N, D]`, D being the number of words.

    Raises:
      ConfigError: one text in place of a list.
      DataError: texts without words.

    Example:
      >>> fit_tfidf(["a heist film", "rain in Paris"])(["film film", "snow"]).round(1).tolist()
      [[1.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0]]
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    if isinstance(texts, str):
        raise ConfigError(f"texts must be a list, got {texts!r:.60}; give [{texts!r:.20}]")
    vectorizer = TfidfVectorizer()
    try:
        vectorizer.fit(texts)
    except ValueError as error:
        first = f", such as {texts[0]!r:.60}" if len(texts) else ""
        raise DataError(
            f"there are no words to weigh in {len(texts)} texts{first}; a word has at least two "
            "letters or digits, so give texts with such words"
        ) from error
    return lambda asked: vectorizer.transform(asked).toarray()


def save_memory(path: str | os.PathLike[str], memory: Sequence[MemoryRecord]) -> None:
    """Write memories as JSON lines, the whole file or nothing.

    Raises:
      ResourceError: the file cannot be written.

    Example:
      >>> import tempfile
      >>> path = Path(tempfile.mkdtemp()) / "ann.jsonl"
      >>> memory = (MemoryRecord(text="Heat", vector=(1.0,), created=0.0, read=2.0),)
      >>> save_memory(path, memory)
      >>> load_memory(path) == memory
      True
    """
    lines = (json.dumps(dataclasses.asdict(record)) for record in memory)
    write_text(Path(path), "".join(f"{line}\n" for line in lines))


def load_memory(path: str | os.PathLike[str]) -> tuple[MemoryRecord, ...]:
    """Read memories that `save_memory` wrote.

    Raises:
      DataError: the file is missing or damaged, or a line is no memory; the message names the line.
    """
    path = Path(path)
    check_file(path)
    # A memory may be empty, and then its file is.
    if not path.stat().st_size:
        return ()
    names = [field.name for field in dataclasses.fields(MemoryRecord)]
    records: list[MemoryRecord] = []
    for line, record, bad in files.read_json_lines(path):
        try:
            if sorted(record) != sorted(names):
                raise DataError(
                    f"the keys are {files.listed(sorted(record))}, expected {', '.join(names)}"
                )
            made = MemoryRecord(**record)
            if records and len(made.vector) != len(records[0].vector):
                raise DataError(
                    f"'vector' has {len(made.vector)} numbers, but the first line has "
                    f"{len(records[0].vector)}"
                )
            records.append(made)
        except DataError as error:
            bad.add(line, str(error))
    return tuple(records)


def _embedded(embed: Embed, texts: Sequence[str], memory: Sequence[MemoryRecord]) -> np.ndarray:
    """Vectors of texts, of the width of those in the memory."""
    vectors = np.asarray(embed(texts), float)
    width: int | str = len(memory[0].vector) if memory else "width"
    wrong = vectors.ndim != 2 or len(vectors) != len(texts)
    if wrong or (memory and vectors.shape[1] != width):
        raise DataError(
            f"embed gave an array of shape {list(vectors.shape)} for {len(texts)} texts, expected "
            f"[{len(texts)}, {width}]; use the function that the memory was made with"
        )
    if not np.isfinite(vectors).all():
        raise DataError("embed gave a vector that is not finite; check its input and its weights")
    return vectors


def _check_time(now: float) -> None:
    if not isinstance(now, int | float | np.number) or not math.isfinite(now):
        raise ConfigError(f"now must be a finite number of hours, got {now!r:.60}")


def _scaled(values: np.ndarray) -> np.ndarray:
    low, high = values.min(), values.max()
    if low == high:
        return np.full(len(values), _EQUAL)
    return (values - low) / (high - low)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
