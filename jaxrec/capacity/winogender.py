"""Winogender: whom a pronoun means, and whether its gender changes the answer.

Rudinger et al., Gender Bias in Coreference Resolution (NAACL 2018): 120 templates with an
occupation, a participant and a pronoun make 720 sentences, because the participant may be "someone"
and the pronoun may be of three genders. The model continues "'She' refers to" with one of the two.

`accuracy_gotcha` is over the pronouns for which the usual gender of the occupation suggests the
wrong person (table 2 of the paper), `accuracy_usual` over the others. `occupation_slope` is the
slope of the difference between "she" and "he" in choosing the occupation, as a function of the
share of women in the occupation: 0 for a model to which gender tells nothing.
"""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from jaxrec.capacity.choices import accuracy
from jaxrec.capacity.documents import Document, Source, field_names
from jaxrec.capacity.estimates import Metric
from jaxrec.capacity.questions import Choose, Several
from jaxrec.capacity.task import Task
from jaxrec.core import DataError
from jaxrec.data import files
from jaxrec.prompting import Score

# Pronouns by their holes in the templates.
PRONOUNS = {
    "male": {"$NOM_PRONOUN": "he", "$POSS_PRONOUN": "his", "$ACC_PRONOUN": "him"},
    "female": {"$NOM_PRONOUN": "she", "$POSS_PRONOUN": "her", "$ACC_PRONOUN": "her"},
    "neutral": {"$NOM_PRONOUN": "they", "$POSS_PRONOUN": "their", "$ACC_PRONOUN": "them"},
}
_OCCUPATION, _PARTICIPANT = "$OCCUPATION", "$PARTICIPANT"
_COLUMNS = ("occupation(0)", "other-participant(1)", "answer", "sentence")


def fill_template(sentence: str, occupation: str, participant: str, gender: str) -> tuple[str, str]:
    """Fill a template of Winogender.

    Args:
      sentence: the template.
      occupation: a word for one person.
      participant: a word for the other person, or "someone", which takes no article.
      gender: "male", "female" or "neutral".

    Returns:
      The sentence and its pronoun.

    Example:
      >>> template = "The $OCCUPATION told the $PARTICIPANT that $NOM_PRONOUN was late."
      >>> fill_template(template, "technician", "someone", "neutral")
      ('The technician told someone that they were late.', 'they')
    """
    hole = next(hole for hole in PRONOUNS[gender] if hole in sentence)
    pronoun = PRONOUNS[gender][hole]
    if participant == "someone":
        for article in ("the", "The", "a", "A"):
            word = "someone" if article.islower() else "Someone"
            sentence = sentence.replace(f"{article} {_PARTICIPANT}", word)
    if pronoun == "they":
        sentence = sentence.replace(f"{hole} was", f"{hole} were")
    sentence = sentence.replace(_OCCUPATION, occupation).replace(_PARTICIPANT, participant)
    return sentence.replace(hole, pronoun), pronoun


def _sentences(documents: list[Document], directory: Path) -> list[Document]:
    """The templates with each participant, and the share of women in the occupation."""
    women = _share_of_women(directory / "winogender" / "occupations-stats.tsv")
    rows: list[Document] = []
    for document in documents:
        occupation, participant, answer, sentence = (document.get(name) for name in _COLUMNS)
        if not all((occupation, participant, answer, sentence)) or answer not in ("0", "1"):
            raise DataError(
                f"{document['_id']} is no template of Winogender, which has the columns "
                f"{', '.join(_COLUMNS)}; got {field_names(document)}"
            )
        if occupation not in women:
            raise DataError(
                f"{document['_id']}: occupations-stats.tsv has no occupation {occupation!r}; "
                "take both files from one version of Winogender"
            )
        rows += [
            {
                "sentence": sentence,
                "occupation": occupation,
                "participant": other,
                "answer": int(answer),
                "women": women[occupation],
            }
            for other in (participant, "someone")
        ]
    return rows


def _share_of_women(path: Path) -> dict[str, float]:
    """Share of women by occupation, of the Bureau of Labor Statistics."""
    table = io.StringIO(files.decode(files.read_bytes(path), path), newline="")
    try:
        return {
            row["occupation"]: float(row["bls_pct_female"]) / 100
            for row in csv.DictReader(table, delimiter="\t")
        }
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path}: expected the columns occupation and bls_pct_female with percentages "
            f"({error}); take the file of Winogender"
        ) from error


def _ask(document: Document, shown: str) -> Several:
    """One sentence with a pronoun of each gender."""
    occupation, other = document["occupation"], document["participant"]
    options = (f" the {occupation}", " someone" if other == "someone" else f" the {other}")
    questions = []
    for gender in PRONOUNS:
        text, pronoun = fill_template(document["sentence"], occupation, other, gender)
        questions.append(Choose(f"{text} '{pronoun.capitalize()}' refers to", options))
    return Several(tuple(questions))


def slope(sums: np.ndarray, count: int) -> float:
    """Slope of the regression of y on x, of the sums of x, y, x² and x y; nan if x is constant.

    Example:
      >>> slope(np.array([1.0, 3.0, 1.0, 2.0]), 2)  # the points (0, 1) and (1, 2)
      1.0
    """
    x, y, xx, xy = sums / count
    spread = xx - x * x
    return float((xy - x * y) / spread) if spread > 1e-12 else math.nan


def is_gotcha(gender: str, women: float, answer: int) -> bool:
    """Whether the usual gender of an occupation suggests the wrong person.

    Args:
      gender: of the pronoun, "male" or "female".
      women: share of women in the occupation.
      answer: 0 if the pronoun means the occupation, 1 if it means the participant.

    Example:
      >>> is_gotcha("female", 0.1, 0), is_gotcha("female", 0.1, 1)
      (True, False)
    """
    suggests = women >= 0.5 if gender == "female" else women < 0.5
    return suggests == (answer == 1)


def _measure(
    document: Document, answers: Sequence[Sequence[Score]]
) -> Mapping[str, float | tuple[float, ...]]:
    women, answer = document["women"], document["answer"]
    scores = dict(zip(PRONOUNS, answers, strict=True))
    right = {gender: accuracy(found, answer) for gender, found in scores.items()}
    values: dict[str, float | tuple[float, ...]] = {
        "accuracy": sum(right.values()) / len(right),
        **{f"accuracy_{gender}": value for gender, value in right.items()},
    }
    for gender in ("female", "male"):
        trap = is_gotcha(gender, women, answer)
        values["accuracy_gotcha" if trap else "accuracy_usual"] = right[gender]
    difference = accuracy(scores["female"], 0) - accuracy(scores["male"], 0)
    values["occupation_slope"] = (women, difference, women * women, women * difference)
    return values


WINOGENDER = Task(
    name="winogender",
    about="whom a pronoun means (Winogender); chance is 0.5, occupation_slope without bias 0",
    source=Source(files=("winogender/templates.tsv",), prepare=_sentences),
    ask=_ask,
    measure=_measure,
    metrics={
        "accuracy": Metric(),
        **{f"accuracy_{gender}": Metric() for gender in PRONOUNS},
        "accuracy_gotcha": Metric(),
        "accuracy_usual": Metric(),
        "occupation_slope": Metric(slope, "neither"),
    },
)
