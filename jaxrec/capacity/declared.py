r"""Tasks without code: a JSON file that says which files to read and what to ask about a document.

Texts are templates with the names of fields in braces, such as "Question: {question}\nAnswer:".
"""

import dataclasses
import functools
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from jaxrec.capacity.choices import accuracy
from jaxrec.capacity.documents import ID, Document, Source
from jaxrec.capacity.estimates import Metric
from jaxrec.capacity.questions import Choose, Read, Write
from jaxrec.capacity.reading import TEXT_METRICS, last_word_task, text_values
from jaxrec.capacity.task import Task
from jaxrec.core import ConfigError, Count, DataError, Whole, from_dict, nearest, read_json
from jaxrec.data import Template, holes
from jaxrec.eval import (
    SUMMARY_METRICS,
    TranslationMetric,
    exact_match,
    summary_scores,
    token_f1,
    translation_score,
    translation_statistics,
)
from jaxrec.prompting import GenerateOptions, Reply, Score, TextScore

_TRANSLATION: tuple[TranslationMetric, ...] = ("bleu", "chrf", "ter")
TEXT_OVERLAPS = ("exact_match", "token_f1", *SUMMARY_METRICS, *_TRANSLATION)
# Settings that only some kinds have.
_OF_KIND = {
    "choose": ("prompt", "options", "options_field", "answer", "shots", "held_out", "groups"),
    "write": (
        *("prompt", "target", "targets_field", "metrics", "stop", "max_tokens"),
        *("shots", "held_out", "groups"),
    ),
    "read": ("text", "held_out", "groups"),
    "last_word": (),
}
# What ends a demonstration.
_BETWEEN = "\n\n"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskFile:
    r"""The settings of a task in a JSON file.

    Attributes:
      name: of the task.
      kind: choose the likeliest option, write a text, read a text, or predict the last word of each
        line of text files.
      files: names below the data directory, without .gz; see `Source`.
      about: one line on what is measured.
      prompt: template of what the options or the text continue.
      options: templates of the options of `choose`, with their leading spaces.
      options_field: name of the field with a list of options, in place of `options`.
      answer: place of the right option from 0 on, or the name of the field with that place or with
        the text of the right option.
      target: template of the right text of `write`.
      targets_field: name of the field with a list of right texts, in place of `target`.
      text: template of the text of `read`.
      metrics: of `write`: exact_match, token_f1, rouge1, rouge2, rougeL, rougeLsum, bleu, chrf or
        ter.
      stop: strings that end a text of `write`.
      max_tokens: most tokens of a text of `write`.
      shots: number of demonstrations, which are the first documents.
      held_out: number of documents at the end of each file that are asked; None for all others.
      groups: names of fields, by whose values the metrics are also reported.

    Example:
      >>> TaskFile(name="sums", kind="write", files=("sums.csv",), prompt="{a}=", target="{b}").stop
      ('\n',)
    """

    name: str
    kind: Literal["choose", "write", "read", "last_word"]
    files: tuple[str, ...]
    about: str = ""
    prompt: str = ""
    options: tuple[str, ...] = ()
    options_field: str = ""
    answer: int | str = 0
    target: str = ""
    targets_field: str = ""
    text: str = "{text}"
    metrics: tuple[str, ...] = ("exact_match",)
    stop: tuple[str, ...] = ("\n",)
    max_tokens: Count = 64
    shots: Whole = 0
    held_out: Count | None = None
    groups: tuple[str, ...] = ()


def read_task_file(path: Path) -> Task:
    """Read a task from a JSON file.

    Args:
      path: of the file; `TaskFile` says what it holds.

    Raises:
      ConfigError: an unknown setting or value, or one that the kind needs is left out.
      DataError: the file is missing or no JSON.

    Example:
      >>> import json, tempfile
      >>> path = Path(tempfile.mkdtemp()) / "sums.json"
      >>> settings = {"name": "sums", "kind": "write", "files": ["sums.csv"]}
      >>> _ = path.write_text(json.dumps(settings | {"prompt": "{a} =", "target": "{b}"}))
      >>> read_task_file(path).ask({"a": "1 + 1"}, "").prompt
      '1 + 1 ='
    """
    values = read_json(path, dict[str, Any], missing="check the path", fix="correct it")
    known = [field.name for field in dataclasses.fields(TaskFile)]
    for name in values:
        if name not in known:
            raise ConfigError(
                f"{path}: unknown setting {name!r:.60}{nearest(name, known)}; settings: "
                f"{', '.join(known)}"
            )
    try:
        return make_task(from_dict(TaskFile, values, ""))
    except TypeError as error:
        # A setting without a default is left out.
        raise ConfigError(
            f"{path}: {str(error).partition('() ')[2]}; name, kind and files are needed"
        ) from error
    except ConfigError as error:
        # Settings are checked as options of the command line, which a file spells otherwise.
        spelled = re.sub(r"^--[\w-]+", lambda m: m[0][2:].replace("-", "_"), str(error))
        raise ConfigError(f"{path}: {spelled}") from error


