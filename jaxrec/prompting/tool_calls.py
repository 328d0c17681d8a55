r"""Calls of tools as text: `[name(input)]` before a call is run, `[name(input) -> result]` after.

The form is Toolformer's (Schick et al. 2023, arXiv:2302.04761). What would end a call early is
escaped by a backslash: square brackets and backslashes anywhere, and a `)` of the input that an
arrow follows. So every call can be written and read back, whatever its input and result are. Text
that only resembles a call is left alone.
"""

import dataclasses
import re

from jaxrec.core import ConfigError

ARROW = "->"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# From "[name(" to the next bracket that is not escaped, which must close it. An escaped bracket
# begins no call; otherwise each of many would look through the whole rest of a text.
_OUTER = re.compile(r"(?<!\\)\[([A-Za-z_][A-Za-z0-9_]*)\(((?:[^\\\[\]]|\\.)*)\]", re.DOTALL)
# The input of a call that has a result, and the whole of one that has none; each in one pass.
_WITH_RESULT = re.compile(r"((?:[^\\)]|\\.|\)(?! ?(?:->|→)))*)\) ?(?:->|→) ?(.*)", re.DOTALL)
_WITHOUT_RESULT = re.compile(r"((?:[^\\]|\\.)*)\)", re.DOTALL)
_ESCAPED = re.compile(r"\\([\\\[\])])")


@dataclasses.dataclass(frozen=True)
class ToolCall:
    """A call of a tool.

    Attributes:
      name: of the tool: letters, digits and underscores.
      input: text that the tool gets.
      result: text that it returned; None before it is run.

    Raises:
      ConfigError: a name with other characters, or a part that is no text.

    Example:
      >>> str(ToolCall("Calculator", "2 + 3", "5")), str(ToolCall("Calendar", ""))
      ('[Calculator(2 + 3) -> 5]', '[Calendar()]')
    """

    name: str
    input: str
    result: str | None = None

    def __post_init__(self) -> None:
        for part, text in (("name", self.name), ("input", self.input), ("result", self.result)):
            if not isinstance(text, str) and not (part == "result" and text is None):
                raise ConfigError(f"the {part} of a call must be a text, got {text!r:.60}")
        if not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"the name of a tool must be letters, digits and underscores, got {self.name!r}"
            )

    def __str__(self) -> str:
        """The call as text, from bracket to bracket."""
        given = re.sub(r"\)(?= ?(?:->|→))", r"\)", _escape(self.input))
        result = "" if self.result is None else f" {ARROW} {_escape(self.result)}"
        return f"[{self.name}({given}){result}]"


@dataclasses.dataclass(frozen=True)
class FoundCall:
    """A call in a text.

    Attributes:
      call: what is called.
      start: place of its opening bracket.
      end: place after its closing bracket.
    """

    call: ToolCall
    start: int
    end: int


def find_calls(text: str) -> list[FoundCall]:
    r"""Find the calls in a text, from the left to the right.

    Args:
      text: any text. The arrow may also be written "→", and the space on each side of it is
        optional.

    Returns:
      Calls that do not overlap. A bracket without its end, or without the form of a call, is none.

    Cost: linear in the length of the text.

    Example:
      >>> [found.call for found in find_calls("It is [Calendar()] and [see above] [f(a\\]) -> b]")]
      [ToolCall(name='Calendar', input='', result=None), ToolCall(name='f', input='a]', result='b')]
    """
    found = []
    for match in _OUTER.finditer(text):
        name, body = match.groups()
        if match_result := _WITH_RESULT.fullmatch(body):
            call = ToolCall(name, *map(_unescape, match_result.groups()))
        elif match_input := _WITHOUT_RESULT.fullmatch(body):
            call = ToolCall(name, _unescape(match_input[1]))
        else:
            continue
        found.append(FoundCall(call, match.start(), match.end()))
    return found


def without_calls(text: str) -> str:
    """Return a text without its calls and without the space before each of them.

    Example:
      >>> without_calls("The sum is [Calculator(2 + 3) -> 5] 5.")
      'The sum is 5.'
    """
    parts, place = [], 0
    for found in find_calls(text):
        parts.append(text[place : found.start].removesuffix(" "))
        place = found.end
    return "".join([*parts, text[place:]])


def _escape(text: str) -> str:
    return re.sub(r"[\\\[\]]", r"\\\g<0>", text)


def _unescape(text: str) -> str:
    return _ESCAPED.sub(r"\1", text)
