"""T5's span corruption: removed spans become sentinels, and the targets spell them out.

    text     a b c d e f g h          c d and h are removed
    inputs   a b <0> e f g <1> end
    targets  <0> c d <1> h end

As in T5's code, and unlike the figure of the paper, no sentinel closes the targets: there is one
for each part that stays, and a mask that is not rolled ends with a removed one.
"""

import numpy as np

from jaxrec.core import ConfigError


def corrupt_spans(
    tokens: np.ndarray, mask: np.ndarray, sentinels: np.ndarray, end: int
) -> tuple[np.ndarray, np.ndarray]:
    """Split a text into inputs and targets.

    Args:
      tokens: `[n]` int32.
      mask: `[n]` bool, True for removed tokens.
      sentinels: `[K]` int32, in the order in which spans use them.
      end: number of the token that ends inputs and targets.

    Returns:
      Inputs and targets, int32.

    Raises:
      ConfigError: more spans than sentinels.

    Example:
      >>> mask = np.array([0, 0, 1, 1, 0, 1], bool)
      >>> inputs, targets = corrupt_spans(np.arange(10, 16), mask, np.array([99, 98]), 1)
      >>> inputs.tolist(), targets.tolist()
      ([10, 11, 99, 14, 98, 1], [99, 12, 13, 98, 15, 1])
    """
    inputs = _replaced(tokens, mask, sentinels)
    targets = _replaced(tokens, ~mask, sentinels)
    return np.append(inputs, np.int32(end)), np.append(targets, np.int32(end))


def _replaced(tokens: np.ndarray, mask: np.ndarray, sentinels: np.ndarray) -> np.ndarray:
    """Replace each run of masked tokens by one sentinel."""
    first = mask & ~np.concatenate([[False], mask[:-1]])
    number = np.cumsum(first) - 1
    if len(number) and number[-1] >= len(sentinels):
        raise ConfigError(
            f"a text of {len(tokens)} tokens has {number[-1] + 1} spans, and there are only "
            f"{len(sentinels)} sentinels; use shorter texts, longer spans or a lower rate"
        )
    marked = np.where(first, sentinels[np.maximum(number, 0)], tokens)
    return marked[~mask | first].astype(np.int32)


def restore_spans(
    inputs: np.ndarray, targets: np.ndarray, sentinels: np.ndarray, end: int
) -> np.ndarray:
    """Return the text that inputs and targets were made of.

    Args:
      inputs: int32, with its end or without.
      targets: int32, with its end or without.
      sentinels: `[K]` int32; the text itself holds none of them.
      end: number of the token that ends both.

    Example:
      >>> restore_spans([10, 11, 99, 14, 98, 1], [99, 12, 13, 98, 15, 1], [99, 98], 1).tolist()
      [10, 11, 12, 13, 14, 15]
    """
    parts = [_without_end(np.asarray(part, np.int32), end) for part in (inputs, targets)]
    marks = [np.isin(part, sentinels) for part in parts]
    # A rolled mask may begin with a removed token; its inputs then begin with a sentinel.
    noise_first = bool(len(marks[0]) and marks[0][0])
    places = [np.cumsum(mark) for mark in marks]
    # The chunk after k sentinels of the part that begins the text comes before the one after k + 1
    # sentinels of the other part.
    order = [
        2 * place - (1 if late else 0)
        for place, late in zip(places, (noise_first, not noise_first), strict=True)
    ]
    kept = ~np.concatenate(marks)
    rows = np.argsort(np.concatenate(order)[kept], kind="stable")
    return np.concatenate(parts)[kept][rows]


def _without_end(part: np.ndarray, end: int) -> np.ndarray:
    return part[:-1] if len(part) and part[-1] == end else part
