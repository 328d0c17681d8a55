r"""Chain of thought: a model writes its reasoning before the answer, and direct answers as control.

                 with reasoning                                  without (the control)
    exemplars    Q: ... A: reasoning The answer is 7. Q: x A:    Q: ... A: The answer is 7. Q: x A:
    a trigger    1. Q: x A: Let's think step by step.            Q: x A: The answer (...) is
                 2. ... reasoning Therefore, the answer (...) is
    neither      Q: x A:                                         Q: x A:

Exemplars are the method of Wei et al. 2022, arXiv:2201.11903; the two calls without exemplars are
that of Kojima et al. 2022, arXiv:2205.11916. The trigger that asks for the answer belongs to the
method: it names what the answer looks like, and `extract` relies on that. Both limits of tokens are
those of the published code. A model that was trained on texts like the exemplars needs neither
exemplars nor a trigger.
"""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence

from jaxrec.core import ConfigError, Count, check_types
from jaxrec.prompting.extraction import ANSWER_TRIGGER, AnswerKind, AnswerRule, check_kind, extract
from jaxrec.prompting.language_model import GenerateOptions, LanguageModel, Reply, Usage

# After "the answer"; the triggers of the published code.
_HINTS: Mapping[AnswerKind, str] = {
    "number": "the answer (arabic numerals) is",
    "choice": "among A through E, the answer is",
    "yes_no": "the answer (Yes or No) is",
    "letters": "the answer is",
}


@dataclasses.dataclass(frozen=True)
class Exemplar:
    r"""A question with its answer, and the reasoning between the two.

    Attributes:
      question: text of the question.
      rationale: the reasoning, without the answer; "" where there is none.
      answer: the bare answer.

    Example:
      >>> Exemplar("What is 2 + 2 + 1?", "2 + 2 = 4. 4 + 1 = 5.", "5").text(rationale=True)
      'Q: What is 2 + 2 + 1?\nA: 2 + 2 = 4. 4 + 1 = 5. The answer is 5.'
    """

    question: str
    rationale: str
    answer: str

    def text(self, *, rationale: bool) -> str:
        """The exemplar as a prompt shows it, with its reasoning or without."""
        reasoning = f" {self.rationale.strip()}" if rationale else ""
        return f"{_asked(self.question)}{reasoning} {ANSWER_TRIGGER} {self.answer}."


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChainSettings:
    """How questions are asked.

    Attributes:
      kind: kind of the answers, see `extract`.
      exemplars: examples in front of every question; () for the method without exemplars.
      rationale: whether the model reasons before it answers; False is the control.
      trigger: what makes a model reason that sees no exemplars; "" for a model that was trained to
        answer in the form of exemplars.
      reasoning_tokens: most tokens of a reasoning, and of a reasoning with its answer.
      answer_tokens: most tokens of an answer alone.
      stop: strings that end what the model writes, such as the beginning of another question.

    Raises:
      ConfigError: an unknown kind, a value of another type, a limit below 1, or exemplars without a
        rationale where they should show one.

    Example:
      >>> ChainSettings(kind="number").reasoning_tokens
      128
    """

    kind: AnswerKind
    exemplars: tuple[Exemplar, ...] = ()
    rationale: bool = True
    trigger: str = "Let's think step by step."
    reasoning_tokens: Count = 128
    answer_tokens: Count = 32
    stop: tuple[str, ...] = ("\nQ:",)

    def __post_init__(self) -> None:
        check_kind(self.kind)
        if isinstance(self.exemplars, Exemplar):
            raise ConfigError("exemplars must be a tuple, got one Exemplar; write (exemplar,)")
        if isinstance(self.stop, str):
            raise ConfigError(f"stop must be a tuple of strings, got one: ({self.stop!r},)")
        if isinstance(self.stop, list):
            object.__setattr__(self, "stop", tuple(self.stop))
        object.__setattr__(self, "exemplars", tuple(self.exemplars))
        for number, exemplar in enumerate(self.exemplars):
            if not isinstance(exemplar, Exemplar):
                raise ConfigError(
                    f"exemplar {number} must be an Exemplar, got {exemplar!r:.60}; write "
                    "Exemplar(question, rationale, answer)"
                )
        check_types(self, "")
        # Rejects stop strings that end every text.
        GenerateOptions(stop=self.stop)
        if self.rationale:
            for number, exemplar in enumerate(self.exemplars):
                if not exemplar.rationale.strip():
                    raise ConfigError(
                        f"exemplar {number} ({exemplar.question[:40]!r}) has no rationale; write "
                        "one, or set rationale=False for direct answers"
                    )

    @property
    def two_calls(self) -> bool:
        """Whether the answer is asked for in a second call."""
        return self.rationale and not self.in_one_text

    @property
    def in_one_text(self) -> bool:
        """Whether the model writes "The answer is" itself, as exemplars or its training show it."""
        return bool(self.exemplars) or not self.trigger

    @property
    def rule(self) -> AnswerRule:
        """How the answer is read out of the last reply."""
        return "few_shot" if self.in_one_text else "first"

    @property
    def first_options(self) -> GenerateOptions:
        """How the first call continues a prompt, without sampling."""
        tokens = self.reasoning_tokens if self.rationale else self.answer_tokens
        return GenerateOptions(max_tokens=tokens, stop=self.stop)

    def prompt(self, question: str) -> str:
        r"""The prompt of the first call.

        Example:
          >>> ChainSettings(kind="yes_no", rationale=False).prompt("Is 7 odd?")
          'Q: Is 7 odd?\nA: The answer (Yes or No) is'
        """
        if self.in_one_text:
            shown = [exemplar.text(rationale=self.rationale) for exemplar in self.exemplars]
            return "\n\n".join([*shown, _asked(question)])
        hint = _HINTS[self.kind]
        return f"{_asked(question)} {self.trigger if self.rationale else _capital(hint)}"

    def answer_prompt(self, question: str, reasoning: str) -> str:
        r"""The prompt of the second call: the first one, what the model wrote, and a trigger.

        Example:
          >>> settings = ChainSettings(kind="number", trigger="Think:")
          >>> settings.answer_prompt("What is 2 + 2?", " 2 and 2 is 4.")
          'Q: What is 2 + 2?\nA: Think: 2 and 2 is 4.\nTherefore, the answer (arabic numerals) is'
        """
        return f"{self.prompt(question)}{reasoning.rstrip()}\nTherefore, {_HINTS[self.kind]}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chain:
    """One way to an answer.

    Attributes:
      rationale: what the first call wrote.
      reply: the text that the answer is read from: that of the second call, if there was one.
      answer: the answer, or None if the reply holds none.
      truncated: whether a call stopped at its largest number of tokens.
    """

    rationale: str
    reply: str
    answer: str | None
    truncated: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reasoned:
    """The chains of one question, and the answer that most of them give.

    Attributes:
      question: text of the question.
      chains: one chain, or several that were sampled.
      usage: what all calls have cost.

    Example:
      >>> chains = [Chain(rationale="", reply=x, answer=x) for x in ("3", "5", "5")]
      >>> reasoned = Reasoned(question="What is 2 + 3?", chains=tuple(chains))
      >>> reasoned.answer, round(reasoned.agreement, 2)
      ('5', 0.67)
    """

    question: str
    chains: tuple[Chain, ...]
    usage: Usage = Usage()

    @property
    def answer(self) -> str | None:
        """The answer of most chains, see `majority`."""
        return majority([chain.answer for chain in self.chains])[0]

    @property
    def agreement(self) -> float:
        """Share of all chains that give this answer: the confidence of self-consistency."""
        return majority([chain.answer for chain in self.chains])[1]

    @property
    def rationale(self) -> str:
        """What the first chain with this answer wrote."""
        answer = self.answer
        return next(chain.rationale for chain in self.chains if chain.answer == answer)


