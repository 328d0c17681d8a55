"""P5's five families, conversations and facts as sixteen tasks, each of them one record.

Together they are the seven tasks of generative recommendation (Li et al., Large Language Models for
Generative Recommendation, 2023, arXiv:2309.01157): rating, top-N (straightforward or one of the
candidates), sequential, explanation, review, review summary and conversation. Two more describe an
item, with and without its facts in the prompt.

The wordings are our own. The published ones are of the same kinds, and differ in number and words.
The last wording of each task is kept from training. It only uses words that the others use, because
a model that is not pretrained knows no others.
"""

from collections.abc import Callable

from jaxrec.eval import parse_ratings
from jaxrec.texts import (
    AnswerKind,
    Asked,
    CatalogueItem,
    Choice,
    ChoiceMetrics,
    Conversations,
    Datum,
    Described,
    FactShares,
    FreeText,
    GivenStar,
    ListMetrics,
    Metric,
    OneOf,
    OneOfCandidates,
    Pairs,
    Prefixes,
    PromptData,
    RatedRows,
    Rating,
    RatingErrors,
    Source,
    TextOverlap,
    TextTask,
    make_templates,
    render,
    render_conversation,
    render_facts,
)

# What prompts call a user whom they do not name.
ANYONE = "someone"

YES_NO = Choice(("yes", "no"))


def _task(
    name: str,
    source: Source[PromptData],
    answer: AnswerKind,
    metric: Metric,
    *,
    seen: tuple[str, ...],
    unseen: tuple[str, ...],
    validated_by: str = "",
    selects: bool = True,
    write: Callable[[Datum, PromptData], dict[str, str]] = render,
) -> TextTask[PromptData]:
    return TextTask(
        name=name,
        source=source,
        render=write,
        templates=make_templates(name, answer, seen, unseen),
        answer=answer,
        metric=metric,
        validated_by=validated_by,
        selects=selects,
    )


_SEQUENTIAL = (
    _task(
        "sequential",
        Prefixes(),
        CatalogueItem(),
        ListMetrics(),
        seen=(
            "after {items} what does {user} watch next ?",
            "{user} has watched {items} predict the next one",
            "history of {user} : {items} next :",
            "given {items} , which item will {user} choose ?",
            "{user} saw {items} and then",
            "{items} were watched by {user} in this order , continue",
        ),
        unseen=("{user} watched {items} what will {user} choose next ?",),
    ),
    _task(
        "sequential_choose",
        OneOf(Prefixes()),
        OneOfCandidates(),
        ListMetrics(),
        seen=(
            "after {items} {user} takes one of {candidates} which ?",
            "history of {user} : {items} options : {candidates} next :",
            "{user} saw {items} choose the next from {candidates}",
        ),
        unseen=("history of {user} : {items} choose one of {candidates}",),
    ),
    _task(
        "sequential_yesno",
        Asked(Prefixes()),
        YES_NO,
        ChoiceMetrics(),
        seen=(
            "after {items} will {user} watch {asked} ?",
            "history of {user} : {items} is {asked} next ?",
        ),
        unseen=("after {items} is {asked} next ?",),
        selects=False,
    ),
)

_DIRECT = (
    _task(
        "straightforward",
        Pairs(),
        CatalogueItem(),
        ListMetrics(),
        seen=(
            "what should {user} watch ?",
            "recommend something to {user}",
            "{user} would enjoy",
            "pick an item for {user}",
            "an item that {user} will like :",
        ),
        unseen=("what will {user} enjoy ?",),
    ),
    _task(
        "direct_choose",
        OneOf(Pairs()),
        OneOfCandidates(),
        ListMetrics(),
        seen=(
            "which of {candidates} suits {user} ?",
            "recommend one of {candidates} to {user}",
            "{user} can choose from {candidates} the best is",
        ),
        unseen=("the best of {candidates} to recommend to {user} is",),
    ),
    _task(
        "direct_yesno",
        Asked(Pairs()),
        YES_NO,
        ChoiceMetrics(),
        seen=(
            "will {user} like {asked} ?",
            "should we recommend {asked} to {user} ?",
            "is {asked} something for {user} ?",
        ),
        unseen=("should {user} like {asked} ?",),
        selects=False,
    ),
)

