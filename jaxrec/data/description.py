"""The facts about a data set that a reader needs before any result."""

from typing import Any

import numpy as np

from jaxrec.data.interactions import Interactions
from jaxrec.data.repeats import duplicate_rows, repeated_items, repeated_targets
from jaxrec.data.splits import TIE_RULE, tie_share


def describe(interactions: Interactions) -> dict[str, Any]:
    """Return name, source, sizes, density, histories, times, ties, repeats and fields, JSON-able.

    Example:
      >>> data = Interactions.from_columns(user=[1, 1, 2], item=["a", "b", "a"])
      >>> facts = describe(data)
      >>> facts["users"], facts["items"], facts["density"], facts["history_longest"]
      (2, 2, 0.75, 2)
    """
    lengths = np.diff(interactions.offsets)
    ties = tie_share(interactions)
    facts: dict[str, Any] = {
        "name": interactions.name,
        "source": interactions.source,
        "users": interactions.num_users,
        "items": interactions.num_items,
        "interactions": len(interactions),
        "density": len(interactions) / max(interactions.num_users * interactions.num_items, 1),
        "history_median": float(np.median(lengths)) if len(lengths) else 0.0,
        "history_shortest": int(lengths.min()) if len(lengths) else 0,
        "history_longest": int(lengths.max(initial=0)),
        "rated": bool(np.isfinite(interactions.rating).any()),
        "tie_rule": TIE_RULE,
        "item_fields": list(interactions.items.fields),
        "user_fields": list(interactions.user_fields),
        "fingerprint": interactions.fingerprint(),
        "time_unit": interactions.time_unit,
        "users_with_fewer_than_3": int((lengths < 3).sum()),
        "duplicate_rows": int(duplicate_rows(interactions).sum()),
        "repeated_interactions": int(repeated_items(interactions).sum()),
        "users_with_repeated_target": repeated_targets(interactions),
        "notes": list(interactions.notes),
    }
    if interactions.time_unit == "s" and len(interactions):
        facts["first_day"] = _day(interactions.time.min())
        facts["last_day"] = _day(interactions.time.max())
        facts["tied_neighbours"] = ties.neighbours
        facts["users_with_tied_last_two"] = ties.last_two
    return facts


def _day(seconds: np.integer) -> str:
    # NumPy knows every year, and Python only those from 1 to 9999.
    return str(np.datetime64(int(seconds), "s").astype("datetime64[D]"))
