"""Small tools: a calendar, Python in the sandbox, and a recommender behind a function.

The calendar is Toolformer's (Schick et al. 2023, arXiv:2302.04761): it takes no input and says what
day it is. Running programs as a tool is the interpreter of program-aided models (Gao et al. 2023,
arXiv:2211.10435).
"""

import datetime
from collections.abc import Callable, Sequence

from jaxrec.core import ConfigError, Limits, run_python
from jaxrec.prompting.tools import Tool, ToolError

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)


def calendar_tool(today: datetime.date) -> Tool:
    """Make a tool that says what day it is; its input is not read.

    Args:
      today: the date that it says, so that a study can be repeated.

    Raises:
      ConfigError: something else than a date.

    Example:
      >>> calendar_tool(datetime.date(2023, 1, 30)).run("")
      'Today is Monday, January 30, 2023.'
    """
    if not isinstance(today, datetime.date):
        raise ConfigError(
            f"today must be a date, got {today!r:.60}; give datetime.date(2023, 1, 30)"
        )
    # Not `strftime`, whose words depend on the locale.
    text = (
        f"Today is {_DAYS[today.weekday()]}, {_MONTHS[today.month - 1]} {today.day}, {today.year}."
    )
    return Tool("Calendar", "Returns the current date; it takes no input.", lambda _: text)


def python_tool(limits: Limits | None = None) -> Tool:
    """Make a tool that runs a program in the sandbox and returns what it printed.

    Args:
      limits: what a program may use; None for the defaults.

    Returns:
      The tool. It fails by the name of the outcome, such as "timeout", and as "no_output" if the
      program printed nothing.

    Example:
      >>> python_tool().run("print(6 * 7)")
      '42'
    """

    def run(code: str) -> str:
        outcome = run_python(code, limits)
        if not outcome.ok:
            raise ToolError(outcome.ended, outcome.message)
        if not outcome.stdout.strip():
            raise ToolError("no_output", "the program printed nothing; print the answer")
        return outcome.stdout.strip()

    return Tool("Python", "Runs a Python program and returns what it prints.", run)


def recommender_tool(
    recommend: Callable[[Sequence[str]], Sequence[str]],
    *,
    separator: str = ";",
    name: str = "Recommend",
) -> Tool:
    """Make a tool of a recommender.

    Args:
      recommend: function of the titles of a history, oldest first, to the titles it recommends,
        best first.
      separator: what stands between titles, in the input and in the result.
      name: of the tool.

    Returns:
      The tool. It fails as "no_history" if the input names no title, and as "no_recommendation" if
      the function returns none.

    Raises:
      ConfigError: an empty separator.

    Example:
      >>> tool = recommender_tool(lambda titles: [f"{titles[-1]} 2"])
      >>> tool.run("Heat; Alien")
      'Alien 2'
    """
    if not separator.strip():
        raise ConfigError(f"separator must be more than a space, got {separator!r}")

    def run(text: str) -> str:
        history = [title.strip() for title in text.split(separator) if title.strip()]
        if not history:
            raise ToolError("no_history", f"name at least one title, separated by {separator!r}")
        found = recommend(history)
        # One text would be a list of its letters.
        titles = [] if isinstance(found, str) else list(found)
        if isinstance(found, str) or not all(isinstance(title, str) for title in titles):
            raise TypeError(f"the recommender must return a list of titles, got {found!r:.60}")
        if not titles:
            raise ToolError("no_recommendation", "there is nothing to recommend for these titles")
        return f"{separator} ".join(titles)

    return Tool(
        name,
        f"Recommends titles to someone who liked those of the input, which are separated by "
        f"{separator!r}.",
        run,
    )
