"""What a study asks: the questions of each task with their demonstrations, before any asking."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.core import DataError
from jaxrec.data import Template
from jaxrec.eval import place_targets, probe_slots
from jaxrec.prompting import Demonstration, LanguageModel, Verbalizer, assemble, normal_input
from jaxrec.systems.chatgpt.config import ChatGptConfig
from jaxrec.systems.chatgpt.data import ChatData, load_chat_data
from jaxrec.systems.chatgpt.tasks import ChatTask, chat_tasks, is_text
from jaxrec.systems.chatgpt.wordings import WORDINGS, read_wordings
from jaxrec.texts import (
    CatalogueItem,
    Datum,
    OneOfCandidates,
    Questions,
    ask,
    check_data,
)

PROBED = "sequential_choose"


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class AskedTask:
    """A task with what it is asked about.

    Attributes:
      task: the record.
      questions: its data, and its prompts without task and demonstrations.
      verbalizer: writes the whole prompts.
      shown: demonstrations of each question.
    """

    task: ChatTask
    questions: Questions
    verbalizer: Verbalizer
    shown: Sequence[Sequence[Demonstration]]

    def prompted(self, model: LanguageModel, room: int) -> Questions:
        """The questions with whole prompts, which leave a model `room` tokens to answer.

        Raises:
          ConfigError: a prompt that does not fit even without demonstrations.
        """
        inputs = self.questions.prompts
        if model.context is None:
            prompts = [
                self.verbalizer.prompt(shown, text)
                for shown, text in zip(self.shown, inputs, strict=True)
            ]
        else:
            made = assemble(model, self.verbalizer, self.shown, inputs, room=room)
            prompts = [one.text for one in made]
            fewer = sum(
                len(one.shown) < len(row) for one, row in zip(made, self.shown, strict=True)
            )
            if fewer:
                print(
                    f"{self.task.name}: {fewer:,} of {len(made):,} prompts show fewer "
                    f"demonstrations, because the model reads {model.context:,} tokens"
                )
        return dataclasses.replace(self.questions, prompts=prompts)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Study:
    """All questions of a study.

    Attributes:
      config: of the study.
      data: the data of its prompts.
      asked: its tasks by name.
      probe: for each slot the probed task with the truth there; empty without a probe.
    """

    config: ChatGptConfig
    data: ChatData
    asked: Mapping[str, AskedTask]
    probe: Mapping[int, AskedTask]

    def describe(self) -> dict[str, Any]:
        """Say what is asked: JSON-able."""
        tasks = [*self.asked.values(), *self.probe.values()]
        texts = [[one.verbalizer.instruction, one.questions.prompts] for one in tasks]
        return {
            **self.data.dataset.describe(),
            "ranking": (
                f"lists of {self.data.top} free titles, or of {self.data.top} of "
                f"{self.data.candidates} candidates"
            ),
            "seen_items": "removed",
            "stage": self.config.eval.stage,
            "questions": {name: len(one.questions) for name, one in self.asked.items()},
            "probe_questions": sum(len(one.questions) for one in self.probe.values()),
            "prompts": hashlib.sha256(json.dumps(texts).encode()).hexdigest(),
        }


def prepare(config: ChatGptConfig) -> Study:
    """Load the data and write all questions; nothing is asked.

    Raises:
      DataError: data that lack what a task needs, titles that are not unique, or too few
        demonstrations.
      ConfigError: a wording with an unknown hole, or more candidates than there are items.
    """
    wordings = (
        read_wordings(Path(config.wordings).expanduser()) if config.wordings else dict(WORDINGS)
    )
    tasks = chat_tasks(config.tasks, wordings, facts=config.facts)
    needs = frozenset(need for task in tasks for need in task.source.needs)
    data = load_chat_data(config, needs)
    check_data(data.dataset, tasks, config.candidates)
    asked = {task.name: ask_task(config, data, task) for task in tasks}
    probe = {}
    if config.eval.probe_slots:
        one = asked[PROBED]
        for slot in probe_slots(config.candidates, config.eval.probe_slots):
            placed = place_targets(one.questions.candidates, one.questions.targets, slot)
            examples = [
                dataclasses.replace(datum, candidates=row)
                for datum, row in zip(one.questions.data, placed, strict=True)
            ]
            questions = ask(one.task, one.task.templates[0], data, examples)
            probe[slot] = dataclasses.replace(one, questions=questions)
    return Study(config=config, data=data, asked=asked, probe=probe)


def ask_task(config: ChatGptConfig, data: ChatData, task: ChatTask) -> AskedTask:
    """Write the questions of a task about sampled users or rows, with their demonstrations.

    Raises:
      DataError: nobody to ask about, or too few demonstrations.
      ConfigError: a wording with an unknown hole.
    """
    units = task.source.units(data, config.eval.stage)
    if not len(units):
        raise DataError(
            f"{data.dataset.interactions.name} has nothing to ask task {task.name!r} about; leave "
            "it out of --tasks"
        )
    rng = np.random.default_rng([config.seed, *task.name.encode()])
    if config.eval.test_instances:
        units = np.sort(rng.permutation(units)[: config.eval.test_instances])
    examples = task.source.held_out(data, config.eval.stage, units)
    template = task.templates[0]
    questions = ask(task, template, data, examples, default=_mean_rating(data))
    # The task stands once before all demonstrations, so it cannot tell of a single user.
    names = ("thing", "things", "used", "top", "words")
    common = {name: questions.fields[0][name] for name in names}
    start = Template(name=f"{template.name} (task)", source=template.instruction, target="")
    verbalizer = Verbalizer(query="{input}", answer=" {answer}", instruction=start.ask(common))
    pool = (
        demonstrations(task, data, config.shots + 1, rng, without=questions.prompts)
        if config.shots
        else []
    )
    shown = [
        [demonstration for user, demonstration in pool if user != datum.user][: config.shots]
        for datum in examples
    ]
    return AskedTask(task=task, questions=questions, verbalizer=verbalizer, shown=shown)


def demonstrations(
    task: ChatTask,
    data: ChatData,
    count: int,
    rng: np.random.Generator,
    *,
    without: Sequence[str] = (),
) -> list[tuple[int, Demonstration]]:
    """Draw training data of different users as demonstrations.

    Args:
      task: what they show.
      data: of the study.
      count: number of them.
      rng: of the draw.
      without: inputs of the questions, none of which may be demonstrated.

    Returns:
      Pairs of a user's number and a demonstration.

    Raises:
      DataError: the training part has data of fewer users.
    """
    stream = task.source.training(data)
    drawn: dict[int, Demonstration] = {}
    asked = {normal_input(text) for text in without}
    for place in rng.permutation(stream.size).tolist():
        datum = stream.draw(place, rng)
        if datum.user in drawn:
            continue
        answer = demonstrated_answer(task, data, datum, rng)
        # A demonstration that is too long itself would teach the model to break the format.
        if is_text(task) and len(answer.split()) > data.words:
            continue
        text = task.templates[0].ask(task.fields(datum, data))
        if normal_input(text) not in asked:
            drawn[datum.user] = Demonstration(text, answer)
        if len(drawn) == count:
            return list(drawn.items())
    longer = f", or raise --words {data.words}" if is_text(task) else ""
    raise DataError(
        f"--shots {count - 1} needs demonstrations of task {task.name!r} from {count} users, "
        f"because no user is shown to themselves, and the training part has {len(drawn)}; lower it"
        + longer
    )


def demonstrated_answer(
    task: ChatTask, data: ChatData, datum: Datum, rng: np.random.Generator
) -> str:
    """A legal and right answer to a training datum.

    A list of candidates begins with the truth, and other candidates follow in random order. A free
    list has what the user met next.
    """
    if isinstance(task.answer, OneOfCandidates):
        assert datum.candidates is not None
        others = rng.permutation(datum.candidates[datum.candidates != datum.item])
        return as_lines(data, [datum.item, *others.tolist()])
    if isinstance(task.answer, CatalogueItem):
        assert datum.history is not None
        later = data.dataset.split.train.sequences()[datum.user][len(datum.history) :]
        return as_lines(data, list(dict.fromkeys(later.tolist())))
    return task.templates[0].fill(task.fields(datum, data))[1]


def as_lines(data: ChatData, items: Sequence[int]) -> str:
    """The titles of the first items as a legal list."""
    titles = [data.names.items[item] for item in items[: data.top]]
    return "\n".join(f"{place}. {title}" for place, title in enumerate(titles, 1))


def _mean_rating(data: ChatData) -> float:
    """What counts where no rating can be read: the mean of the training part."""
    if data.ratings is None:
        return float("nan")
    return float(data.dataset.interactions.rating[data.ratings.train].mean())
