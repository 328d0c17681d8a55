r"""Symbolic reasoning: last letters and coin flips, with more steps than the demonstrations have.

Wei et al., Chain-of-Thought Prompting Elicits Reasoning in Large Language Models
(arXiv:2201.11903), section 5. The published questions have four names. Shorter and longer ones are
made of the same names: the demonstrations have two names, the questions two, three, four and six,
so figures by `length` show how far a way of reasoning carries beyond what was shown.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.capacity.documents import ID, Document, Source, field_names
from jaxrec.capacity.estimates import Metric
from jaxrec.capacity.questions import Write
from jaxrec.capacity.task import Task
from jaxrec.core import DataError
from jaxrec.prompting import AnswerKind, GenerateOptions, Reply, extract

LENGTHS = (2, 3, 4, 6)
_SHOTS = 4
_QUOTED = re.compile(r'"([^"]+)"')
_FLIP = re.compile(r"(\w+) (flips|does not flip) the coin\.")
_OPTIONS = GenerateOptions(max_tokens=200, stop=("\nQ:", "\n\n"))


def letters_document(names: Sequence[str]) -> dict[str, Any]:
    """Return the question about the last letters of names, its steps and its answer.

    Example:
      >>> found = letters_document(["Mira", "Tok"])
      >>> found["answer"], found["steps"]
      ('ak', 'The last letter of "Mira" is "a". The last letter of "Tok" is "k".')
    """
    steps = [f'The last letter of "{name}" is "{name[-1].lower()}".' for name in names]
    return {
        "question": f'Take the last letters of each words in "{" ".join(names)}" and concatenate '
        "them.",
        "steps": " ".join(steps),
        "answer": "".join(name[-1].lower() for name in names),
        "length": len(names),
    }


def coin_document(names: Sequence[str], flips: Sequence[bool]) -> dict[str, Any]:
    """Return the question whether a coin is still heads up, its steps and its answer.

    Args:
      names: of people.
      flips: whether each of them flips the coin.

    Example:
      >>> found = coin_document(["Mira", "Tok"], [True, False])
      >>> found["answer"], found["steps"]
      ('no', 'Mira flips: tails. Tok does not flip: tails.')
    """
    heads, steps, told = True, [], []
    for name, flip in zip(names, flips, strict=True):
        heads ^= flip
        does = "flips" if flip else "does not flip"
        told.append(f"{name} {does} the coin.")
        steps.append(f"{name} {does}: {'heads' if heads else 'tails'}.")
    return {
        "question": f"A coin is heads up. {' '.join(told)} Is the coin still heads up? Note that "
        '"flip" here means "reverse".',
        "steps": " ".join(steps),
        "answer": "yes" if heads else "no",
        "length": len(names),
    }


def _of_lengths(
    documents: Sequence[Document], make: Callable[[str, int, int], dict[str, Any]]
) -> list[dict[str, Any]]:
    """The demonstrations, which have two names, and each document in one of the lengths in turn."""
    if len(documents) <= _SHOTS:
        raise DataError(
            f"{len(documents)} documents with a question are too few; {_SHOTS} are "
            "demonstrations, give more"
        )
    rows = [(document, 2) for document in documents[:_SHOTS]]
    rows += [(d, LENGTHS[n % len(LENGTHS)]) for n, d in enumerate(documents[_SHOTS:])]
    return [
        make(str(document["question"]), length, seed)
        for seed, (document, length) in enumerate(rows)
    ]


def _examples(documents: Sequence[Document]) -> list[Document]:
    """The questions of BIG-bench's form, which may be one object with all examples."""
    parts = [part for document in documents for part in _parts(document)]
    found = [part for part in parts if part.get("question")]
    if not found:
        raise DataError(
            f"none of {len(parts)} documents has the field question; fields of the first: "
            f"{field_names(parts[0]) if parts else 'none'}; take the file of zero-shot chain of "
            "thought"
        )
    return found


