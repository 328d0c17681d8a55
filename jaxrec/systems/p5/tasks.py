"""P5's five families as twelve tasks, each of them one record.

The wordings are our own. The published ones are of the same kinds, and differ in number and words.
The last wording of each task is kept from training. It only uses words that the others use, because
a model that is not pretrained knows no others.
"""

from jaxrec.eval import parse_ratings
from jaxrec.texts import (
    AnswerKind,
    Asked,
    CatalogueItem,
    Choice,
    ChoiceMetrics,
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
) -> TextTask[PromptData]:
    return TextTask(
        name=name,
        source=source,
        render=render,
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

TASKS: dict[str, TextTask[PromptData]] = {
    task.name: task for task in (*_SEQUENTIAL, *_DIRECT, *_RATING, *_EXPLANATION, *_REVIEW)
}
