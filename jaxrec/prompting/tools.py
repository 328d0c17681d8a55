"""Tools that a language model may call: a name, a description, and a function of text to text.

A tool that cannot answer says why under a name, which studies count. Whatever a tool raises, the
program that uses it goes on with an observation that tells the failure.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from jaxrec.core import ConfigError, nearest
from jaxrec.prompting.tool_calls import ToolCall

UNKNOWN_TOOL, EXCEPTION = "unknown_tool", "exception"


class ToolError(Exception):
    """A tool cannot answer.

    Attributes:
      failure: the kind of failure, one word, such as "division_by_zero".

    Example:
      >>> error = ToolError("no_match", "no document has these words")
      >>> error.failure, str(error)
      ('no_match', 'no document has these words')
    """

    def __init__(self, failure: str, message: str) -> None:
        super().__init__(message)
        self.failure = failure


@dataclasses.dataclass(frozen=True)
class Tool:
    """A tool.

    Attributes:
      name: how calls name it: letters, digits and underscores.
      description: a sentence that tells a model what it gives and what its input is.
      run: function of the input that returns a text, or raises a `ToolError`.

    Raises:
      ConfigError: a name that calls cannot have, no description, or no function.

    Example:
      >>> Tool("Upper", "Returns its input in capital letters.", str.upper).run("abc")
      'ABC'
    """

    name: str
    description: str
    run: Callable[[str], str]

    def __post_init__(self) -> None:
        ToolCall(self.name, "")
        if not isinstance(self.description, str) or not self.description.strip():
            raise ConfigError(f"the tool {self.name} needs a description, which models read")
        if not callable(self.run):
            raise ConfigError(
                f"the tool {self.name} needs a function of its input, got {self.run!r:.60}"
            )


@dataclasses.dataclass(frozen=True)
class ToolOutput:
    """What a call returned.

    Attributes:
      text: the result, or what failed.
      failure: the kind of failure; "" for a result.
    """

    text: str
    failure: str = ""

    @property
    def ok(self) -> bool:
        """Whether the tool answered."""
        return not self.failure


def use_tool(tools: Sequence[Tool], call: ToolCall, *, most: int = 2000) -> ToolOutput:
    """Run a call; a failure of any kind is an observation too.

    Args:
      tools: those that may be called.
      call: its result, if it has one, is not read.
      most: characters of an observation; what is longer is cut and ends with "...".

    Raises:
      ConfigError: two tools with one name, something else than a call, or `most` below 1.

    Example:
      >>> upper = Tool("Upper", "Returns its input in capital letters.", str.upper)
      >>> use_tool([upper], ToolCall("Upper", "abc"))
      ToolOutput(text='ABC', failure='')
      >>> use_tool([upper], ToolCall("Uper", "abc"))
      ToolOutput(text="error: no tool 'Uper', did you mean 'Upper'?", failure='unknown_tool')
    """
    if not isinstance(call, ToolCall):
        raise ConfigError(
            f"expected a ToolCall, got {call!r:.60}; `find_calls` reads calls out of a text"
        )
    if most < 1:
        raise ConfigError(f"most must be at least 1, got {most}")
    named = tools_by_name(tools)
    tool = named.get(call.name)
    if tool is None:
        failure = UNKNOWN_TOOL
        text = f"error: no tool {call.name!r}{nearest(call.name, named)}"
    else:
        try:
            text, failure = tool.run(call.input), ""
            if not isinstance(text, str):
                text, failure = f"error: {tool.name} returned no text", EXCEPTION
        except ToolError as error:
            # Without a name it would look like an answer.
            text, failure = f"error: {error}", str(error.failure or EXCEPTION)
        # A tool that calls `exit()` ends itself, not the program.
        except (Exception, SystemExit) as error:
            text, failure = f"error: {type(error).__name__}: {error}", EXCEPTION
    return ToolOutput(text if len(text) <= most else f"{text[:most]}...", failure)


def tools_by_name(tools: Sequence[Tool]) -> dict[str, Tool]:
    """Map names to tools.

    Raises:
      ConfigError: two tools with one name.
    """
    named = {tool.name: tool for tool in tools}
    if len(named) < len(tools):
        twice = [name for name, count in Counter(tool.name for tool in tools).items() if count > 1]
        raise ConfigError(f"two tools are called {twice[0]!r}; rename one")
    return named


def describe_tools(tools: Sequence[Tool]) -> str:
    """Return one line for each tool, as a prompt shows them.

    Example:
      >>> print(describe_tools([Tool("Upper", "Returns capital letters.", str.upper)]))
      Upper: Returns capital letters.
    """
    return "\n".join(f"{tool.name}: {tool.description}" for tool in tools)


def count_failures(observations: Iterable[ToolOutput]) -> dict[str, int]:
    """Count observations by the kind of failure, the most frequent first; results are left out.

    Example:
      >>> count_failures([ToolOutput("5"), ToolOutput("error: ...", "division_by_zero")])
      {'division_by_zero': 1}
    """
    return dict(Counter(o.failure for o in observations if o.failure).most_common())