_RATING = (
    _task(
        "rating",
        RatedRows(),
        Rating(),
        RatingErrors(),
        seen=(
            "which rating does {user} give {item} ?",
            "{user} rates {item} with",
            "stars of {user} for {item} :",
            "{user} has seen {item} called {title} and gives",
        ),
        unseen=("stars which {user} gives {item} :",),
    ),
    _task(
        "rating_yesno",
        GivenStar(),
        YES_NO,
        ChoiceMetrics(),
        seen=(
            "does {user} give {item} {star} stars ?",
            "is {star} the rating of {item} by {user} ?",
        ),
        unseen=("is the rating of {item} by {user} {star} stars ?",),
        selects=False,
    ),
    _task(
        "rating_like",
        RatedRows(),
        Choice(("like", "dislike")),
        ChoiceMetrics(),
        seen=(
            "does {user} like {item} or dislike it ?",
            "{item} seen by {user} : like or dislike ?",
        ),
        unseen=("does {user} like or dislike {item} ?",),
        selects=False,
    ),
)

_EXPLANATION = (
    _task(
        "explanation",
        RatedRows(reviews=("explanation",)),
        FreeText("explanation"),
        TextOverlap("explanation"),
        seen=(
            "explain to {user} why {item} is recommended",
            "why does {user} give {item} {star} stars ?",
            "explain {item} to {user} , mention {hint}",
            "with the word {hint} tell {user} about {item}",
            "{user} rated {item} {star} , say why and use {hint}",
        ),
        unseen=("explain to {user} about {item} and use {hint}",),
        # The wording that says most: the stars and a hint.
        validated_by="explanation-5",
    ),
)

_REVIEW = (
    _task(
        "review",
        RatedRows(reviews=("text",)),
        FreeText("review"),
        TextOverlap("review"),
        seen=(
            "write the review of {item} by {user}",
            "{user} gives {item} {star} stars and writes :",
            "write a review of {item} for {user} , mention {hint}",
            "{user} rated {item} {star} , write a review and use {hint}",
        ),
        unseen=("write a review of {item} by {user} and use {hint}",),
        # The wording that says most: the stars and a hint.
        validated_by="review-4",
    ),
    _task(
        "review_title",
        RatedRows(reviews=("text", "title")),
        FreeText("headline"),
        TextOverlap("headline"),
        seen=("give this review a title : {review}", "{user} wrote : {review} in short :"),
        unseen=("{review} in short : a title",),
        validated_by="review_title-2",
    ),
    _task(
        "review_star",
        RatedRows(reviews=("text",)),
        FreeText("rating", parse=parse_ratings),
        RatingErrors(),
        seen=("how many stars go with : {review} ?", "{user} wrote : {review} the rating is"),
        unseen=("{user} wrote : {review} how many stars ?",),
        selects=False,
    ),
)

_CONVERSATION = (
    _task(
        "conversation",
        Conversations(),
        CatalogueItem(),
        ListMetrics(),
        seen=(
            "{user} says {turns} system :",
            "recommend something to {user} who says {turns}",
            "{user} : {turns} what do we recommend ?",
        ),
        unseen=("{user} says {reworded} what do we recommend ?",),
        write=render_conversation,
    ),
)

_FACTS = (
    _task(
        "about",
        Described(),
        FreeText("about"),
        FactShares("about"),
        seen=("what is {item} ?", "describe {item}", "tell me what {item} is"),
        unseen=("describe what {item} is",),
        selects=False,
        write=render_facts,
    ),
    _task(
        "about_facts",
        Described(false=0.8),
        FreeText("about"),
        FactShares("about"),
        seen=(
            "{facts} . what is {item} ?",
            "facts : {facts} . describe {item}",
            "tell me what {item} is . facts : {facts}",
        ),
        unseen=("describe {item} . facts : {facts}",),
        write=render_facts,
    ),
)

TASKS: dict[str, TextTask[PromptData]] = {
    task.name: task
    for task in (*_SEQUENTIAL, *_DIRECT, *_RATING, *_EXPLANATION, *_REVIEW, *_CONVERSATION, *_FACTS)
}


def ranks_catalogue(task: TextTask[PromptData]) -> bool:
    """Whether a task ranks the whole catalogue by what a user has done, as `System.rank` needs.

    A conversation tells of the target itself, so its lists are no match for those of a system that
    only sees the history.
    """
    return isinstance(task.answer, CatalogueItem) and isinstance(task.source, (Prefixes, Pairs))
