"""Self-consistency: whether a model says the same when it is asked again, as a sign of knowledge.

Manakul et al., SelfCheckGPT (arXiv:2303.08896): a model that knows a fact repeats it in every
sample, and one that makes it up says something else each time. No ground truth is needed for the
agreement; with it, the task also reports the agreement of right and of wrong answers. The larger
their distance, the better the agreement warns of hallucinations.
"""

from collections.abc import Callable, Mapping
from typing import Any

from jaxrec.capacity.closed_book import right_answers
from jaxrec.capacity.documents import Document, Source
from jaxrec.capacity.estimates import Metric, ratio_of
from jaxrec.capacity.questions import Several, Write
from jaxrec.capacity.task import Task
from jaxrec.core import ConfigError
from jaxrec.eval import agreement, exact_match
from jaxrec.prompting import GenerateOptions, Reply


def self_check_task(
    name: str,
    about: str,
    source: Source,
    *,
    samples: int = 5,
    temperature: float = 1.0,
    stop: tuple[str, ...] = ("\n",),
    same: Callable[[str, str], float] | None = None,
) -> Task:
    r"""Return the task of answering questions once greedily and several times by sampling.

    Args:
      name: of the task.
      about: one line about the questions.
      source: documents with the field "question" and those of `right_answers`.
      samples: number of sampled answers.
      temperature: of the samples.
      stop: strings that end an answer.
      same: agreement of two answers from 0 to 1; see `jaxrec.eval.agreement`.

    Raises:
      ConfigError: fewer than two samples, or a temperature of 0.

    Example:
      >>> source = Source(files=("quiz.jsonl",), fields=("question",))
      >>> list(self_check_task("quiz", "A quiz.", source).metrics)
      ['agreement', 'exact_match', 'agreement_right', 'agreement_wrong']
    """
    if samples < 2 or not temperature > 0:
        raise ConfigError(
            "agreement needs at least 2 samples at a temperature above 0, got "
            f"samples={samples} and temperature={temperature}"
        )
    greedy = GenerateOptions(max_tokens=64, stop=stop)
    drawn = GenerateOptions(max_tokens=64, stop=stop, n=samples, temperature=temperature)

    def ask(document: Document, shown: str) -> Several:
        prompt = f"{shown}Question: {document['question']}\nAnswer:"
        return Several((Write(prompt, greedy), Write(prompt, drawn)))

    def measure(document: Document, replies: tuple[Reply, Reply]) -> Mapping[str, Any]:
        answer, others = replies
        right = exact_match(answer.text, right_answers(document))
        found = agreement(answer.text, others.texts, same)
        return {
            "agreement": found,
            "exact_match": right,
            "agreement_right": (found * right, right),
            "agreement_wrong": (found * (1 - right), 1 - right),
        }

    return Task(
        name=name,
        about=about,
        source=source,
        ask=ask,
        measure=measure,
        metrics={
            "agreement": Metric(better="neither"),
            "exact_match": Metric(),
            "agreement_right": Metric(ratio_of),
            "agreement_wrong": Metric(ratio_of, "lower"),
        },
        show=lambda d: f"Question: {d['question']}\nAnswer: {right_answers(d)[0]}\n\n",
        shots=5,
    )
