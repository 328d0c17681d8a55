"""Questions about last letters, with made-up names and the reasoning that spells them.

    Q: Last letters of Mira Tok Belas?
    A: Mira: a. Tok: k. Belas: s. The answer is aks.

The task is that of Wei et al. 2022, arXiv:2201.11903, section 5. The names are random letters,
and those of a question are all different. Every step of the reasoning copies a name and says its
last letter, so the reasoning has the same form for any number of names.
"""

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import ascii_lowercase

import numpy as np

from jaxrec.core import DataError, read_json
from jaxrec.data import MarkedText
from jaxrec.prompting import ChainSettings, Exemplar
from jaxrec.systems.last_letters.config import LettersConfig, LettersDataConfig

_QUOTED = re.compile(r'"([^"]+)"')
# Parts of a measurement.
TRAINED, LONGER, PUBLISHED = "trained", "longer", "published"


def make_name(rng: np.random.Generator) -> str:
    """Make a name of two to seven letters.

    Example:
      >>> import numpy as np
      >>> name = make_name(np.random.default_rng(0))
      >>> name.istitle() and name.isalpha()
      True
    """
    letters = rng.integers(len(ascii_lowercase), size=int(rng.integers(2, 8)))
    return "".join(ascii_lowercase[letter] for letter in letters.tolist()).capitalize()


def last_letters(names: Sequence[str]) -> Exemplar:
    """The question about these names, with its reasoning and its answer.

    Raises:
      DataError: no names, or an empty one.

    Example:
      >>> last_letters(["Mira", "Tok"]).rationale
      'Mira: a. Tok: k.'
    """
    if not names or not all(names):
        raise DataError(f"a question needs names that have letters, got {list(names)}")
    ends = [name[-1].lower() for name in names]
    steps = [f"{name}: {end}." for name, end in zip(names, ends, strict=True)]
    return Exemplar(f"Last letters of {' '.join(names)}?", " ".join(steps), "".join(ends))


def read_names(path: str) -> list[list[str]] | None:
    """Read the names out of the published questions.

    Args:
      path: JSON with "examples", whose "question" holds names in double quotes.

    Returns:
      The names of each question; None if there is no such file.

    Raises:
      DataError: the file is damaged, or a question quotes no names.

    Example:
      >>> read_names("no_such_file.json") is None
      True
    """
    root = os.environ.get("JAXREC_DATA")
    places = [Path(root).expanduser() / path] if root else []
    place = next((p for p in (*places, Path(path)) if p.is_file()), None)
    if place is None:
        return None
    held = read_json(place)
    examples = held.get("examples") if isinstance(held, dict) else None
    if not isinstance(examples, list) or not examples:
        raise DataError(f'{place}: expected a JSON object with a list "examples"')
    names = []
    for number, example in enumerate(examples):
        question = example.get("question") if isinstance(example, dict) else None
        quoted = _QUOTED.search(question) if isinstance(question, str) else None
        if quoted is None or not quoted.group(1).split():
            raise DataError(
                f'{place}: example {number} needs a "question" with names in double quotes, got '
                f"{question!r:.60}"
            )
        names.append(quoted.group(1).split())
    return names


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Letters:
    """The questions of a run.

    Attributes:
      train: questions to learn.
      valid: questions that rank checkpoints.
      test: questions that are measured, by part.
      name: of the data.
      missing: path of the published questions, if there is no such file.
    """

    train: list[Exemplar]
    valid: list[Exemplar]
    test: Mapping[str, list[Exemplar]]
    name: str
    missing: str = ""

    def describe(self) -> Mapping[str, object]:
        """Say what the run is measured on: JSON-able."""
        parts = {"train": self.train, "valid": self.valid, **self.test}
        # Published questions are only an extra test: a run does not depend on their presence.
        own = [[e.question for e in part] for name, part in parts.items() if name != PUBLISHED]
        return {
            "dataset": self.name,
            "train": len(self.train),
            "valid": len(self.valid),
            "fingerprint": hashlib.sha256(json.dumps(own).encode()).hexdigest(),
        }


def prepare(config: LettersConfig) -> Letters:
    """Make the questions; no question of a test is one of training or validation.

    Part "trained" has the longest questions of training, "longer" has those up to `data.longest`
    names, and "published" has real names.

    Raises:
      DataError: the published questions are damaged.

    Example:
      >>> from jaxrec.systems.last_letters import LettersDataConfig
      >>> data = LettersDataConfig(train_questions=5, published="")
      >>> prepared = prepare(LettersConfig(data=data))
      >>> len(prepared.train), list(prepared.test)
      (5, ['trained', 'longer'])
    """
    data, measured = config.data, config.eval
    rng = np.random.default_rng(data.seed)
    known: set[tuple[str, ...]] = set()
    test = {
        TRAINED: _draw(rng, (data.words, data.words), measured.test_instances, known),
        LONGER: _draw(rng, (data.words + 1, data.longest), measured.test_instances, known),
    }
    valid = _draw(rng, (1, data.words), measured.valid_instances, known)
    train = _draw(rng, (1, data.words), data.train_questions, known, repeat=True)
    missing = _add_published(test, data, measured.test_instances)
    return Letters(train=train, valid=valid, test=test, name=data.name, missing=missing)


def _add_published(test: dict[str, list[Exemplar]], data: LettersDataConfig, most: int) -> str:
    """Add the published questions; return their path if they are not there."""
    if not data.published:
        return ""
    names = read_names(data.published)
    if names is None:
        return data.published
    test[PUBLISHED] = [last_letters(row) for row in names[:most]]
    return ""


def _draw(
    rng: np.random.Generator,
    lengths: tuple[int, int],
    count: int,
    known: set[tuple[str, ...]],
    *,
    repeat: bool = False,
) -> list[Exemplar]:
    """Draw questions that are not known; those that may not repeat become known."""
    made: list[Exemplar] = []
    while len(made) < count:
        size = int(rng.integers(lengths[0], lengths[1] + 1))
        names: list[str] = []
        while len(names) < size:
            name = make_name(rng)
            if name not in names:
                names.append(name)
        if tuple(names) in known:
            continue
        if not repeat:
            known.add(tuple(names))
        made.append(last_letters(names))
    return made


def settings_of(config: LettersConfig) -> ChainSettings:
    """How the model of a run is asked: it needs no exemplars, because it is trained on them."""
    tokens = config.eval.max_tokens
    return ChainSettings(
        kind="letters",
        rationale=config.rationale,
        trigger="",
        reasoning_tokens=tokens,
        answer_tokens=tokens,
    )


def marked(exemplar: Exemplar, settings: ChainSettings) -> MarkedText:
    """The text that training reads; what follows the prompt is learned."""
    text = exemplar.text(rationale=settings.rationale)
    return MarkedText(text, ((len(settings.prompt(exemplar.question)), len(text)),))