def majority(answers: Sequence[str | None]) -> tuple[str | None, float]:
    """Count votes; None, which is an answer that could not be read, does not vote.

    Args:
      answers: one for each chain.

    Returns:
      The most frequent answer and its share of all chains, of those without a vote too. Among
      equally frequent answers the one that comes first wins. (None, 0.0) without a vote.

    Example:
      >>> majority(["b", None, "a", "a", "b"])
      ('b', 0.4)
    """
    votes = Counter(answer for answer in answers if answer is not None)
    if not votes:
        return None, 0.0
    # A Counter keeps the order of the first occurrences, and max takes the first maximum.
    winner = max(votes, key=lambda answer: votes[answer])
    return winner, votes[winner] / len(answers)


def reason(
    model: LanguageModel, questions: Sequence[str], settings: ChainSettings
) -> list[Reasoned]:
    """Answer each question by one chain, token by token, each time with the likeliest one.

    Args:
      model: any language model.
      questions: N texts.
      settings: with reasoning or without, with exemplars or without.

    Returns:
      N records of one chain each.

    Raises:
      ConfigError: the questions are one text, or a prompt is longer than the model reads.

    Example:
      >>> from jaxrec.prompting import ScriptedModel
      >>> model = ScriptedModel(lambda prompt, n: " 5." if "Therefore" in prompt else " 2 + 3 = 5.")
      >>> reason(model, ["What is 2 + 3?"], ChainSettings(kind="number"))[0].answer
      '5'
    """
    return sampled_chains(model, questions, settings, settings.first_options)


