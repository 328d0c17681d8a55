r"""Prompts of LLM4RS: point-wise, pair-wise and list-wise, with demonstrations.

    You recommend movies.                                                       role
    Input: ... (A) Alien (B) Cats ...\nOutput: The answer index is B A.         demonstration
    Input: ... (A) Heat (B) Babe ...\nOutput: The answer index is               query

The structure is that of the published prompts; the wording is our own.
"""

import dataclasses
import functools
import itertools
import re
from collections.abc import Sequence

import numpy as np

from jaxrec.core import DataError
from jaxrec.data import MarkedText, Template
from jaxrec.systems.llm4rs.config import Form, PromptConfig
from jaxrec.texts import LETTERS, Datum, target_places

FORMS: tuple[Form, ...] = ("point", "pair", "list")
# What a domain calls one item, several items, and what users did with them.
_WORDS = {
    "movies": ("movie", "movies", "watched"),
    "books": ("book", "books", "read"),
    "music": ("album", "albums", "listened to"),
    "news": ("news story", "news stories", "read"),
    "items": ("item", "items", "used"),
}
_ROLE = "You recommend {many}.\n"
_SHOWN = "Input: A user {used} and liked these {many}, oldest first: {history}. "
_TEMPLATES = {
    "point": _SHOWN
    + "How does the user rate {candidate}, from 1 (worst) to 5 (best)?\nOutput: The rating is",
    "pair": _SHOWN
    + "Which one does the user like more, (A) {first} or (B) {second}?\n"
    + "Output: The answer index is",
    "list": _SHOWN + "Rank these candidates, best first: {candidates}\nOutput: The answer index is",
}
# The ratings of demonstrations by their number, as published: up to 3 a negative is rated, and
# above 3 the target.
_SHOWN_RATINGS = ((), (3,), (1, 5), (1, 3, 5), (1, 2, 4, 5), (1, 2, 3, 4, 5))
_ARTICLES = re.compile(r"^(.*), (The|A|An)$")


def clean_title(title: str) -> str:
    """Put an article in front, and drop what stands in brackets at the end, such as a year.

    Example:
      >>> clean_title("Postino, Il (The Postman) (1994)"), clean_title("Usual Suspects, The (1995)")
      ('Postino, Il', 'The Usual Suspects')
    """
    short = re.sub(r"( \([^()]*\))+$", "", title.strip()) or title.strip()
    match = _ARTICLES.match(short)
    return f"{match[2]} {match[1]}" if match else short


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Prompter:
    """Writes prompts.

    Attributes:
      config: how they are written.
      titles: of all items; two items may have the same.
      pool: instances that demonstrations come from.
      seed: seed of the orders of negatives in list-wise demonstrations.

    Raises:
      DataError: fewer instances in the pool than demonstrations.

    Example:
      >>> import numpy as np
      >>> from jaxrec.systems.llm4rs import PromptConfig, Prompter
      >>> from jaxrec.texts import Datum
      >>> config = PromptConfig(list="{history} > {candidates} =", role=False)
      >>> prompter = Prompter(config=config, titles=["Alien", "Babe", "Cats"])
      >>> one = Datum(history=np.array([0]), candidates=np.array([2, 1]), item=1)
      >>> prompter.prompts("list", one)
      ['Alien > (A) Cats (B) Babe =']
    """

    config: PromptConfig
    titles: Sequence[str]
    pool: Sequence[Datum] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if len(self.pool) < self.config.demonstrations:
            raise DataError(
                f"{self.config.demonstrations} demonstrations need as many instances, and the pool "
                f"has {len(self.pool)}; lower --prompt.demonstrations"
            )

    def prompts(self, form: Form, datum: Datum) -> list[str]:
        """Write the prompts of an instance: one for each candidate, each pair, or one."""
        before = self.begin(form)
        return [before + self.query(form, datum, places) for places in self.places(form, datum)]

    def places(self, form: Form, datum: Datum) -> list[tuple[int, ...]]:
        """List the places of the candidates that each prompt asks about."""
        count = len(np.asarray(datum.candidates))
        if form == "point":
            return [(place,) for place in range(count)]
        if form == "pair":
            # Each candidate is named first about as often as second.
            return [
                (a, b) if (a + b) % 2 else (b, a)
                for a, b in itertools.combinations(range(count), 2)
            ]
        return [tuple(range(count))]

    def query(self, form: Form, datum: Datum, places: Sequence[int]) -> str:
        """Write one question, without role and demonstrations."""
        candidates = np.asarray(datum.candidates)
        names = [self._name(candidates[place]) for place in places]
        history = () if datum.history is None else datum.history
        one, many, used = _WORDS[self.config.domain]
        fields = {"one": one, "many": many, "used": used}
        fields["history"] = ", ".join(map(self._name, history))
        if form == "point":
            fields["candidate"] = names[0]
        elif form == "pair":
            fields["first"], fields["second"] = names
        else:
            pairs = zip(LETTERS, names, strict=False)
            fields["candidates"] = " ".join(f"({letter}) {name}" for letter, name in pairs)
        return self._templates[form].ask(fields)

    def begin(self, form: Form) -> str:
        """Return what stands before every query of a form: the role, and the demonstrations."""
        return self._begin[form]

    def text(self, form: Form, datum: Datum, places: Sequence[int], answer: str) -> MarkedText:
        """Write a text to learn from: role, question and answer, of which the answer is learned."""
        prompt = self._role + self.query(form, datum, places)
        return MarkedText(f"{prompt} {answer}", ((len(prompt), len(prompt) + 1 + len(answer)),))

    def pieces(self, form: Form) -> list[str]:
        """List the fixed pieces of a form's prompts, in the words of the domain."""
        one, many, used = _WORDS[self.config.domain]
        words = {"one": one, "many": many, "used": used}
        marks = dict.fromkeys(self._templates[form].holes - set(words), "\0")
        whole = self._role + self._templates[form].ask(words | marks)
        return [piece for piece in whole.split("\0") if piece]

    @property
    def _role(self) -> str:
        return _ROLE.format(many=_WORDS[self.config.domain][1]) if self.config.role else ""

    @functools.cached_property
    def _begin(self) -> dict[str, str]:
        return {
            form: self._role + "".join(f"{text}\n" for text in self._demonstrations(form))
            for form in FORMS
        }

    def _demonstrations(self, form: Form) -> list[str]:
        shown = []
        for number, datum in enumerate(self.pool[: self.config.demonstrations]):
            rng = np.random.default_rng([self.seed, number])
            target = int(target_places([datum])[0])
            others = list(range(len(np.asarray(datum.candidates))))
            others.remove(target)
            others = rng.permutation(others).tolist()
            places: tuple[int, ...]
            if form == "point":
                rating = _SHOWN_RATINGS[self.config.demonstrations][number]
                places, answer = ((target if rating > 3 else others[0]),), str(rating)
            elif form == "pair":
                # The right answers alternate.
                first = number % 2 == 0
                places = (target, others[0]) if first else (others[0], target)
                answer = "A" if first else "B"
            else:
                places = tuple(range(len(others) + 1))
                answer = " ".join(LETTERS[place] for place in (target, *others))
            shown.append(f"{self.query(form, datum, places)} {answer}.")
        return shown

    @functools.cached_property
    def _templates(self) -> dict[str, Template]:
        own = {form: getattr(self.config, form) for form in FORMS}
        return {
            form: Template(name=form, source=text or _TEMPLATES[form], target="")
            for form, text in own.items()
        }

    def _name(self, item: int) -> str:
        title = self.titles[item]
        return f'"{title}"' if self.config.quoted else title
