"""Wordings by a grammar: texts that say the same, and small changes of one of them.

A grammar maps symbols to alternatives, which are texts with symbols in braces. A derivation is the
tree of the alternatives that were chosen, so a part of a text can be said anew while the rest
stays.
"""

import dataclasses
import string
from collections.abc import Mapping, Sequence

import numpy as np

from jaxrec.core import ConfigError, nearest

START = "start"


@dataclasses.dataclass(frozen=True)
class Derivation:
    """A text as the tree of its choices.

    Attributes:
      symbol: what was replaced.
      choice: number of the alternative.
      parts: derivations of the symbols in the alternative, from left to right.
    """

    symbol: str
    choice: int
    parts: tuple["Derivation", ...] = ()

    @property
    def size(self) -> int:
        """Number of choices."""
        return 1 + sum(part.size for part in self.parts)


@dataclasses.dataclass(frozen=True)
class Grammar:
    """Alternatives by symbol; "start" is the symbol of a whole text.

    Raises:
      ConfigError: no "start", a symbol without alternatives, an unknown symbol, or symbols that
        lead back to themselves, which would derive endless texts.

    Example:
      >>> rules = {"start": ["{say} {what}."], "say": ["Say", "Tell me"], "what": ["why", "who"]}
      >>> sorted(Grammar(rules).texts())
      ['Say who.', 'Say why.', 'Tell me who.', 'Tell me why.']
    """

    rules: Mapping[str, Sequence[str]]

    def __post_init__(self) -> None:
        """Reject rules that derive nothing, or never end."""
        if START not in self.rules:
            raise ConfigError(
                f"a grammar needs the symbol {START!r}; it has {', '.join(self.rules)}"
            )
        for symbol, alternatives in self.rules.items():
            if not alternatives:
                raise ConfigError(f"symbol {symbol!r} has no alternatives; give at least one text")
            for text in alternatives:
                for part in _symbols(text):
                    if part not in self.rules:
                        raise ConfigError(
                            f"{text!r} names the symbol {part!r}, which has no rule"
                            f"{nearest(part, self.rules)}; symbols: {', '.join(self.rules)}"
                        )
        for symbol in self.rules:
            self._check_ends(symbol, ())

    def _check_ends(self, symbol: str, above: tuple[str, ...]) -> None:
        if symbol in above:
            raise ConfigError(
                f"symbol {symbol!r} leads back to itself by {' -> '.join((*above, symbol))}, so "
                "its texts never end; take it out of one of them"
            )
        for text in self.rules[symbol]:
            for part in _symbols(text):
                self._check_ends(part, (*above, symbol))

    def draw(self, rng: np.random.Generator, symbol: str = START) -> Derivation:
        """Draw a derivation; alternatives of a symbol are equally likely."""
        choice = int(rng.integers(len(self.rules[symbol])))
        parts = _symbols(self.rules[symbol][choice])
        return Derivation(symbol, choice, tuple(self.draw(rng, part) for part in parts))

    def vary(self, rng: np.random.Generator, derivation: Derivation) -> Derivation:
        """Choose one of the choices at random, and draw it and what depends on it anew."""
        return self._vary(rng, derivation, int(rng.integers(derivation.size)))

    def _vary(self, rng: np.random.Generator, derivation: Derivation, at: int) -> Derivation:
        if at == 0:
            return self.draw(rng, derivation.symbol)
        at -= 1
        parts = list(derivation.parts)
        for number, part in enumerate(parts):
            if at < part.size:
                parts[number] = self._vary(rng, part, at)
                break
            at -= part.size
        return dataclasses.replace(derivation, parts=tuple(parts))

    def text(self, derivation: Derivation) -> str:
        """Write a derivation."""
        words = self.rules[derivation.symbol][derivation.choice]
        parts = iter(derivation.parts)
        pieces = [
            literal + (self.text(next(parts)) if name is not None else "")
            for literal, name, _, _ in string.Formatter().parse(words)
        ]
        return "".join(pieces)

    def texts(self, symbol: str = START) -> list[str]:
        """All texts of a symbol; their number is a product, so only for small grammars."""
        found = []
        for words in self.rules[symbol]:
            written = [""]
            for literal, name, _, _ in string.Formatter().parse(words):
                ends = [""] if name is None else self.texts(name)
                written = [text + literal + end for text in written for end in ends]
            found += written
        return found


def _symbols(text: str) -> list[str]:
    return [name for _, name, _, _ in string.Formatter().parse(text) if name is not None]