def self_consistency(
    model: LanguageModel,
    questions: Sequence[str],
    settings: ChainSettings,
    *,
    samples: int = 40,
    temperature: float = 0.7,
    top_k: int | None = 40,
    seed: int = 0,
) -> list[Reasoned]:
    """Answer each question by the majority over sampled chains.

    Source: Wang et al. 2023, arXiv:2203.11171, section 3.1: 40 chains, for PaLM at the temperature
    0.7 from the 40 likeliest tokens. Only the first call is sampled; the answer to a reasoning is
    read greedily. A chain whose answer cannot be read does not vote, see `majority`.

    Args:
      model: any language model.
      questions: N texts.
      settings: with reasoning or without, with exemplars or without.
      samples: number of chains of each question, at least 2.
      temperature: above 0.
      top_k: number of likeliest tokens to draw from; None for all.
      seed: seed of the draws.

    Returns:
      N records of `samples` chains each.

    Raises:
      ConfigError: fewer than two samples, a temperature of 0, or what `reason` rejects.

    Example:
      >>> from jaxrec.prompting import ScriptedModel
      >>> model = ScriptedModel(lambda prompt, n: f" The answer is {6 if n == 1 else 5}.")
      >>> shown = (Exemplar("What is 1 + 1?", "1 and 1 more.", "2"),)
      >>> settings = ChainSettings(kind="number", exemplars=shown)
      >>> found = self_consistency(model, ["What is 2 + 3?"], settings, samples=4)[0]
      >>> found.answer, found.agreement
      ('5', 0.75)
    """
    if samples < 2:
        raise ConfigError(f"samples must be at least 2, got {samples}; use `reason` for one chain")
    if temperature == 0:
        raise ConfigError("temperature 0 gives the same chain each time; set one such as 0.7")
    options = dataclasses.replace(
        settings.first_options, n=samples, temperature=temperature, top_k=top_k, seed=seed
    )
    return sampled_chains(model, questions, settings, options)


def sampled_chains(
    model: LanguageModel,
    questions: Sequence[str],
    settings: ChainSettings,
    options: GenerateOptions,
) -> list[Reasoned]:
    """Answer each question by `options.n` chains; `reason` and `self_consistency` call this.

    Raises:
      ConfigError: see `reason`.

    Example:
      >>> from jaxrec.prompting import ScriptedModel
      >>> model = ScriptedModel(lambda prompt, sample: f" {sample}")
      >>> settings = ChainSettings(kind="number", rationale=False)
      >>> options = GenerateOptions(n=2, temperature=1.0)
      >>> found = sampled_chains(model, ["Which?"], settings, options)[0]
      >>> [chain.answer for chain in found.chains]
      ['0', '1']
    """
    if isinstance(questions, str):
        raise ConfigError(f"questions must be a list of texts, got one: [{questions[:40]!r}]")
    for number, question in enumerate(questions):
        if not isinstance(question, str):
            raise ConfigError(f"questions[{number}] must be a text, got {question!r:.60}")
    prompts = [settings.prompt(question) for question in questions]
    first = model.generate(prompts, options)
    second: list[list[Reply | None]] = [[None] * len(reply.texts) for reply in first]
    if settings.two_calls:
        second = _ask_for_answers(model, questions, settings, first)
    found = []
    for question, reply, answers in zip(questions, first, second, strict=True):
        chains = tuple(
            _chain(settings, text, truncated, answer)
            for text, truncated, answer in zip(reply.texts, reply.truncated, answers, strict=True)
        )
        usage = sum((answer.usage for answer in answers if answer is not None), reply.usage)
        found.append(Reasoned(question=question, chains=chains, usage=usage))
    return found


def _ask_for_answers(
    model: LanguageModel,
    questions: Sequence[str],
    settings: ChainSettings,
    reasonings: Sequence[Reply],
) -> list[list[Reply | None]]:
    """The second call of all questions and samples at once, so that the model can batch them."""
    prompts = [
        settings.answer_prompt(question, text)
        for question, reply in zip(questions, reasonings, strict=True)
        for text in reply.texts
    ]
    options = GenerateOptions(max_tokens=settings.answer_tokens, stop=settings.stop)
    replies = iter(model.generate(prompts, options))
    return [[next(replies) for _ in reply.texts] for reply in reasonings]


def _chain(settings: ChainSettings, text: str, truncated: bool, answer: Reply | None) -> Chain:
    reply = text if answer is None else answer.text
    return Chain(
        rationale=text if settings.rationale else "",
        reply=reply,
        answer=extract(reply, settings.kind, settings.rule),
        truncated=truncated or (answer is not None and answer.truncated[0]),
    )


def _asked(question: str) -> str:
    return f"Q: {question.strip()}\nA:"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
