"""Instruction data that a language model writes: Self-Instruct's loop, and Alpaca's.

    seeds -> prompt -> model -> rules -> ROUGE-L <= .7 with the whole pool -> pool -> ...

Self-Instruct (Wang et al. 2023, arXiv:2212.10560) shows 8 instructions and asks for more; then the
model says which of them want a class, and writes instances of each. Alpaca (Taori et al. 2023)
shows 3 whole tasks and asks for a list of 20 with their instances, in one request.

Everything that a request gave, kept or rejected, is saved when the request ends, and the draws of a
request depend on the seed and its number alone. So a loop that was killed goes on as if nothing had
happened, given a model whose answers depend on its prompts and options alone.
"""

import dataclasses
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.core import ConfigError, DataError, ResourceError, write_text
from jaxrec.data import Instruction
from jaxrec.decode import Completion
from jaxrec.prompting import GenerateOptions, LanguageModel, Reply
from jaxrec.texts.instruction_prompts import (
    SeedTask,
    class_prompt,
    instance_prompt,
    series_prompt,
    tasks_prompt,
)
from jaxrec.texts.instruction_rules import (
    Candidate,
    read_class,
    read_instances,
    read_series,
    read_tasks,
)
from jaxrec.texts.novelty import NoveltyPool

# Self-Instruct: instructions in a prompt, and how many of them are machine-made.
SHOWN, MACHINE_MADE = 8, 2
# Alpaca: tasks in a list, and how many of them are shown.
LISTED, SEEDS_SHOWN = 20, 3
MOST_SIMILAR = 0.7
SERIES = GenerateOptions(
    max_tokens=1024,
    temperature=0.7,
    top_p=0.5,
    presence_penalty=2.0,
    stop=("\n\n", "\n16", "16.", "16 ."),
)
CLASSES = GenerateOptions(max_tokens=3, stop=("\n", "Task"))
INSTANCES = GenerateOptions(max_tokens=350, presence_penalty=1.5, stop=("Example 6", "Task:"))
LABELLED = dataclasses.replace(INSTANCES, max_tokens=300)
TASKS = GenerateOptions(max_tokens=3072, temperature=1.0, stop=("\n20", "20."))
# Requests in a row without a new instruction, after which a loop gives up.
_PATIENCE = 20


def self_instruct(
    seeds: Sequence[SeedTask],
    model: LanguageModel,
    directory: str | os.PathLike[str],
    *,
    count: int,
    seed: int = 0,
    prompts: int = 5,
) -> list[Instruction]:
    r"""Make instructions and instances from seed tasks, Self-Instruct's way.

    Args:
      seeds: tasks that people wrote, at least 8.
      model: writes the completions.
      directory: gets `instructions.jsonl` and `instances.jsonl` with all that was kept and
        rejected, and `records.jsonl` for `read_instructions`. The same call resumes.
      count: number of new instructions; the last request may give some more.
      seed: of the draws.
      prompts: number of prompts in a request.

    Returns:
      The instances, in the order of their instructions.

    Raises:
      ConfigError: too few seeds, or the directory was begun with other seeds or settings.
      DataError: 20 requests in a row gave nothing new, or a saved file is damaged.

    Example:
      >>> import tempfile
      >>> from jaxrec.prompting import ScriptedModel
      >>> from jaxrec.texts import SeedTask, self_instruct
      >>> verbs = ("Add", "Sort", "Name", "Find", "List", "Sum", "Join", "Cut")
      >>> task = Instruction("", "1 2", "3")
      >>> seeds = [SeedTask(instruction=f"{v} the numbers.", instances=(task,)) for v in verbs]
      >>> def answer(prompt, sample):
      ...     if prompt.startswith("Come up with a series of tasks"):
      ...         return " Tell me who wrote this book."
      ...     return "Example 1\nEmma\nOutput: Jane Austen"
      >>> self_instruct(seeds, ScriptedModel(answer), tempfile.mkdtemp(), count=1, prompts=1)
      [Instruction(instruction='Tell me who wrote this book.', input='Emma', output='Jane Austen')]
    """
    begin = _begin(seeds, SHOWN, "self-instruct", seed, prompts)
    texts = [task.instruction for task in seeds]

    def ask(rng: np.random.Generator, made: Sequence[Candidate]) -> list[str]:
        written = []
        for _ in range(prompts):
            mine = rng.permutation(len(made))[:MACHINE_MADE].tolist()
            theirs = rng.permutation(len(texts))[: SHOWN - len(mine)].tolist()
            shown = [made[n].instruction for n in mine] + [texts[n] for n in theirs]
            written.append(series_prompt([shown[n] for n in rng.permutation(SHOWN)]))
        return written

    ledger = _Ledger(Path(directory) / "instructions.jsonl", begin)
    made = _grow(ledger, seeds, model, SERIES, ask, read_series, count, seed)
    done = _Ledger(Path(directory) / "instances.jsonl", begin)
    known = {row["instruction"] for row in done.rows}
    for first in range(len(known), len(made), prompts):
        chosen = [candidate.instruction for candidate in made[first : first + prompts]]
        done.append(_instances(seeds, model, chosen))
    rows = [row for row in done.rows if row["reason"] == ""]
    return _finish(directory, rows)


