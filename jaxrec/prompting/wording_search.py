"""A search for the wording of a prompt: paraphrases compete on training data.

Each round keeps the best wordings and puts paraphrases of them beside them (as in APE, Zhou et al.
2022, arXiv:2211.01910, section 3.3). Paraphrases come from a grammar or from a language model.
Training data only rank the wordings; the choice among the best few is by other data, because the
best of many is better on what it was chosen by than anywhere else.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from jaxrec.core import ConfigError, Count, Whole, check_ranges
from jaxrec.prompting.grammar import Derivation, Grammar
from jaxrec.prompting.language_model import GenerateOptions, LanguageModel

ASK = "Say the same in other words.\nText: {text}\nIn other words:"
# Higher is better; one number for each text.
Score = Callable[[Sequence[str]], np.ndarray]


class Paraphrases(Protocol):
    """Finds texts that say the same."""

    def begin(self, rng: np.random.Generator, count: int) -> list[str]:
        """Up to `count` texts without a model for them."""

    def vary(self, rng: np.random.Generator, text: str, count: int) -> list[str]:
        """Up to `count` paraphrases of a text; none if there is nothing to say of it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class WordingOptions:
    """How long a search is, and how wide.

    Attributes:
      rounds: number of rounds after the first.
      begin: number of wordings of the first round, besides those that are given.
      keep: number of the best wordings that a round keeps.
      variants: number of paraphrases of each wording that is kept.
      seed: seed of the draws.

    Example:
      >>> WordingOptions(rounds=2).keep
      4
    """

    rounds: Whole = 3
    begin: Count = 16
    keep: Count = 4
    variants: Count = 4
    seed: Whole = 0

    def __post_init__(self) -> None:
        """Reject numbers out of range."""
        check_ranges(self, "")


class GrammarParaphrases:
    """Paraphrases by a grammar, with a capital at the start; it varies only what it has derived.

    Example:
      >>> rules = {"start": ["{say} why."], "say": ["Say", "Tell me"]}
      >>> GrammarParaphrases(Grammar(rules)).begin(np.random.default_rng(0), 9)
      ['Tell me why.', 'Say why.']
    """

    def __init__(self, grammar: Grammar) -> None:
        """Begin without derivations."""
        self._grammar = grammar
        self._known: dict[str, Derivation] = {}

    def begin(self, rng: np.random.Generator, count: int) -> list[str]:
        """Draw derivations."""
        return self._distinct(count, lambda: self._grammar.draw(rng))

    def vary(self, rng: np.random.Generator, text: str, count: int) -> list[str]:
        """Derive one part of the text anew."""
        derivation = self._known.get(text)
        if derivation is None:
            return []
        found = self._distinct(count + 1, lambda: self._grammar.vary(rng, derivation))
        return [other for other in found if other != text][:count]

    def _distinct(self, count: int, draw: Callable[[], Derivation]) -> list[str]:
        found: dict[str, Derivation] = {}
        # A small grammar has fewer texts than are asked for.
        for _ in range(20 * count):
            derivation = draw()
            text = self._grammar.text(derivation)
            found.setdefault(text[:1].upper() + text[1:], derivation)
            if len(found) == count:
                break
        self._known |= found
        return list(found)


@dataclasses.dataclass(frozen=True)
class ModelParaphrases:
    """Paraphrases by any language model; what it varies first are the texts that are given.

    Attributes:
      model: writes the paraphrases.
      ask: the prompt, with {text}.
      max_tokens: most tokens of a paraphrase.

    Example:
      >>> from jaxrec.prompting import ScriptedModel
      >>> model = ScriptedModel(lambda prompt, sample: " Will it please?")
      >>> ModelParaphrases(model).vary(np.random.default_rng(0), "Do they like it?", 3)
      ['Will it please?']
    """

    model: LanguageModel
    ask: str = ASK
    max_tokens: int = 48

    def begin(self, rng: np.random.Generator, count: int) -> list[str]:
        """None: a model needs a text to say in other words."""
        return []

    def vary(self, rng: np.random.Generator, text: str, count: int) -> list[str]:
        """Sample paraphrases; only the first line of an answer counts."""
        options = GenerateOptions(
            max_tokens=self.max_tokens, n=count, temperature=1.0, seed=int(rng.integers(2**31))
        )
        reply = self.model.generate([self.ask.replace("{text}", text)], options)[0]
        lines = [answer.strip().partition("\n")[0].strip() for answer in reply.texts]
        return [line for line in dict.fromkeys(lines) if line and line != text]


@dataclasses.dataclass(frozen=True)
class Wording:
    """A wording that was tried.

    Attributes:
      text: what it says.
      score: on training data; higher is better.
      round: when it was tried first, from 0.
    """

    text: str
    score: float
    round: int


def search_wordings(
    score: Score, paraphrases: Paraphrases, given: Sequence[str], options: WordingOptions
) -> list[Wording]:
    """Search for the wording with the highest score on training data.

    Args:
      score: measures texts on training data; each text once.
      paraphrases: finds other wordings.
      given: wordings that take part from the first round.
      options: length and width of the search.

    Returns:
      All wordings that were tried, the best first; of equal ones, the one that was tried first.

    Raises:
      ConfigError: there is no wording to begin with.

    Example:
      >>> rules = {"start": ["{say} {what}."], "say": ["Say", "Tell"], "what": ["why", "whom"]}
      >>> def longest(texts):
      ...     return np.array([len(text) for text in texts])
      >>> search_wordings(longest, GrammarParaphrases(Grammar(rules)), [], WordingOptions())[0].text
      'Tell whom.'
    """
    rng = np.random.default_rng(options.seed)
    tried: dict[str, Wording] = {}
    texts = [*given, *paraphrases.begin(rng, options.begin)]
    if not texts:
        raise ConfigError("there is no wording to begin with; give texts, or use a grammar")
    for number in range(options.rounds + 1):
        new = [text for text in dict.fromkeys(texts) if text not in tried]
        scores = score(new) if new else np.zeros(0)
        for text, value in zip(new, scores.tolist(), strict=True):
            tried[text] = Wording(text, float(value), number)
        best = sorted(tried.values(), key=lambda wording: -wording.score)[: options.keep]
        texts = [
            other
            for wording in best
            for other in paraphrases.vary(rng, wording.text, options.variants)
        ]
    return sorted(tried.values(), key=lambda wording: -wording.score)
