"""How legal a P5 run's answers are, with the trie and without: one table of all tasks.

With the trie an answer is always one that the question allows, so compliance is 1 and hallucination
0 by construction. The free rows show what the model knows of that by itself. A trie hides a bad
model: these rates say nothing of whether an answer is right, which is the business of the other
tables.
"""

from collections.abc import Sequence

import numpy as np

from jaxrec.core import check_numbers
from jaxrec.data import ratings
from jaxrec.eval import list_rates, parse_ratings
from jaxrec.systems.p5.questions import options_of
from jaxrec.systems.p5.tested import Tested
from jaxrec.texts import (
    CatalogueItem,
    Choice,
    FreeText,
    OneOfCandidates,
    PromptData,
    Questions,
    Rating,
    TextTask,
)

Rows = dict[str, dict[str, float]]
# Tokens of a rating or of an answer such as "dislike" that the model writes.
ANSWER_TOKENS = 8


def answer_rates(
    tested: Tested, task: TextTask[PromptData], questions: Questions, free: np.ndarray | None
) -> Rows:
    """The rates of a task by the way its answers are decoded: "trie" and "free".

    Args:
      tested: the run.
      task: one of its tasks.
      questions: about test users or rows.
      free: the items of a beam search over the whole vocabulary, `[N, K]`, as
        `Prompted.recommend_freely` returns them; None for a task whose answer is no item.

    Returns:
      The rates of `eval.list_rates` for items. For other answers "compliance" is the share of the
      texts that are an answer, and for a choice "accuracy" counts other texts as wrong. No rows for
      free text, which may be anything.
    """
    if isinstance(task.answer, (CatalogueItem, OneOfCandidates)):
        assert free is not None
        items = task.answer.answer(tested.prompted, questions, options_of(tested.config))
        return item_rates(task, questions, items, free, tested.prompted.num_items)
    if isinstance(task.answer, FreeText) and task.answer.parse is None:
        return {}
    written = [text.strip() for text in tested.prompted.write(questions.prompts, ANSWER_TOKENS)]
    if isinstance(task.answer, Choice):
        return {"free": choice_rates(written, task.answer.texts, questions.answers)}
    if isinstance(task.answer, Rating):
        return {"free": {"compliance": float(np.mean([t in ratings.TEXTS for t in written]))}}
    return {"free": {"compliance": float(parse_ratings(written, 0.0).parsed.mean())}}


def item_rates(
    task: TextTask[PromptData],
    questions: Questions,
    items: np.ndarray,
    free: np.ndarray,
    num_items: int,
) -> Rows:
    """The rates of lists that a search over the trie found, and of freely written ones.

    Args:
      task: its kind of answer says which items a question allows.
      questions: N questions.
      items: `[N, K]` items of the search; -1 in places that no item was left for.
      free: `[N, K]` items that were written; -1 for a text that is no item.
      num_items: I.

    Raises:
      DataError: the search returned an unknown item.
    """
    check_numbers(items, num_items, "items of a search")
    chosen: Sequence[np.ndarray] | None = None
    if isinstance(task.answer, OneOfCandidates):
        chosen = list(questions.candidates)
    return {
        "trie": list_rates(items, questions.seen, chosen, written=items >= 0),
        "free": list_rates(free, questions.seen, chosen),
    }


def choice_rates(
    written: Sequence[str], texts: Sequence[str], answers: np.ndarray
) -> dict[str, float]:
    """Share of texts that are one of the answers, and that are the right one.

    Args:
      written: N texts.
      texts: the answers.
      answers: `[N]` numbers of the right answers.

    Example:
      >>> import numpy as np
      >>> choice_rates(["yes", "maybe"], ("yes", "no"), np.array([0, 1]))
      {'compliance': 0.5, 'accuracy': 0.5}
    """
    right = [text == texts[answer] for text, answer in zip(written, answers.tolist(), strict=True)]
    return {
        "compliance": float(np.mean([text in texts for text in written])),
        "accuracy": float(np.mean(right)),
    }
