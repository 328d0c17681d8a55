"""Questions that a model answers with tools: its calls are run, and it goes on with the results.

Calls have Toolformer's form, `[Calculator(2 + 3) -> 5]`, which demonstrations in the prompt show.
Any model that continues texts can use tools this way, and so can a service.
"""

import dataclasses
from collections.abc import Sequence
from typing import Self

from jaxrec.core import ConfigError
from jaxrec.prompting import (
    GenerateOptions,
    LanguageModel,
    Reply,
    Tool,
    ToolCall,
    find_calls,
    use_tool,
)

_CLOSE = "]"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ToolReply(Reply):
    """A text with the results of its calls.

    Attributes:
      calls: calls in their order, with their results; without one if the tool failed.
      failures: for each call the kind of failure; "" for none.
    """

    calls: tuple[ToolCall, ...] = ()
    failures: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class WriteWithTools:
    r"""A text that the model continues, with calls of tools; the answer is a `ToolReply`.

    A closing bracket ends each part of the text. If it closes no call, the text ends there.

    Attributes:
      prompt: what the model continues; it shows how calls are written.
      tools: tools that may be called.
      options: of each part of the text, up to a call or to the end; one text for each prompt.
      most_calls: number of calls after which the text ends.

    Raises:
      ConfigError: several texts for a prompt, no tools, or `most_calls` below 1.

    Example:
      >>> from jaxrec.prompting import CALCULATOR, ScriptedModel
      >>> def answer(prompt, sample):
      ...     return " 5." if prompt.endswith("-> 5]") else " That is [Calculator(2 + 3)]"
      >>> question = WriteWithTools("2 + 3?", (CALCULATOR,))
      >>> WriteWithTools.ask(ScriptedModel(answer), [question])[0].text
      ' That is [Calculator(2 + 3) -> 5] 5.'
    """

    prompt: str
    tools: tuple[Tool, ...]
    options: GenerateOptions = GenerateOptions()
    most_calls: int = 4

    def __post_init__(self) -> None:
        if self.options.n > 1:
            raise ConfigError(f"a text with calls needs n=1, got n={self.options.n}")
        if not self.tools or self.most_calls < 1:
            raise ConfigError(
                f"a question with tools needs at least one tool and most_calls of at least 1, got "
                f"{len(self.tools)} tools and most_calls={self.most_calls}"
            )

    @classmethod
    def ask(cls, model: LanguageModel, questions: Sequence[Self]) -> list[ToolReply]:
        """Continue all prompts, part by part; those with equal options go into one call."""
        texts = [_Text(question) for question in questions]
        while open_texts := [text for text in texts if not text.done]:
            groups: dict[GenerateOptions, list[_Text]] = {}
            for text in open_texts:
                groups.setdefault(text.question.options, []).append(text)
            for options, group in groups.items():
                stopped = dataclasses.replace(options, stop=(*options.stop, _CLOSE))
                prompts = [text.question.prompt + text.written for text in group]
                for text, reply in zip(group, model.generate(prompts, stopped), strict=True):
                    text.add(reply)
        return [text.reply() for text in texts]


class _Text:
    """A text that is being written."""

    def __init__(self, question: WriteWithTools) -> None:
        self.question = question
        self.written = ""
        self.parts: list[Reply] = []
        self.calls: list[ToolCall] = []
        self.failures: list[str] = []
        self.done = False

    def add(self, reply: Reply) -> None:
        """Add a part, and run the call at its end, if there is one."""
        self.parts.append(reply)
        whole = self.written + reply.text
        found = find_calls(whole + _CLOSE)
        ends = bool(found) and found[-1].end == len(whole) + 1 and found[-1].call.result is None
        if reply.truncated[0] or not ends:
            self.written, self.done = whole, True
            return
        call = found[-1].call
        observation = use_tool(self.question.tools, call)
        if observation.ok:
            call = dataclasses.replace(call, result=observation.text)
        shown = dataclasses.replace(call, result=observation.text)
        self.written = f"{whole[: found[-1].start]}{shown}"
        self.calls.append(call)
        self.failures.append(observation.failure)
        self.done = len(self.calls) > self.question.most_calls

    def reply(self) -> ToolReply:
        """The whole text."""
        usage = self.parts[0].usage
        for part in self.parts[1:]:
            usage = usage + part.usage
        return ToolReply(
            texts=(self.written,),
            truncated=(self.parts[-1].truncated[0],),
            usage=usage,
            failure=next((part.failure for part in self.parts if part.failure), None),
            calls=tuple(self.calls),
            failures=tuple(self.failures),
        )