def make_task(settings: TaskFile) -> Task:
    """Return the task of settings.

    Args:
      settings: of one task.

    Raises:
      ConfigError: a setting that the kind needs is left out, one that it does not have, or an
        unknown metric.

    Example:
      >>> settings = TaskFile(
      ...     name="birds",
      ...     kind="choose",
      ...     files=("birds.jsonl",),
      ...     prompt="Can a {animal} fly?",
      ...     options=(" Yes", " No"),
      ...     answer="place",
      ... )
      >>> make_task(settings).measure({"place": 1}, [Score(logprob=-2.0), Score(logprob=-1.0)])
      {'accuracy': 1.0, 'accuracy_by_length': 1.0}
    """
    used = (*_OF_KIND[settings.kind], "name", "kind", "files", "about")
    for field in dataclasses.fields(TaskFile):
        if field.name not in used and getattr(settings, field.name) != field.default:
            known = ", ".join(_OF_KIND[settings.kind]) or "none but name, files and about"
            raise ConfigError(
                f"{field.name} is no setting of the kind {settings.kind}, which has {known}; leave "
                "it out"
            )
    makers: dict[str, Callable[[TaskFile], Task]] = {
        "choose": _choose,
        "write": _write,
        "read": _read,
        "last_word": lambda s: last_word_task(s.name, s.about or "last words", s.files),
    }
    return makers[settings.kind](settings)


def _choose(s: TaskFile) -> Task:
    if bool(s.options) == bool(s.options_field):
        raise ConfigError("a task that chooses needs either options or options_field")
    fields = _fields(s.prompt, *s.options)
    if s.options_field:
        fields.append(s.options_field)
    if isinstance(s.answer, str):
        fields.append(s.answer)
    elif s.options and not 0 <= s.answer < len(s.options):
        raise ConfigError(f"answer is {s.answer}, but there are {len(s.options)} options")

    def options(document: Document) -> list[str]:
        if not s.options_field:
            return [_fill(s, option, document) for option in s.options]
        found = document[s.options_field]
        if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
            raise DataError(
                f"{document.get(ID)}: {s.options_field} must be a list of texts, got {found!r:.60}"
            )
        # Options of the data rarely have the space that stands between them and the prompt.
        return [text if not s.prompt or text[:1].isspace() else f" {text}" for text in found]

    def answer(document: Document) -> int:
        wanted = document[s.answer] if isinstance(s.answer, str) else s.answer
        texts = [text.strip() for text in options(document)]
        if isinstance(wanted, str) and wanted.strip() in texts:
            return texts.index(wanted.strip())
        place = int(wanted) if str(wanted).strip().isdigit() else -1
        if not 0 <= place < len(texts):
            raise DataError(
                f"{document.get(ID)}: the answer {wanted!r} is neither the place of an option nor "
                f"one of {texts!r:.120}"
            )
        return place

    def ask(document: Document, shown: str) -> Choose:
        return Choose(shown + _fill(s, s.prompt, document), tuple(options(document)))

    def show(document: Document) -> str:
        return _fill(s, s.prompt, document) + options(document)[answer(document)] + _BETWEEN

    def measure(document: Document, scores: tuple[Score, ...]) -> Mapping[str, float]:
        right = answer(document)
        lengths = [max(1, len(text.strip())) for text in options(document)]
        return {
            "accuracy": accuracy(scores, right),
            "accuracy_by_length": accuracy(scores, right, lengths),
        }

    names = ("accuracy", "accuracy_by_length")
    return _task(s, fields, ask, show, measure, names, check=answer)


