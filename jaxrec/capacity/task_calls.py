"""Calls of a task's own functions, whose errors name the task, the function and the document.

A task is often written for one study and one file, so its functions meet documents that they were
not written for. The error of such a function ends the study in one line; the answers that the model
gave before are stored.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from jaxrec.capacity.documents import ID, Document
from jaxrec.capacity.task import Task
from jaxrec.core import ConfigError, DataError, JaxrecError


def demonstrations(task: Task, documents: Sequence[Document]) -> str:
    r"""Return the text of a task's demonstrations; "" for a task without any.

    Args:
      task: whose `show` is called.
      documents: that are shown.

    Raises:
      DataError: `show` fails on a document.

    Example:
      >>> from jaxrec.capacity.declared import TaskFile, make_task
      >>> sums = TaskFile(name="sums", kind="write", files=("s.csv",), prompt="{a} =", target="{b}")
      >>> demonstrations(make_task(sums), [{"a": "1 + 1", "b": "2"}])
      '1 + 1 = 2\n\n'
    """
    texts = []
    if task.show is None:
        return ""
    for document in documents:
        with _named(task, "show", document):
            texts.append(task.show(document))
    return "".join(texts)


def ask_about(task: Task, document: Document, shown: str) -> Any:
    """Return the question about a document.

    Args:
      task: whose `ask` is called.
      document: that is asked about.
      shown: text of the demonstrations.

    Raises:
      ConfigError: `ask` returns no question.
      DataError: `ask` fails on the document.

    Example:
      >>> from jaxrec.capacity.declared import TaskFile, make_task
      >>> sums = TaskFile(name="sums", kind="write", files=("s.csv",), prompt="{a} =", target="{b}")
      >>> ask_about(make_task(sums), {"a": "1 + 1", "b": "2"}, "").prompt
      '1 + 1 ='
    """
    with _named(task, "ask", document):
        question = task.ask(document, shown)
    if not callable(getattr(type(question), "ask", None)):
        raise ConfigError(
            f"task {task.name}: ask returns {question!r:.60}, which is no question; return Choose, "
            "Follow, Write, Read, Several, or an object whose class has the method ask"
        )
    return question


def values_of(task: Task, document: Document, answer: Any) -> dict[str, Any]:
    """Return the values of a document by metric.

    Args:
      task: whose `measure` is called.
      document: that was asked about.
      answer: of the model.

    Raises:
      ConfigError: a metric that the task does not declare would never be reported, or the values
        are no numbers.
      DataError: `measure` fails on the document, or a value is not finite.

    Example:
      >>> from jaxrec.capacity.declared import TaskFile, make_task
      >>> from jaxrec.prompting import Reply
      >>> sums = TaskFile(name="sums", kind="write", files=("s.csv",), prompt="{a} =", target="{b}")
      >>> values_of(make_task(sums), {"a": "1 + 1", "b": "2"}, Reply(texts=(" 2",)))
      {'exact_match': 1.0}
    """
    with _named(task, "measure", document):
        values = task.measure(document, answer)
    if not isinstance(values, Mapping):
        raise ConfigError(
            f"task {task.name}: measure returns {values!r:.60}; return the values by metric, such "
            f"as {{{next(iter(task.metrics))!r}: 1.0}}"
        )
    unknown = [name for name in values if name not in task.metrics]
    if unknown:
        raise ConfigError(
            f"task {task.name} measures {', '.join(map(str, unknown))}, which its metrics do not "
            f"name; metrics: {', '.join(task.metrics)}"
        )
    plain: dict[str, Any] = {}
    for name, value in values.items():
        what = f"task {task.name}: the {name} of {document.get(ID)} is {value!r:.60}"
        try:
            numbers = np.asarray(value, np.float64)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{what}; return a number, or a list of numbers") from error
        # One such value would make the whole figure no number.
        if not np.isfinite(numbers).all():
            raise DataError(
                f"{what}, which is not finite; correct the task, or leave the metric out of "
                "documents that it does not apply to"
            )
        # Numbers of NumPy are no JSON.
        plain[name] = value if isinstance(value, int | float) else numbers.tolist()
    return plain


@contextlib.contextmanager
def _named(task: Task, function: str, document: Document) -> Iterator[None]:
    """Let every error of a task's function name the task and the document."""
    place = str(document.get(ID, "a document"))
    try:
        yield
    except (ConfigError, DataError) as error:
        if place in str(error):
            raise
        raise type(error)(f"task {task.name}, {place}: {error}") from error
    except JaxrecError:
        # Such as a service that does not answer, which is no fault of the task.
        raise
    # A function that calls `exit()` would end the study without figures and without error.
    except (Exception, SystemExit) as error:
        raise DataError(
            f"task {task.name}: {function} fails on {place} with {type(error).__name__}: {error}; "
            "correct this document or the task"
        ) from error