def _parts(document: Document) -> Sequence[Document]:
    """The examples of a document, or the document itself."""
    found = document.get("examples", (document,))
    if not isinstance(found, list | tuple) or not all(isinstance(part, dict) for part in found):
        raise DataError(
            f"{document.get(ID)}: examples must be a list of objects, got {found!r:.60}; take the "
            "file of zero-shot chain of thought"
        )
    return found


def _letters(documents: list[Document], directory: Path) -> list[dict[str, Any]]:
    questions = _examples(documents)
    found = [_QUOTED.search(str(document["question"])) for document in questions]
    pool = [name for match in found if match for name in match[1].split()]
    _check_names(pool, "quoted", questions)

    def make(question: str, length: int, seed: int) -> dict[str, Any]:
        match = _QUOTED.search(question)
        return letters_document(_names(match[1].split() if match else [], length, pool, seed))

    return _of_lengths(questions, make)


def _coins(documents: list[Document], directory: Path) -> list[dict[str, Any]]:
    questions = _examples(documents)
    pool = [name for d in questions for name, _ in _FLIP.findall(str(d["question"]))]
    _check_names(pool, "with flips", questions)

    def make(question: str, length: int, seed: int) -> dict[str, Any]:
        told = _FLIP.findall(question)
        names = _names([name for name, _ in told], length, pool, seed)
        extra = np.random.default_rng([seed, 1]).integers(0, 2, len(names)).astype(bool)
        flips = [does == "flips" for _, does in told][:length]
        return coin_document(names, [*flips, *extra.tolist()][: len(names)])

    return _of_lengths(questions, make)


def _check_names(pool: Sequence[str], where: str, questions: Sequence[Document]) -> None:
    if len(set(pool)) < max(LENGTHS):
        raise DataError(
            f"{len(questions)} questions hold {len(set(pool))} names {where}, at least "
            f"{max(LENGTHS)} are needed; take the file of zero-shot chain of thought"
        )


def _names(first: Sequence[str], length: int, pool: Sequence[str], seed: int) -> list[str]:
    """The first names of a question, and further ones of other questions if it has too few."""
    names = list(dict.fromkeys(first))[:length]
    for place in np.random.default_rng([seed, 0]).permutation(len(pool)):
        if len(names) == length:
            break
        if pool[place] not in names:
            names.append(pool[place])
    return names


def _question(document: Document) -> str:
    return f"Q: {document['question']}\nA:"


def _ask(document: Document, shown: str) -> Write:
    return Write(shown + _question(document), _OPTIONS)


def _show(document: Document) -> str:
    return f"{_question(document)} {document['steps']} The answer is {document['answer']}.\n\n"


def _symbol_task(name: str, about: str, source: Source, kind: AnswerKind) -> Task:
    def measure(document: Document, reply: Reply) -> Mapping[str, float]:
        found = extract(reply.text, kind, "few_shot")
        return {
            "accuracy": float(found is not None and found.lower() == document["answer"]),
            "unparsed": float(found is None),
            "truncated": float(reply.truncated[0]),
        }

    lower = Metric(better="lower")
    return Task(
        name=name,
        about=about,
        source=source,
        ask=_ask,
        measure=measure,
        metrics={"accuracy": Metric(), "unparsed": lower, "truncated": lower},
        show=_show,
        shots=_SHOTS,
        groups=("length",),
    )


LAST_LETTERS = _symbol_task(
    "last_letters",
    "last letters of 2 to 6 names, shown with 2 names and their steps",
    Source(files=("last-letters/last_letters.json",), prepare=_letters),
    "letters",
)
COIN_FLIP = _symbol_task(
    "coin_flip",
    "whether a coin is heads up after 2 to 6 people, shown with 2 people and their steps",
    Source(files=("last-letters/coin_flip.json",), prepare=_coins),
    "yes_no",
)
