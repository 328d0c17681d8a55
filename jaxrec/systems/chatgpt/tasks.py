"""The five tasks as records: rating, sequential in three forms, direct, explanation, summary.

Each record says what a datum is, how it is written, what an answer is, and what measures it. The
same records serve any `LanguageModel`. Direct recommendation differs from the sequential choice in
that the prompt hides the order of the history.
"""

import dataclasses
from collections.abc import Mapping

from jaxrec.eval import parse_ratings
from jaxrec.systems.chatgpt.data import ChatData, render_chat
from jaxrec.systems.chatgpt.wordings import WORDINGS, Wording
from jaxrec.texts import (
    AnswerKind,
    Asked,
    CatalogueItem,
    Choice,
    ChoiceMetrics,
    FreeText,
    ListMetrics,
    Metric,
    OneOf,
    OneOfCandidates,
    Prefixes,
    RatedRows,
    RatingErrors,
    Source,
    TextOverlap,
    TextTask,
)

ChatTask = TextTask[ChatData]
WORDS = ("yes", "no")


def _task(name: str, source: Source[ChatData], answer: AnswerKind, metric: Metric) -> ChatTask:
    return TextTask(
        name=name,
        source=source,
        render=render_chat,
        templates=(WORDINGS[name].template(name, answer.target),),
        answer=answer,
        metric=metric,
    )


def is_text(task: ChatTask) -> bool:
    """Whether the answer is a text for people to read."""
    return isinstance(task.answer, FreeText) and task.answer.parse is None


TASKS: Mapping[str, ChatTask] = {
    task.name: task
    for task in (
        _task("rating", RatedRows(), FreeText("star", parse=parse_ratings), RatingErrors()),
        _task("sequential", Prefixes(), CatalogueItem(), ListMetrics()),
        _task("sequential_choose", OneOf(Prefixes()), OneOfCandidates(), ListMetrics()),
        _task("sequential_yesno", Asked(Prefixes()), Choice(WORDS), ChoiceMetrics()),
        _task("direct", OneOf(Prefixes()), OneOfCandidates(), ListMetrics()),
        _task(
            "explanation",
            RatedRows(reviews=("explanation",)),
            FreeText("explanation"),
            TextOverlap("explanation"),
        ),
        _task(
            "summary",
            RatedRows(reviews=("text", "title")),
            FreeText("headline"),
            TextOverlap("headline"),
        ),
    )
}


def chat_tasks(
    names: tuple[str, ...], wordings: Mapping[str, Wording], *, facts: bool = False
) -> list[ChatTask]:
    """The tasks with their wordings.

    Args:
      names: of tasks.
      wordings: of all tasks.
      facts: whether prompts for explanations tell what the catalogue says about the item.

    Raises:
      ConfigError: a wording that tells its answer.

    Example:
      >>> from jaxrec.systems.chatgpt import WORDINGS, chat_tasks
      >>> chat_tasks(("explanation",), WORDINGS, facts=True)[0].templates[0].source[:14]
      'Facts: {facts}'
    """
    tasks = []
    for name in names:
        wording, task = wordings[name], TASKS[name]
        if facts and name == "explanation":
            wording = dataclasses.replace(
                wording, behaviour=f"Facts: {{facts}}\n{wording.behaviour}"
            )
        template = wording.template(name, task.answer.target)
        tasks.append(dataclasses.replace(task, templates=(template,)))
    return tasks
