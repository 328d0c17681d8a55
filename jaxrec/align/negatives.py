"""Items that a preference rejects: from the catalogue, or from a model's own beams.

Negatives from the catalogue are drawn on the host with the batch. Those from the beams are what the
model would have recommended instead of the target, so they are harder and say more (Chen et al.
2024, section 5.3).

Shapes: `B` users, `N` negatives of a user, `I` items.
"""

from typing import Any, Literal

import jax
import numpy as np

from jaxrec.core import ConfigError
from jaxrec.decode import Catalogue, Prompts, Request, SearchOptions, beam_search
from jaxrec.models import CausalLM

Negatives = Literal["uniform", "popularity", "beams"]


def draw_negatives(
    rng: np.random.Generator, count: int, num_items: int, barred: np.ndarray, weights: Any = None
) -> np.ndarray:
    """Draw different items from the catalogue for one user, `[N]` int32.

    Args:
      rng: source of the draws.
      count: N.
      num_items: I.
      barred: items that are not drawn: the target, and the history where seen items are left out.
      weights: `[I]` such as training counts, to which the probability of an item is proportional
        with 1 added; None draws all items with the same probability.

    Returns:
      N items, -1 in the last places if fewer are left.

    Example:
      >>> rng = np.random.default_rng(0)
      >>> sorted(draw_negatives(rng, 3, 4, np.array([2])).tolist())
      [0, 1, 3]
    """
    # The largest keys of independent draws are a sample without replacement: Gumbel-top-k.
    keys = rng.gumbel(size=num_items)
    if weights is not None:
        keys = keys + np.log1p(weights)
    keys[barred[barred >= 0]] = -np.inf
    kept = min(count, num_items)
    best = np.argpartition(-keys, kept - 1)[:kept]
    best = best[np.argsort(-keys[best])]
    drawn = np.full(count, -1, np.int32)
    drawn[:kept] = np.where(np.isfinite(keys[best]), best, -1)
    return drawn


def beam_negatives(
    model: CausalLM,
    params: Any,
    catalogue: Catalogue,
    prompts: Prompts,
    excluded: jax.Array,
    *,
    count: int,
) -> jax.Array:
    """Return the best items of a model that no user excludes, `[B, N]` int32.

    Args:
      model: the decoder.
      params: its variables.
      catalogue: what can be generated.
      prompts: `[B, S]` histories as tokens.
      excluded: `[B, E]` int32, the target and the items that are not recommended, padded with -1.
      count: N.

    Returns:
      The items, best first; -1 in the last places where fewer are left.

    Example:
      >>> from jaxrec.testing.brute_force import make_case
      >>> case = make_case(0, sizes=(6,), share=1.0)
      >>> out = np.array([[0, 1, 2, 3]] * 3)
      >>> given = (case.model, case.params, case.catalogue, case.prompts, out)
      >>> sorted(beam_negatives(*given, count=3)[0].tolist())
      [-1, 4, 5]
    """
    if count > catalogue.index.num_items:
        raise ConfigError(
            f"{count} negatives cannot be found among {catalogue.index.num_items} items; lower "
            "align.negatives"
        )
    options = SearchOptions(beams=count)
    found = beam_search(model, params, catalogue, prompts, options, Request(excluded=excluded))
    return found.items
