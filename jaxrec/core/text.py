"""Text from data and file names, as people may read it: control characters are shown, not obeyed.

A title can hold characters that move a terminal's cursor or turn the direction of writing, and a
directory's name can hold a space, a quote or bytes of no encoding.
"""

import os
import reprlib
import shlex
import unicodedata
from typing import Any

# Controls, halves of surrogate pairs (undecodable bytes of file names), line and paragraph ends.
_CATEGORIES = {"Cc", "Cs", "Zl", "Zp"}
# Formats that turn the direction of writing, beyond the text that they stand in.
_DIRECTIONS = {chr(code) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}

_SHOWN = 60  # most characters of a value in a message


def printable(text: str) -> str:
    r"""Return a text with its control characters written as escapes.

    Example:
      >>> print(printable("Alien\x1b[2J\nHeat"))
      Alien\x1b[2J\nHeat
    """
    return "".join(
        character.encode("unicode_escape", "backslashreplace").decode("ascii")
        if _obeyed(character)
        else character
        for character in text
    )


def quoted(text: object) -> str:
    r"""Return a text as one word of a shell command, whatever characters it has.

    Example:
      >>> print(quoted("my run"), quoted("runs/a"), quoted("a\x1b'b"))
      'my run' runs/a $'a\x1b\'b'
    """
    word = str(text)
    if not any(map(_obeyed, word)):
        return shlex.quote(word)
    # Bash and zsh read these escapes as bytes.
    parts = []
    for character in word:
        if _obeyed(character):
            parts += [f"\\x{byte:02x}" for byte in os.fsencode(character)]
        else:
            parts.append(f"\\{character}" if character in "\\'" else character)
    return f"$'{''.join(parts)}'"


def shown_value(value: Any) -> str:
    """Return how a message shows a value: in one short line, without control characters.

    Example:
      >>> shown_value("a" * 100)[-6:]
      'aaa...'
      >>> shown_value(list(range(10)))
      '[0, 1, 2, 3, 4, 5, ...]'
    """
    # A value may have megabytes, of which little is shown.
    text = printable(repr(value[: 2 * _SHOWN]) if isinstance(value, str) else reprlib.repr(value))
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def _obeyed(character: str) -> bool:
    return unicodedata.category(character) in _CATEGORIES or character in _DIRECTIONS
