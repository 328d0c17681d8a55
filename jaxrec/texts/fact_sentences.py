"""How texts state facts: before prompts, and in a sentence that is read back exactly.

A fact of an item is a pair of a relation and a value, such as ("has_genre", "drama").
`state` and `statements` are inverse to each other. They are for models that are trained to write
this one form; what a language model states in a text of its own is read by `Facts.mentioned`.
"""

import re
from collections.abc import Sequence

HAS_GENRE, RELEASED_IN = "has_genre", "released_in"
# Between the genres of a sentence.
BETWEEN = " , "
_TOLD = {HAS_GENRE: "{name} has genre {value}", RELEASED_IN: "{name} is from {value}"}
_SENTENCE = re.compile(r"a film(?: of (?P<genres>.+?))?(?: from (?P<year>\d{4}))?")


def tell(pairs: Sequence[tuple[str, str]], name: str) -> str:
    """Write facts as prompts tell them.

    Args:
      pairs: (relation, value) pairs.
      name: of the item that they are about.

    Example:
      >>> tell([("has_genre", "drama"), ("released_in", "1994")], "Ran")
      'Ran has genre drama , Ran is from 1994'
    """
    return BETWEEN.join(_TOLD[relation].format(name=name, value=v) for relation, v in pairs)


def state(pairs: Sequence[tuple[str, str]]) -> str:
    """Write facts as a sentence; "" for none.

    Example:
      >>> state([("has_genre", "drama"), ("released_in", "1994")])
      'a film of drama from 1994'
    """
    genres = BETWEEN.join(value for relation, value in pairs if relation == HAS_GENRE)
    years = [value for relation, value in pairs if relation == RELEASED_IN]
    text = "a film" + (f" of {genres}" if genres else "") + "".join(f" from {y}" for y in years)
    return text if pairs else ""


def statements(text: str) -> list[tuple[str, str]]:
    """Read the facts that a sentence states, each once; none of a sentence of another form.

    Example:
      >>> statements("a film of drama , war from 1994")
      [('has_genre', 'drama'), ('has_genre', 'war'), ('released_in', '1994')]
      >>> statements("drama , I think")
      []
    """
    match = _SENTENCE.fullmatch(text.strip())
    if match is None:
        return []
    genres = match["genres"].split(BETWEEN) if match["genres"] else []
    years = [(RELEASED_IN, match["year"])] if match["year"] else []
    return list(dict.fromkeys([*((HAS_GENRE, name.strip()) for name in genres), *years]))


def describe(pairs: Sequence[tuple[str, str]], name: str, kind: str = "genres") -> str:
    """Write facts as they stand before the prompt of a language model; "" for none.

    Args:
      pairs: (relation, value) pairs.
      name: of the item that they are about.
      kind: what the items' kinds are called, see `Facts.kind`.

    Example:
      >>> pairs = [("has_genre", "drama"), ("has_genre", "war"), ("released_in", "1994")]
      >>> describe(pairs, "Ran")
      'Ran: genres drama, war; year 1994.'
    """
    values = {
        word: ", ".join(value for relation, value in pairs if relation == wanted)
        for wanted, word in relation_words(kind).items()
    }
    parts = "; ".join(f"{word} {said}" for word, said in values.items() if said)
    return f"{name}: {parts}." if parts else ""


def relation_words(kind: str) -> dict[str, str]:
    """What each relation is called in texts for people and language models."""
    return {HAS_GENRE: kind, RELEASED_IN: "year"}
