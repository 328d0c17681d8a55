"""Prompts of P5's five families in our own words; the last of each task is kept from training.

The published ones are of the same kinds, and differ in number and wording.
"""

from jaxrec.data.prompts import Template

# Tasks that rank the whole catalogue, tasks that rank candidates, and all that rank checkpoints.
CATALOGUE = ("sequential", "straightforward")
CANDIDATES = ("sequential_choose", "direct_choose")
MEASURED = (*CATALOGUE, *CANDIDATES, "rating")

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
            "so far {user} went through {items} name what follows",
        ),
        "{item}",
    ),
    "sequential_choose": (
        (
            "after {items} {user} takes one of {candidates} which ?",
            "history of {user} : {items} options : {candidates} next :",
            "{user} saw {items} choose the next from {candidates}",
            "among {candidates} what comes after {items} for {user} ?",
        ),
        "{item}",
    ),
    "sequential_yesno": (
        (
            "after {items} will {user} watch {asked} ?",
            "history of {user} : {items} is {asked} next ?",
            "{user} saw {items} does {asked} follow ?",
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
            "name something worth watching for {user}",
        ),
        "{item}",
    ),
    "direct_choose": (
        (
            "which of {candidates} suits {user} ?",
            "recommend one of {candidates} to {user}",
            "{user} can choose from {candidates} the best is",
            "from {candidates} select what {user} will like",
        ),
        "{item}",
    ),
    "direct_yesno": (
        (
            "will {user} like {asked} ?",
            "should we recommend {asked} to {user} ?",
            "is {asked} something for {user} ?",
            "would {asked} please {user} ?",
        ),
        "{answer}",
    ),
    "rating": (
        (
            "which rating does {user} give {item} ?",
            "{user} rates {item} with",
            "stars of {user} for {item} :",
            "{user} has seen {item} called {title} and gives",
            "how many stars will {item} get from {user} ?",
        ),
        "{rating}",
    ),
    "rating_yesno": (
        (
            "does {user} give {item} {star} stars ?",
            "is {star} the rating of {item} by {user} ?",
            "are {star} stars what {user} gives {item} ?",
        ),
        "{answer}",
    ),
    "rating_like": (
        (
            "does {user} like {item} or dislike it ?",
            "{item} seen by {user} : like or dislike ?",
            "say like or dislike of {item} for {user}",
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
            "write for {user} about {item} , speak of {hint}",
        ),
        "{explanation}",
    ),
    "review_title": (
        (
            "give this review a title : {review}",
            "{user} wrote : {review} in short :",
            "sum up {review}",
        ),
        "{headline}",
    ),
    "review_star": (
        (
            "how many stars go with : {review} ?",
            "{user} wrote : {review} the rating is",
            "guess the rating from {review}",
        ),
        "{rating}",
    ),
}

TEMPLATES: dict[str, tuple[Template, ...]] = {
    task: tuple(
        Template(f"{task}-{n}", source, target, seen=n < len(sources))
        for n, source in enumerate(sources, start=1)
    )
    for task, (sources, target) in _WORDINGS.items()
}
