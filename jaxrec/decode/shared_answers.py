"""Answers to questions that begin alike: the common beginning is read once.

    the history of a user   |  item 1? -> yes or no
                            |  item 2? -> yes or no
                            |  ...

Shapes: `N` questions, `B` questions of a call, `T` tokens.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxrec.core import ConfigError, count_done
from jaxrec.data import TokenRows
from jaxrec.decode.answers import answer_gaps
from jaxrec.decode.batching import bucket
from jaxrec.decode.continuations import Continuations, score_continuations
from jaxrec.decode.prefixes import read_prefix
from jaxrec.models import CausalLM
from jaxrec.peft import virtual_of

# Fewer questions than this are read whole.
_FEW = 4
# Fewest slots of a beginning.
_SHORTEST = 64


def shared_answer_gaps(
    model: CausalLM,
    params: Any,
    rows: TokenRows,
    groups: np.ndarray,
    answers: tuple[int, int],
    *,
    batch_size: int = 32,
) -> np.ndarray:
    """Return how much the model prefers the first answer to the second, `[N]` float32.

    It is what `answer_gaps` returns, for less work where many questions begin alike.

    Args:
      model: the decoder.
      params: its variables.
      rows: questions without virtual tokens; those of a tuned prefix or prompt are read first here.
      groups: `[N]` ints; questions with one number are those that begin alike.
      answers: what `answer_tokens` returned.
      batch_size: rows a call; the last call of a group is filled up.

    Raises:
      ConfigError: another number of groups than of questions.

    Cost: one pass over the beginning of each group, and one over the rest of each question.

    Example:
      >>> from jaxrec.testing.brute_force import make_case
      >>> case = make_case(0, sizes=(6,), share=1.0)
      >>> tokens = np.array([[3, 4, 2, 5], [3, 4, 5, 5]] * 3, np.int32)
      >>> rows = TokenRows(
      ...     tokens=tokens, valid=tokens > 0, weights=tokens > 0, answer=np.full(6, 3, np.int32)
      ... )
      >>> gaps = shared_answer_gaps(case.model, case.params, rows, np.zeros(6, int), (2, 3))
      >>> np.abs(gaps - answer_gaps(case.model, case.params, rows, (2, 3))).max() < 1e-5
      np.True_
    """
    if len(groups) != len(rows):
        raise ConfigError(
            f"{len(groups)} groups for {len(rows)} questions; give the group of each question"
        )
    gaps = np.zeros(len(rows), np.float32)
    _, group, counts = np.unique(groups, return_inverse=True, return_counts=True)
    few = counts[group] < _FEW
    if few.any():
        whole = _taken(rows, few).with_virtual(model.config.vocab_size, virtual_of(params).read)
        gaps[few] = answer_gaps(model, params, whole, answers, batch_size=batch_size)
    for number in np.flatnonzero(counts >= _FEW).tolist():
        places = np.flatnonzero(group == number)
        own = _taken(rows, places)
        gaps[places] = _group_gaps(model, params, own, answers, batch_size)
    return gaps


def _group_gaps(
    model: CausalLM, params: Any, rows: TokenRows, answers: tuple[int, int], batch_size: int
) -> np.ndarray:
    # The last token of each question is read behind the beginning, because its state is needed.
    most = int(rows.answer.min()) - 1
    alike = (rows.tokens[:, :most] == rows.tokens[0, :most]).all(axis=0)
    length = most if alike.all() else int(alike.argmin())
    virtual = virtual_of(params).read
    capacity = bucket(length + virtual, _SHORTEST)
    beginning = np.zeros(capacity - virtual, np.int32)
    beginning[:length] = rows.tokens[0, :length]
    valid = np.arange(len(beginning)) < length
    shared = read_prefix(model, params, jnp.asarray(beginning), jnp.asarray(valid), capacity)
    parts = []
    for first in range(0, len(rows), batch_size):
        last = min(first + batch_size, len(rows))
        rest = [rows.tokens[n, length : rows.answer[n]].tolist() for n in range(first, last)]
        both = [[[answers[0]], [answers[1]]]] * len(rest)
        batch = Continuations.build(rest, both, rows=batch_size)
        logprobs = np.asarray(score_continuations(model, params, batch, shared)[0])[: len(rest)]
        parts.append(logprobs[:, 0] - logprobs[:, 1])
        count_done(len(rest))
    return np.concatenate(parts)


def _taken(rows: TokenRows, places: np.ndarray) -> TokenRows:
    names = ("tokens", "valid", "weights", "answer")
    return TokenRows(**{name: getattr(rows, name)[places] for name in names})
