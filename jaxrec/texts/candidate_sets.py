"""Candidate sets: a user's history, a few items to choose from, and the one that is right.

A candidate set is a `Datum` with "user", "history", "candidates" and "item", the target. Files of
candidate sets are JSON lines with the original IDs:

    {"user": "196", "history": ["242", "302"], "candidates": ["51", "346"], "target": "346"}
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.core import DataError, check_numbers, nearest, write_text
from jaxrec.data import ItemTable, read_json_rows
from jaxrec.eval import ranking_metrics, tied_blocks
from jaxrec.texts.datum import Datum
from jaxrec.texts.questions import Questions

_FIELDS = ("user", "history", "candidates", "target")


def check_candidate_sets(
    data: Sequence[Datum],
    candidates: int,
    num_items: int,
    *,
    what: str = "candidate set",
    ids: np.ndarray | None = None,
) -> None:
    """Check that every datum offers so many different items, the target among them.

    Args:
      data: candidate sets.
      candidates: A, number of items that each of them must offer.
      num_items: I, number of items of the catalogue.
      what: what messages call a datum.
      ids: what messages call the items; None for their numbers.

    Raises:
      DataError: no data; another number of candidates, two equal ones, or one that is no item; a
        target that is not among them; a history with a number that is no item, or with the target;
        or a datum that says the same as one before. The message names the datum.

    Example:
      >>> import numpy as np
      >>> from jaxrec.texts import Datum, check_candidate_sets
      >>> good = Datum(user=0, history=np.array([4]), candidates=np.array([1, 2]), item=2)
      >>> check_candidate_sets([good], candidates=2, num_items=5)
      >>> check_candidate_sets([good], candidates=3, num_items=5)  # doctest: +ELLIPSIS
      Traceback (most recent call last):
      jaxrec.core.errors.DataError: candidate set 0 has 2 candidates, and each must have 3; ...
    """
    if not data:
        raise DataError(f"there is no {what}; give at least one")
    names = np.arange(num_items) if ids is None else ids
    first: dict[tuple[int, int, bytes, frozenset[int]], int] = {}
    for number, datum in enumerate(data):
        where = f"{what} {number}"
        shown = np.zeros(0, int) if datum.candidates is None else np.asarray(datum.candidates)
        if shown.shape != (candidates,):
            raise DataError(
                f"{where} has {shown.size} candidates, and each must have {candidates}; add or "
                "remove some"
            )
        history = np.zeros(0, int) if datum.history is None else np.asarray(datum.history)
        check_numbers(shown, num_items, f"{where}, candidates", missing=False)
        check_numbers(history, num_items, f"{where}, history", missing=False)
        items, counts = np.unique(shown, return_counts=True)
        if (counts > 1).any():
            twice = names[items[counts.argmax()]]
            raise DataError(f"{where} offers item {twice} twice; leave one out")
        if datum.item not in shown:
            target = names[datum.item] if 0 <= datum.item < num_items else datum.item
            raise DataError(
                f"{where} has the target {target}, which is not among its candidates "
                f"{', '.join(map(str, names[shown]))}; add it"
            )
        if datum.item in history:
            raise DataError(
                f"{where} shows its target {names[datum.item]} in the history, which tells the "
                "answer; leave it out"
            )
        key = (datum.user, datum.item, history.astype(np.int64).tobytes(), frozenset(items))
        if key in first:
            raise DataError(
                f"{where} says the same as {first[key]}, so it would count twice; leave one out"
            )
        first[key] = number


def target_places(data: Sequence[Datum]) -> np.ndarray:
    """Return the place of each target among its candidates: `[N]`.

    Args:
      data: N valid candidate sets.

    Example:
      >>> import numpy as np
      >>> from jaxrec.texts import Datum
      >>> target_places([Datum(candidates=np.array([7, 3, 5]), item=5)]).tolist()
      [2]
    """
    asked = Questions(data=data, prompts=())
    return np.asarray((asked.candidates == asked.targets[:, None]).argmax(axis=1))


def candidate_metrics(
    scores: np.ndarray, data: Sequence[Datum], ks: Sequence[int] = (1, 3)
) -> dict[str, np.ndarray]:
    """Measure scores of candidates; metrics are averaged over the positions of tied candidates.

    Equal scores for all candidates of a set give the level of a random ranking exactly. This is
    how an answer that cannot be read counts.

    Args:
      scores: `[N, A]`, higher is better, in the order of the candidates.
      data: N valid candidate sets.
      ks: cut-offs.

    Returns:
      "hr@k", "ndcg@k" and "mrr@k" of each k, and "mrr": name to `[N]`.

    Raises:
      DataError: another shape, or a score that is no number.

    Example:
      >>> import numpy as np
      >>> from jaxrec.texts import Datum, candidate_metrics
      >>> one = Datum(candidates=np.array([7, 3, 5, 2, 9]), item=5)
      >>> metrics = candidate_metrics(np.zeros((1, 5)), [one])
      >>> round(float(metrics["ndcg@3"][0]), 4), round(float(metrics["mrr@3"][0]), 4)
      (0.4262, 0.3667)
    """
    scores = np.asarray(scores, np.float64)
    shape = Questions(data=data, prompts=()).candidates.shape
    if scores.shape != shape:
        raise DataError(f"scores have the shape {scores.shape}, and the candidates {shape}")
    if np.isnan(scores).any():
        row = int(np.argmax(np.isnan(scores).any(axis=1)))
        raise DataError(
            f"a score of candidate set {row} is no number; give all of its candidates the same "
            "score where an answer is missing"
        )
    # Ranks on the device would compare the scores in float32, and so tie near ones.
    ranks = np.stack([np.unique(row, return_inverse=True)[1] for row in scores])
    block = tied_blocks(ranks.astype(np.float32), target_places(data).astype(np.int32))
    return ranking_metrics(block, ks)


def shuffle_candidates(data: Sequence[Datum], seed: int) -> list[Datum]:
    """Offer the candidates in another order, which the seed and the place of a datum decide.

    Example:
      >>> import numpy as np
      >>> from jaxrec.texts import Datum, shuffle_candidates
      >>> one = Datum(candidates=np.array([7, 3, 5]), item=5)
      >>> sorted(shuffle_candidates([one], seed=1)[0].candidates.tolist())
      [3, 5, 7]
    """
    return [
        dataclasses.replace(
            datum,
            candidates=np.random.default_rng([seed, place]).permutation(
                np.asarray(datum.candidates)
            ),
        )
        for place, datum in enumerate(data)
    ]


def write_candidate_sets(
    path: Path, data: Sequence[Datum], items: ItemTable, user_ids: np.ndarray
) -> None:
    """Write candidate sets with the original IDs as JSON lines.

    Args:
      path: the file; what was there is replaced.
      data: valid candidate sets.
      items: the catalogue.
      user_ids: original IDs of the users.

    Raises:
      ResourceError: the file cannot be written.

    Example:
      >>> import tempfile
      >>> import numpy as np
      >>> from jaxrec.data import ItemTable
      >>> from jaxrec.texts import Datum, read_candidate_sets, write_candidate_sets
      >>> path = Path(tempfile.mkdtemp()) / "sets.jsonl"
      >>> items, users = ItemTable(np.array(["a", "b", "c"])), np.array(["ann"])
      >>> one = Datum(user=0, history=np.array([2]), candidates=np.array([0, 1]), item=1)
      >>> write_candidate_sets(path, [one], items, users)
      >>> print(path.read_text().strip())
      {"user": "ann", "history": ["c"], "candidates": ["a", "b"], "target": "b"}
      >>> read_candidate_sets(path, items, users, candidates=2)[0].item
      1
    """
    rows = []
    for datum in data:
        history = np.zeros(0, int) if datum.history is None else datum.history
        assert datum.candidates is not None
        rows.append(
            {
                "user": "" if datum.user < 0 else str(user_ids[datum.user]),
                "history": [str(items.ids[item]) for item in history],
                "candidates": [str(items.ids[item]) for item in datum.candidates],
                "target": str(items.ids[datum.item]),
            }
        )
    write_text(path, "".join(json.dumps(row) + "\n" for row in rows))


def read_candidate_sets(
    path: Path, items: ItemTable, user_ids: np.ndarray, candidates: int
) -> list[Datum]:
    """Read a file of candidate sets.

    Args:
      path: a JSON list, or JSON lines, of the records that the module shows. A record without
        "user", or with "", belongs to nobody known; numbers may stand for IDs.
      items: the catalogue.
      user_ids: original IDs of the users.
      candidates: number of candidates that each record must have.

    Raises:
      DataError: the file cannot be read, a field is missing or unknown, an item or a user is
        unknown, or a record is not valid (see `check_candidate_sets`). The message names the file
        and the record.
    """
    known_items = {str(name): number for number, name in enumerate(items.ids.tolist())}
    known_users = {str(name): number for number, name in enumerate(user_ids.tolist())}
    data = []
    for number, row in enumerate(read_json_rows(path, "candidate sets", _FIELDS)):
        where = f"{path}: candidate set {number}"
        for name in row:
            if name not in _FIELDS:
                raise DataError(
                    f"{where} has the field {name!r}{nearest(name, _FIELDS)}; fields: "
                    f"{', '.join(_FIELDS)}"
                )
        history, offered = (
            [_number(item, known_items, f"{where}, {field}") for item in _listed(row, field, where)]
            for field in ("history", "candidates")
        )
        if "target" not in row:
            raise DataError(f"{where} has no target; name one of its candidates")
        user = row.get("user", "")
        data.append(
            Datum(
                user=-1 if user == "" else _number(user, known_users, f"{where}, user"),
                history=np.array(history, np.int32),
                candidates=np.array(offered, np.int32),
                item=_number(row["target"], known_items, f"{where}, target"),
            )
        )
    check_candidate_sets(data, candidates, len(items), what=f"{path}: candidate set", ids=items.ids)
    return data


def _listed(row: dict[str, Any], field: str, where: str) -> list[Any]:
    value = row.get(field)
    if not isinstance(value, list):
        raise DataError(f"{where}: {field} must be a list of item IDs, got {value!r:.60}")
    return value


def _number(name: Any, known: dict[str, int], where: str) -> int:
    if isinstance(name, bool) or not isinstance(name, str | int) or str(name) not in known:
        hint = nearest(name, known) if isinstance(name, str) and len(known) < 10_000 else ""
        raise DataError(f"{where}: {name!r:.60} is not an ID of the data{hint}; correct it")
    return known[str(name)]
