"""Questions about last letters, with made-up names and the reasoning that spells them.

    Q: Last letters of Mira Tok Belas?
    A: of Mira: a. Mira Tok: ak. Tok Belas?: aks. The answer is aks.

The task is that of Wei et al. 2022, arXiv:2201.11903, section 5. The names are random letters,
and those of a question are all different.

Every step of the reasoning copies a name together with the word before it, and then the letters
found so far with one more. A model finds the next name behind the one that it has just written, so
it needs no count of names, and the question mark tells it to stop. The reasoning therefore consists
of the same local operations for any number of names.

Half of the questions in training give letters that are found already:

    Q: Letters so far: qz. Last letters of Mira Tok?
    A: of Mira: qza. Mira Tok?: qzak. The answer is qzak.

Without them the number of letters would tell the number of the step, and the fourth of at most four
steps is always the last one. A model that counts steps in this way fails in longer questions.
"""

import dataclasses
import hashlib
import itertools
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
from jaxrec.systems.last_letters.config import (
    HELD_OUT_LETTERS,
    LettersConfig,
    LettersDataConfig,
)

_QUOTED = re.compile(r'"([^"]+)"')
# A question of training has names of at least so many different letters.
_FEWEST_LETTERS = 6
# Parts of a measurement.
TRAINED, LONGER, PUBLISHED = "trained", "longer", "published"


def make_name(
    rng: np.random.Generator, longest: int = HELD_OUT_LETTERS, alphabet: str = ascii_lowercase
) -> str:
    """Make a name of at least two letters.

    Args:
      rng: draws the letters.
      longest: most letters of a name.
      alphabet: letters that names consist of.

    Example:
      >>> import numpy as np
      >>> name = make_name(np.random.default_rng(0), alphabet="ab")
      >>> name.istitle(), set(name.lower()) <= {"a", "b"}
      (True, True)
    """
    letters = rng.integers(len(alphabet), size=int(rng.integers(2, longest + 1)))
    return "".join(alphabet[letter] for letter in letters.tolist()).capitalize()


def last_letters(names: Sequence[str], given: str = "") -> Exemplar:
    """The question about these names, with its reasoning and its answer.

    Args:
      names: whose last letters are asked for.
      given: letters that the question says are found already; the answer begins with them.

    Raises:
      DataError: no names, or an empty one.

    Example:
      >>> last_letters(["Mira", "Tok"]).rationale
      'of Mira: a. Mira Tok?: ak.'
      >>> last_letters(["Tok"], "ab").question, last_letters(["Tok"], "ab").rationale
      ('Letters so far: ab. Last letters of Tok?', 'of Tok?: abk.')
    """
    if not names or not all(names):
        raise DataError(f"a question needs names that have letters, got {list(names)}")
    answer = given + "".join(name[-1].lower() for name in names)
    words = ["of", *names]
    words[-1] += "?"
    steps = [
        f"{before} {name}: {answer[:place]}."
        for place, (before, name) in enumerate(itertools.pairwise(words), start=len(given) + 1)
    ]
    found = f"Letters so far: {given}. " if given else ""
    return Exemplar(f"{found}Last letters {' '.join(words)}", " ".join(steps), answer)


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
    train = _draw(rng, (1, data.words), data.train_questions, known, varied=data)
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
    varied: LettersDataConfig | None = None,
) -> list[Exemplar]:
    """Draw questions that are not known.

    Args:
      rng: draws them.
      lengths: fewest and most names.
      count: number of questions.
      known: names of other questions. Those of held-out questions are added.
      varied: how questions to learn differ from held-out ones; None for the latter. Each question
        to learn has letters of an alphabet of its own. In small ones letters repeat, so that
        copying needs more context than the letter before.
    """
    made: list[Exemplar] = []
    while len(made) < count:
        size = int(rng.integers(lengths[0], lengths[1] + 1))
        alphabet, longest, given = ascii_lowercase, HELD_OUT_LETTERS, ""
        if varied is not None:
            different = int(rng.integers(_FEWEST_LETTERS, len(alphabet) + 1))
            alphabet = "".join(rng.permutation(list(alphabet))[:different].tolist())
            longest = varied.train_letters
            if rng.integers(2):
                letters = int(rng.integers(1, varied.given_letters + 1))
                given = "".join(rng.choice(list(alphabet), letters).tolist())
        names: list[str] = []
        while len(names) < size:
            name = make_name(rng, longest, alphabet)
            if name not in names:
                names.append(name)
        if tuple(names) in known:
            continue
        if varied is None:
            known.add(tuple(names))
        made.append(last_letters(names, given))
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
