r"""Output refinement: answers that break their format are repaired by rules, or asked for again.

    answer -> legal? -> rules -> legal? -> ask again with what is wrong -> ... at most R times

Liu et al., Is ChatGPT a Good Recommender? (arXiv:2304.10149), section 3, check the format of each
answer, correct it, and feed an illegal one back. Compliance is counted before any repair, after the
rules, and at the end, so that a repaired model never looks like one that obeys. The loop ends after
R rounds at the latest, and before that where a question repeats itself.

Shapes: `N` prompts.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from jaxrec.core import ConfigError, Whole, check_ranges
from jaxrec.data import Template, holes
from jaxrec.prompting import GenerateOptions, LanguageModel, Reply
from jaxrec.texts.asked import AskTotals, ask_model

T = TypeVar("T")

AGAIN = (
    "{prompt} {answer}\n\nThis answer is not legal: {fault}. Answer again in the format above."
    "\nAnswer:"
)
_HOLES = frozenset({"prompt", "answer", "fault"})
# Characters of an illegal answer that the next prompt quotes.
_QUOTED = 400


class Illegal(NamedTuple):
    """Why an answer is illegal.

    Attributes:
      fault: what is wrong, as the end of "this answer is not legal: ...".
    """

    fault: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnswerForm(Generic[T]):
    """What the answer to one prompt must look like.

    Attributes:
      read: reads a value out of an answer, or says why it is illegal. It is strict: everything that
        it accepts obeys the format.
      rules: repairs, each from a text to a text. They are tried one after the other, each on what
        the one before has made, until `read` accepts the text.

    Example:
      >>> from jaxrec.texts import AnswerForm, Illegal
      >>> form = AnswerForm(
      ...     read=lambda text: int(text) if text.isdigit() else Illegal(f"{text!r} is no number"),
      ...     rules=(str.strip, lambda text: text.rstrip(".")),
      ... )
      >>> form.read(" 4."), form.repair(" 4."), form.repair("four")
      (Illegal(fault="' 4.' is no number"), 4, Illegal(fault="'four' is no number"))
    """

    read: Callable[[str], T | Illegal]
    rules: tuple[Callable[[str], str], ...] = ()

    def repair(self, text: str) -> T | Illegal:
        """The value after as many rules as are needed, or the fault of the original answer."""
        first = value = self.read(text)
        for rule in self.rules:
            if not isinstance(value, Illegal):
                break
            text = rule(text)
            value = self.read(text)
        return first if isinstance(value, Illegal) else value


@dataclasses.dataclass(frozen=True, kw_only=True)
class RepairOptions:
    """How illegal answers are repaired.

    Attributes:
      rules: whether the rules of a form are used.
      rounds: R, how often an illegal answer is asked for again; 0 for never.
      again: prompt of a further round; {prompt}, {answer} and {fault} are the original prompt, the
        answer of the last round and what is wrong with it.

    Raises:
      ConfigError: fewer than 0 rounds, or a prompt with other holes or without {prompt}.

    Example:
      >>> from jaxrec.texts import RepairOptions
      >>> RepairOptions(rounds=3).rules
      True
    """

    rules: bool = True
    rounds: Whole = 2
    again: str = AGAIN

    def __post_init__(self) -> None:
        check_ranges(self, "--repair.")
        Template(name="repair.again", source=self.again, target="")
        unknown = sorted(holes(self.again) - _HOLES)
        if unknown or "prompt" not in holes(self.again):
            raise ConfigError(
                f"repair.again must have the hole {{prompt}} and no others than {{answer}} and "
                f"{{fault}}, got {unknown or self.again!r}"
            )


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Refined(Generic[T]):
    """Answers after the loop.

    Attributes:
      values: N values; None where no answer was legal.
      texts: N answers, as the last round gave them.
      obeyed: `[N]` bool, whether the first answer was legal as it stood.
      ruled: `[N]` bool, whether the first answer was legal after the rules.
      legal: `[N]` bool, whether the last answer was legal, after the rules if they are used.
      rounds: `[N]` number of further questions.
      failed: `[N]` bool, where the model gave no answer that could be read at all, such as after an
        error of a service; such a prompt is not asked again.
      faults: what was wrong with first answers, with counts.
      first: what the first questions took.
      more: what all further questions took.
    """

    values: list[T | None]
    texts: list[str]
    obeyed: np.ndarray
    ruled: np.ndarray
    legal: np.ndarray
    rounds: np.ndarray
    failed: np.ndarray
    faults: Counter[str]
    first: AskTotals
    more: AskTotals

    def compliance(self) -> dict[str, float]:
        """Shares of legal answers before and after, further questions a prompt, and failures.

        Returns:
          "compliance_before", "compliance_rules", "compliance", "rounds" and "failed", means over
          the N prompts.
        """
        columns = {
            "compliance_before": self.obeyed,
            "compliance_rules": self.ruled,
            "compliance": self.legal,
            "rounds": self.rounds,
            "failed": self.failed,
        }
        return {name: float(np.mean(column)) for name, column in columns.items()}


def refine(
    model: LanguageModel,
    prompts: Sequence[str],
    forms: Sequence[AnswerForm[T]],
    generate: GenerateOptions,
    options: RepairOptions = RepairOptions(),
    *,
    title: str = "ask",
) -> Refined[T]:
    r"""Ask prompts until each answer is legal, or the rounds are over.

    Args:
      model: answers.
      prompts: N prompts.
      forms: what each answer must look like.
      generate: how answers are written; one continuation each.
      options: of the repair.
      title: of the progress bar.

    Raises:
      ServiceError: a service that fails to answer several prompts in a row, see `ask_model`.
      ConfigError: no prompts, not one form for each, several continuations, or a prompt that is
        longer than the model reads. A further question that is too long is not asked.

    Cost: one question for each prompt, and at most R further ones for each illegal answer.

    Example:
      >>> from jaxrec.prompting import GenerateOptions, ScriptedModel
      >>> from jaxrec.texts import AnswerForm, Illegal, refine
      >>> def answer(prompt, sample):
      ...     return "no" if "not legal" in prompt else "nope"
      >>> form = AnswerForm(
      ...     read=lambda text: text if text in ("yes", "no") else Illegal("it is neither word")
      ... )
      >>> refined = refine(ScriptedModel(answer), ["Is it?"], [form], GenerateOptions())
      >>> refined.values, refined.compliance()["compliance_before"], refined.rounds.tolist()
      (['no'], 0.0, [1])
    """
    if isinstance(prompts, str) or not len(prompts) or len(prompts) != len(forms):
        raise ConfigError(
            f"{len(forms)} forms need a list of as many prompts, at least one, got {prompts!r:.60}"
        )
    if generate.n != 1:
        raise ConfigError(f"n must be 1, because each prompt has one answer, got {generate.n}")
    count = len(prompts)
    values: list[T | None] = [None] * count
    texts, faults = [""] * count, [""] * count
    obeyed, ruled, legal, failed = (np.zeros(count, bool) for _ in range(4))
    rounds = np.zeros(count, np.int64)
    first_faults = Counter[str]()

    def take(n: int, reply: Reply, turn: int) -> None:
        """Read the answer of a round to prompt `n`."""
        texts[n] = reply.text
        if reply.failure is not None:
            failed[n] = True
            return
        form = forms[n]
        strict = form.read(reply.text)
        mended = form.repair(reply.text) if isinstance(strict, Illegal) else strict
        if turn == 0:
            obeyed[n] = not isinstance(strict, Illegal)
            ruled[n] = not isinstance(mended, Illegal)
        value = mended if options.rules else strict
        if isinstance(value, Illegal):
            faults[n] = value.fault
            if turn == 0:
                first_faults[value.fault] += 1
        else:
            values[n], legal[n] = value, True

    replies, first = ask_model(model, prompts, generate, title=title)
    for n, reply in enumerate(replies):
        take(n, reply, 0)
    more = AskTotals()
    asked = [{prompt} for prompt in prompts]
    for turn in range(1, options.rounds + 1):
        further = {
            n: options.again.format(
                prompt=prompts[n], answer=" ".join(texts[n].split())[:_QUOTED], fault=faults[n]
            )
            for n in range(count)
            if not legal[n] and not failed[n]
        }
        # What was asked before would be answered as before.
        further = {n: text for n, text in further.items() if text not in asked[n]}
        further = _fitting(model, further, generate.max_tokens)
        if not further:
            break
        replies, totals = ask_model(
            model, list(further.values()), generate, title=f"{title}, round {turn}"
        )
        more += totals
        for (n, text), reply in zip(further.items(), replies, strict=True):
            asked[n].add(text)
            rounds[n] += 1
            take(n, reply, turn)
    return Refined(
        values=values,
        texts=texts,
        obeyed=obeyed,
        ruled=ruled,
        legal=legal,
        rounds=rounds,
        failed=failed,
        faults=first_faults,
        first=first,
        more=more,
    )


def _fitting(model: LanguageModel, further: dict[int, str], room: int) -> dict[int, str]:
    """The further questions that the model can read and answer."""
    if model.context is None or not further:
        return further
    counts = model.count_tokens(list(further.values()))
    return {
        n: text
        for (n, text), tokens in zip(further.items(), counts, strict=True)
        if tokens + room <= model.context
    }
