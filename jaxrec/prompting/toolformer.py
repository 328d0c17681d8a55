"""Toolformer: a language model annotates texts with calls of tools, and keeps those that help.

(Schick et al. 2023, arXiv:2302.04761, section 2.) For each text and tool the model says where it
would begin a call, and writes calls there; the calls are run; `toolformer_filter` keeps those whose
results make the rest of the text more likely. The texts with the kept calls in place are what the
model is then tuned on, with the plain language-modeling loss.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from jaxrec.core import ConfigError
from jaxrec.prompting.language_model import GenerateOptions
from jaxrec.prompting.tool_calls import ARROW, ToolCall, find_calls
from jaxrec.prompting.toolformer_filter import call_gain
from jaxrec.prompting.toolformer_model import MARKER, MarkingModel
from jaxrec.prompting.tools import Tool, use_tool


@dataclasses.dataclass(frozen=True, kw_only=True)
class SamplingOptions:
    """How calls are sampled and filtered. The defaults are the paper's.

    Attributes:
      min_probability: tau_s, a call may begin where the marker is likelier than this.
      positions: k, most places of a text; the likeliest are taken.
      calls: m, calls that are sampled at each place.
      min_gain: tau_f, smallest gain of a call that is kept. The paper has 1.0, and 0.5 for
        the calculator, with tau_s 0, k 20 and m 10.
      temperature: of the sampling of calls.
      max_tokens: most tokens of a call.
      seed: of the sampling.

    Raises:
      ConfigError: a value out of range.
    """

    min_probability: float = 0.05
    positions: int = 5
    calls: int = 5
    min_gain: float = 1.0
    temperature: float = 1.0
    max_tokens: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.min_probability < 1:
            raise ConfigError(f"min_probability must lie in [0, 1), got {self.min_probability}")
        for name in ("positions", "calls", "max_tokens"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.calls > 1 and not self.temperature > 0:
            raise ConfigError("several calls at temperature 0 would all be equal; raise it")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Candidate:
    """A call that was sampled for a text.

    Attributes:
      text: number of the text.
      position: number of the token that it precedes.
      call: with its result; without one if the tool failed.
      failure: why the tool failed; "" if it answered.
      gain: how much the result lowers the loss; minus infinity if the tool failed.
      times: number of times that it was sampled.
    """

    text: int
    position: int
    call: ToolCall
    failure: str = ""
    gain: float = -np.inf
    times: int = 1


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Annotated:
    """Texts with the calls that help.

    Attributes:
      texts: every text, with the kept calls in place.
      kept: the candidates whose gain is large enough.
      candidates: all different calls that were sampled.
      unusable: number of samples by what they were not: "not_a_call" or "other_tool".
    """

    texts: tuple[str, ...]
    kept: tuple[Candidate, ...]
    candidates: tuple[Candidate, ...]
    unusable: Mapping[str, int]


def annotate(
    model: MarkingModel,
    texts: Sequence[str],
    prompts: Mapping[str, Callable[[str], str]],
    tools: Sequence[Tool],
    options: SamplingOptions,
) -> Annotated:
    """Sample calls for every text and tool, run them, and keep those that help.

    Args:
      model: what samples and judges calls.
      texts: N texts.
      prompts: by the name of a tool, a function of a text to the prompt after which the model
        writes the text again with calls, such as demonstrations, an instruction and the text.
      tools: one for each prompt.
      options: how many calls, and how much they must help.

    Raises:
      ConfigError: a prompt without its tool.
    """
    known = {tool.name for tool in tools}
    if set(prompts) - known:
        raise ConfigError(f"no tool for the prompt {sorted(set(prompts) - known)[0]!r}")
    pieces = model.pieces(texts)
    candidates: list[Candidate] = []
    unusable: Counter[str] = Counter()
    for name, prompt in prompts.items():
        asked = [prompt(text) for text in texts]
        places = sample_positions(model, asked, texts, options)
        sampled, bad = sample_calls(model, asked, pieces, places, name, options)
        candidates += sampled
        unusable.update(bad)
    judged = judge(model, texts, [_executed(tools, candidate) for candidate in candidates])
    kept = [candidate for candidate in judged if candidate.gain >= options.min_gain]
    return Annotated(
        texts=tuple(
            insert_calls(row, [c for c in kept if c.text == number])
            for number, row in enumerate(pieces)
        ),
        kept=tuple(kept),
        candidates=tuple(judged),
        unusable=dict(unusable),
    )


def sample_positions(
    model: MarkingModel, prompts: Sequence[str], texts: Sequence[str], options: SamplingOptions
) -> list[list[int]]:
    """Choose the places where the model would begin a call: before tokens that begin a word.

    Args:
      model: the model.
      prompts: one for each text.
      texts: N texts.
      options: `min_probability` and `positions`.

    Returns:
      For each text, numbers of tokens, ascending.
    """
    chosen = []
    pieces = model.pieces(texts)
    for reading, row in zip(model.read(prompts, texts), pieces, strict=True):
        likely = reading.marker[: len(row)] > np.log(max(options.min_probability, 1e-300))
        places = [i for i in np.flatnonzero(likely).tolist() if begins_word(row, i)]
        best = sorted(places, key=lambda i: (-reading.marker[i], i))[: options.positions]
        chosen.append(sorted(best))
    return chosen


def sample_calls(
    model: MarkingModel,
    prompts: Sequence[str],
    pieces: Sequence[Sequence[str]],
    places: Sequence[Sequence[int]],
    tool: str,
    options: SamplingOptions,
) -> tuple[list[Candidate], dict[str, int]]:
    """Sample calls of a tool at the places of each text.

    Args:
      model: the model.
      prompts: one for each text.
      pieces: the tokens of each text.
      places: what `sample_positions` returned.
      tool: name of the tool.
      options: `calls`, `temperature`, `max_tokens` and `seed`.

    Returns:
      Different calls without results, and the number of samples that are no call of the tool.
    """
    where = [(number, place) for number, row in enumerate(places) for place in row]
    begun = [prompts[n] + "".join(pieces[n][:place]) + MARKER for n, place in where]
    asked = GenerateOptions(
        max_tokens=options.max_tokens,
        stop=("]", ARROW),
        n=options.calls,
        temperature=options.temperature,
        seed=options.seed,
    )
    counts: Counter[tuple[int, int, ToolCall]] = Counter()
    unusable: Counter[str] = Counter()
    for (number, place), row in zip(where, model.write(begun, asked, marker=False), strict=True):
        for text, truncated in row:
            call = None if truncated else read_call(text)
            if call is None:
                unusable["not_a_call"] += 1
            elif call.name != tool:
                unusable["other_tool"] += 1
            else:
                counts[number, place, call] += 1
    candidates = [
        Candidate(text=number, position=place, call=call, times=times)
        for (number, place, call), times in counts.items()
    ]
    return candidates, dict(unusable)


def read_call(text: str) -> ToolCall | None:
    """Read what a model wrote between the marker and the arrow or bracket; None if it is no call.

    Example:
      >>> read_call("Calculator(2 + 3) ")
      ToolCall(name='Calculator', input='2 + 3', result=None)
      >>> read_call("see above") is None
      True
    """
    whole = f"[{text.strip()}]"
    found = find_calls(whole)
    fits = len(found) == 1 and found[0].end == len(whole) and found[0].call.result is None
    return found[0].call if fits else None


def judge(
    model: MarkingModel, texts: Sequence[str], candidates: Sequence[Candidate]
) -> list[Candidate]:
    """Measure the gain of each candidate whose tool answered.

    The calls are put in front of the text for this, and not in their places, because a model that
    does not know calls would be confused by one in the middle of a sentence.

    Args:
      model: the model that is to be tuned.
      texts: N texts, without calls.
      candidates: calls with their results.

    Returns:
      The candidates with their gains, in their order.
    """
    used = sorted({c.text for c in candidates if not c.failure})
    alone = dict(zip(used, model.read([""] * len(used), [texts[n] for n in used]), strict=True))
    working = [c for c in candidates if not c.failure]
    bare = [as_prefix(dataclasses.replace(c.call, result=None)) for c in working]
    full = [as_prefix(c.call) for c in working]
    rest = [texts[c.text] for c in working]
    # The same call without its result is asked for once.
    pairs = list(dict.fromkeys(zip(bare, rest, strict=True)))
    read = model.read([p for p, _ in pairs], [t for _, t in pairs])
    before = dict(zip(pairs, read, strict=True))
    gains = iter(
        call_gain(
            alone[candidate.text].logprobs,
            before[prefix, text].logprobs,
            after.logprobs,
            candidate.position,
        )
        for candidate, prefix, text, after in zip(
            working, bare, rest, model.read(full, rest), strict=True
        )
    )
    return [c if c.failure else dataclasses.replace(c, gain=next(gains)) for c in candidates]


def as_prefix(call: ToolCall) -> str:
    r"""Return a call as it stands in front of a text that it is judged by.

    Example:
      >>> as_prefix(ToolCall("Calculator", "2 + 3", "5"))
      '[Calculator(2 + 3) -> 5]\n'
    """
    return f"{call}\n"


def insert_calls(pieces: Sequence[str], candidates: Sequence[Candidate]) -> str:
    """Put calls with their results into a text; of several in one place the one that gains most.

    Args:
      pieces: the tokens of the text.
      candidates: calls of this text.

    Example:
      >>> call = ToolCall("Calculator", "2 + 3", "5")
      >>> insert_calls(("2 and 3", " are", " 5."), [Candidate(text=0, position=2, call=call)])
      '2 and 3 are [Calculator(2 + 3) -> 5] 5.'
    """
    best: dict[int, Candidate] = {}
    for candidate in sorted(candidates, key=lambda c: c.gain):
        best[candidate.position] = candidate
    parts = []
    for place, piece in enumerate(pieces):
        if place in best:
            parts.append(f" {best[place].call}" if place else f"{best[place].call} ")
        parts.append(piece)
    return "".join(parts)


def begins_word(pieces: Sequence[str], position: int) -> bool:
    """Return whether a call fits in before a token: at an end of the text or before white space."""
    return position in (0, len(pieces)) or pieces[position][:1].isspace()


def _executed(tools: Sequence[Tool], candidate: Candidate) -> Candidate:
    observation = use_tool(tools, candidate.call)
    if not observation.ok:
        return dataclasses.replace(candidate, failure=observation.failure)
    call = dataclasses.replace(candidate.call, result=observation.text)
    return dataclasses.replace(candidate, call=call)
