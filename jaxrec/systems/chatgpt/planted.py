"""Scripts in place of a language model, with known faults that the measurements must find.

A script knows every question of the study beforehand, but never which answer is right. Its lists
are candidates by popularity or by their place in the prompt, so the position bias that is planted
has a known slope. Its illegal answers are of two kinds: one that rules repair, and one that only a
further question does.
"""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from jaxrec.eval import split_year
from jaxrec.prompting import ScriptedModel
from jaxrec.systems.chatgpt.config import PlantedConfig
from jaxrec.systems.chatgpt.data import ChatData
from jaxrec.systems.chatgpt.study import as_lines
from jaxrec.systems.chatgpt.tasks import WORDS, ChatTask
from jaxrec.texts import CatalogueItem, Choice, Datum, FreeText, OneOfCandidates, Questions

# One long line of words that no form accepts. Each complaint adds a word to its front.
_HESITATION, _RAMBLE = "Hm", "let me think about it for a while because it is not easy " * 6
_LETTERS = "bcdfghjk"
# Share of the titles with a fault that are made up; the others are misspelled.
_INVENTED = 0.25


@dataclasses.dataclass(frozen=True, eq=False)
class _Question:
    task: ChatTask
    datum: Datum


def planted_model(
    config: PlantedConfig, data: ChatData, asked: Sequence[tuple[ChatTask, Questions]]
) -> ScriptedModel:
    """Make the script of a study.

    Args:
      config: what is planted.
      data: of the study.
      asked: tasks with all questions that they are asked, whole prompts.
    """
    known: dict[str, _Question] = {
        prompt: _Question(task, datum)
        for task, questions in asked
        for prompt, datum in zip(questions.prompts, questions.data, strict=True)
    }
    counts = np.bincount(data.dataset.split.train.item, minlength=data.dataset.num_items)

    def answer(prompt: str, sample: int) -> str:
        first = prompt if prompt in known else _original(prompt, known)
        task, datum = known[first].task, known[first].datum
        by_place = config.script == "position" and _draw(str(datum.user), "place") < config.share
        legal = _legal(task, datum, data, counts, by_place)
        if config.script == "misspelled" and "\n" in legal:
            return "\n".join(_misspelled(line, first, config.share) for line in legal.split("\n"))
        if config.script not in ("malformed", "stubborn") or _draw(first, "fault") >= config.share:
            return legal
        if config.script == "stubborn":
            # Never twice the same, so that only the number of rounds ends the loop.
            mark = "".join(_LETTERS[int(_draw(prompt, str(n)) * 8)] for n in range(12))
            return f"{mark} {_RAMBLE}"
        if _draw(first, "kind") < 0.5:
            return legal if prompt != first else _wordy(task, legal)
        needed = 1 + int(_draw(first, "complaints") * config.complaints)
        told = _told(prompt, first)
        return legal if told >= needed else f"{f'{_HESITATION} ' * (told + 1)}{_RAMBLE}"

    return ScriptedModel(answer, name=f"planted-{config.script}")


def _original(prompt: str, known: Mapping[str, _Question]) -> str:
    """The question that a further question repeats."""
    return max((first for first in known if first in prompt), key=len)


def _told(prompt: str, first: str) -> int:
    """How many complaints came before this question, as the quoted answer shows."""
    words = prompt.replace(first, "", 1).split()
    return next((n for n, word in enumerate(words) if word != _HESITATION), len(words))


def _wordy(task: ChatTask, legal: str) -> str:
    """A legal answer with words around it, which rules can take away."""
    if isinstance(task.answer, OneOfCandidates | CatalogueItem):
        return f"Sure! Here is what I would choose:\n{legal}\nI hope that helps."
    if isinstance(task.answer, Choice):
        return f"My answer is {legal}, as far as I can tell."
    assert isinstance(task.answer, FreeText)
    if task.answer.parse is not None:
        return f"I would say {legal} out of 5 stars."
    return f"{legal}\n{_RAMBLE}"


def _legal(task: ChatTask, datum: Datum, data: ChatData, counts: np.ndarray, by_place: bool) -> str:
    if isinstance(task.answer, OneOfCandidates):
        items = np.asarray(datum.candidates)
        order = items if by_place else items[np.lexsort((items, -counts[items]))]
        return as_lines(data, order.tolist())
    if isinstance(task.answer, CatalogueItem):
        order = np.lexsort((np.arange(len(counts)), -counts))
        # Like any model, a script knows no more of a history than the prompt shows.
        shown = np.asarray(datum.history)[-data.max_items :]
        return as_lines(data, order[~np.isin(order, shown)].tolist())
    if isinstance(task.answer, Choice):
        return WORDS[int(_draw(str((datum.user, datum.asked)), "word") * len(WORDS))]
    assert isinstance(task.answer, FreeText)
    if task.answer.parse is not None:
        return str(1 + int(_draw(str((datum.user, datum.item)), "stars") * 5))
    return "I like it a lot"


def _misspelled(line: str, first: str, share: float) -> str:
    """A numbered title without one of its letters, or a title that no film has."""
    drawn, key = _draw(first, line), f"{first}{line}"
    number, title = line.split(" ", 1)
    if drawn < share * _INVENTED:
        word = "".join(_LETTERS[int(_draw(key, str(n)) * 8)] for n in range(9))
        return f"{number} {word.title()} Qvx"
    if drawn < share:
        name = split_year(title).title
        place = int(_draw(key, "place") * len(name))
        return f"{number} {name[:place]}{name[place + 1 :]}"
    return line


def _draw(text: str, what: str) -> float:
    """A number in [0, 1) that only depends on texts."""
    digest = hashlib.sha256(f"{what}:{text}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