def alpaca_instruct(
    seeds: Sequence[SeedTask],
    model: LanguageModel,
    directory: str | os.PathLike[str],
    *,
    count: int,
    seed: int = 0,
    prompts: int = 5,
) -> list[Instruction]:
    r"""Make instructions with their instances from seed tasks, Alpaca's way: one kind of request.

    Args:
      seeds: tasks that people wrote, at least 3.
      model: writes the completions.
      directory: gets `tasks.jsonl` with all that was kept and rejected, and `records.jsonl` for
        `read_instructions`. The same call resumes.
      count: number of new tasks; the last request may give some more.
      seed: of the draws.
      prompts: number of prompts in a request.

    Returns:
      The new tasks.

    Raises:
      ConfigError: too few seeds, or the directory was begun with other seeds or settings.
      DataError: 20 requests in a row gave nothing new, or a saved file is damaged.

    Example:
      >>> import tempfile
      >>> from jaxrec.prompting import ScriptedModel
      >>> from jaxrec.texts import SeedTask, alpaca_instruct
      >>> task = Instruction("Add these numbers.", "1 2", "3")
      >>> seeds = [SeedTask(instruction=task.instruction, instances=(task,))] * 3
      >>> text = " Name a big city.\n4. Input:\n<noinput>\n4. Output:\nLima\n###"
      >>> model = ScriptedModel(lambda prompt, sample: text)
      >>> alpaca_instruct(seeds, model, tempfile.mkdtemp(), count=1)
      [Instruction(instruction='Name a big city.', input='', output='Lima')]
    """
    begin = _begin(seeds, SEEDS_SHOWN, "alpaca", seed, prompts)

    def ask(rng: np.random.Generator, made: Sequence[Candidate]) -> list[str]:
        drawn = [rng.permutation(len(seeds))[:SEEDS_SHOWN].tolist() for _ in range(prompts)]
        return [tasks_prompt([seeds[n].instances[0] for n in numbers], LISTED) for numbers in drawn]

    def read(completion: Completion) -> list[Candidate]:
        return read_tasks(completion, SEEDS_SHOWN + 1)

    ledger = _Ledger(Path(directory) / "tasks.jsonl", begin)
    made = _grow(ledger, seeds, model, TASKS, ask, read, count, seed)
    return _finish(directory, [dataclasses.asdict(candidate) for candidate in made])


def rejections(path: str | os.PathLike[str]) -> dict[str, int]:
    r"""Count the reasons in a file of `self_instruct` or `alpaca_instruct`; "" is what was kept.

    Raises:
      DataError: the file is missing or damaged.

    Example:
      >>> import pathlib, tempfile
      >>> from jaxrec.texts import rejections
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "tasks.jsonl"
      >>> _ = path.write_text('{"reason": "too short"}\n{"end": 0}\n')
      >>> rejections(path)
      {'too short': 1}
    """
    return dict(Counter(row["reason"] for row in _read(Path(path))[1] if "reason" in row))


def _grow(
    ledger: "_Ledger",
    seeds: Sequence[SeedTask],
    model: LanguageModel,
    options: GenerateOptions,
    ask: Any,
    read: Any,
    count: int,
    seed: int,
) -> list[Candidate]:
    """Ask for instructions until there are `count` that no rule rejects and no other is like."""
    pool = NoveltyPool([task.instruction for task in seeds])
    made: list[Candidate] = []
    for row in ledger.rows:
        if row["reason"] == "":
            fields = {name: row[name] for name in ("instruction", "input", "output")}
            made.append(Candidate(**fields))
            pool.add(row["instruction"])
    idle = 0
    while len(made) < count:
        if idle == _PATIENCE:
            raise DataError(
                f"{ledger.path}: {_PATIENCE} requests in a row gave no new instruction, after "
                f"{len(made)} of {count}; read there why they were rejected, and try another model"
            )
        rng = np.random.default_rng([seed, ledger.requests])
        asked = ask(rng, made)
        own = dataclasses.replace(options, seed=int(rng.integers(2**31)))
        rows, before = [], len(made)
        for reply in _generate(model, asked, own):
            for candidate in read(_completion(reply)) if reply.failure is None else _failed(reply):
                near, score = "", 0.0
                if not candidate.reason:
                    near, score = pool.nearest(candidate.instruction)
                reason = candidate.reason or ("similar" if score > MOST_SIMILAR else "")
                found = dataclasses.replace(candidate, reason=reason)
                rows.append(dataclasses.asdict(found) | {"nearest": near, "rougeL": score})
                if not reason:
                    made.append(found)
                    pool.add(found.instruction)
        ledger.append(rows)
        idle = 0 if len(made) > before else idle + 1
    return made


