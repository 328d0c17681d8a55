"""Tasks as arrays of tokens, from which batches are taken.

Three kinds of rows cover all tasks: single texts with a label or a number, pairs of a resume and a
job, and words with tags. A ranking is trained as pairs of a person with the right job or another
candidate, and measured by the scores of all candidates.

Shapes: `n` rows, `M` documents, `T` tokens, `K` chunks, `W` words.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from jaxrec.core import DataError
from jaxrec.data import TagSet
from jaxrec.data.corpora import encode_documents
from jaxrec.data.recruitment import Task, TaskRows
from jaxrec.systems.recruitpro.config import InputConfig
from jaxrec.systems.recruitpro.prompts import Layout
from jaxrec.systems.recruitpro.skills import SkillSentences

Kind = Literal["text", "pair", "words"]
TagTable = TagSet
_KINDS: dict[str, Kind] = {
    "classification": "text",
    "regression": "text",
    "matching": "pair",
    "ranking": "pair",
    "tagging": "words",
}
Columns = Mapping[str, np.ndarray]


def kind_of(task: Task) -> Kind:
    """Which kind of rows a task has.

    Example:
      >>> empty = TaskRows()
      >>> kind_of(Task(name="x", kind="ranking", train=empty, valid=empty, test=empty))
      'pair'
    """
    return _KINDS[task.kind]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Rows:
    """The rows of a part of a task.

    Attributes:
      kind: of the task.
      labels: `[n]` int32, what batches are balanced by and what a contrast tells apart.
      columns: arrays `[n, ...]` by name, which go into batches as they are.
      sides: of pairs, the documents of both sides: arrays `[M, ...]` by name.
      places: of pairs, `[n]` int32 numbers of the documents on both sides.
      candidates: C of a ranking, whose rows are its candidates, person by person; 0 for others.
      cut: number of texts of which the rows do not hold all tokens, or words.
    """

    kind: Kind
    labels: np.ndarray
    columns: Columns
    sides: tuple[Columns, ...] = ()
    places: tuple[np.ndarray, ...] = ()
    candidates: int = 0
    cut: int = 0

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, numbers: np.ndarray, task: int) -> dict[str, np.ndarray]:
        """The batch of some rows.

        Args:
          numbers: `[B]` of the rows.
          task: number of the task, which every row carries.

        Returns:
          Arrays `[B, ...]`. Pairs have the chunks of both sides one after the other, `[B, 2 K, T]`.
        """
        batch = {"task": np.full(len(numbers), task, np.int32), "labels": self.labels[numbers]}
        batch |= {name: values[numbers] for name, values in self.columns.items()}
        for name in self.sides[0] if self.sides else ():
            both = zip(self.sides, self.places, strict=True)
            parts = [side[name][place[numbers]] for side, place in both]
            batch[name] = np.concatenate(parts, axis=1)
        return batch

    def first(self, count: int) -> "Rows":
        """The first rows; of a ranking, of the first people. 0 takes all."""
        size = count * max(self.candidates, 1)
        if not count or size >= len(self):
            return self
        return dataclasses.replace(
            self,
            labels=self.labels[:size],
            columns={name: values[:size] for name, values in self.columns.items()},
            places=tuple(place[:size] for place in self.places),
        )


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Encoding:
    """How texts become rows.

    Attributes:
      tokenizer: of transformers.
      input: lengths.
      layout: tokens around a text.
      skills: the skill sentences of texts.
      bins: number of quantiles that are the labels of a number.
    """

    tokenizer: Any
    input: InputConfig
    layout: Layout
    skills: SkillSentences
    bins: int

    def table(self, task: Task) -> dict[str, Rows]:
        """The rows of a task by part: "train", "valid" and "test".

        Raises:
          DataError: a part without rows, or a text without words.
        """
        parts = {"train": task.train, "valid": task.valid, "test": task.test}
        edges = _edges(task, self.bins)
        found = {}
        for name, rows in parts.items():
            if not len(rows):
                raise DataError(
                    f"the task {task.name} has no rows in its part {name}; give more records, or "
                    "leave the task out of --tasks"
                )
            if kind_of(task) == "text":
                found[name] = self._texts(task, rows, edges)
            elif kind_of(task) == "pair":
                found[name] = self._pairs(task, rows)
            else:
                found[name] = self._words(rows, tag_table(task))
        return found

    def _texts(self, task: Task, rows: TaskRows, edges: np.ndarray) -> Rows:
        tokens = self._tokens(task.name, rows.texts)
        most = self.input.text_tokens
        filled, sizes = self.layout.fill(tokens, most)
        labels, values = rows.labels, np.zeros(len(rows), np.float32)
        if task.kind == "regression":
            values = np.asarray(rows.values, np.float32)
            labels = np.searchsorted(edges, values)
        return Rows(
            kind="text",
            labels=np.asarray(labels, np.int32),
            columns={"tokens": filled, "sizes": sizes, "values": values}
            | self._sentences(rows.texts),
            cut=sum(len(text) > most for text in tokens),
        )

    def _pairs(self, task: Task, rows: TaskRows) -> Rows:
        people, jobs = list(dict.fromkeys(rows.texts)), list(dict.fromkeys(rows.jobs))
        person_of = {text: place for place, text in enumerate(people)}
        job_of = {text: place for place, text in enumerate(jobs)}
        left = np.array([person_of[text] for text in rows.texts], np.int32)
        right = np.array([job_of[text] for text in rows.jobs], np.int32)
        labels, candidates = np.asarray(rows.labels, np.int32), 0
        if task.kind == "ranking":
            candidates = rows.candidates.shape[1]
            left = np.repeat(left, candidates)
            right = right[rows.candidates.reshape(-1)]
            labels = (np.arange(candidates) == rows.relevant[:, None]).astype(np.int32).reshape(-1)
        sides, cut = [], 0
        for number, texts in enumerate((people, jobs)):
            columns, lost = self._documents(task.name, texts, number == 1)
            sides.append(columns)
            cut += lost
        return Rows(
            kind="pair",
            labels=labels,
            columns={},
            sides=tuple(sides),
            places=(left, right),
            candidates=candidates,
            cut=cut,
        )

    def _documents(
        self, name: str, texts: Sequence[str], second: bool
    ) -> tuple[dict[str, np.ndarray], int]:
        """Chunks of documents, and how many documents have more tokens than chunks hold."""
        c = self.input
        tokens = self._tokens(name, texts)
        pieces = [
            text[k * c.chunk_tokens : (k + 1) * c.chunk_tokens]
            for text in tokens
            for k in range(c.chunks)
        ]
        filled, sizes = self.layout.fill(pieces, c.chunk_tokens)
        # A chunk without tokens is no chunk.
        sizes = np.where([bool(piece) for piece in pieces], sizes, 0).astype(np.int32)
        shape = (len(texts), c.chunks)
        columns = {
            "tokens": filled.reshape(*shape, -1),
            "sizes": sizes.reshape(shape),
            "second": np.full(shape, second),
        }
        columns |= {name: values[:, None] for name, values in self._sentences(texts).items()}
        return columns, sum(len(text) > c.chunks * c.chunk_tokens for text in tokens)

    def _words(self, rows: TaskRows, tags: TagSet) -> Rows:
        """Rows of words; the state of a word is that of its first token."""
        most = self.input.text_tokens
        different = list(dict.fromkeys(word for words in rows.words for word in words))
        # A word is read as it is in the middle of a text.
        encoded = encode_documents(self.tokenizer, [f" {word}" for word in different])
        pieces = {w: t or [self.layout.end] for w, t in zip(different, encoded, strict=True)}
        tokens, first, cut = [], [], 0
        for words in rows.words:
            flat: list[int] = []
            starts: list[int] = []
            for word in words:
                if len(flat) + len(pieces[word]) > most:
                    cut += 1
                    break
                starts.append(len(self.layout.before) + len(flat))
                flat += pieces[word]
            tokens.append(flat)
            first.append(starts)
        filled, sizes = self.layout.fill(tokens, most)
        width = most
        places, present = np.zeros((len(rows), width), np.int32), np.zeros((len(rows), width), bool)
        numbers = np.zeros((len(rows), width), np.int32)
        for row, starts in enumerate(first):
            places[row, : len(starts)] = starts
            present[row, : len(starts)] = True
            own = tags.numbers(rows.tags[row])[: len(starts)]
            if len(own) and not tags.legal[2][own[-1]]:
                own = _closed(tags, own)
            numbers[row, : len(starts)] = own
        return Rows(
            kind="words",
            labels=np.zeros(len(rows), np.int32),
            columns={
                "tokens": filled,
                "sizes": sizes,
                "first": places,
                "present": present,
                "tags": numbers,
            },
            cut=cut,
        )

    def _sentences(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        """Rows of the skill sentences; nothing if there are none."""
        if not self.skills.active:
            return {}
        sentences = self.skills.of(texts)
        found = encode_documents(self.tokenizer, sentences)
        tokens, sizes = self.layout.fill(found, self.input.skill_tokens)
        # A text without skills has no sentence.
        sizes = np.where([bool(own) for own in found], sizes, 0).astype(np.int32)
        return {"skill_tokens": tokens, "skill_sizes": sizes}

    def _tokens(self, name: str, texts: Sequence[str]) -> list[list[int]]:
        tokens = encode_documents(self.tokenizer, texts)
        for number, text in enumerate(tokens):
            if not text:
                raise DataError(
                    f"the task {name}: text {number} is empty ({texts[number]!r:.40}); leave the "
                    "record out"
                )
        return tokens


def tag_table(task: Task) -> TagSet:
    """The tags of a tagging task, of the kinds that its training rows have."""
    names = dict.fromkeys(tag for tags in task.train.tags for tag in tags)
    return TagSet(tuple(sorted({name[2:] for name in names if name[1:2] == "-"})))


def _edges(task: Task, bins: int) -> np.ndarray:
    """The edges between the quantiles of a regression's training values."""
    if task.kind != "regression":
        return np.zeros(0)
    return np.quantile(task.train.values, np.arange(1, bins) / bins)


def _closed(tags: TagSet, numbers: np.ndarray) -> np.ndarray:
    """The tags of a row that is cut inside a span, which becomes outside."""
    numbers = numbers.copy()
    for place in range(len(numbers) - 1, -1, -1):
        begins = tags.names[numbers[place]].startswith("B")
        numbers[place] = 0
        if begins:
            break
    return numbers
