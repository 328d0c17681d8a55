"""What an update of a model keeps and adds: two studies of one task, document by document.

An update is a fine-tuning, an edit, or another version of a model. Facts that it teaches and facts
that it damages cancel out in an accuracy; see `jaxrec.eval.retention`.
"""

from jaxrec.capacity.study import Result
from jaxrec.core import ConfigError, DataError
from jaxrec.eval import Retention, retention


def compare_results(before: Result, after: Result, metric: str) -> Retention:
    """Compare a model before and after an update on the documents that both were asked.

    Args:
      before: result of the model before the update.
      after: result of the model after it, on the same task.
      metric: name of a metric whose values are 1 for right and 0 for wrong, such as "hits@1".

    Raises:
      ConfigError: results of different tasks, or a metric that the task does not have.
      DataError: the two models were asked about different documents, or about none with the metric,
        or no answer of one could be read.
    """
    if before.task != after.task:
        raise ConfigError(
            f"the results are of different tasks, {before.task} and {after.task}; give two of one"
        )
    for result, when in ((before, "before"), (after, "after")):
        if result.unread:
            raise DataError(f"no answer of the model {when} the update could be read; ask it again")
    if metric not in before.estimates:
        raise ConfigError(
            f"task {before.task} has no metric {metric!r}; metrics: {', '.join(before.estimates)}"
        )
    old, new = (
        {row["id"]: row["values"][metric] for row in result.rows if metric in row["values"]}
        for result in (before, after)
    )
    if old.keys() != new.keys():
        raise DataError(
            f"the two models were asked about different documents, {len(old)} and {len(new)} of "
            f"them; run task {before.task} with the same data and limit"
        )
    return retention(list(old.values()), [new[name] for name in old])