def _instances(
    seeds: Sequence[SeedTask], model: LanguageModel, chosen: Sequence[str]
) -> list[dict[str, Any]]:
    """Ask which instructions want a class, and for instances of all of them."""
    asked = [class_prompt(seeds, text) for text in chosen]
    classes = [read_class(_completion(reply)) for reply in _generate(model, asked, CLASSES)]
    rows: list[dict[str, Any]] = []
    written: dict[int, Completion] = {}
    for kind, options in ((True, LABELLED), (False, INSTANCES)):
        which = [n for n, value in enumerate(classes) if value == kind]
        prompts = [instance_prompt(seeds, chosen[n], classes=kind) for n in which]
        replies = _generate(model, prompts, options)
        written |= zip(which, map(_completion, replies), strict=True)
    for n, text in enumerate(chosen):
        kept, rejected = read_instances(written[n], text, classes=classes[n])
        pairs = [(record, "") for record in kept] + rejected
        if not pairs:
            pairs = [(Instruction(text, "", ""), "no instance")]
        rows += [
            _texts(record) | {"classes": classes[n], "reason": reason} for record, reason in pairs
        ]
    return rows


def _generate(
    model: LanguageModel, prompts: Sequence[str], options: GenerateOptions
) -> Sequence[Reply]:
    replies = model.generate(prompts, options) if prompts else []
    if len(replies) != len(prompts):
        raise DataError(
            f"the model {model.name} gave {len(replies)} replies to {len(prompts)} prompts; it "
            "must give one to each"
        )
    return replies


def _completion(reply: Reply) -> Completion:
    return Completion(reply.text, truncated=reply.truncated[0])


def _failed(reply: Reply) -> list[Candidate]:
    """What is recorded of a service's answer that cannot be used."""
    return [Candidate(instruction="", reason=f"no answer: {reply.failure}")]


def _texts(record: Instruction) -> dict[str, str]:
    return {name: getattr(record, name) for name in ("instruction", "input", "output")}


def _finish(
    directory: str | os.PathLike[str], rows: Sequence[Mapping[str, Any]]
) -> list[Instruction]:
    """Write the records that are kept, and return them."""
    records = [Instruction(row["instruction"], row["input"], row["output"]) for row in rows]
    lines = [json.dumps(_texts(record)) + "\n" for record in records]
    write_text(Path(directory) / "records.jsonl", "".join(lines))
    return records


def _begin(
    seeds: Sequence[SeedTask], fewest: int, how: str, seed: int, prompts: int
) -> dict[str, Any]:
    """What a loop begins with, which must be the same when it goes on."""
    if len(seeds) < fewest or not all(task.instances for task in seeds):
        raise ConfigError(
            f"{how} shows {fewest} seed tasks in a prompt, each with an instance, and there are "
            f"{len(seeds)} seeds; give more"
        )
    if prompts < 1:
        raise ConfigError(f"prompts must be at least 1, got {prompts}")
    texts = [[_texts(i) for i in task.instances] for task in seeds]
    return {"how": how, "seed": seed, "prompts": prompts, "seeds": texts}


class _Ledger:
    """A file of rows that grows by whole requests.

    The first line says what the loop began with, and a line {"end": N} closes request N. Rows of a
    request that was not closed are dropped when the file is opened.
    """

    def __init__(self, path: Path, begin: Mapping[str, Any]) -> None:
        self.path, self.requests = path, 0
        self.rows: list[dict[str, Any]] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            self._write(json.dumps({"begin": begin}) + "\n")
            return
        first, rows, size = _read(path)
        if first != {"begin": begin}:
            raise ConfigError(
                f"{path} was begun with other seed tasks, settings or another seed; give the same "
                "again, or another directory"
            )
        with open(path, "r+b") as file:
            file.truncate(size)
        self.requests = sum("end" in row for row in rows)
        self.rows = [row for row in rows if "end" not in row]

    def append(self, rows: Sequence[dict[str, Any]]) -> None:
        """Save the rows of a request at once."""
        lines = [json.dumps(row) + "\n" for row in (*rows, {"end": self.requests})]
        self._write("".join(lines))
        self.rows += rows
        self.requests += 1

    def _write(self, text: str) -> None:
        try:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise ResourceError(
                f"{self.path} cannot be written ({error.strerror or error}); make room, then start "
                "again to go on"
            ) from error


def _read(path: Path) -> tuple[Any, list[dict[str, Any]], int]:
    """The first line, the rows of closed requests with their ends, and the bytes of all these."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error})") from error
    first: Any = None
    rows: list[dict[str, Any]] = []
    open_rows: list[dict[str, Any]] = []
    size = place = 0
    for number, line in enumerate(content.split(b"\n")[:-1]):
        place += len(line) + 1
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError("not an object")
        except ValueError as error:
            raise DataError(
                f"{path}: line {number + 1} is damaged; restore the file, or begin in another "
                "directory"
            ) from error
        if number == 0 and "begin" in row:
            first, size = row, place
            continue
        open_rows.append(row)
        if "end" in row:
            rows, open_rows, size = [*rows, *open_rows], [], place
    return first, rows, size
