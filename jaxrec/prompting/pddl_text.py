"""Brackets of PDDL: nested lists of words, found in a text or read from it."""

import re

from jaxrec.core import DataError
from jaxrec.data import files

# A word, or a list of nodes.
Node = str | list["Node"]
_TOKEN = re.compile(r"[()]|[^\s()]+")
_COMMENT = re.compile(r";[^\n]*")
# A definition of STRIPS needs six levels, and readers call themselves once a level.
DEEPEST = 50


def read_brackets(text: str) -> list[Node]:
    r"""Read a text that is one bracketed list, in lower case and without comments.

    Args:
      text: PDDL, in which `;` begins a comment that ends with its line.

    Returns:
      The nested lists.

    Raises:
      DataError: brackets that do not match, or words outside of the list; the message names the
        line.

    Example:
      >>> read_brackets("(on A ; the red one\n b)")
      ['on', 'a', 'b']
    """
    open_lists: list[tuple[int, list[Node]]] = []
    whole: list[Node] | None = None
    for number, line in enumerate(text.split("\n"), start=1):
        for token in _TOKEN.findall(_COMMENT.sub("", line).lower()):
            if token == ")":
                if not open_lists:
                    raise DataError(f"line {number}: this ) closes nothing; remove it")
                _, done = open_lists.pop()
                if open_lists:
                    open_lists[-1][1].append(done)
                else:
                    whole = done
            elif whole is not None:
                shown = files.shown(token)
                raise DataError(
                    f"line {number}: {shown} stands after the end of the definition; write one "
                    "bracketed definition alone"
                )
            elif token == "(":
                if len(open_lists) == DEEPEST:
                    raise DataError(
                        f"line {number}: brackets are nested more than {DEEPEST} deep; write "
                        "conditions as (and ATOM ...)"
                    )
                open_lists.append((number, []))
            elif not open_lists:
                shown = files.shown(token)
                raise DataError(f"line {number}: {shown} stands outside of all brackets")
            else:
                open_lists[-1][1].append(token)
    if open_lists:
        raise DataError(f"line {open_lists[-1][0]}: this ( is never closed; add the missing )")
    if whole is None:
        raise DataError("there is no bracketed definition in this text; write (define ...)")
    return whole


def find_definition(text: str) -> str:
    """Return the bracketed definition inside the answer of a language model.

    Args:
      text: sentences before and after a definition.

    Returns:
      From "(define", or else from the first bracket, to the bracket that closes it. If none does,
      the rest of the text up to its last closing bracket, so that a reader can say what is missing.

    Raises:
      DataError: the text has no opening bracket.

    Example:
      >>> find_definition("Sure (easy): (define (problem p)) (Good luck!)")
      '(define (problem p))'
    """
    begin = re.search(r"\(\s*define\b", text, re.IGNORECASE) or re.search(r"\(", text)
    if begin is None:
        raise DataError("the answer contains no bracketed definition; write (define ...)")
    depth = 0
    # Comments keep their length, because a bracket inside of one does not count.
    bare = _COMMENT.sub(lambda found: " " * len(found.group()), text)
    for place in range(begin.start(), len(text)):
        depth += {"(": 1, ")": -1}.get(bare[place], 0)
        if depth == 0:
            return text[begin.start() : place + 1]
    end = bare.rfind(")")
    return text[begin.start() : end + 1] if end > begin.start() else text[begin.start() :]
