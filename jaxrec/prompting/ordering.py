"""In which order demonstrations stand in a prompt, and how many of them fit.

By default the most useful demonstration stands last, next to the query (Liu et al. 2022,
arXiv:2101.06804), because models are biased toward the end of a prompt (Zhao et al. 2021,
arXiv:2102.09690). "Ranked" demonstrations have the most useful one first.
"""

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from jaxrec.core import ConfigError
from jaxrec.prompting.demonstrations import Demonstration, Verbalizer
from jaxrec.prompting.language_model import LanguageModel

Order = Literal["ascending", "descending", "random"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Assembled:
    """A prompt and what is in it.

    Attributes:
      text: the prompt, which an answer follows.
      shown: numbers of the demonstrations in it, in their order in the prompt. They count the
        ranked demonstrations that were given.
      tokens: number of its tokens.
    """

    text: str
    shown: tuple[int, ...]
    tokens: int


def arrange(count: int, order: Order = "ascending", seed: int = 0) -> list[int]:
    """Return the places of ranked demonstrations in the order of a prompt.

    Args:
      count: k; number 0 is the most useful.
      order: "ascending" puts the most useful one last, next to the query; "descending" puts it
        first; "random" shuffles.
      seed: seed of the shuffle.

    Raises:
      ConfigError: an unknown order, or a count below 0.

    Example:
      >>> arrange(3), arrange(3, "descending")
      ([2, 1, 0], [0, 1, 2])
    """
    if count < 0:
        raise ConfigError(f"count must be at least 0, got {count}")
    if order not in get_args(Order):
        raise ConfigError(f"order must be one of {get_args(Order)}, got {order!r}")
    if order == "random":
        return np.random.default_rng(seed).permutation(count).tolist()
    return list(range(count)) if order == "descending" else list(range(count))[::-1]


def assemble(
    model: LanguageModel,
    verbalizer: Verbalizer,
    ranked: Sequence[Sequence[Demonstration]],
    queries: Sequence[str],
    *,
    room: int,
    budget: int | None = None,
    order: Order = "ascending",
    seed: int = 0,
) -> list[Assembled]:
    r"""Write the prompt of each query, with as many demonstrations as fit.

    A prompt that is too long loses whole demonstrations, the least useful first. Neither the
    instruction nor the query is ever cut.

    Args:
      model: counts the tokens.
      verbalizer: writes the task.
      ranked: demonstrations of each query, the most useful first.
      queries: B inputs.
      room: most tokens of an answer.
      budget: most tokens of a prompt with its answer; None for the model's context, and no limit if
        that is not known.
      order: of the demonstrations in the prompt; see `arrange`.
      seed: seed of a random order. The order depends on the seed and on the query's text alone.

    Returns:
      One prompt for each query.

    Raises:
      ConfigError: a query that does not fit even without demonstrations, a budget above the model's
        context, values out of range, or lists of different lengths.
      DataError: a query among its own demonstrations.

    Cost: one count of tokens, and one more for each demonstration that is dropped.

    Example:
      >>> from jaxrec.prompting import Demonstration, ScriptedModel, Verbalizer, assemble
      >>> ranked = [[Demonstration("near", "1"), Demonstration("far", "2")]]
      >>> f = Verbalizer(query="{input} ->", separator="\n")
      >>> assemble(ScriptedModel(), f, ranked, ["this"], room=1)[0].text
      'far -> 2\nnear -> 1\nthis ->'
      >>> assemble(ScriptedModel(), f, ranked, ["this"], room=1, budget=7)[0].text
      'near -> 1\nthis ->'
    """
    if len(ranked) != len(queries):
        raise ConfigError(
            f"{len(queries)} queries need {len(queries)} lists of demonstrations, got {len(ranked)}"
        )
    limit = _limit(model, room, budget)
    kept = [len(row) for row in ranked]
    found: list[Assembled | None] = [None] * len(queries)
    waiting = list(range(len(queries)))
    while waiting:
        drafts = {}
        for n in waiting:
            shown = tuple(arrange(kept[n], order, _own_seed(seed, queries[n])))
            text = verbalizer.prompt([ranked[n][place] for place in shown], queries[n])
            drafts[n] = (text, shown)
        counts = model.count_tokens([text for text, _ in drafts.values()])
        for (n, (text, shown)), tokens in zip(drafts.items(), counts, strict=True):
            if limit is None or tokens <= limit:
                found[n] = Assembled(text=text, shown=shown, tokens=tokens)
            elif not kept[n]:
                raise ConfigError(
                    f"query {n} has {tokens} tokens with its instruction and without any "
                    f"demonstration, and {limit} are left beside {room} tokens of an answer; "
                    "shorten it, raise the budget, or take a model with a longer context"
                )
            else:
                kept[n] -= 1
        waiting = [n for n in waiting if found[n] is None]
    return [prompt for prompt in found if prompt is not None]


def _limit(model: LanguageModel, room: int, budget: int | None) -> int | None:
    """Return the most tokens of a prompt."""
    if room < 1:
        raise ConfigError(f"room must be at least 1 token, got {room}")
    if budget is not None and budget <= room:
        raise ConfigError(f"budget must be above room, {room} tokens, got {budget}")
    if budget is not None and model.context is not None and budget > model.context:
        raise ConfigError(
            f"budget is {budget}, and the model {model.name} reads {model.context} tokens; lower it"
        )
    most = model.context if budget is None else budget
    return None if most is None else most - room


def _own_seed(seed: int, query: str) -> int:
    digest = hashlib.sha256(f"{seed}:{query}".encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big")
