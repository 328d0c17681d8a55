"""Tag plain texts with a trained tagger: spans with their probabilities."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.data import word_places
from jaxrec.objectives import crf_part_terms, viterbi
from jaxrec.systems.skills.data import spans_of_numbers
from jaxrec.systems.skills.network import Tagger, predict, score
from jaxrec.systems.skills.rows import Rows


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaggedSpan:
    """A span that a tagger found in a text.

    Attributes:
      kind: such as "skill".
      text: the words as they are written.
      start: place of its first character.
      end: place after its last character.
      probability: of exactly this span, by the model; a product of the words' without a CRF.
    """

    kind: str
    text: str
    start: int
    end: int
    probability: float


def predict_rows(
    tagger: Tagger, compute: Any, variables: Any, rows: Rows, batch_size: int
) -> np.ndarray:
    """The most probable tags of all rows, `[N, W, K]` int32; -1 where there is no word.

    Args:
      tagger: the module.
      compute: compiled `predict` of the tagger.
      variables: of the tagger.
      rows: the texts.
      batch_size: rows of full length in a call.
    """
    shape = (*rows.words.present.shape, tagger.kinds)
    tags = np.full(shape, -1, np.int32)
    for numbers, batch in rows.in_order(batch_size):
        found = np.asarray(compute(variables, batch))[: len(numbers)]
        width = min(found.shape[1], shape[1])
        tags[numbers, :width] = found[:, :width]
    return tags


def compiled_predict(tagger: Tagger) -> Any:
    """`predict` of a tagger, compiled once for each shape."""
    return jax.jit(lambda variables, batch: predict(tagger, variables, batch))


def tag_texts(
    tagger: Tagger,
    variables: Any,
    rows: Rows,
    texts: Sequence[str],
    kinds: Sequence[str],
    batch_size: int,
) -> list[list[TaggedSpan]]:
    """Tag texts.

    Args:
      tagger: the module.
      variables: of the tagger.
      rows: the words of the texts that have any, see `word_places`.
      texts: as many as the rows were made of.
      kinds: of spans.
      batch_size: rows of full length in a call.

    Returns:
      The spans of each text, by place.
    """
    tags, first, last = _tags_and_terms(tagger, variables, rows, batch_size)
    places = [word_places(text) for text in texts]
    found: list[list[TaggedSpan]] = [[] for _ in texts]
    for row, (number, offset) in enumerate(zip(rows.words.text, rows.words.offset, strict=True)):
        here = rows.words.present[row]
        for layer, kind in enumerate(kinds):
            for span in spans_of_numbers(tags[row, here, layer], kind)[0]:
                start = places[number][offset + span.start][0]
                end = places[number][offset + span.end - 1][1]
                log = first[row, span.start, layer] + last[row, span.end - 1, layer]
                found[number].append(
                    TaggedSpan(
                        kind=kind,
                        text=texts[number][start:end],
                        start=start,
                        end=end,
                        probability=float(np.exp(min(log, 0.0))),
                    )
                )
    return [sorted(spans, key=lambda s: (s.start, s.end, s.kind)) for spans in found]


def _tags_and_terms(
    tagger: Tagger, variables: Any, rows: Rows, batch_size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The most probable tags of all rows, as `predict_rows`, and their terms, `[N, W, K]` float32.

    The log-probability of a span is the first term of its first word plus the last term of its last
    word: that of its tags, which say where it begins and ends, so that no longer span counts. See
    `crf_part_terms`.
    """

    @jax.jit
    def compute(variables: Any, batch: Any) -> tuple[jax.Array, ...]:
        found = score(tagger, variables, batch)
        tags, _ = jax.vmap(viterbi, (0, 0, None))(found.crf, found.emissions, batch["present"])
        terms = jax.vmap(crf_part_terms, (0, 0, 0, None))(
            found.crf, found.emissions, tags, batch["present"]
        )
        return tuple(jnp.moveaxis(values, 0, 2) for values in (tags, *terms))

    shape = (*rows.words.present.shape, tagger.kinds)
    results = np.full(shape, -1, np.int32), np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for numbers, batch in rows.in_order(batch_size):
        for result, values in zip(results, compute(variables, batch), strict=True):
            width = min(values.shape[1], shape[1])
            result[numbers, :width] = np.asarray(values)[: len(numbers), :width]
    return results
