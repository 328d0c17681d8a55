"""Demonstrations of a task, and how they and a query become the text of a prompt.

In-context learning asks a model for ŷ after I, f(x₁, y₁), …, f(x_k, y_k), f(x, ·). These are an
instruction I, k demonstrations, and the query x, all written by one verbalizer f (Brown et al.
2020, arXiv:2005.14165).
"""

import dataclasses
from collections.abc import Sequence

from jaxrec.core import ConfigError, DataError, check_types

_INPUT, _ANSWER = "{input}", "{answer}"


@dataclasses.dataclass(frozen=True)
class Demonstration:
    """An input x of a task and its answer y.

    Raises:
      DataError: an empty answer, or an input or answer that is no text.

    Example:
      >>> from jaxrec.prompting import Demonstration
      >>> Demonstration("2 + 2", "4").answer
      '4'
    """

    input: str
    answer: str

    def __post_init__(self) -> None:
        for name, text in (("input", self.input), ("answer", self.answer)):
            if not isinstance(text, str):
                raise DataError(f"the {name} of a demonstration must be a text, got {text!r:.60}")
        if not self.answer.strip():
            raise DataError(
                f"the demonstration with the input {self.input[:40]!r} has no answer; remove it"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verbalizer:
    r"""How a task is written: the f of the module's docstring, and the instruction.

    The text of a query ends where its answer begins. It never ends with a space, because most
    tokenizers write a space and the word after it as one token: the space belongs to `answer`.

    Attributes:
      query: text of a query up to its answer, with {input} once.
      answer: text of an answer, with {answer} once.
      separator: text between the instruction, the demonstrations and the query.
      instruction: text at the beginning; "" for none.

    Raises:
      ConfigError: a field that is missing or occurs twice, an empty separator, a query that ends
        with white space, or an answer that begins right behind an input.

    Example:
      >>> from jaxrec.prompting import Demonstration, Verbalizer
      >>> f = Verbalizer(query="Film: {input}\nGenre:")
      >>> f.demonstration(Demonstration("Alien", "horror"))
      'Film: Alien\nGenre: horror'
    """

    query: str = "Input: {input}\nAnswer:"
    answer: str = " {answer}"
    separator: str = "\n\n"
    instruction: str = ""

    def __post_init__(self) -> None:
        check_types(self, "")
        for name, text, field in (
            ("query", self.query, _INPUT),
            ("answer", self.answer, _ANSWER),
        ):
            if text.count(field) != 1:
                raise ConfigError(f"{name} must contain {field} once, got {text!r}")
        if self.query != self.query.rstrip():
            raise ConfigError(
                f"query {self.query!r} ends with white space; move it to the beginning of answer"
            )
        if self.query.endswith(_INPUT) and self.answer.startswith(_ANSWER):
            raise ConfigError(
                "query ends with {input} and answer begins with {answer}, so both would run into "
                "one another; begin answer with a space"
            )
        if not self.separator:
            raise ConfigError('separator is "", so demonstrations would run into one another')

    def open(self, text: str) -> str:
        """Return f(x, ·), the text of an input that an answer follows, without space at its end."""
        # str.format would read braces in the template's other text.
        return self.query.replace(_INPUT, text).rstrip()

    def continuation(self, answer: str) -> str:
        """Return the text of an answer, which a model writes or scores after a prompt."""
        return self.answer.replace(_ANSWER, answer)

    def demonstration(self, demonstration: Demonstration) -> str:
        """Return f(x, y)."""
        return self.open(demonstration.input) + self.continuation(demonstration.answer)

    def prompt(self, demonstrations: Sequence[Demonstration], query: str) -> str:
        r"""Return the whole prompt, with the demonstrations in the order given.

        Args:
          demonstrations: x₁, y₁ to x_k, y_k; none for a zero-shot prompt.
          query: x.

        Raises:
          DataError: a demonstration with the query's input, which would give the answer away.

        Example:
          >>> from jaxrec.prompting import Demonstration, Verbalizer
          >>> f = Verbalizer(query="{input} ->", separator="\n", instruction="Add.")
          >>> print(f.prompt([Demonstration("1 1", "2")], "2 2"))
          Add.
          1 1 -> 2
          2 2 ->
        """
        for demonstration in demonstrations:
            if same_input(demonstration.input, query):
                raise DataError(
                    f"the query {query[:60]!r} is among its own demonstrations, which would give "
                    "its answer away; remove it from them, or let `select` leave it out"
                )
        parts = [self.instruction] if self.instruction else []
        parts += [self.demonstration(demonstration) for demonstration in demonstrations]
        return self.separator.join([*parts, self.open(query)])


def same_input(one: str, other: str) -> bool:
    """Tell whether two inputs are equal up to capital letters and white space.

    Example:
      >>> from jaxrec.prompting import same_input
      >>> same_input("A  film ", "a film")
      True
    """
    return normal_input(one) == normal_input(other)


def normal_input(text: str) -> str:
    """Return an input without capital letters and superfluous white space, to compare it.

    Example:
      >>> normal_input("A  film ")
      'a film'
    """
    return " ".join(text.casefold().split())
