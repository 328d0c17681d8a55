"""A language model that answers by a script: tests and examples of prompting methods use it."""

import dataclasses
from collections.abc import Callable, Sequence

from jaxrec.core import ConfigError
from jaxrec.prompting.language_model import GenerateOptions, Reply, Score, TextScore, Usage


def _nothing(prompt: str, sample: int) -> str:
    return ""


def _no_logprob(prompt: str, continuation: str) -> float:
    raise ConfigError(
        f"this ScriptedModel has no logprob function, and was asked to score {continuation[:40]!r} "
        "after a prompt; give it one: ScriptedModel(answer, logprob=...)"
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Call:
    """A question that a `ScriptedModel` was asked.

    Attributes:
      kind: "generate", "score" or "score_text".
      prompt: the prompt or text.
      answer: the texts it gave, or the continuations it scored.
    """

    kind: str
    prompt: str
    answer: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScriptedModel:
    """A `LanguageModel` whose answers a function makes. A token is a word.

    Attributes:
      answer: the continuation, from the prompt and the number of the sample. Stop strings and
        `max_tokens` cut it as they cut the text of a model.
      logprob: log-probability of a continuation after a prompt.
      name: see `LanguageModel`.
      context: see `LanguageModel`.
      calls: everything that it was asked, in order; tests read it.

    Example:
      >>> from jaxrec.prompting import GenerateOptions, ScriptedModel
      >>> model = ScriptedModel(lambda prompt, sample: " 4. Next" if "2 + 2" in prompt else " ?")
      >>> model.generate(["2 + 2 ="], GenerateOptions(stop=(".",)))[0].text
      ' 4'
    """

    answer: Callable[[str, int], str] = dataclasses.field(default=_nothing, kw_only=False)
    logprob: Callable[[str, str], float] = _no_logprob
    name: str = "scripted"
    context: int | None = None
    calls: list[Call] = dataclasses.field(default_factory=list, repr=False, compare=False)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """See `LanguageModel`."""
        return [len(text.split()) for text in texts]

    def generate(self, prompts: Sequence[str], options: GenerateOptions) -> list[Reply]:
        """See `LanguageModel`.

        Raises:
          ConfigError: one text in the place of a list, or an answer that is no text.
        """
        if isinstance(prompts, str):
            raise ConfigError(f"expected a list of texts, got one text: [{prompts[:20]!r}]")
        replies = []
        for prompt in prompts:
            whole = [self.answer(prompt, sample) for sample in range(options.n)]
            if not all(isinstance(text, str) for text in whole):
                raise ConfigError(f"the scripted answers must be texts, got {whole!r:.60}")
            cut = [_cut(text, options) for text in whole]
            usage = Usage(
                calls=1,
                prompt_tokens=len(prompt.split()),
                completion_tokens=sum(len(text.split()) for text, _ in cut),
            )
            texts = tuple(text for text, _ in cut)
            self.calls.append(Call(kind="generate", prompt=prompt, answer=texts))
            truncated = tuple(full for _, full in cut)
            replies.append(Reply(texts=texts, truncated=truncated, usage=usage))
        return replies

    def score(
        self, prompts: Sequence[str], continuations: Sequence[Sequence[str]]
    ) -> list[tuple[Score, ...]]:
        """See `LanguageModel`."""
        if len(prompts) != len(continuations):
            raise ConfigError(
                f"{len(prompts)} prompts need {len(prompts)} rows of continuations, got "
                f"{len(continuations)}"
            )
        rows = []
        for prompt, row in zip(prompts, continuations, strict=True):
            self.calls.append(Call(kind="score", prompt=prompt, answer=tuple(row)))
            logprobs = [self.logprob(prompt, continuation) for continuation in row]
            rows.append(
                tuple(
                    Score(
                        logprob=value,
                        tokens=max(1, len(continuation.split())),
                        greedy=value == max(logprobs),
                        usage=Usage(calls=1, prompt_tokens=len(prompt.split())),
                    )
                    for value, continuation in zip(logprobs, row, strict=True)
                )
            )
        return rows

    def score_text(self, texts: Sequence[str]) -> list[TextScore]:
        """See `LanguageModel`; each word is scored after the words before it."""
        scores = []
        for text in texts:
            words = text.split()
            self.calls.append(Call(kind="score_text", prompt=text, answer=()))
            scores.append(
                TextScore(
                    logprobs=tuple(
                        self.logprob(" ".join(words[:place]), word)
                        for place, word in enumerate(words)
                    ),
                    usage=Usage(calls=1, prompt_tokens=len(words)),
                )
            )
        return scores


def _cut(text: str, options: GenerateOptions) -> tuple[str, bool]:
    """Cut a text at the first stop string and at `max_tokens` words; say whether at the latter."""
    places = [place for place in (text.find(stop) for stop in options.stop) if place >= 0]
    text = text[: min(places)] if places else text
    words = text.split()
    if len(words) <= options.max_tokens:
        return text, False
    kept = text
    for word in reversed(words[options.max_tokens :]):
        kept = kept[: kept.rindex(word)]
    return kept.rstrip(), True
