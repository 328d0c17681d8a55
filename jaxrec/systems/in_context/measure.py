"""What a model answers with demonstrations of one selection, and which demonstration it prefers."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from jaxrec.prompting import (
    Demonstration,
    LanguageModel,
    Order,
    assemble,
    gains,
    random_scores,
    score_options,
    select,
    tfidf_scores,
)
from jaxrec.systems.in_context.tasks import VERBALIZER, Question, Words

Selection = Literal["random", "nearest"]


def answered(
    model: LanguageModel,
    words: Words,
    questions: Sequence[Question],
    count: int,
    selection: Selection,
    order: Order = "ascending",
    *,
    seed: int = 0,
) -> np.ndarray:
    """Answer questions by the likeliest label, and say which answers are right.

    Args:
      model: answers.
      words: whose labels are the options.
      questions: N queries, each with the pool of its task.
      count: k, number of demonstrations.
      selection: "nearest" takes neighbours by TF-IDF.
      order: of the demonstrations in the prompt.
      seed: of random selections and orders.

    Returns:
      `[N]` float64 of 0 and 1.
    """
    ranked: list[list[Demonstration]] = []
    for question in questions:
        if not count:
            ranked.append([])
            continue
        inputs = [shown.input for shown in question.pool]
        score = random_scores(inputs, seed) if selection == "random" else tfidf_scores(inputs)
        (chosen,) = select(question.pool, score, [question.query.input], count)
        ranked.append([question.pool[number] for number in chosen])
    queries = [question.query.input for question in questions]
    options = [VERBALIZER.continuation(label) for label in words.labels]
    room = max(model.count_tokens(options))
    prompts = assemble(model, VERBALIZER, ranked, queries, room=room, order=order, seed=seed)
    best = score_options(model, [prompt.text for prompt in prompts], options).argmax(axis=1)
    return np.array(
        [
            words.labels[place] == question.query.answer
            for place, question in zip(best, questions, strict=True)
        ],
        np.float64,
    )


def found_planted(model: LanguageModel, questions: Sequence[Question]) -> np.ndarray:
    """Tell for which questions the planted candidate has the highest gain: `[N]` of 0 and 1."""
    found = gains(
        model,
        VERBALIZER,
        [question.candidates for question in questions],
        [question.query for question in questions],
    )
    return np.array(
        [
            values.argmax() == question.planted
            for values, question in zip(found, questions, strict=True)
        ],
        np.float64,
    )
