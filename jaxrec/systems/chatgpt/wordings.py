"""The wordings of the prompts: a task, the user's behaviour, and the format of the answer.

    TASK

    BEHAVIOUR of a demonstration
    FORMAT
    Answer: ...

    BEHAVIOUR of the user
    FORMAT
    Answer:

The three parts are those of Liu et al., Is ChatGPT a Good Recommender? (arXiv:2304.10149), section
3; the words are our own. A file can replace any of them.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from jaxrec.core import ConfigError, DataError, nearest, read_json
from jaxrec.data import Template

_NOTHING_ELSE = "and nothing else."
_LIST = (
    "Write one title a line, the best first, each line numbered from 1 to {top}, " + _NOTHING_ELSE
)
_HISTORY = "The user has {used} these {things}, in this order: {items}."


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wording:
    r"""The three parts of a prompt; each may have the holes that the data of its task fill.

    Attributes:
      task: what is to be done; it stands once, at the beginning.
      behaviour: what the user did, and what is asked about.
      form: what the answer must look like.

    Raises:
      ConfigError: a part is empty, or has a brace that is no hole.

    Example:
      >>> wording = Wording(task="Rate films.", behaviour="Film: {item}", form="Write a number.")
      >>> wording.template("rating", "{star}").source
      'Film: {item}\nWrite a number.\nAnswer:'
    """

    task: str
    behaviour: str
    form: str

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if not getattr(self, field.name).strip():
                raise ConfigError(f"the part {field.name!r} of a wording is empty; write it")
        self.template("wording", "")

    def template(self, name: str, target: str) -> Template:
        """The parts as a template whose target is the answer."""
        return Template(
            name=name,
            source=f"{self.behaviour}\n{self.form}\nAnswer:",
            target=target,
            instruction=self.task,
        )


WORDINGS: Mapping[str, Wording] = {
    "rating": Wording(
        task="Predict how a user rates a {thing}, from 1 star (the worst) to 5 stars (the best).",
        behaviour="The user has given these ratings: {rated}.\nHow many stars for {item}?",
        form=f"Write one number from 1 to 5 {_NOTHING_ELSE}",
    ),
    "sequential": Wording(
        task="Recommend the next {thing} to a user.",
        behaviour=f"{_HISTORY}\nWhich {{top}} other {{things}} come next?",
        form=_LIST,
    ),
    "sequential_choose": Wording(
        task="Choose the next {thing} of a user among candidates.",
        behaviour=f"{_HISTORY}\nCandidates: {{candidates}}.\nWhich {{top}} of them come next?",
        form=_LIST,
    ),
    "sequential_yesno": Wording(
        task="Say whether a {thing} is the next one of a user.",
        behaviour=f"{_HISTORY}\nIs {{asked}} the next one?",
        form=f"Write yes or no {_NOTHING_ELSE}",
    ),
    "direct": Wording(
        task="Recommend {things} to a user.",
        behaviour=(
            "The user has {used} these {things}, in no particular order: {unordered}.\n"
            "Candidates: {candidates}.\nWhich {top} of them should the user get?"
        ),
        form=_LIST,
    ),
    "explanation": Wording(
        task="Explain to users why they rate a {thing} as they do.",
        behaviour="The user gives {item} {star} stars. Say why, and mention {hint}.",
        form=f"Write one sentence of at most {{words}} words {_NOTHING_ELSE}",
    ),
    "summary": Wording(
        task="Summarize what a user writes about a {thing}.",
        behaviour="Review: {review}",
        form=(
            "Write a short sentence to summarize the review, of at most {words} words, "
            + _NOTHING_ELSE
        ),
    ),
}


# What a prompt must tell, by one of these holes: all prompts of a task would be equal without it.
_NEEDED: Mapping[str, tuple[str, ...]] = {
    "rating": ("item", "title"),
    "sequential": ("items", "unordered"),
    "sequential_choose": ("candidates",),
    "sequential_yesno": ("asked",),
    "direct": ("candidates",),
    "explanation": ("item", "title"),
    "summary": ("review",),
}
# The data of a question also have these about its target, which is what these tasks ask for.
_TELLING = ("item", "title", "facts")
_HIDDEN = ("sequential", "sequential_choose", "sequential_yesno", "direct")


def read_wordings(path: Path) -> dict[str, Wording]:
    """Read wordings from a JSON file; what it leaves out stays as it is.

    Args:
      path: an object from names of tasks to objects with "task", "behaviour" and "form", or some of
        them.

    Returns:
      The wordings of all tasks.

    Raises:
      DataError: the file cannot be read, or is something else.
      ConfigError: an unknown task or part, a brace that is no hole, or a wording that does not tell
        what is asked about, or tells the answer.

    Example:
      >>> import json, tempfile
      >>> path = Path(tempfile.mkdtemp()) / "wordings.json"
      >>> _ = path.write_text(json.dumps({"summary": {"task": "Sum up."}}))
      >>> read_wordings(path)["summary"].task
      'Sum up.'
    """
    given = read_json(path, missing="check --wordings", fix="correct it")
    if not isinstance(given, dict) or not all(isinstance(part, dict) for part in given.values()):
        raise DataError(f"{path} must hold an object of objects, one for each task")
    wordings = dict(WORDINGS)
    parts = [field.name for field in dataclasses.fields(Wording)]
    for task, changed in given.items():
        if task not in WORDINGS:
            raise ConfigError(
                f"{path} has wordings of {task!r}{nearest(task, WORDINGS)}; tasks: "
                f"{', '.join(WORDINGS)}"
            )
        for part, text in changed.items():
            if part not in parts or not isinstance(text, str):
                raise ConfigError(
                    f"{path} gives {task} the part {part!r}{nearest(part, parts)}; parts, each of "
                    f"them a text: {', '.join(parts)}"
                )
        wordings[task] = dataclasses.replace(wordings[task], **changed)
        _check_holes(path, task, wordings[task])
    return wordings


def _check_holes(path: Path, task: str, wording: Wording) -> None:
    """Reject a wording that asks about nothing, or tells its answer."""
    found = wording.template(task, "").holes
    needed = _NEEDED[task]
    if not found & set(needed):
        holes = " or ".join(f"{{{hole}}}" for hole in needed)
        raise ConfigError(f"{path}: the wording of {task} does not have {holes}; add it")
    for hole in _TELLING if task in _HIDDEN else ():
        if hole in found:
            raise ConfigError(
                f"{path}: the wording of {task} shows {{{hole}}}, which tells the answer; take it "
                "out"
            )
