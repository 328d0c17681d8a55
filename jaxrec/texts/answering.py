"""Any language model as one that answers text tasks: it writes, and its text is read and repaired.

`Prompted` answers by search and likelihoods, which need a model's parameters. An `AskedAnswerer`
only needs texts, so a service can answer the same tasks. Each call is one study of the repair loop
(`refine`), whose counts it keeps.

Shapes: `N` prompts, `K` items of a list, `A` texts to choose from, `I` items.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from jaxrec.core import ConfigError
from jaxrec.prompting import GenerateOptions, LanguageModel
from jaxrec.texts.answer_forms import candidate_list_form, title_list_form, word_form
from jaxrec.texts.grounding import Grounded, Grounding
from jaxrec.texts.repair import AnswerForm, Refined, RepairOptions, refine

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class AskedAnswerer:
    """A `LanguageModel` as an `Answerer`.

    Attributes:
      model: what is asked.
      grounding: the catalogue.
      list_tokens: most tokens of a list.
      stop: strings that end an answer.
      repair: how illegal answers are repaired.
      forms: what `write` wants of the answer to each of its prompts; empty for any text.
      title: of the progress bar.
      refined: what the repair loop counted, one entry for each call.
      grounded: the titles of free lists, and what they mean, one entry for each call.

    Example:
      >>> import numpy as np
      >>> from jaxrec.prompting import ScriptedModel
      >>> from jaxrec.texts import AskedAnswerer, Grounding
      >>> script = ScriptedModel(lambda prompt, sample: "1. heat")
      >>> answerer = AskedAnswerer(model=script, grounding=Grounding(["Alien", "Heat"]))
      >>> answerer.recommend(["Which film?"], beams=2)[0].tolist()
      [[1, -1]]
      >>> answerer.refined[0].compliance()["compliance"]
      1.0
    """

    model: LanguageModel
    grounding: Grounding
    list_tokens: int = 200
    stop: tuple[str, ...] = ("\n\n",)
    repair: RepairOptions = RepairOptions()
    forms: Sequence[AnswerForm[str]] = ()
    title: str = "ask"
    refined: list[Refined[Any]] = dataclasses.field(default_factory=list, init=False)
    grounded: list[list[Grounded]] = dataclasses.field(default_factory=list, init=False)

    @property
    def num_items(self) -> int:
        """I, items that it can recommend."""
        return len(self.grounding.titles)

    def recommend(
        self,
        prompts: Sequence[str],
        *,
        beams: int,
        allowed: np.ndarray | None = None,
        excluded: Sequence[np.ndarray] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Ask for lists of titles.

        Args:
          prompts: N prompts.
          beams: K, most items of a list.
          allowed: bool `[N, I]`, the candidates of each prompt; None for the whole catalogue, whose
            titles the model has to know.
          excluded: items that count as nothing, such as those of the history; None for no such.

        Returns:
          `[N, K]` item numbers, best first, -1 in unfilled places, and scores that fall by one with
          each place. An illegal answer is an empty list.
        """
        if allowed is not None:
            rows = [np.flatnonzero(row) for row in allowed]
            forms = [candidate_list_form(self.grounding, row, beams) for row in rows]
            listed = [
                [] if value is None else value.tolist() for value in self._ask(prompts, forms)
            ]
        else:
            # An invented title may be somewhat longer than those of the catalogue.
            longest = 20 + max(map(len, self.grounding.titles))
            free = self._ask(prompts, [title_list_form(beams, longest)] * len(prompts))
            titles = [value or [] for value in free]
            found = self.grounding.find([title for row in titles for title in row])
            self.grounded.append(found)
            numbers = iter([one.item for one in found])
            # Two titles may mean one item, which counts at its first place.
            listed = [
                list(dict.fromkeys(item for item in (next(numbers) for _ in row) if item >= 0))
                for row in titles
            ]
        items = np.full((len(prompts), beams), -1, np.int64)
        for n, row in enumerate(listed):
            dropped = set() if excluded is None else set(np.asarray(excluded[n]).tolist())
            kept = [item for item in row if item not in dropped]
            items[n, : len(kept)] = kept
        scores = np.where(items >= 0, -np.arange(beams, dtype=np.float64), -np.inf)
        return items, scores

    def score(self, prompts: Sequence[str], texts: Sequence[str]) -> np.ndarray:
        """Ask for one of a few words: `[N, A]`, 0 for the word that was chosen, -1 for the others.

        An illegal answer counts as the last word, which is the negative one of two.
        """
        chosen = self._ask(prompts, [word_form(texts)] * len(prompts), tokens=8)
        numbers = [len(texts) - 1 if value is None else value for value in chosen]
        return np.where(np.arange(len(texts)) == np.array(numbers)[:, None], 0.0, -1.0)

    def write(self, prompts: Sequence[str], max_tokens: int) -> list[str]:
        """Ask for texts of the wanted forms; an illegal one is "".

        Raises:
          ConfigError: fewer than 1 token, or forms for another number of prompts.
        """
        if max_tokens < 1:
            raise ConfigError(f"max_tokens must be at least 1, got {max_tokens}")
        forms = self.forms or [AnswerForm(read=lambda text: text)] * len(prompts)
        values = self._ask(prompts, forms, tokens=max_tokens)
        return ["" if value is None else value for value in values]

    def _ask(
        self, prompts: Sequence[str], forms: Sequence[AnswerForm[T]], tokens: int | None = None
    ) -> list[T | None]:
        options = GenerateOptions(max_tokens=tokens or self.list_tokens, stop=self.stop)
        refined = refine(self.model, prompts, forms, options, self.repair, title=self.title)
        self.refined.append(refined)
        return refined.values
