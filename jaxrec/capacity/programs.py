r"""HumanEval: programs that a model writes are run against tests, in the sandbox.

Chen et al., Evaluating Large Language Models Trained on Code (arXiv:2107.03374): 164 functions with
a signature and a docstring, which the model continues. Prompts and stop strings are those of
lm-evaluation-harness. A figure says how many programs pass, and how the others end: a test fails
(`wrong`), another error is raised (`error`), the time is over (`timeout`), or the sandbox refuses
what the program does or the memory that it takes (`refused`).
"""

from collections.abc import Mapping, Sequence

from jaxrec.capacity.documents import Document, Source
from jaxrec.capacity.estimates import Metric
from jaxrec.capacity.questions import Write
from jaxrec.capacity.task import Task
from jaxrec.core import ConfigError, Limits, Outcome, run_many
from jaxrec.eval import pass_at_k
from jaxrec.prompting import GenerateOptions, Reply

STOPS = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
ENDINGS = ("wrong", "error", "timeout", "refused")
# The published limit is 3 seconds. CPU time does not depend on what else the machine does, so wall
# time only stops programs that wait.
_LIMITS = Limits(seconds=20, cpu_seconds=3)


def whole_program(document: Document, completion: str) -> str:
    r"""Return a problem's prompt, a completion of it, and the tests that call it.

    Args:
      document: a problem with the fields "prompt", "test" and "entry_point".
      completion: what the model wrote.

    Example:
      >>> problem = {"prompt": "def f(x):\n", "entry_point": "f"}
      >>> problem["test"] = "def check(f):\n    assert f(1) == 2\n"
      >>> print(whole_program(problem, "    return x + 1"))
      def f(x):
          return x + 1
      <BLANKLINE>
      def check(f):
          assert f(1) == 2
      <BLANKLINE>
      check(f)
    """
    parts = (document["prompt"] + completion, document["test"], f"check({document['entry_point']})")
    return "\n".join([parts[0], "", parts[1], parts[2]])


def ending_of(outcome: Outcome) -> str:
    """Return how a program ended: "passed", "wrong", "error", "timeout" or "refused".

    Example:
      >>> ending_of(Outcome(ended="exception", message="AssertionError: not sorted"))
      'wrong'
    """
    if outcome.ok:
        return "passed"
    if outcome.ended == "timeout":
        return "timeout"
    if outcome.ended != "exception":
        return "refused"
    return "wrong" if outcome.message.partition(":")[0] == "AssertionError" else "error"


def program_task(
    name: str,
    source: Source,
    *,
    samples: int = 1,
    ks: Sequence[int] = (1,),
    temperature: float = 0.8,
    workers: int = 2,
) -> Task:
    """Return the task of completing functions so that their tests pass.

    Args:
      name: of the task.
      source: documents with the fields "prompt", "test" and "entry_point" of HumanEval.
      samples: number of programs for each problem; one is written greedily.
      ks: for pass@k.
      temperature: of the draws of several samples.
      workers: number of programs that run at a time.

    Raises:
      ConfigError: a k above the number of samples.

    Example:
      >>> task = program_task("mine", Source(files=("mine.jsonl",)), samples=20, ks=(1, 10))
      >>> list(task.metrics)
      ['pass@1', 'pass@10', 'wrong', 'error', 'timeout', 'refused', 'truncated']
    """
    if not ks or min(ks) < 1 or max(ks) > samples:
        raise ConfigError(f"each k of ks must lie between 1 and samples={samples}, got {list(ks)}")
    options = GenerateOptions(
        max_tokens=1024, stop=STOPS, n=samples, temperature=temperature if samples > 1 else 0.0
    )

    def ask(document: Document, shown: str) -> Write:
        return Write(document["prompt"], options)

    def measure(document: Document, reply: Reply) -> Mapping[str, float]:
        programs = [whole_program(document, text) for text in reply.texts]
        ends = [ending_of(found) for found in run_many(programs, _LIMITS, workers=workers)]
        passed = [ends.count("passed")]
        return {
            **{f"pass@{k}": float(pass_at_k(len(ends), passed, k)[0]) for k in ks},
            **{ending: ends.count(ending) / len(ends) for ending in ENDINGS},
            "truncated": sum(reply.truncated) / len(reply.truncated),
        }

    return Task(
        name=name,
        about="functions from their docstrings (HumanEval), run in a sandbox against their tests",
        source=source,
        ask=ask,
        measure=measure,
        metrics={
            **{f"pass@{k}": Metric() for k in ks},
            **{ending: Metric(better="lower") for ending in (*ENDINGS, "truncated")},
        },
    )


HUMANEVAL = program_task(
    "humaneval",
    Source(files=("humaneval/HumanEval.jsonl",), fields=("prompt", "test", "entry_point")),
)
