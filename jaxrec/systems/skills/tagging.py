"""Tag plain texts with a trained tagger: spans with their probabilities."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.data import word_places
from jaxrec.objectives import partial_crf_loss
from jaxrec.systems.skills.data import TAGS, spans_of_numbers
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
      rows: the words of the texts that have any, see `words_of_text`.
      texts: as many as the rows were made of.
      kinds: of spans.
      batch_size: rows of full length in a call.

    Returns:
      The spans of each text, by place.
    """
    tags = predict_rows(tagger, compiled_predict(tagger), variables, rows, batch_size)
    chances = _span_chances(tagger, variables, rows, tags, batch_size)
    found = []
    for text, numbers, logs in zip(
        texts, rows.words.collect(tags), rows.words.collect(chances), strict=True
    ):
        places = word_places(text)
        spans = []
        for layer, kind in enumerate(kinds):
            for span in spans_of_numbers(numbers[:, layer], kind)[0]:
                start, end = places[span.start][0], places[span.end - 1][1]
                spans.append(
                    TaggedSpan(
                        kind=kind,
                        text=text[start:end],
                        start=start,
                        end=end,
                        probability=float(np.exp(logs[span.start, layer])),
                    )
                )
        found.append(sorted(spans, key=lambda s: (s.start, s.end, s.kind)))
    return found


def _span_chances(
    tagger: Tagger, variables: Any, rows: Rows, tags: np.ndarray, batch_size: int
) -> np.ndarray:
    """Ln P of the span that begins at each word, `[N, W, K]` float32; 0 where none begins.

    P(span) sums the probabilities of all sequences that have the span's tags: these say where it
    begins and ends, so that no longer span counts.
    """

    @jax.jit
    def compute(variables: Any, batch: Any, allowed: jax.Array) -> jax.Array:
        found = score(tagger, variables, batch)
        losses = jax.vmap(partial_crf_loss, in_axes=(0, 0, 0, None))(
            found.crf, found.emissions, jnp.moveaxis(allowed, 2, 0), batch["present"]
        )
        return -losses.T

    chances = np.zeros(tags.shape, np.float32)
    for numbers, batch in rows.in_order(batch_size):
        spans = {
            (row, layer): spans_of_numbers(tags[number, rows.words.present[number], layer], "")[0]
            for row, number in enumerate(numbers.tolist())
            for layer in range(tagger.kinds)
        }
        for turn in range(max((len(found) for found in spans.values()), default=0)):
            allowed = np.ones((*batch["present"].shape, tagger.kinds, len(TAGS)), bool)
            for (row, layer), found in spans.items():
                if turn < len(found):
                    span = found[turn]
                    own = tags[numbers[row], span.start : span.end, layer]
                    allowed[row, span.start : span.end, layer] = TAGS.allowed(own)
            logs = np.asarray(compute(variables, batch, allowed))
            for (row, layer), found in spans.items():
                if turn < len(found):
                    chances[numbers[row], found[turn].start, layer] = logs[row, layer]
    return chances
