"""How a model that knows calls writes: it calls a tool where a call is likely, and goes on.

(Schick et al. 2023, arXiv:2302.04761, section 4.) Decoding is greedy, and a call begins as soon as
the marker is among the k likeliest tokens, not only where it is the likeliest, because a tuned
model is still shy of calls. The call is written up to the arrow and run, and its result is written
after the arrow. There is at most one call for each input. If the tool fails, or what follows the
marker is no call, the text is the one without the call.
"""

import dataclasses
from collections.abc import Sequence

from jaxrec.core import ConfigError
from jaxrec.prompting.language_model import GenerateOptions
from jaxrec.prompting.tool_calls import ARROW, ToolCall
from jaxrec.prompting.toolformer import begins_word, read_call
from jaxrec.prompting.toolformer_model import MARKER, MarkingModel
from jaxrec.prompting.tools import Tool, use_tool


@dataclasses.dataclass(frozen=True, kw_only=True)
class ToolAnswer:
    """What a model wrote with the help of tools.

    Attributes:
      text: the continuation, with the call in it if there is one.
      call: the call with its result; without one if the tool failed; None without a call.
      failure: why the call did not help: "not_a_call" or the failure of the tool; "" otherwise.
    """

    text: str
    call: ToolCall | None = None
    failure: str = ""


def continue_with_tools(
    model: MarkingModel,
    prompts: Sequence[str],
    tools: Sequence[Tool],
    options: GenerateOptions,
    *,
    top: int = 10,
    max_call_tokens: int = 32,
) -> list[ToolAnswer]:
    """Continue prompts greedily, with at most one call of a tool in each.

    Args:
      model: a model that was tuned on texts with calls.
      prompts: N texts.
      tools: tools that may be called; none for texts without calls.
      options: `max_tokens` and `stop` of the text before and after the call.
      top: k, a call begins where the marker is among so many likeliest tokens.
      max_call_tokens: most tokens of a call.

    Returns:
      One answer for each prompt.

    Raises:
      ConfigError: options that are not greedy, or `top` below 1.
    """
    if options.temperature or options.n > 1:
        raise ConfigError(
            f"texts with calls are written greedily; set temperature=0 and n=1, got "
            f"{options.temperature} and {options.n}"
        )
    if top < 1:
        raise ConfigError(f"top must be at least 1, got {top}")
    free = [row[0] for row in model.write(prompts, options, marker=False)]
    plain = [text for text, _ in free]
    answers = [ToolAnswer(text=text) for text in plain]
    if not tools:
        return answers
    # Before the first call, the greedy text is the same with and without the marker.
    begun: dict[int, str] = {}
    rows = zip(model.read(prompts, plain), model.pieces(plain), strict=True)
    for number, (reading, pieces) in enumerate(rows):
        # A text that is cut at its last token does not end there.
        for place in range(len(pieces) + (not free[number][1])):
            if reading.ranks[place] < top and begins_word(pieces, place):
                begun[number] = "".join(pieces[:place])
                break
    written = model.write(
        [prompts[number] + text + MARKER for number, text in begun.items()],
        GenerateOptions(max_tokens=max_call_tokens, stop=("]", ARROW)),
        marker=False,
    )
    results: dict[int, str] = {}
    for number, [(text, truncated)] in zip(begun, written, strict=True):
        call = None if truncated else read_call(text)
        if call is None:
            answers[number] = ToolAnswer(text=plain[number], failure="not_a_call")
            continue
        observation = use_tool(tools, call)
        if observation.ok:
            call = dataclasses.replace(call, result=observation.text)
            results[number] = f"{begun[number]} {call}"
        failure = observation.failure
        answers[number] = ToolAnswer(text=plain[number], call=call, failure=failure)
    rest = model.write([prompts[n] + text for n, text in results.items()], options, marker=False)
    for (number, text), [(after, _)] in zip(results.items(), rest, strict=True):
        answers[number] = dataclasses.replace(answers[number], text=text + after)
    return answers
