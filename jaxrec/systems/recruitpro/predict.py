"""What a trained network says about the rows of a task."""

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from jaxrec.objectives import viterbi
from jaxrec.systems.recruitpro.network import Network, task_of
from jaxrec.systems.recruitpro.tables import Rows


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Predictor:
    """The compiled functions of a network.

    Attributes:
      network: the module.
      batch_size: texts in each call.
    """

    network: Network
    batch_size: int

    @functools.cached_property
    def _texts(self) -> Any:
        network = self.network

        def scores(variables: Any, batch: Mapping[str, jax.Array]) -> jax.Array:
            task = task_of(batch)
            table = network.prompts(variables, task)
            states = network.states(variables, table, batch["tokens"], batch["sizes"])
            return network.logits(variables, network.read(states), task)

        return jax.jit(scores)

    @functools.cached_property
    def _chunks(self) -> Any:
        network = self.network

        def vectors(variables: Any, batch: Mapping[str, jax.Array]) -> jax.Array:
            table = network.prompts(variables, task_of(batch))
            return network.chunk_vectors(variables, table, batch)[0]

        return jax.jit(vectors)

    @functools.cached_property
    def _pairs(self) -> Any:
        network = self.network

        def scores(
            variables: Any, chunks: jax.Array, valid: jax.Array, task: jax.Array
        ) -> jax.Array:
            matched = network.match(variables, chunks, valid)
            return network.logits(variables, matched, task[0])[:, 0]

        return jax.jit(scores)

    @functools.cached_property
    def _words(self) -> Any:
        network = self.network

        def tags(variables: Any, batch: Mapping[str, jax.Array]) -> jax.Array:
            table = network.prompts(variables, task_of(batch))
            states = network.states(variables, table, batch["tokens"], batch["sizes"])
            emissions = network.emissions(variables, states, batch["first"])
            return viterbi(network.crf(variables), emissions, batch["present"])[0]

        return jax.jit(tags)

    def __call__(self, variables: Any, rows: Rows, task: int) -> np.ndarray:
        """Predict the rows of a task.

        Args:
          variables: of the network.
          rows: of the task.
          task: its number.

        Returns:
          Single texts: `[n, C]` outputs of the head. Pairs: `[n]` scores. Words: `[n, W]` numbers
          of tags, -1 where there is no word.
        """
        if rows.kind == "pair":
            return self._score_pairs(variables, rows, task)
        compute = self._words if rows.kind == "words" else self._texts
        names = ("tokens", "sizes", "first", "present")
        columns = {name: rows.columns[name] for name in names if name in rows.columns}
        found = [
            np.asarray(compute(variables, batch))[:count]
            for count, batch in self._in_order(columns, len(rows), task)
        ]
        return np.concatenate(found)

    def _score_pairs(self, variables: Any, rows: Rows, task: int) -> np.ndarray:
        """Read every document once, and then every pair."""
        names = ("tokens", "sizes", "second")
        documents = []
        for side in rows.sides:
            columns = {name: side[name] for name in names}
            found = [
                np.asarray(self._chunks(variables, batch))[:count]
                for count, batch in self._in_order(columns, len(side["sizes"]), task)
            ]
            documents.append(np.concatenate(found))
        columns = {
            "chunks": _joined(documents, rows.places),
            "valid": _joined([side["sizes"] > 0 for side in rows.sides], rows.places),
        }
        scores = [
            np.asarray(self._pairs(variables, batch["chunks"], batch["valid"], batch["task"]))[
                :count
            ]
            for count, batch in self._in_order(columns, len(rows), task)
        ]
        return np.concatenate(scores)

    def _in_order(
        self, columns: Mapping[str, np.ndarray], count: int, task: int
    ) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """Batches of one size, and how many of their rows are real."""
        for start in range(0, count, self.batch_size):
            real = min(self.batch_size, count - start)
            numbers = np.minimum(start + np.arange(self.batch_size), count - 1)
            batch = {name: values[numbers] for name, values in columns.items()}
            yield real, batch | {"task": np.full(self.batch_size, task, np.int32)}


def _joined(sides: list[np.ndarray], places: tuple[np.ndarray, ...]) -> np.ndarray:
    """The documents of both sides of each pair, one after the other: `[n, 2 K, ...]`."""
    return np.concatenate([s[p] for s, p in zip(sides, places, strict=True)], axis=1)
