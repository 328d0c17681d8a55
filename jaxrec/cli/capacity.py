"""`jaxrec capacity MODEL --tasks blimp gsm8k`: what a language model can do, in one table."""

import dataclasses
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console
from rich.table import Table

from jaxrec.capacity import (
    TASKS,
    Documents,
    MaskedModel,
    MaskedPair,
    Result,
    StudyOptions,
    Task,
    ask_about,
    ask_documents,
    check_shots,
    data_directory,
    find_files,
    find_tasks,
    read_documents,
    read_task_file,
    result_page,
    show_figure,
    show_interval,
)
from jaxrec.cli.arguments import parse
from jaxrec.cli.loading import load_task_file
from jaxrec.core import (
    ConfigError,
    Count,
    DataError,
    Positive,
    ResourceError,
    Seed,
    Whole,
    check_writable,
    quoted,
    read_json,
    to_json,
    write_text,
)
from jaxrec.models import checksum
from jaxrec.prompting import LanguageModel, Overflow, StoredModel, Usage
from jaxrec.runs import language_model_of, open_any
from jaxrec.texts import AskedModelConfig, open_asked_model

_STUDY = "study.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Measure what a language model can do, and end with a JSON line.

    Attributes:
      model: a run directory, a model directory, a checkpoint of Hugging Face, or a GGUF file; with
        --endpoint the name of a model.
      tasks: names of tasks (--list shows them), or paths of .json or .py files with tasks of your
        own.
      data: directory of the tasks' data; JAXREC_DATA by default.
      limit: most documents of each file; by default all.
      shots: number of demonstrations of every task; by default each task's own.
      out: directory for the result, its page, the values of all documents, and the answers, from
        which a study that was interrupted goes on; by default runs/capacity-MODEL.
      endpoint: address of an OpenAI-compatible service, such as http://localhost:8000/v1; MODEL is
        then the service's name of the model, and OPENAI_API_KEY holds the key.
      endpoint_kind: how the service is asked. Only completions have likelihoods, which all tasks
        but those that write need.
      timeout: seconds until a request to the service without an answer is given up; 60 by default.
      retries: further attempts after a request to the service fails; 5 by default.
      context: most tokens of a prompt and its continuation, and length of the windows in which
        texts are read; by default the model's own.
      overflow: refuse prompts that are longer than the context, or cut their beginning.
      batch: number of documents that the model is asked about at once.
      resamples: bootstrap resamples of the intervals.
      seed: seed of the resamples.
      list: list the tasks and the data that they need.
    """

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")] = ""
    tasks: tuple[str, ...] = ()
    data: Path | None = None
    limit: Count | None = None
    shots: Whole | None = None
    out: Path | None = None
    endpoint: str = ""
    endpoint_kind: Literal["completions", "chat"] = "completions"
    timeout: Positive | None = None
    retries: Whole | None = None
    context: Count | None = None
    overflow: Overflow = "refuse"
    batch: Count = 128
    resamples: Count = 1000
    seed: Seed = 0
    list: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False


def run(arguments: Sequence[str]) -> None:
    """Run the tasks, write the result and its page, and print the table.

    Raises:
      ConfigError: no model, an unknown task, demonstrations for a task without them, or a directory
        that holds the study of another model.
      DataError: data of a task are missing or damaged, or there is no model.
      ResourceError: a service does not answer, or no answer to a task could be read.
    """
    options = parse(Arguments, list(arguments), prog="jaxrec capacity")
    if options.list:
        _list(options.data)
        return
    if not options.model:
        raise ConfigError(
            "no model is given; for example: jaxrec capacity runs/pretrain --tasks blimp"
        )
    tasks = _tasks(options.tasks)
    needed = options.data is not None or any(task.source.files for task in tasks)
    directory = data_directory(options.data) if needed else Path()
    # All data are read before any question is asked.
    documents = []
    for task in tasks:
        shots = task.shots if options.shots is None else options.shots
        check_shots(task, shots)
        documents.append(read_documents(task.source, directory, limit=options.limit, shots=shots))
    word = Path(options.model).name or Path(options.model).resolve().name
    out = options.out or Path("runs") / f"capacity-{word.removesuffix('.gguf')}"
    check_writable(out, "--out")
    model: Any = _service(options) if options.endpoint else _open(Path(options.model), options)
    for task, found in zip(tasks, documents, strict=True):
        _check_kind(model, task, found)
    _check_study(out, model.name)
    if not isinstance(model, MaskedModel):
        model = StoredModel(model, out / "answers.jsonl")
    study = StudyOptions(
        limit=options.limit,
        shots=options.shots,
        batch=options.batch,
        resamples=options.resamples,
        seed=options.seed,
    )
    results = []
    for task, found in zip(tasks, documents, strict=True):
        results.append(ask_documents(model, task, found, study))
        rows = "".join(json.dumps(row, allow_nan=False) + "\n" for row in results[-1].rows)
        write_text(out / "values" / f"{task.name}.jsonl", rows)
    result = {"model": model.name, "tasks": {r.task: r.to_json() for r in results}}
    write_text(out / "result.json", to_json(result))
    write_text(out / "report.html", result_page(model.name, results, _facts(options)))
    _show(results)
    usage = sum((result.usage for result in results), Usage())
    paid = f", cost {usage.cost:.2f}" if usage.cost else ""
    read = usage.prompt_tokens - usage.shared_tokens
    written = usage.completion_tokens
    print(f"{usage.calls:,} questions: {read:,} tokens read, {written:,} written{paid}")
    print(f"page: {quoted(out / 'report.html')}")
    print(json.dumps(result))
    _check_read(results)


def _tasks(words: Sequence[str]) -> list[Task]:
    """Tasks by name or by the path of a file."""
    tasks: list[Task] = []
    for word in words:
        path = Path(word)
        if path.suffix == ".json":
            tasks.append(read_task_file(path))
        elif path.suffix == ".py":
            tasks += load_task_file(path)
        else:
            tasks += find_tasks([word])
    names = [task.name for task in tasks]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"task {name!r} is given twice; give it once, or rename one of them")
    return tasks or find_tasks([])


def _service(options: Arguments) -> LanguageModel:
    """The model behind an address."""
    if options.overflow != "refuse":
        raise ConfigError(
            "--overflow is about models that are opened here; a service has its own rule, so leave "
            "it out"
        )
    given: dict[str, Any] = {"timeout": options.timeout, "retries": options.retries}
    config = AskedModelConfig(
        endpoint=options.endpoint,
        name=options.model,
        kind=options.endpoint_kind,
        context=options.context or 0,
        **{name: value for name, value in given.items() if value is not None},
    )
    return open_asked_model(config)


def _open(path: Path, options: Arguments) -> Any:
    """The model as one that continues texts, or that fills in masked tokens."""
    for name in ("timeout", "retries"):
        if getattr(options, name) is not None:
            raise ConfigError(
                f"--{name} is about requests to a service, and {path} is opened here; leave it "
                "out, or give --endpoint"
            )
    opened = open_any(path)
    if opened.model.spec.kind == "masked":
        if options.context is not None:
            raise ConfigError(f"{path} is an encoder, which has no --context; leave it out")
        name = f"{path.resolve().stem}-{checksum(opened.model.params)[:12]}"
        return MaskedModel.of(opened, name)
    return language_model_of(
        opened, path, context=options.context, option="--context", overflow=options.overflow
    )


def _check_kind(model: Any, task: Task, documents: Documents) -> None:
    """Reject a task whose questions the model cannot answer."""
    masks = isinstance(ask_about(task, documents.asked[0], ""), MaskedPair)
    if masks and not isinstance(model, MaskedModel):
        raise ConfigError(
            f"task {task.name} masks tokens, and {model.name} continues texts; choose another "
            "task, or an encoder with a head for masked tokens"
        )
    if isinstance(model, MaskedModel) and not masks:
        raise ConfigError(
            f"task {task.name} needs a model that continues texts, and {model.name} is an encoder; "
            "encoders can run crows_pairs_masked"
        )


def _check_study(out: Path, name: str) -> None:
    """Reject a directory with the study of another model, whose figures would be replaced."""
    path = out / _STUDY
    if path.exists():
        other = read_json(path, dict[str, str]).get("model")
        if other is None:
            raise DataError(f"{path} does not name a model; restore it, or give another --out")
        if other != name:
            raise ConfigError(
                f"{out} holds the study of {other}, not of {name}; give another --out"
            )
    write_text(path, to_json({"model": name}))


def _facts(options: Arguments) -> dict[str, str]:
    """What the figures depend on, for the page."""
    return {
        "Documents of each file": "all" if options.limit is None else f"the first {options.limit}",
        "Resamples": f"{options.resamples:,}, seed {options.seed}",
    }


def _show(results: Sequence[Result]) -> None:
    table = Table("task", "metric", "value", "standard error", "95 % interval", "documents")
    for result in results:
        if result.unread:
            table.add_row(result.task, "no answer could be read", "", "", "", "0")
        for place, (name, found) in enumerate(result.estimates.items()):
            table.add_row(
                result.task if place == 0 else "",
                name,
                show_figure(found.value),
                show_figure(found.stderr),
                show_interval(found),
                f"{found.count:,}",
            )
    Console(width=max(Console().width, 100)).print(table)
    for result in results:
        for field, count in result.missing.items():
            print(
                f"{result.task}: {count} documents without {field} are left out, such as "
                f"{result.first_missing}"
            )
        if result.undefined:
            print(
                f"{result.task}: {', '.join(result.undefined)}: no number comes out, such as where "
                "a ratio divides by 0; the value is null in the JSON line"
            )
        if result.failures and not result.unread:
            print(
                f"{result.task}: answers that could not be read: {result.failures:,} of "
                f"{result.documents:,}; they count as empty; reasons: {_reasons(result)}"
            )


def _reasons(result: Result) -> str:
    """Why answers could not be read, the most frequent reason first."""
    reasons = Counter(row["failure"] for row in result.rows if "failure" in row)
    counted = ", ".join(f"{reason} ({count:,})" for reason, count in reasons.most_common())
    return f"{counted:.300}"


def _check_read(results: Sequence[Result]) -> None:
    """Reject a study in which the model gave no answer that can be read to some task."""
    unread = [result for result in results if result.unread]
    if unread:
        raise ResourceError(
            "; ".join(
                f"{result.task}: none of {result.documents:,} answers could be read "
                f"({_reasons(result)})"
                for result in unread
            )
            + "; there are no figures of it; check the model, its address and --endpoint-kind, and "
            "give the same command again, which asks these questions again"
        )


def _list(data: Path | None) -> None:
    """Print all tasks, the files that they need, and whether those are there."""
    try:
        directory = data_directory(data)
    except DataError:
        directory = None
    table = Table("task", "what it measures", "shots", "data", "found")
    for task in TASKS.values():
        table.add_row(
            task.name,
            task.about,
            str(task.shots),
            "\n".join(task.source.files) or "made by rule",
            "" if directory is None else _found(task, directory),
        )
    Console(width=max(Console().width, 140)).print(table)
    if directory is None:
        print("set JAXREC_DATA or give --data to see which data are there")
    print("next: jaxrec capacity MODEL --tasks blimp")


def _found(task: Task, directory: Path) -> str:
    if not task.source.files:
        return ""
    try:
        count = len(find_files(task.source, directory))
    except DataError:
        return "missing"
    return "1 file" if count == 1 else f"{count} files"
