"""How often reasoning ends at the right answer, and how often it backs up what it answers.

A model can be right by a wrong way, and wrong after right steps; both are inconsistent. Only
arithmetic is verified, see `arithmetic_steps`: a reasoning without equations says nothing here.
"""

import dataclasses
from collections.abc import Sequence

from jaxrec.core import DataError
from jaxrec.prompting.chain_of_thought import Reasoned
from jaxrec.prompting.extraction import AnswerKind, canonical
from jaxrec.prompting.verification import arithmetic_steps, verifies


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReasoningScores:
    """Shares over the questions of a measurement; nan where there is nothing to measure.

    Attributes:
      right: for each question, whether its answer is right; one without an answer is not.
      accuracy: share of right answers.
      unparsed: share of all chains whose answer could not be read.
      truncated: share of all chains that reached a limit of tokens.
      steps: number of arithmetic steps in the reasoning.
      right_steps: share of these steps that are correct.
      verified: number of right answers whose reasoning has arithmetic steps.
      consistency: share of these whose steps are all correct.
    """

    right: tuple[bool, ...]
    accuracy: float
    unparsed: float
    truncated: float
    steps: int
    right_steps: float
    verified: int
    consistency: float


def score_reasoning(
    records: Sequence[Reasoned], answers: Sequence[str], kind: AnswerKind
) -> ReasoningScores:
    """Compare answers with the right ones, and verify the reasoning behind them.

    Of several chains, the answer is that of the majority, and the reasoning is that of the first
    chain with this answer.

    Args:
      records: of N questions, from `reason` or `self_consistency`.
      answers: N right answers, such as "1,000" or "yes".
      kind: kind of the answers.

    Raises:
      DataError: no records, or another number of answers.
      ConfigError: a right answer that is none of this kind.

    Example:
      >>> from jaxrec.prompting import ChainSettings, Exemplar, ScriptedModel, reason
      >>> shown = (Exemplar("What is 1 + 1?", "1 + 1 = 2.", "2"),)
      >>> settings = ChainSettings(kind="number", exemplars=shown)
      >>> model = ScriptedModel(lambda prompt, sample: " 2 + 2 = 5. The answer is 4.")
      >>> scores = score_reasoning(reason(model, ["What is 2 + 2?"], settings), ["4"], "number")
      >>> scores.accuracy, scores.right_steps, scores.consistency
      (1.0, 0.0, 0.0)
    """
    if not records or len(records) != len(answers):
        raise DataError(
            f"{len(records)} records need as many right answers, got {len(answers)}; give at least "
            "one record, and one answer for each"
        )
    truths = [canonical(answer, kind) for answer in answers]
    right = tuple(record.answer == truth for record, truth in zip(records, truths, strict=True))
    chains = [chain for record in records for chain in record.chains]
    steps = [step for record in records for step in arithmetic_steps(record.rationale)]
    checks = [
        verifies(record.rationale) for record, good in zip(records, right, strict=True) if good
    ]
    verified = [check for check in checks if check is not None]
    return ReasoningScores(
        right=right,
        accuracy=_share(right),
        unparsed=_share([chain.answer is None for chain in chains]),
        truncated=_share([chain.truncated for chain in chains]),
        steps=len(steps),
        right_steps=_share([step.correct for step in steps]),
        verified=len(verified),
        consistency=_share(verified),
    )


def _share(flags: Sequence[bool]) -> float:
    return sum(flags) / len(flags) if flags else float("nan")
