"""The words of a text and the BIOES tags of the skills that it names."""

from collections.abc import Iterable, Sequence

from jaxrec.data import Span, normalize_word, tags_of_spans, word_places

KIND = "skill"


def tagged_words(text: str, skills: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Tag every occurrence of the skills of a text; of two that overlap, the longer is tagged.

    Args:
      text: of a job or a resume.
      skills: that the text names.

    Returns:
      Words, and a BIOES tag for each.

    Example:
      >>> tagged_words("You bring machine learning, and SQL.", ["SQL", "machine learning"])[1]
      ('O', 'O', 'B-skill', 'E-skill', 'O', 'O', 'S-skill', 'O')
    """
    words = [text[a:b] for a, b in word_places(text)]
    found = _places(words, skills)
    spans = [Span(start, end, KIND) for start, end in _apart(list(found))]
    return tuple(words), tuple(tags_of_spans(spans, len(words)))


def named_skills(text: str, skills: Iterable[str]) -> tuple[str, ...]:
    """The different skills that a text names, in the order given.

    Args:
      text: any.
      skills: that it may name.

    Example:
      >>> named_skills("Digital tools, and SQL.", ["Git", "SQL", "SQL"])
      ('SQL',)
    """
    words = [text[a:b] for a, b in word_places(text)]
    found = set(_places(words, skills).values())
    return tuple(skill for skill in dict.fromkeys(skills) if skill in found)


def _places(words: Sequence[str], skills: Iterable[str]) -> dict[tuple[int, int], str]:
    """The skill at every place, begin and end in words; places may overlap."""
    normal = [normalize_word(word) for word in words]
    by_first: dict[str, list[tuple[tuple[str, ...], str]]] = {}
    for skill in skills:
        phrase = tuple(normalize_word(skill[a:b]) for a, b in word_places(skill))
        if phrase:
            by_first.setdefault(phrase[0], []).append((phrase, skill))
    return {
        (start, start + len(phrase)): skill
        for start, word in enumerate(normal)
        for phrase, skill in by_first.get(word, ())
        if tuple(normal[start : start + len(phrase)]) == phrase
    }


def _apart(places: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The longest places first, then the earliest, without any that overlap one taken before."""
    taken: set[int] = set()
    kept = []
    for start, end in sorted(places, key=lambda place: (place[0] - place[1], place)):
        if taken.isdisjoint(range(start, end)):
            taken.update(range(start, end))
            kept.append((start, end))
    return sorted(kept)
