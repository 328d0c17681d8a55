"""Prompts of P5's five families in our own words; the last of each task is kept from training.

The published ones are of the same kinds, and differ in number and wording. A wording that training
has not seen is made of words that it has: a model that was not pre-trained knows no others.
"""

from jaxrec.data import Template

# Tasks that rank the whole catalogue, tasks that rank candidates, tasks that write what a review
# says, and all that rank checkpoints.
CATALOGUE = ("sequential", "straightforward")
CANDIDATES = ("sequential_choose", "direct_choose")
TEXTS = ("explanation", "review_title")
MEASURED = (*CATALOGUE, *CANDIDATES, *TEXTS, "rating")

# A user whom a prompt does not name.
ANYONE = "someone"

_WORDINGS: dict[str, tuple[tuple[str, ...], str]] = {
    "sequential": (
        (
            "after {items} what does {user} watch next ?",
            "{user} has watched {items} predict the next one",
            "history of {user} : {items} next :",
            "given {items} , which item will {user} choose ?",
            "{user} saw {items} and then",
            "{items} were watched by {user} in this order , continue",
            # Unseen.
            "{user} watched {items} what will {user} choose next ?",
        ),
        "{item}",
    ),
    "sequential_choose": (
        (
            "after {items} {user} takes one of {candidates} which ?",
            "history of {user} : {items} options : {candidates} next :",
            "{user} saw {items} choose the next from {candidates}",
            "history of {user} : {items} choose one of {candidates}",
        ),
        "{item}",
    ),
    "sequential_yesno": (
        (
            "after {items} will {user} watch {asked} ?",
            "history of {user} : {items} is {asked} next ?",
            "after {items} is {asked} next ?",
        ),
        "{answer}",
    ),
    "straightforward": (
        (
            "what should {user} watch ?",
            "recommend something to {user}",
            "{user} would enjoy",
            "pick an item for {user}",
            "an item that {user} will like :",
            "what will {user} enjoy ?",
        ),
        "{item}",
    ),
    "direct_choose": (
        (
            "which of {candidates} suits {user} ?",
            "recommend one of {candidates} to {user}",
            "{user} can choose from {candidates} the best is",
            "the best of {candidates} to recommend to {user} is",
        ),
        "{item}",
    ),
    "direct_yesno": (
        (
            "will {user} like {asked} ?",
            "should we recommend {asked} to {user} ?",
            "is {asked} something for {user} ?",
            "should {user} like {asked} ?",
        ),
        "{answer}",
    ),
    "rating": (
        (
            "which rating does {user} give {item} ?",
            "{user} rates {item} with",
            "stars of {user} for {item} :",
            "{user} has seen {item} called {title} and gives",
            "stars which {user} gives {item} :",
        ),
        "{rating}",
    ),
    "rating_yesno": (
        (
            "does {user} give {item} {star} stars ?",
            "is {star} the rating of {item} by {user} ?",
            "is the rating of {item} by {user} {star} stars ?",
        ),
        "{answer}",
    ),
    "rating_like": (
        (
            "does {user} like {item} or dislike it ?",
            "{item} seen by {user} : like or dislike ?",
            "does {user} like or dislike {item} ?",
        ),
        "{liking}",
    ),
    "explanation": (
        (
            "explain to {user} why {item} is recommended",
            "why does {user} give {item} {star} stars ?",
            "explain {item} to {user} , mention {hint}",
            "with the word {hint} tell {user} about {item}",
            "{user} rated {item} {star} , say why and use {hint}",
            "explain to {user} about {item} and use {hint}",
        ),
        "{explanation}",
    ),
    "review_title": (
        (
            "give this review a title : {review}",
            "{user} wrote : {review} in short :",
            "{review} in short : a title",
        ),
        "{headline}",
    ),
    "review_star": (
        (
            "how many stars go with : {review} ?",
            "{user} wrote : {review} the rating is",
            "{user} wrote : {review} how many stars ?",
        ),
        "{rating}",
    ),
}

TEMPLATES: dict[str, tuple[Template, ...]] = {
    task: tuple(
        Template(name=f"{task}-{n}", source=source, target=target, seen=n < len(sources))
        for n, source in enumerate(sources, start=1)
    )
    for task, (sources, target) in _WORDINGS.items()
}