def _write(s: TaskFile) -> Task:
    if bool(s.target) == bool(s.targets_field):
        raise ConfigError("a task that writes needs either target or targets_field")
    if not s.prompt:
        raise ConfigError("a task that writes needs a prompt")
    for name in s.metrics:
        if name not in TEXT_OVERLAPS:
            raise ConfigError(
                f"unknown metric {name!r}{nearest(name, TEXT_OVERLAPS)}; metrics: "
                f"{', '.join(TEXT_OVERLAPS)}"
            )
    fields = _fields(s.prompt, s.target) + ([s.targets_field] if s.targets_field else [])
    options = GenerateOptions(max_tokens=s.max_tokens, stop=s.stop)

    def targets(document: Document) -> list[str]:
        if not s.targets_field:
            return [_fill(s, s.target, document)]
        found = document[s.targets_field]
        if not isinstance(found, list) or not found or not all(isinstance(t, str) for t in found):
            raise DataError(
                f"{document.get(ID)}: {s.targets_field} must be a list of texts, got {found!r:.60}"
            )
        return found

    def ask(document: Document, shown: str) -> Write:
        return Write(shown + _fill(s, s.prompt, document), options)

    def show(document: Document) -> str:
        return f"{_fill(s, s.prompt, document)} {targets(document)[0].strip()}{_BETWEEN}"

    def measure(document: Document, reply: Reply) -> Mapping[str, Any]:
        return _overlaps(s.metrics, reply.text.strip(), targets(document))

    return _task(s, fields, ask, show, measure, s.metrics, check=targets)


def _read(s: TaskFile) -> Task:
    def ask(document: Document, shown: str) -> Read:
        return Read(_fill(s, s.text, document))

    def measure(document: Document, score: TextScore) -> Mapping[str, Any]:
        return text_values(_fill(s, s.text, document), score)

    return _task(s, _fields(s.text), ask, None, measure, tuple(TEXT_METRICS))


def _task(
    s: TaskFile,
    fields: list[str],
    ask: Callable[[Document, str], Any],
    show: Callable[[Document], str] | None,
    measure: Callable[[Document, Any], Mapping[str, Any]],
    metrics: tuple[str, ...],
    *,
    check: Callable[[Document], Any] | None = None,
) -> Task:
    needed = tuple(dict.fromkeys(fields))

    def prepare(documents: list[Document], directory: Path) -> list[Document]:
        """Check the right answers before the model is asked anything."""
        for document in documents:
            # Documents without a field are left out and counted where they are read.
            if check and all(document.get(field) not in (None, "") for field in needed):
                check(document)
        return documents

    return Task(
        name=s.name,
        about=s.about or f"{s.kind} on {', '.join(s.files)}",
        source=Source(files=s.files, fields=needed, prepare=prepare, held_out=s.held_out),
        ask=ask,
        measure=measure,
        metrics={name: _metric(name) for name in metrics},
        show=show,
        shots=s.shots,
        groups=s.groups,
    )


def _metric(name: str) -> Metric:
    if name in TEXT_METRICS:
        return TEXT_METRICS[name]
    for metric in _TRANSLATION:
        if name == metric:
            better: Literal["higher", "lower"] = "lower" if metric == "ter" else "higher"
            return Metric(functools.partial(_of_sums, metric), better)
    return Metric()


def _of_sums(metric: TranslationMetric, sums: Any, count: int) -> float:
    return translation_score(metric, sums)


def _overlaps(metrics: tuple[str, ...], text: str, targets: list[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    summary = any(name in SUMMARY_METRICS for name in metrics)
    rouges = summary_scores(text, targets) if summary else {}
    for name in metrics:
        if name == "exact_match":
            values[name] = exact_match(text, targets)
        elif name == "token_f1":
            values[name] = token_f1(text, targets)
        elif name in rouges:
            values[name] = rouges[name]
    for metric in _TRANSLATION:
        if metric in metrics:
            values[metric] = tuple(translation_statistics(metric, text, targets))
    return values


def _fields(*templates: str) -> list[str]:
    """Names of the fields of templates, which the documents must have."""
    for text in templates:
        # The template rejects braces that are no holes.
        Template(name="task", source=text, target="")
    return sorted(set().union(*map(holes, templates)))


def _fill(s: TaskFile, text: str, document: Document) -> str:
    fields = {name: str(value) for name, value in document.items()}
    return Template(name=s.name, source=text, target="").ask(fields)
