"""Helpfulness and honesty by a judge: answers of a model against reference answers.

Askell et al., A General Language Assistant as a Laboratory for Alignment (arXiv:2112.00861), name
the two goals; a judge decides for each request which answer serves them better. The figures are
shares of wins, ties and losses against the references, each pair judged in both orders.
"""

import math
from collections.abc import Mapping

from jaxrec.capacity.documents import Document, Source
from jaxrec.capacity.estimates import Metric
from jaxrec.capacity.judge import Judge
from jaxrec.capacity.questions import Write
from jaxrec.capacity.task import Task
from jaxrec.eval import both_orders
from jaxrec.prompting import GenerateOptions, Reply


def judge_task(
    name: str,
    about: str,
    source: Source,
    judge: Judge,
    *,
    template: str = "{request}",
    options: GenerateOptions | None = None,
) -> Task:
    r"""Return the task of giving answers that a judge prefers to reference answers.

    Args:
      name: of the task.
      about: one line about the requests.
      source: documents with the fields "request" and "reference".
      judge: see `model_judge` and `score_judge`.
      template: prompt of the model, with {request} in the place of the request.
      options: of the answers; None for 256 tokens without stop strings.

    Example:
      >>> from jaxrec.capacity import score_judge
      >>> polite = score_judge(lambda request, answer: float("please" in answer))
      >>> task = judge_task("polite", "Requests.", Source(files=("requests.jsonl",)), polite)
      >>> task.measure({"request": "Ask.", "reference": "Tea!"}, Reply(texts=("Tea, please",)))
      {'win': 1.0, 'tie': 0.0, 'lose': 0.0, 'advantage': 1.0, 'unusable': 0.0}
    """
    settings = options or GenerateOptions(max_tokens=256)

    def ask(document: Document, shown: str) -> Write:
        return Write(template.replace("{request}", document["request"]), settings)

    def measure(document: Document, reply: Reply) -> Mapping[str, float]:
        request, answer, other = document["request"], reply.text.strip(), document["reference"]
        forward, backward = judge([(request, answer, other), (request, other, answer)])
        unusable = (forward, backward).count("unusable") / 2
        outcome = both_orders(forward, backward)
        if math.isnan(outcome):
            return {"unusable": unusable}
        shares = {"win": outcome == 1, "tie": outcome == 0, "lose": outcome == -1}
        return {
            **{name: float(share) for name, share in shares.items()},
            "advantage": outcome,
            "unusable": unusable,
        }

    return Task(
        name=name,
        about=about,
        source=Source(
            files=source.files,
            fields=tuple(dict.fromkeys((*source.fields, "request", "reference"))),
            make=source.make,
            prepare=source.prepare,
            held_out=source.held_out,
        ),
        ask=ask,
        measure=measure,
        metrics={
            "win": Metric(),
            "tie": Metric(better="neither"),
            "lose": Metric(better="lower"),
            "advantage": Metric(),
            "unusable": Metric(better="lower"),
        },
    )
